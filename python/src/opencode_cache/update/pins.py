"""New pins as texts: flake.nix, flake.lock, nix/releases.json and the npm locks; nothing else changes.

The addresses of a flake's inputs must be literals, so the version stands in flake.nix as well. A tarball's
node has no `lastModified`: it is optional for Nix 2.26 and 2.34, and 2.8 refuses it.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from opencode_cache.formats import lock
from opencode_cache.opencode.versions import numbers
from opencode_cache.update.checkout import FLAKE_LOCKS, FLAKES, MAIN_LOCK, NPM_LOCKS, RELEASES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opencode_cache.update.checkout import Checkout
    from opencode_cache.update.github import Revision


def with_releases(
    checkout: Checkout,
    version: str,
    nar_hashes: Mapping[str, str],
    inputs: Mapping[str, tuple[Revision, str]],
) -> dict[str, str]:
    """Path -> text of the flake's files.

    `nar_hashes`: system -> hash of its release of that version. `inputs`: node of flake.lock -> its revision
    and hash.
    """
    texts = {name: checkout.texts[name] for name in FLAKES}
    flake_lock = copy.deepcopy(checkout.flake_lock)
    nodes = flake_lock["nodes"]
    releases = {system: release.model_dump() for system, release in checkout.releases.items()}
    for system, nar_hash in nar_hashes.items():
        release, old = checkout.releases[system], checkout.url(system)
        new = old.replace(f"/v{release.version}/", f"/v{version}/")
        texts = {name: text.replace(f'"{old}"', f'"{new}"') for name, text in texts.items()}
        nodes[release.input]["locked"] = {"narHash": nar_hash, "type": "tarball", "url": new}
        nodes[release.input]["original"] = {"type": "tarball", "url": new}
        releases[system]["version"] = version
    for name, (revision, nar_hash) in inputs.items():
        locked = {"lastModified": revision.last_modified, "narHash": nar_hash, "rev": revision.rev}
        nodes[name]["locked"] = nodes[name]["locked"] | locked
    if nar_hashes or inputs:
        texts |= dict.fromkeys(FLAKE_LOCKS, _dumps(flake_lock))
    if nar_hashes:
        texts[RELEASES] = _dumps(releases)
    return texts


def _dumps(document: object) -> str:
    """As Nix writes it."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def with_lock(checkout: Checkout, new_lock: lock.Lock, released: Collection[str]) -> dict[str, str | None]:
    """Path -> text of the npm locks with that lock among them; None: the file is to go.

    nix/lock-for.nix takes the lock of the very version, else the newest of its series. So these stay: the
    newest lock of each series, and that of every version in `released`, which systems have after the update.
    The newest of all is the main one, whose version is the default of the command line.
    """
    by_version = {entry.opencode.version: name for name, entry in checkout.npm_locks.items()}
    texts = {version: checkout.texts[name] for version, name in by_version.items()}
    new = new_lock.opencode.version
    texts[new] = lock.dumps(new_lock)
    main = max(new, checkout.npm_locks[MAIN_LOCK].opencode.version, key=numbers)
    of_series = {numbers(version)[:2]: version for version in sorted(texts, key=numbers)}
    result: dict[str, str | None] = dict.fromkeys(checkout.npm_locks)
    for version in {*of_series.values(), new, *(set(released) & texts.keys())}:
        name = by_version.get(version)
        if version == main:
            name = MAIN_LOCK
        elif name in (None, MAIN_LOCK):
            name = f"{NPM_LOCKS}/opencode-cache-{version}.lock.json"
        result[str(name)] = texts[version]
    return result


def before(checkout: Checkout, version: str) -> lock.Lock | None:
    """The lock that a cache for that version is built from now, by the rule of nix/lock-for.nix."""
    by_version = {entry.opencode.version: entry for entry in checkout.npm_locks.values()}
    if version in by_version:
        return by_version[version]
    near = [
        other
        for other, entry in by_version.items()
        if entry.opencode.layout == "packages" and numbers(other)[:2] == numbers(version)[:2]
    ]
    return by_version[max(near, key=numbers)] if near else None
