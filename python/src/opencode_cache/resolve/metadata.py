"""What npm says of a package becomes what a lock says of it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.formats.lock import Package
from opencode_cache.npm.spec import is_exact
from opencode_cache.resolve.choose_version import UnavailableError


def package_from(entry: dict[str, Any], name: str) -> Package:
    """A lock's package from an entry of npm's package-lock or an answer of `npm view`.

    Raises UnavailableError where there is no hash in it, or no sense.
    """
    integrity = entry.get("integrity") or (entry.get("dist") or {}).get("integrity") or ""
    # A package-lock's "integrity" may list several hashes.
    strongest = next((word for word in integrity.split() if word.startswith("sha512-")), "")
    if not strongest:
        raise UnavailableError(f"{name}@{entry.get('version')} has no sha512 integrity in the registry")
    try:
        return Package(
            name=name,
            version=entry["version"],
            integrity=strongest,
            license=licence(entry.get("license")),
            bin=bins(name, entry.get("bin")),
            **{key: _words(entry.get(key)) for key in ("os", "cpu", "libc")},
        )
    except ValidationError as error:
        raise UnavailableError(
            f"what the registry says of {name!r} makes no package ({first_problem(error)})"
        ) from error


def licence(value: object) -> str | None:
    """An SPDX expression; old packages have a table, or a list of either.

    On one line, and without what a terminal would obey: it is anybody's text.
    """
    if isinstance(value, list):
        return " OR ".join(filter(None, map(licence, value))) or None
    if isinstance(value, dict):
        value = value.get("type")
    if not isinstance(value, str):
        return None
    return "".join(c for c in " ".join(value.split()) if c.isprintable()) or None


def bins(name: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        return {name.rpartition("/")[2]: value}
    pairs = value.items() if isinstance(value, dict) else ()
    return {command: path for command, path in pairs if isinstance(path, str)}


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(word) for word in value) if isinstance(value, list) else ()


def nodes(tree: str, document: dict[str, Any]) -> dict[str, Package]:
    found: dict[str, Package] = {}
    for path, entry in document["packages"].items():
        if not path or entry.get("inBundle"):
            continue  # the root; or shipped in the tarball of the package around it
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        foreign = str(entry.get("resolved") or "").startswith(("git", "file:")) or not is_exact(
            str(entry.get("version"))
        )
        if entry.get("link") or foreign or not entry.get("integrity"):
            raise BadInputError(
                f"{tree}: {path} does not come from a registry, so no hash can be locked for it"
            )
        try:
            found[path] = package_from(entry, name)
        except UnavailableError as error:
            raise BadInputError(f"{tree}: {error}") from error
    return found
