"""Tables for people: what is in a cache."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .lock import Signatures
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


def signed(found: Signatures) -> str:
    """What is known of the registry's signatures, in words."""
    if found.unchecked:
        return f"not checked ({found.unchecked})"
    lacking = (
        f", {len(found.missing)} packages have none: {', '.join(found.missing)}" if found.missing else ""
    )
    return f"{found.verified} verified{lacking}"


def _about(made: Manifest) -> Iterator[str]:
    catalogue = made.catalogue
    if catalogue:
        yield (
            f"Model catalogue from the {catalogue.source}: "
            f"{catalogue.providers} providers, {catalogue.models} models ({made.catalogue_why})"
        )
    else:
        yield f"Model catalogue: the one compiled into the binary ({made.catalogue_why})"
    if made.models_revision:
        yield f"Sources of models.dev: {made.models_revision}"
    if made.catalogue_date:
        yield f"Newest day in it: {made.catalogue_date}"
    if made.signatures:
        yield f"Registry signatures: {signed(made.signatures)}"
    if made.languages:
        yield f"Languages in colours offline: {', '.join(made.languages)}"
    if made.languages_fetched:
        yield f"Languages asked of GitHub when first shown: {', '.join(made.languages_fetched)}"


def contents(cache: Path, manifest: Manifest) -> None:
    """Print what a cache answers, as tables on stdout."""
    console = out()
    console.print(
        f"OpenCode {manifest.opencode} ({manifest.layout} layout, {manifest.system}), "
        f"{manifest.files} files, {megabytes(manifest.bytes)}"
    )
    for line in _about(manifest):
        console.print(escape(line))
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
            console.print(escape(f"note: {entry.kind} {entry.spec} {entry.version}: {entry.note}"))
    for gone in manifest.unavailable:
        console.print(escape(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}"))
