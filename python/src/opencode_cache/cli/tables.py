"""Tables for people: what is in a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from opencode_cache.base.console import megabytes, stdout
from opencode_cache.formats.proof import Proof, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opencode_cache.formats.lock import Signatures
    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.inspect.doctor import Report
    from opencode_cache.inspect.locked import Locked


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
    console = stdout()
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
        members = sum(entry.spec in package.specs for package in manifest.packages)
        table.add_row(
            entry.kind,
            entry.spec,
            entry.version,
            str(members),
            megabytes(_size(cache / entry.tree if manifest.layout == "packages" else cache / entry.path)),
            licences.get((entry.name, entry.version)) or "unknown",
        )
    console.print(table)
    for entry in manifest.requests:
        if entry.note:
            console.print(escape(f"note: {entry.kind} {entry.spec} {entry.version}: {entry.note}"))
    for gone in manifest.unavailable:
        console.print(escape(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}"))


def locked(found: Locked) -> None:
    """Print what a cache of a lock would answer, as tables on stdout. Sizes are those of tarballs."""
    console = stdout()
    console.print(
        f"OpenCode {found.opencode} ({found.layout} layout, {found.system}), "
        f"{len(found.packages)} packages, {megabytes(found.packed)} packed"
    )
    table = Table("KIND", "SPEC", "VERSION", "PACKAGES", box=None, pad_edge=False)
    table.add_column("PACKED", justify="right")
    table.add_column("LICENCE")
    for one in found.requests:
        members = [package for package in found.packages if one.spec in package.specs]
        table.add_row(
            one.kind,
            one.spec,
            one.version,
            str(len(members)),
            megabytes(sum(package.packed or 0 for package in members)),
            next((package.license for package in members if package.name == one.name), None) or "unknown",
        )
    console.print(table)
    for gone in found.unavailable:
        console.print(escape(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}"))


def proof_table(proof: Proof) -> Group:
    """The proof for a person: steps, hosts and the verdict, as something that rich prints."""
    steps = Table("", "step", "s", "detail", box=None, pad_edge=False)
    for step in proof.steps:
        mark = "[green]ok[/green]" if step.ok else "[red]no[/red]"
        steps.add_row(mark, escape(step.name), f"{step.seconds:.1f}", escape(step.detail))
    parts: list[Table | Text] = [steps, Text()]
    if proof.hosts:
        hosts = Table("host asked for", "times", "in step", "", box=None, pad_edge=False)
        for host in proof.hosts:
            note = f"known: {host.known}" if host.known else host.mend or "not known"
            hosts.add_row(escape(host.name), str(host.count), escape(host.step), escape(note))
        parts += [hosts, Text()]
    if proof.weaker_because:
        parts.append(Text(f"weaker proof: {proof.weaker_because}", style="yellow"))
    parts.append(Text(verdict(proof), style="green" if proof.ok else "red"))
    return Group(*parts)


_MARKS = {
    "ok": "[green]ok[/green]",
    "pending": "[cyan]next start[/cyan]",
    "note": "note",
    "wrong": "[red]wrong[/red]",
}


def doctor_table(report: Report) -> Table:
    """The report for a person, as something that rich prints."""
    made = Table("", "what", "how it is", "what happens", box=None, pad_edge=False, title_justify="left")
    made.title = escape(report.directory)
    for one in report.findings:
        made.add_row(_MARKS[one.state], escape(one.what), escape(one.detail), escape(one.next))
    return made
