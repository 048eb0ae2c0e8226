"""Which npm locks the repository has after an update.

nix/lock-for.nix takes the lock of the very version, else the newest of its series. So these stay: the newest
lock of each series, and that of every version which some system's release still has. The newest of all is the
main one, `opencode-cache.lock.json`, and its version is the default of the command line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import lock
from opencode_cache.update.checkout import MAIN_LOCK, NPM_LOCKS, PLAN
from opencode_cache.update.github import VERSION, numbers

if TYPE_CHECKING:
    from collections.abc import Collection

    from opencode_cache.update.checkout import Checkout

_DEFAULT = re.compile(rf'^(DEFAULT_OPENCODE = ")({VERSION.pattern})(")$', re.MULTILINE)


def with_lock(checkout: Checkout, made: lock.Lock, released: Collection[str]) -> dict[str, str | None]:
    """Path -> text of the npm locks and of plan.py with that lock among them; None: the file is to go.

    `released` are the versions that systems have after the update.
    """
    by_version = {found.opencode.version: name for name, found in checkout.npm_locks.items()}
    texts = {version: checkout.texts[name] for version, name in by_version.items()}
    old_main = checkout.npm_locks[MAIN_LOCK].opencode.version
    new = made.opencode.version
    texts[new] = lock.dumps(made)
    main = new if numbers(new) > numbers(old_main) else old_main
    kept = _kept(texts, {*released, new})
    result: dict[str, str | None] = dict.fromkeys(checkout.npm_locks)
    for version in kept:
        name = by_version.get(version)
        if version == main:
            name = MAIN_LOCK
        elif name in (None, MAIN_LOCK):
            name = f"{NPM_LOCKS}/opencode-cache-{version}.lock.json"
        result[str(name)] = texts[version]
    result[PLAN] = _with_default(checkout, main)
    return result


def _kept(versions: Collection[str], released: Collection[str]) -> list[str]:
    newest: dict[tuple[int, ...], str] = {}
    for version in sorted(versions, key=numbers):
        newest[numbers(version)[:2]] = version
    return [version for version in versions if version in released or version in newest.values()]


def _with_default(checkout: Checkout, version: str) -> str:
    text, count = _DEFAULT.subn(rf"\g<1>{version}\g<3>", checkout.texts[PLAN])
    if count != 1:
        raise BadInputError(
            f'{checkout.root / PLAN}: has no line DEFAULT_OPENCODE = "…"; restore it with git'
        )
    return text


def before(checkout: Checkout, version: str) -> lock.Lock | None:
    """The lock that a cache for that version is built from now, by the rule of nix/lock-for.nix."""
    found = {entry.opencode.version: entry for entry in checkout.npm_locks.values()}
    if version in found:
        return found[version]
    series = numbers(version)[:2]
    near = [
        other
        for other, entry in found.items()
        if entry.opencode.layout == "packages" and numbers(other)[:2] == series
    ]
    return found[max(near, key=numbers)] if near else None
