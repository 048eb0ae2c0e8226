"""What ships is what is proved: an installation as it will lie elsewhere, and nothing beside it."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from opencode_cache.base import console, files
from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats import proof as proofs
from opencode_cache.prove import on_file
from opencode_cache.prove.verify import Installation, verify
from opencode_cache.ship.file_format import CACHE, OPENCODE, PROGRAM, TOOLS
from opencode_cache.ship.installation import CYCLONEDX, SPDX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.proof import Proof
    from opencode_cache.ship.items import Item


def as_it_ships(items: Mapping[str, Item], cache: Path) -> Proof:
    """The proof of what is in a bundle or an image: the one on file, else a new one.

    Raises CheckFailedError where it is not complete, or the kernel gives no root of its own.
    """
    digest = _digest(items)
    known = on_file.of_installation(proofs.of(cache, items[OPENCODE].sha256()), digest)
    if known:
        return known
    console.step("verifying what ships: with its own files and PATH, in a root with nothing else")
    with files.scratch() as directory:
        root = directory.resolve() / "installation"
        _write(items, root)
        whole = Installation(root, root / PROGRAM, root / TOOLS, digest)
        proof = verify(root / CACHE, root / OPENCODE, installation=whole, on_step=console.step)
    if not proof.complete:
        raise CheckFailedError(f"{cache}: {proofs.verdict(proof)}; what is not proved is not shipped")
    return proof


def _digest(items: Mapping[str, Item]) -> str:
    """Of the list of it all, without the bills, which say when they were made."""
    digest = hashlib.sha256()
    for path, item in sorted(items.items()):
        if path in (CYCLONEDX, SPDX):
            continue
        digest.update(f"{path}\0{item.mode:o}\0{item.target}\0{item.sha256()}\n".encode())
    return digest.hexdigest()


def _write(items: Mapping[str, Item], root: Path) -> None:
    for path, item in sorted(items.items()):
        there = root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        if item.target:
            there.symlink_to(item.target)
        elif item.file is not None:
            shutil.copyfile(item.file, there)
            there.chmod(item.mode)
        elif item.data is not None:
            there.write_bytes(item.data)
            there.chmod(item.mode)
        else:
            there.mkdir(exist_ok=True)
