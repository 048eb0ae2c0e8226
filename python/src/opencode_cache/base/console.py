"""What a person sees while long work goes on: on stderr, quiet where there is no terminal, or a dumb one."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def stderr() -> Console:
    """stderr; rich itself minds NO_COLOR and whether this is a terminal."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def step(text: str) -> None:
    """One line for one step of long work."""
    _say(text, "dim")


def error(text: str) -> None:
    """The one sentence of an expected failure."""
    _say(text, "red")


def _say(text: str, style: str) -> None:
    to = stderr()
    plain = to.no_color or not to.is_terminal
    to.print(Text("opencode-cache:", "" if plain else style).append(f" {text}", ""))


class _Download:
    def __init__(self, progress: Progress, total: int) -> None:
        self.progress = progress
        self.task = progress.add_task("fetching", total=total or None)

    def on_bytes(self, count: int) -> None:
        self.progress.advance(self.task, count)


@contextmanager
def downloading(packages: int, total: int) -> Iterator[Callable[[int], None]]:
    """A bar in bytes. Yields what is to be told of bytes as they arrive."""
    with Progress(
        TextColumn(f"fetching {packages} tarballs"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=stderr(),
        disable=not stderr().is_interactive,
        transient=True,
    ) as progress:
        yield _Download(progress, total).on_bytes


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[object], None]]:
    """A bar in packages. Yields what is to be told of each that is done."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        console=stderr(),
        disable=not stderr().is_interactive,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda _: progress.advance(task)


_MEGABYTE = 1_000_000


def megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"


def stdout() -> Console:
    """stdout: no colours where NO_COLOR is set or it is no terminal, and then no lines cut either."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, soft_wrap=True, width=200)
