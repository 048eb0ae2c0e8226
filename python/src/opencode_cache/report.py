"""Tables for people: what is in a cache."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from .manifest import Manifest

_MEGABYTE = 1_000_000


def megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"


def out() -> Console:
    """stdout: no colours where NO_COLOR is set or it is no terminal, and then no lines cut either."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, soft_wrap=True, width=200)


def _size(directory: Path) -> int:
    return sum(p.stat().st_size for p in directory.rglob("*") if p.is_file() and not p.is_symlink())


def contents(cache: Path, manifest: Manifest) -> None:
    """Print what a cache answers, as tables on stdout."""
    console = out()
    console.print(
        f"OpenCode {manifest.opencode} ({manifest.layout} layout, {manifest.system}), "
        f"{manifest.files} files, {megabytes(manifest.bytes)}"
    )
    catalogue = manifest.catalogue
    if catalogue:
        console.print(
            f"Model catalogue from the {catalogue.source}: "
            f"{catalogue.providers} providers, {catalogue.models} models ({manifest.catalogue_why})"
        )
    else:
        console.print(f"Model catalogue: the one compiled into the binary ({manifest.catalogue_why})")
    table = Table(box=None, pad_edge=False)
    for column in ("KIND", "SPEC", "VERSION", "PACKAGES"):
        table.add_column(column)
    table.add_column("SIZE", justify="right")
    table.add_column("LICENCE")
    licences = {(package.name, package.version): package.license for package in manifest.packages}
    for entry in manifest.requests:
        tree = (cache / entry.path).parents[len(entry.name.split("/"))]
        members = sum(entry.spec in package.specs for package in manifest.packages)
        table.add_row(
            entry.kind,
            entry.spec,
            entry.version,
            str(members),
            megabytes(_size(tree if manifest.layout == "packages" else cache / entry.path)),
            licences.get((entry.name, entry.version)) or "unknown",
        )
    console.print(table)
    for entry in manifest.requests:
        if entry.note:
            console.print(f"note: {entry.kind} {entry.spec} {entry.version}: {entry.note}")
    for gone in manifest.unavailable:
        console.print(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}")
