"""What a person sees while long work goes on, on stderr, and tables: no text of anybody else's as it is."""

from __future__ import annotations

import contextlib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import markup
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.text import Text

from opencode_cache.base.answer import visible, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType


def escape(text: str) -> str:
    """Somebody else's text for a place where rich takes markup: `visible`, and no markup."""
    return markup.escape(visible(text))


class _Console(Console):
    """A console that prints `visible` text alone, in lines and in the cells of tables."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - rich's own signature
        """As rich has it. Raises BadInputError where stdout cannot be written."""
        with contextlib.nullcontext() if self.stderr else written():
            super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = (visible(line) for line in segment.text.split("\n"))
                yield Segment("\n".join(lines), segment.style)


def stderr() -> Console:
    """stderr; rich itself minds NO_COLOR and whether this is a terminal."""
    return _Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def stdout() -> Console:
    """stdout: no colours where NO_COLOR is set or it is no terminal, and then no lines cut either."""
    if sys.stdout.isatty():
        return _Console(highlight=False, emoji=False)
    return _Console(highlight=False, emoji=False, soft_wrap=True, width=200)


def step(text: str) -> None:
    """One line for one step of long work."""
    _say(text, "dim")


def error(text: str) -> None:
    """The one sentence of an expected failure."""
    _say(text, "red")


def _say(text: str, style: str) -> None:
    to = stderr()
    plain = to.no_color or not to.is_terminal
    to.print(Text("opencode-cache:", "" if plain else style).append(f" {visible(text)}", ""))


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
    """Bytes as people read them, in units of 10^6: `12.3 MB`."""
    return f"{size / _MEGABYTE:.1f} MB"
