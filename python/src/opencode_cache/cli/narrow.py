"""Help for terminals that have no room for typer's tables, in which names and words are cut off."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_TABLES = 70
"""Columns that the tables need."""
_INDENT = "    "


def columns() -> int | None:
    """How many there are, if they are too few for tables."""
    width = shutil.get_terminal_size().columns
    return width if width < _TABLES else None


def text(command: Any, context: Any, width: int) -> str:  # noqa: ANN401 - typers bring a click of their own
    """A command's help, one name to a line and what it does below it."""
    return "\n".join(_lines(command, context, width)) + "\n"


def _lines(command: Any, context: Any, width: int) -> Iterator[str]:  # noqa: ANN401
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from textwrap.wrap(f"Usage: {context.command_path} {pieces}", width, subsequent_indent="  ")
    for paragraph in (command.help or "").split("\n\n"):
        yield ""
        yield from textwrap.wrap(paragraph, width)
    for param in command.get_params(context):
        if record := param.get_help_record(context):
            yield ""
            yield from _entry(record[0], record[1], width)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield ""
        yield from _entry(name, command.get_command(context, name).get_short_help_str(1000), width)
    if command.epilog:
        yield ""
        yield from textwrap.wrap(command.epilog, width, subsequent_indent="  ", break_on_hyphens=False)


def _entry(name: str, what: str, width: int) -> list[str]:
    wrapped = textwrap.wrap(what, width - len(_INDENT), break_on_hyphens=False)
    names = textwrap.wrap(name, width, subsequent_indent=_INDENT, break_on_hyphens=False)
    return [*names, *(_INDENT + line for line in wrapped)]


class Command(TyperCommand):
    """A command whose help is readable at any width."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write it as typer does, or without tables."""
        width = columns()
        if width is None:
            super().format_help(ctx, formatter)
        else:
            formatter.write(text(self, ctx, width))


class App(typer.Typer):
    """Registers such commands."""

    def command(
        self,
        name: str | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> Callable[[_Function], _Function]:
        """As typer's own."""
        return super().command(name, cls=Command, **settings)
