"""Whether the registry signed what is locked: npm's own check (`npm audit signatures`), where it can be made.

npm judges what lies in a project's node_modules. It looks at no more than the names and versions there, so a
project of package.json files stands for all packages of a lock, each under an alias of its own. npm gets the
keys from sigstore's repository, or from the registry.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats.lock import Signatures
from opencode_cache.npm import client as npm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opencode_cache.formats.lock import Package

_NAMED = 5


def check(packages: Iterable[Package]) -> Signatures:
    """What npm finds of these packages' signatures.

    Raises BadInputError that names the packages with a wrong one. That npm cannot look is no error: the
    reason is in the result.
    """
    wanted = sorted({package.key: package for package in packages}.values(), key=lambda package: package.key)
    if not wanted:
        return Signatures()
    with tempfile.TemporaryDirectory(prefix="opencode-cache-signatures-") as directory:
        _project(Path(directory), wanted)
        found = npm.audit_signatures(Path(directory))
    if "error" in found:
        # npm's sentence names hosts, which a lock does not.
        code = (found["error"] or {}).get("code") or "no keys"
        return Signatures(unchecked=f"npm audit signatures could not look: {code}")
    invalid, missing = (_keys(found[what]) for what in ("invalid", "missing"))
    if invalid:
        raise BadInputError(f"the registry's signature is wrong for {_list(invalid)}; use another registry")
    return Signatures(verified=len(wanted) - len(missing), missing=tuple(missing))


def _project(directory: Path, packages: list[Package]) -> None:
    aliases = {f"p{number}": package for number, package in enumerate(packages)}
    dependencies = {alias: f"npm:{package.key}" for alias, package in aliases.items()}
    (directory / "package.json").write_text(json.dumps({"dependencies": dependencies}), encoding="utf-8")
    for alias, package in aliases.items():
        place = directory / "node_modules" / alias
        place.mkdir(parents=True)
        about = {"name": package.name, "version": package.version}
        (place / "package.json").write_text(json.dumps(about), encoding="utf-8")


def _keys(entries: list[dict[str, Any]]) -> list[str]:
    return sorted({f"{entry.get('name')}@{entry.get('version')}" for entry in entries})


def _list(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
