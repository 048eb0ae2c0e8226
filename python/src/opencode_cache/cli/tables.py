"""Tables for people: what is in a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from opencode_cache.base.console import escape, megabytes, stdout
from opencode_cache.formats.manifest import licences
from opencode_cache.formats.proof import Proof, verdict, where_and_when
from opencode_cache.formats.redistribution import licence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opencode_cache.config.offer import Judgement
    from opencode_cache.formats.lock import Signatures
    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.inspect.doctor import Report
    from opencode_cache.inspect.hosts import AllowList
    from opencode_cache.inspect.locked import Locked
    from opencode_cache.prove.on_file import Found
    from opencode_cache.update.changes import Changes

_MOST_ROWS = 300
"""GitHub takes a body of 65,536 characters."""
_NONE = "–"  # noqa: RUF001 - a dash


def _size(directory: Path) -> int:
    return sum(p.stat().st_size for p in directory.rglob("*") if p.is_file() and not p.is_symlink())


def signed(signatures: Signatures) -> str:
    """What is known of the registry's signatures, in words."""
    if signatures.unchecked:
        return f"not checked ({signatures.unchecked})"
    lacking = (
        f", {len(signatures.missing)} packages have none: {', '.join(signatures.missing)}"
        if signatures.missing
        else ""
    )
    return f"{signatures.verified} verified{lacking}"


def _about(manifest: Manifest) -> Iterator[str]:
    catalogue = manifest.catalogue
    if catalogue:
        yield (
            f"Model catalogue from the {catalogue.source}: "
            f"{catalogue.providers} providers, {catalogue.models} models ({manifest.catalogue_why})"
        )
    else:
        yield f"Model catalogue: the one compiled into the binary ({manifest.catalogue_why})"
    if manifest.models_revision:
        yield f"Sources of models.dev: {manifest.models_revision}"
    if manifest.catalogue_date:
        yield f"Newest day in it: {manifest.catalogue_date}"
    if manifest.signatures:
        yield f"Registry signatures: {signed(manifest.signatures)}"
    if manifest.languages:
        yield f"Languages in colours offline: {', '.join(manifest.languages)}"
    if manifest.urls:
        yield f"Texts with addresses: {', '.join(manifest.urls)}"
    if manifest.languages_fetched:
        yield f"Languages asked of GitHub when first shown: {', '.join(manifest.languages_fetched)}"


def proved(last_proof: Found | None) -> Iterator[str]:
    """What is known of a cache's proof: whether, where, when and of what."""
    if last_proof is None:
        yield "Proof: none for this cache and program; make one with `opencode-cache verify`"
        return
    proof = last_proof.proof
    outcome = verdict(proof)
    where = "here, on" if last_proof.here else "elsewhere, on"
    yield f"Proof: {outcome} ({where} {where_and_when(proof)})"
    yield f"  of manifest.json {proof.manifest_sha256}"
    yield f"  with OpenCode's program {proof.binary_sha256}"
    if proof.installation_sha256:
        yield f"  as it ships, with nothing else in sight: {proof.installation_sha256}"


def contents(cache: Path, manifest: Manifest, proof: Found | None) -> None:
    """Print what a cache answers, as tables on stdout."""
    console = stdout()
    console.print(
        escape(
            f"OpenCode {manifest.opencode} ({manifest.layout} layout, {manifest.system}), "
            f"{manifest.files} files, {megabytes(manifest.bytes)}"
        )
    )
    for line in (*_about(manifest), *proved(proof)):
        console.print(escape(line))
    table = Table(box=None, pad_edge=False)
    for column in ("KIND", "SPEC", "VERSION", "PACKAGES"):
        table.add_column(column)
    table.add_column("SIZE", justify="right")
    table.add_column("LICENCES")
    for entry in manifest.requests:
        members = sum(entry.spec in package.specs for package in manifest.packages)
        table.add_row(
            entry.kind,
            escape(entry.spec),
            escape(entry.version),
            str(members),
            megabytes(_size(cache / entry.path if entry.tree == "." else cache / entry.tree)),
            escape(", ".join(licences(manifest, entry))),
        )
    console.print(table)
    for entry in manifest.requests:
        if entry.note:
            console.print(escape(f"note: {entry.kind} {entry.spec} {entry.version}: {entry.note}"))
    for gone in manifest.unavailable:
        console.print(escape(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}"))


def locked(lock: Locked) -> None:
    """Print what a cache of a lock would answer, as tables on stdout. Sizes are those of tarballs."""
    console = stdout()
    console.print(
        f"OpenCode {lock.opencode} ({lock.layout} layout, {lock.system}), "
        f"{len(lock.packages)} packages, {megabytes(lock.packed)} packed"
    )
    table = Table("KIND", "SPEC", "VERSION", "PACKAGES", box=None, pad_edge=False)
    table.add_column("PACKED", justify="right")
    table.add_column("LICENCE")
    for one in lock.requests:
        members = [package for package in lock.packages if one.spec in package.specs]
        table.add_row(
            one.kind,
            one.spec,
            one.version,
            str(len(members)),
            megabytes(sum(package.packed or 0 for package in members)),
            next((licence(package) for package in members if package.name == one.name), None) or "unknown",
        )
    console.print(table)
    for gone in lock.unavailable:
        console.print(escape(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}"))


def proof_table(proof: Proof) -> Group:
    """The proof for a person: steps, hosts and the verdict, as something that rich prints."""
    steps = Table("", "step", "s", "detail", box=None, pad_edge=False)
    for step in proof.steps:
        mark = (
            "[green]ok[/green]" if step.ok else "[yellow]slow[/yellow]" if step.too_slow else "[red]no[/red]"
        )
        steps.add_row(mark, escape(step.name), f"{step.seconds:.1f}", escape(step.detail))
    parts: list[Table | Text] = [steps, Text()]
    if proof.hosts:
        hosts = Table("host or address", "times", "in step", "by", "", box=None, pad_edge=False)
        for host in proof.hosts:
            note = f"known: {host.known}" if host.known else host.fix or "not known"
            note = "accepted in the plan" if host.accepted else note
            name = " ".join([host.name, *host.ports])
            who = host.who or "OpenCode, or a plugin"
            hosts.add_row(escape(name), str(host.count), escape(host.step), escape(who), escape(note))
        parts += [hosts, Text()]
    if proof.weaker_because:
        parts.append(Text(f"weaker proof: {proof.weaker_because}", style="yellow"))
    parts += [Text(f"weaker proof: {text}", style="yellow") for text in proof.unseen]
    parts.append(Text(f"manifest.json {proof.manifest_sha256}\nprogram       {proof.binary_sha256}"))
    parts.append(Text(f"made on {where_and_when(proof)}"))
    parts.append(Text(verdict(proof), style="green" if proof.ok else "yellow" if proof.complete else "red"))
    return Group(*parts)


def judgements_table(judgements: Iterable[Judgement]) -> Table:
    """What becomes of each entry of a configuration, for a person."""
    table = Table("", "entry", "why", "what to do", box=None, pad_edge=False)
    for one in judgements:
        mark = "[red]not covered[/red]" if one.word == "not covered" else one.word
        table.add_row(mark, escape(one.shown), escape(one.reason), escape(one.fix))
    return table


_MARKS = {
    "ok": "[green]ok[/green]",
    "pending": "[cyan]next start[/cyan]",
    "note": "note",
    "wrong": "[red]wrong[/red]",
}


def doctor_table(report: Report) -> Table:
    """The report for a person, as something that rich prints."""
    table = Table("", "what", "how it is", "what happens", box=None, pad_edge=False, title_justify="left")
    table.title = escape(report.directory)
    for one in report.findings:
        table.add_row(_MARKS[one.state], escape(one.what), escape(one.detail), escape(one.next))
    return table


def hosts_table(hosts: AllowList) -> Table | Text:
    """An allow-list for a person, as something that rich prints."""
    if not hosts.rows:
        return Text(f"OpenCode {hosts.opencode} with this cache asks for no host")
    table = Table("host or address", "port", "by", "when", box=None, pad_edge=False)
    for row in hosts.rows:
        table.add_row(*(escape(text) for text in (row.host, row.port, row.who, row.when)))
    return table


def changes_table(changes: Changes) -> Group:
    """For a person, as something that rich prints."""
    if not changes.rows and not changes.files:
        parts: list[Table | Text] = [Text(_nothing(changes))]
    else:
        shown = Table("", "", "old", "new", "", box=None, pad_edge=False)
        for row in changes.rows:
            cells = (row.kind, row.name, row.old or _NONE, row.new or _NONE, row.note)
            shown.add_row(*(escape(cell) for cell in cells))
        parts = [shown, Text(f"files: {', '.join(changes.files) or 'none'}")]
    parts += [Text(f"left as it was: {left.name}: {left.why}") for left in changes.left]
    return Group(*parts)


def _nothing(changes: Changes) -> str:
    if changes.newer:
        return "nothing is newer but what is left as it was"
    return f"nothing is newer; OpenCode {changes.opencode}"


def markdown(changes: Changes) -> str:
    """For the body of a pull request."""
    lines = [f"OpenCode {changes.opencode}", ""]
    if changes.rows:
        lines += ["| | | old | new | |", "|---|---|---|---|---|"]
        for row in changes.rows[:_MOST_ROWS]:
            cells = (row.kind, row.name, row.old or _NONE, row.new or _NONE, row.note)
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
        if len(changes.rows) > _MOST_ROWS:
            lines.append(f"| | and {len(changes.rows) - _MOST_ROWS} more | | | |")
        lines.append("")
    else:
        lines += [f"{_nothing(changes)}.", ""]
    if changes.left:
        lines += ["Left as it was:", ""]
        lines += [f"* {_cell(left.name)}: {_cell(left.why)}" for left in changes.left]
        lines.append("")
    if changes.files:
        lines += [f"Files: {', '.join(f'`{name}`' for name in changes.files)}", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Words from a registry are text here, not Markdown, HTML or the name of a person to be told."""
    plain = " ".join(text.split())
    for character in "\\`*_[]<>|@#":
        plain = plain.replace(character, f"\\{character}")
    # GitHub reads @name and #1 behind a backslash too; a character without width parts them.
    return plain.replace("\\@", "@\u200b").replace("\\#", "#\u200b")
