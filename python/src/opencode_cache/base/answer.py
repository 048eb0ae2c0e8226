"""Answers on stdout, and what keeps anybody else's text from being obeyed by a terminal.

Names in configurations, locks, catalogues and directories may hold escape sequences, line ends and characters
that turn the text around them. What this program prints goes through `visible`, which spells those out; the
tables and messages of `console` do so too.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

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


def lines(texts: Iterable[str]) -> None:
    """Lines on stdout. Raises BadInputError where that cannot be written."""
    _write("".join(f"{visible(text)}\n" for text in texts))


def path(text_or_path: os.PathLike[str]) -> None:
    """A path on stdout: to a terminal `visible`, to a program byte for byte. Raises BadInputError."""
    text = os.fspath(text_or_path)
    if sys.stdout.isatty():
        lines([text])
        return
    with written():
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
    with written():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def written() -> Iterator[None]:
    """Raises BadInputError where stdout cannot be written."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader went away, and that is no failure
    except OSError as error:
        silence()
        raise BadInputError(
            f"stdout: cannot be written ({error.strerror}); send the output elsewhere"
        ) from error


def silence() -> None:
    """Drop what is still to be written: nobody will read it, and the interpreter would stumble over it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
