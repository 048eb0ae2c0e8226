"""What is said: messages on stderr, answers on stdout. No text of anybody else's reaches a terminal as it is.

Names in configurations, locks, catalogues and directories may hold escape sequences, line ends and characters
that turn the text around them. What this program prints goes through here, where those are spelt out.
"""

from __future__ import annotations

import contextlib
import json
import os
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

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import BaseModel
    from rich.console import ConsoleOptions, RenderableType

_BASIC = 0xFFFF
"""The last character that JSON can spell with one escape."""


def visible(text: str) -> str:
    """The text on one line, each character without a shape of its own spelt out as Python does."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


def escape(text: str) -> str:
    """Somebody else's text for a place where rich takes markup: `visible`, and no markup."""
    return markup.escape(visible(text))


class _Console(Console):
    """A console that prints `visible` text alone, in lines and in the cells of tables."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - rich's own signature
        """As rich has it. Raises BadInputError where stdout cannot be written."""
        with contextlib.nullcontext() if self.stderr else _written():
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


def lines(texts: Iterable[str]) -> None:
    """Lines on stdout. Raises BadInputError where that cannot be written."""
    _write("".join(f"{visible(text)}\n" for text in texts))


def path(found: os.PathLike[str]) -> None:
    """A path on stdout: to a terminal `visible`, to a program byte for byte. Raises BadInputError."""
    text = os.fspath(found)
    if sys.stdout.isatty():
        lines([text])
        return
    with _written():
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text) + b"\n")
        sys.stdout.buffer.flush()


def model(answer: BaseModel) -> None:
    """A model as a JSON document on stdout. Raises BadInputError."""
    # Not pydantic's own writer, which stumbles over names of files that are not UTF-8.
    document(json.dumps(answer.model_dump(mode="json"), indent=2, ensure_ascii=False))


def document(json_text: str) -> None:
    """A JSON document on stdout, characters without a shape as JSON's escapes. Raises BadInputError."""
    text = json_text if json_text.endswith("\n") else f"{json_text}\n"
    if not text.replace("\n", "").isprintable():
        # Between the values of a document there is nothing but ASCII: such a character is in a string.
        text = "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)
    _write(text)


def _escaped(char: str) -> str:
    number = ord(char)
    if number <= _BASIC:
        return f"\\u{number:04x}"
    number -= _BASIC + 1
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def _write(text: str) -> None:
    with _written():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader went away, and that is no failure
    except OSError as error:
        silence_stdout()
        raise BadInputError(
            f"stdout: cannot be written ({error.strerror}); give the answer another place"
        ) from error


def silence_stdout() -> None:
    """Drop what is still to be written: nobody will read it, and the interpreter would stumble over it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


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
        disable=not stderr().is_terminal,
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
        disable=not stderr().is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda _: progress.advance(task)


_MEGABYTE = 1_000_000


def megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
