"""The rules that the Nix side shares with this package, as one document: `nix/rules.json`.

`python -m opencode_cache.update.rules` prints it, and a test holds the file against it. `examples` are what
this package makes of some input; `nix/module-tests/rules.nix` has Nix make the same of it.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import redistribution
from opencode_cache.npm import platforms
from opencode_cache.opencode import tools, versions

_VERSIONS = ("1.0.61", "1.3.99", "1.4.0", "1.13.9", "1.14.0", "1.18.33", "1.19.0", "2.0.1")
_PACKAGES_VERSION = "1.18.33"
_WORDS = {
    "os": ([], ["linux"], ["darwin"], ["!win32"], ["!linux"], ["any"]),
    "cpu": ([], ["x64"], ["arm64"], ["!arm64"], ["x64", "arm64"]),
    "libc": ([], ["glibc"], ["musl"], ["!musl"]),
}


def document() -> dict[str, Any]:
    """All of it, as JSON has it."""
    known = tools.TOOLS.values()
    return {
        "supported": versions.SUPPORTED,
        "layouts": [
            {"name": name, "first": _series(first), "last": _series(last)}
            for name, first, last in versions.LAYOUTS
        ],
        "experimental": {"layout": versions.EXPERIMENTAL, "known": versions.KNOWN},
        "systems": {
            name: {"os": system.os, "cpu": system.cpu, "libc": system.libc}
            for name, system in platforms.SYSTEMS.items()
        },
        "licences": {
            "forbidden": [
                {"title": terms.title, "names": sorted(terms.names), "stated": sorted(terms.stated)}
                for terms in redistribution.TABLE
            ],
            "read": {name: read.licence for name, read in redistribution.READ.items()},
        },
        "formatters": sorted(tool.package for tool in known if tool.formatter),
        "servers": sorted(tool.package for tool in known if tool.server),
        "examples": {
            "fits": _fits(),
            "layouts": {version: _layout(version) for version in _VERSIONS},
            "accepts": _accepts(),
            "spellings": _spellings(),
        },
    }


def dumps() -> str:
    """The document as the text of nix/rules.json."""
    return json.dumps(document(), indent=2, sort_keys=True) + "\n"


def _series(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]}.{numbers[1]}"


def _layout(version: str) -> str | None:
    try:
        return versions.layout_name(version)
    except BadInputError:
        return None


def _fits() -> list[dict[str, Any]]:
    """Fields of a package -> the systems that npm would install it on."""
    return [
        {
            "package": {"os": os, "cpu": cpu, "libc": libc},
            "systems": [s.name for s in platforms.SYSTEMS.values() if platforms.fits(s, os, cpu, libc)],
        }
        for os, cpu, libc in itertools.product(*_WORDS.values())
    ]


def _accepts() -> list[dict[str, Any]]:
    """Whether a cache locked for one version is right for another."""
    pairs = (
        *(("1.18.21", "1.18.33"), ("1.17.4", "1.18.0"), ("1.0.61", "1.0.61"), ("1.0.61", "1.0.62")),
        *(("2.0.15", "2.0.32"), ("2.0.32", "2.1.0"), ("1.18.33", "2.0.15")),
    )
    return [
        {"locked": locked, "found": actual, "accepts": layouts.for_version(locked).accepts(locked, actual)}
        for locked, actual in pairs
    ]


def _spellings() -> list[dict[str, Any]]:
    """A plugin's request -> which ways of writing it in `opencode.json` mean the tree that it has."""
    layout = layouts.for_version(_PACKAGES_VERSION)
    texts = ("some", "some@latest", "some@1.2.3", "some@^1", "other")
    trees = {text: layout.place(_PACKAGES_VERSION, "plugin", text, "1.2.3") for text in texts}
    return [
        {
            "request": {"spec": spec, "name": spec.partition("@")[0], "requested": placed.requested},
            "same": [text for text in texts if trees[text] == placed],
            "other": [text for text in texts if trees[text] != placed],
        }
        for spec, placed in trees.items()
    ]


if __name__ == "__main__":
    sys.stdout.write(dumps())
