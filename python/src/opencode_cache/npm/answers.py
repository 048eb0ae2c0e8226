"""What npm says of packages, checked once where it comes in: after this every field has its type.

The registry is anybody's. What names a package has to be right (name, version, hash), or the entry goes; of
the rest, what has another type than npm's documentation says is taken for not said, as npm takes it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

_DEEPEST = 20
_LONGEST = 1000
_LONGEST_NAME = 214  # npm's own limit (validate-npm-package-name, npm 10 and 11)
_SHA512 = 64
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,255}", re.ASCII)


def manifests(entries: list[Any]) -> list[dict[str, Any]]:
    """`npm view --json`: a manifest for each version, without those whose version is none."""
    return [
        checked(entry) for entry in entries if isinstance(entry, dict) and is_version(entry.get("version"))
    ]


def package_lock(document: object) -> dict[str, dict[str, Any]] | None:
    """`packages` of a package-lock: path -> entry; None where the document is no package-lock."""
    packages = document.get("packages") if isinstance(document, dict) else None
    if not isinstance(packages, dict):
        return None
    if not all(isinstance(entry, dict) and _is_plain(path) for path, entry in packages.items()):
        return None
    return {path: checked(entry) for path, entry in packages.items()}


def audit(document: object) -> dict[str, Any] | None:
    """`npm audit signatures --json`; None where it is neither a judgement nor an error."""
    if not isinstance(document, dict):
        return None
    if "error" in document:
        error = document["error"]
        code = error.get("code") if isinstance(error, dict) else None
        return {"error": {"code": _line(code)}}
    lists = {key: document.get(key) for key in ("invalid", "missing")}
    if not all(isinstance(one, list) and all(isinstance(e, dict) for e in one) for one in lists.values()):
        return None
    return {
        key: [{"name": _line(e.get("name")), "version": _line(e.get("version"))} for e in one or ()]
        for key, one in lists.items()
    }


def checked(entry: dict[str, Any]) -> dict[str, Any]:
    """One package's entry with the fields that we read, each of its type; the others are left out."""
    dist = entry.get("dist")
    fields = {
        "name": _text(entry.get("name"), _LONGEST_NAME),
        "version": entry["version"] if is_version(entry.get("version")) else None,
        "integrity": _text(entry.get("integrity")),
        "dist": {"integrity": _text(dist.get("integrity"))} if isinstance(dist, dict) else None,
        "dependencies": _table(entry.get("dependencies")),
        "peerDependencies": _table(entry.get("peerDependencies")),
        "engines": _table(entry.get("engines")),
        "time": _table(entry.get("time")),
        "license": licence(entry.get("license")),
        "bin": _text(entry.get("bin")) or _table(entry.get("bin")),
        "os": _words(entry.get("os")),
        "cpu": _words(entry.get("cpu")),
        "libc": _words(entry.get("libc")),
        "resolved": _text(entry.get("resolved")),
        "link": bool(entry.get("link")),
        "inBundle": bool(entry.get("inBundle")),
    }
    return {key: value for key, value in fields.items() if value}


def is_version(value: object) -> bool:
    """Whether it can be a package's version, and part of a file's name."""
    return isinstance(value, str) and _VERSION.fullmatch(value) is not None


def licence(value: object, depth: int = 0) -> str | None:
    """An SPDX expression; old packages have a table, or a list of either.

    On one line, and without what a terminal would obey: it is anybody's text.
    """
    if isinstance(value, list) and depth < _DEEPEST:
        return " OR ".join(filter(None, (licence(one, depth + 1) for one in value)))[:_LONGEST] or None
    if isinstance(value, dict):
        value = value.get("type")
    return _line(value) or None


def _line(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(c for c in " ".join(value.split()) if c.isprintable())[:_LONGEST]


def _text(value: object, longest: int = _LONGEST) -> str | None:
    return value if _is_plain(value) and len(value) <= longest else None


def _is_plain(value: object) -> TypeGuard[str]:
    """A string of a sensible length, in which nothing is obeyed by a terminal or is no character."""
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


def sha512(hashes: str) -> str | None:
    """The sha512 among the hashes of an integrity; a package-lock may list several."""
    for word in hashes.split():
        algorithm, _, digest = word.partition("-")
        try:
            if algorithm == "sha512" and len(base64.b64decode(digest, validate=True)) == _SHA512:
                return word
        except (binascii.Error, ValueError):
            continue
    return None


def _table(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in pairs if _is_plain(key) and _is_plain(text)}


def _words(value: object) -> list[str]:
    given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [word for word in given if _is_plain(word)]
