"""What an update changes: as a document, and as a line of CHANGELOG.md."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

from opencode_cache.base import console
from opencode_cache.base.model import Model
from opencode_cache.formats import contents
from opencode_cache.inspect.difference import by_name, names_of_changes

if TYPE_CHECKING:
    from opencode_cache.formats.lock import Lock
    from opencode_cache.npm.platforms import System

_UNRELEASED = "## Unreleased"
_WIDTH = 110


class Row(Model):
    """One thing that changes. `old` and `new` are versions, revisions, licences or sizes; None: not there."""

    kind: Literal["release", "input", "package", "licence", "size"]
    name: str
    old: str | None
    new: str | None
    note: str = ""


class Left(Model):
    """What stays as it was, and why. `newer`: although there is something newer."""

    name: str
    why: str
    newer: bool = False


class Changes(Model):
    """The whole of it. `files` are relative to the repository; without any, nothing is newer."""

    opencode: str
    rows: tuple[Row, ...]
    left: tuple[Left, ...]
    files: tuple[str, ...]

    @property
    def newer(self) -> bool:
        """Whether an update would change, or has changed, anything."""
        return bool(self.files) or any(left.newer for left in self.left)


def packages(old: Lock | None, new: Lock, system: System) -> list[Row]:
    """What is different in a lock: versions, licences, and the length of all tarballs for a system."""
    both = [one.packages.values() if one else () for one in (old, new)]
    then, now = (by_name(one, lambda package: package.version) for one in both)
    rows = [
        Row(kind="package", name=name, old=then.get(name), new=now.get(name))
        for name in names_of_changes(then, now)
    ]
    then, now = (by_name(one, lambda package: package.license or "unknown") for one in both)
    rows += [
        Row(kind="licence", name=name, old=then[name], new=now[name])
        for name in names_of_changes(then, now)
        if name in then and name in now
    ]
    before, after = _size(old, system), _size(new, system)
    if before != after:
        rows.append(Row(kind="size", name=f"tarballs for {system.name}", old=before, new=after))
    return rows


def _size(lock: Lock | None, system: System) -> str | None:
    if lock is None or system.name not in lock.opencode.binaries:
        return None
    wanted = [*contents.packages(lock, system).values(), contents.binary_package(lock, system)]
    return console.megabytes(sum(package.size or 0 for package in wanted))


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
    moved = [row.name for row in changes.rows if row.kind == "release"]
    parts = [f"OpenCode {changes.opencode} for {', '.join(moved)}"] if moved else []
    parts += [f"{row.name} of {row.note}" for row in changes.rows if row.kind == "input"]
    count = sum(row.kind == "package" for row in changes.rows)
    if count:
        parts.append(f"{count} npm package{'s' * (count > 1)} of the default cache changed")
    return "; ".join(parts) or f"the lock for OpenCode {changes.opencode} made anew"
