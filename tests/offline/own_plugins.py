"""Plugins that the tests write themselves: what they ask for, and their packages."""

from __future__ import annotations

import json

import making

ASKS = """
export const Asks = async () => {
  fetch("https://service.example/").catch(() => {})
  return {}
}
"""
SILENT = """
export const Silent = async () => ({})
"""
ACCEPTED = {"asks-too": ("other.example",)}
ASKERS = {"asks-a-service": ASKS, "asks-too": ASKS.replace("service.", "other.")}
ASKED = {
    ("service.example", "plugin asks-a-service@latest", False),
    ("other.example", "plugin asks-too@latest", True),
}
"""The host, who asks for it, and whether that is accepted."""


def add_tarball(directory, name, text, **more):
    """A package of one module, as a tarball beside the others."""
    about = {"name": name, "version": "1.0.0", "type": "module", "main": "index.js", **more}
    data = making.tarball({"package.json": json.dumps(about), "index.js": text})
    package = making.package(name, content=data)
    (directory / package.tarball).write_bytes(data)
    return package
