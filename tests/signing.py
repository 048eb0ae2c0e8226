"""Signatures as npm's registry makes them, with our own keys, and an npm that asks nobody else for keys."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from opencode_cache.npm import client as npm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opencode_cache.formats.lock import Package

_SIGN = """
const crypto = require("node:crypto")
const { publicKey, privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" })
const messages = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
console.log(JSON.stringify({
  key: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
  signatures: messages.map((m) => crypto.createSign("SHA256").update(m).sign(privateKey, "base64")),
}))
"""
# npm asks sigstore's repository for keys first, which no test can reach; that has none for this registry.
_NO_SIGSTORE = """
const Module = require("node:module")
const load = Module._load
Module._load = function (name, ...more) {
  if (name !== "@sigstore/tuf") return load.call(this, name, ...more)
  const none = () => Promise.reject(Object.assign(new Error("none"), { code: "TUF_FIND_TARGET_ERROR" }))
  return { initTUF: async () => ({ getTarget: none }) }
}
"""
NAME = "one"
"""What the key is called."""


@dataclass(frozen=True)
class Signed:
    """A key as the registry shows it, and `name@version` -> signature."""

    key: Mapping[str, str | None]
    signatures: Mapping[str, str]


def sign(packages: Iterable[Package]) -> Signed:
    """With a new key. Skips where there is no Node.js."""
    npms = npm.command()
    node = npms[0] if len(npms) > 1 else shutil.which("node")
    if node is None:
        pytest.skip("needs node on PATH")
    packages = list(packages)
    messages = json.dumps([f"{package.key}:{package.integrity}" for package in packages])
    done = subprocess.run([node, "-e", _SIGN], input=messages, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    key = {
        "keyid": NAME,
        "keytype": "ecdsa-sha2-nistp256",
        "scheme": "ecdsa-sha2-nistp256",
        "key": made["key"],
        "expires": None,
    }
    keys = [package.key for package in packages]
    return Signed(key, dict(zip(keys, made["signatures"], strict=True)))


def environment(registry: str, scratch: Path) -> dict[str, str]:
    """What has npm ask that registry alone, for packages and for keys."""
    preload = scratch / "no-sigstore.cjs"
    preload.write_text(_NO_SIGSTORE, encoding="utf-8")
    return {
        "NODE_OPTIONS": f"--require={preload}",
        "npm_config_registry": registry,
        "npm_config_userconfig": "/dev/null",
        "npm_config_fetch_retries": "0",
    }
