"""Whether the registry signed what is locked: npm's own check (`npm audit signatures`), where it can be made.

npm judges what lies in a project's node_modules. It looks at no more than the names and versions there, so a
project of package.json files stands for all packages of a lock, each under an alias of its own. npm gets the
keys from sigstore's repository, or from the registry.
"""

from __future__ import annotations

import json
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
    aliases = {f"p{number}": package for number, package in enumerate(wanted)}
    dependencies = {alias: f"npm:{package.key}" for alias, package in aliases.items()}
    with npm.project({"dependencies": dependencies}) as directory:
        for alias, package in aliases.items():
            installed = directory / "node_modules" / alias
            installed.mkdir(parents=True)
            manifest = {"name": package.name, "version": package.version}
            (installed / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        judgement = npm.audit_signatures(directory)
    if "error" in judgement:
        # npm's sentence names hosts, which a lock does not.
        code = (judgement["error"] or {}).get("code") or "no keys"
        return Signatures(unchecked=f"npm audit signatures could not look: {code}")
    invalid, missing = (_keys(judgement[what]) for what in ("invalid", "missing"))
    if invalid:
        raise BadInputError(f"the registry's signature is wrong for {_list(invalid)}; use another registry")
    return Signatures(verified=len(wanted) - len(missing), missing=tuple(missing))


def _keys(entries: list[dict[str, Any]]) -> list[str]:
    return sorted({f"{entry.get('name')}@{entry.get('version')}" for entry in entries})


def _list(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
