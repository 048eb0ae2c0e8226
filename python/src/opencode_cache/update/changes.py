"""What an update changes: for the terminal, for a pull request, for CHANGELOG.md and as JSON."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import contents

if TYPE_CHECKING:
    from opencode_cache.formats.lock import Lock
    from opencode_cache.npm.platforms import System

_UNRELEASED = "## Unreleased"
_WIDTH = 110
_MOST_ROWS = 300
"""GitHub takes a body of 65,536 characters."""
_NONE = "–"  # noqa: RUF001 - a dash


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Model):
    """One thing that changes. `old` and `new` are versions, revisions, licences or sizes; None: not there."""

    kind: Literal["release", "input", "package", "licence", "size"]
    name: str
    old: str | None
    new: str | None
    note: str = ""


class Left(_Model):
    """What stays as it was, and why. `newer`: although there is something newer."""

    name: str
    why: str
    newer: bool = False


class Changes(_Model):
    """The whole of it. `files` are relative to the repository; without any, nothing is newer."""

    opencode: str
    rows: tuple[Row, ...]
    left: tuple[Left, ...]
    files: tuple[str, ...]

    @property
    def newer(self) -> bool:
        return bool(self.files) or any(left.newer for left in self.left)


def packages(old: Lock | None, new: Lock, system: System) -> list[Row]:
    """What is different in a lock: versions, licences, and the length of all tarballs for a system."""
    then, now = _versions(old), _versions(new)
    rows = [
        Row(kind="package", name=name, old=then.get(name), new=now.get(name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    then, now = _licences(old), _licences(new)
    rows += [
        Row(kind="licence", name=name, old=then[name], new=now[name])
        for name in sorted(then.keys() & now.keys())
        if then[name] != now[name]
    ]
    before, after = _size(old, system), _size(new, system)
    if before != after:
        rows.append(Row(kind="size", name=f"tarballs for {system.name}", old=before, new=after))
    return rows


def _versions(lock: Lock | None) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for package in lock.packages.values() if lock else ():
        found.setdefault(package.name, []).append(package.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _licences(lock: Lock | None) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for package in lock.packages.values() if lock else ():
        found.setdefault(package.name, set()).add(package.license or "unknown")
    return {name: ", ".join(sorted(licences)) for name, licences in found.items()}


def _size(lock: Lock | None, system: System) -> str | None:
    if lock is None:
        return None
    try:
        wanted = [*contents.packages(lock, system).values(), contents.binary_package(lock, system)]
    except BadInputError:
        return None
    return console.megabytes(sum(package.size or 0 for package in wanted))


def table(changes: Changes) -> Group:
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


def with_entry(changelog: str, changes: Changes) -> str:
    """CHANGELOG.md with a line for the update, first under "Unreleased"."""
    entry = textwrap.fill(f"* {summary(changes)}.", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    if f"{_UNRELEASED}\n" in changelog:
        head, _, rest = changelog.partition(f"{_UNRELEASED}\n")
        return f"{head}{_UNRELEASED}\n\n{entry}\n{rest.lstrip(chr(10))}"
    title, _, rest = changelog.partition("\n")
    return f"{title}\n\n{_UNRELEASED}\n\n{entry}\n\n{rest.lstrip(chr(10))}"


def summary(changes: Changes) -> str:
    """One line: releases, inputs, and how many packages."""
    moved = [row for row in changes.rows if row.kind == "release"]
    parts = []
    if moved:
        parts.append(f"OpenCode {changes.opencode} for {', '.join(row.name for row in moved)}")
    parts += [f"{row.name} of {row.note}" for row in changes.rows if row.kind == "input"]
    count = sum(row.kind == "package" for row in changes.rows)
    if count:
        parts.append(f"{count} npm package{'s' * (count > 1)} of the default cache changed")
    return "; ".join(parts) or f"the lock for OpenCode {changes.opencode} made anew"
