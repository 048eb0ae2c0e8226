"""New pins in flake.nix, flake.lock and nix/releases.json, as texts; nothing else in them changes.

The addresses of a flake's inputs must be literals, so the version stands in flake.nix as well. A tarball's
node has no `lastModified`: it is optional for Nix 2.26 and 2.34, and 2.8 refuses it.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from opencode_cache.update.checkout import FLAKE_LOCKS, FLAKES, RELEASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opencode_cache.update.checkout import Checkout
    from opencode_cache.update.github import Revision


def with_releases(
    checkout: Checkout,
    version: str,
    nar_hashes: Mapping[str, str],
    inputs: Mapping[str, tuple[Revision, str]],
) -> dict[str, str]:
    """Path -> text of all files that hold pins.

    `nar_hashes`: system -> hash of its release of that version. `inputs`: node of flake.lock -> its revision
    and hash.
    """
    texts = {name: checkout.texts[name] for name in FLAKES}
    flake_lock = copy.deepcopy(checkout.flake_lock)
    nodes = flake_lock["nodes"]
    releases = {system: release.model_dump() for system, release in checkout.releases.items()}
    for system, nar_hash in nar_hashes.items():
        release = checkout.releases[system]
        old, new = checkout.url(system), url_of(checkout, system, version)
        texts = {name: text.replace(f'"{old}"', f'"{new}"') for name, text in texts.items()}
        node = nodes[release.input]
        node["locked"] = {"narHash": nar_hash, "type": "tarball", "url": new}
        node["original"] = {"type": "tarball", "url": new}
        releases[system]["version"] = version
    for name, (revision, nar_hash) in inputs.items():
        locked = {"lastModified": revision.last_modified, "narHash": nar_hash, "rev": revision.rev}
        nodes[name]["locked"] = nodes[name]["locked"] | locked
    if nar_hashes or inputs:
        texts |= dict.fromkeys(FLAKE_LOCKS, _dumps(flake_lock))
    if nar_hashes:
        texts[RELEASES] = _dumps(releases)
    return texts


def url_of(checkout: Checkout, system: str, version: str) -> str:
    """The address of another version's archive for a system."""
    return checkout.url(system).replace(f"/v{checkout.releases[system].version}/", f"/v{version}/")


def archive_of(checkout: Checkout, system: str) -> str:
    """The name of the archive for a system, the same in every version."""
    return checkout.url(system).rpartition("/")[2]


def _dumps(document: object) -> str:
    """As Nix writes it."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
