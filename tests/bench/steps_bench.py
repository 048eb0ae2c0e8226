"""Bundles: of one system, of two, a fortnight's step, and the disk after ten of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.table import Table

from opencode_cache import pipeline
from opencode_cache.base import console
from opencode_cache.build import builder, release_binary
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import contents, plan
from opencode_cache.npm import platforms
from opencode_cache.ship import pack, unbundle

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.base.store import Store
    from opencode_cache.formats.lock import Lock

PLUGINS = ("oh-my-opencode", "@tarquinen/opencode-dcp@latest")
SYSTEMS = ("x86_64-linux", "x86_64-linux-musl")
BEFORE = {"oh-my-opencode": "3.14.0", "@tarquinen/opencode-dcp": "3.1.9"}
AFTER = {"oh-my-opencode": "3.17.15", "@tarquinen/opencode-dcp": "3.1.14"}
OF_BEFORE, OF_AFTER = "1.18.32", "1.18.33"
UPGRADES = 10


class Steps:
    """A fortnight: another OpenCode, and newer ones of two plugins."""

    def __init__(self, scratch: Path, tarballs: Path, place: Store) -> None:
        self.scratch, self.tarballs, self.place = scratch, tarballs, place

    def lock(self, version: str, resolve: dict[str, str], systems: tuple[str, ...]) -> Lock:
        wanted = plan.default(version).with_more({"plugins": PLUGINS}, resolve)
        return pipeline.make_lock(wanted.model_copy(update={"systems": list(systems)}), None)

    def tree(self, found: Lock, system: str, serial: int = 0) -> pack.Tree:
        """Built, but not proved: proofs are no part of what is measured."""
        where, here = platforms.named(system), platforms.current()
        cache = self.scratch / f"{found.opencode.version}-{system}"
        packages = [contents.binary_package(found, one) for one in (where, here)]
        tarball.fetch([*contents.packages(found, where).values(), *packages], self.tarballs)
        program, by = (release_binary.in_store(one, self.tarballs, self.place) for one in packages)
        if not cache.exists():
            inputs = builder.Inputs(found, self.tarballs, program, where, by=by if where != here else None)
            builder.build(inputs, cache)
        return pack.tree(cache, program, serial=serial)

    def measure(self) -> list[Table]:
        os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
        here = platforms.current().name
        old, new = self.lock(OF_BEFORE, BEFORE, SYSTEMS), self.lock(OF_AFTER, AFTER, (here,))
        at = self.scratch
        trees = [self.tree(old, here), self.tree(new, here)]
        sizes = {
            f"{OF_BEFORE}, {here}": pack.bundle([trees[0]], at / "old").packed,
            f"{OF_BEFORE}, {' and '.join(SYSTEMS)}": pack.bundle(
                [self.tree(old, system) for system in SYSTEMS], at / "both"
            ).packed,
            f"{OF_AFTER}, {here}": (whole := pack.bundle([trees[1]], at / "new").packed),
            f"a step from {OF_BEFORE} to that": pack.bundle([trees[1]], at / "step", since=at / "old").packed,
        }
        title = f"Bundles of OpenCode with {' and '.join(PLUGINS)}, both renewed"
        table = Table("", "MB", f"ratio to {OF_AFTER}", title=title, title_justify="left")
        for name, size in sizes.items():
            table.add_row(name, f"{size / 1e6:.1f}", f"{size / whole:.2f}")
        return [table, self.disk(old, new, here)]

    def disk(self, old: Lock, new: Lock, here: str) -> Table:
        """Ten upgrades by steps, to and fro between the two."""
        prefix, current = self.scratch / "prefix", self.scratch / "prefix/lib/opencode-cache/current"
        unbundle.unbundle(self.scratch / "old", prefix)
        used = {"installed": allocated(prefix)}
        for number in range(1, UPGRADES + 1):
            tree = self.tree((old, new)[number % 2], here, serial=number)
            pack.bundle([tree], self.scratch / "next", since=current)
            unbundle.unbundle(self.scratch / "next", prefix)
        used[f"after {UPGRADES} upgrades"] = allocated(prefix)
        unbundle.unbundle(self.scratch / "next", prefix, keep=2)
        used["the same with --keep 2"] = allocated(prefix)
        table = Table("", "MB", title="Disk that a prefix takes", title_justify="left")
        for name, size in used.items():
            table.add_row(name, console.megabytes(size).removesuffix(" MB"))
        return table


def allocated(root: Path) -> int:
    """Bytes on the disk, as `du` counts them."""
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*"))
