"""The typer application that every command registers with, when it is asked for."""

from __future__ import annotations

import functools
import os
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from opencode_cache import __version__
from opencode_cache.base import answer
from opencode_cache.cli import narrow
from opencode_cache.opencode.versions import CONSENT

if TYPE_CHECKING:
    from typing import Any

_MODULES = {
    "run": "make",
    "install": "install",
    "plan": "configuration",
    **dict.fromkeys(("lock", "fetch", "build", "wrap"), "make"),
    **dict.fromkeys(("verify", "list"), "inspect"),
    "hosts": "hosts",
    "explain": "explain",
    "doctor": "inspect",
    **dict.fromkeys(("bundle", "unbundle"), "bundle"),
    "image": "image",
    **dict.fromkeys(("remove", "gc"), "remove"),
    "catalogue": "make",
    "update": "update",
}
"""Command -> its module here. The help lists them so: the way through, what looks at its result, the rest."""


class _Lazy(TyperGroup):
    """Imports a command's module when that command is asked for: `--version` needs none of them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        width = narrow.columns()
        if width is None:
            super().format_help(ctx, formatter)
        else:
            formatter.write(narrow.text(self, ctx, width))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typers bring a click of their own
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        # For a name that is none, all of them: what is near it is told.
        for name in [cmd_name] if cmd_name in _MODULES else _MODULES:
            if name not in self.commands:
                self.commands[name] = _made(name)
        return super().get_command(ctx, cmd_name)


def _made(name: str) -> Any:  # noqa: ANN401
    import_module(f"{__package__}.{_MODULES[name]}")
    (info,) = (info for info in app.registered_commands if info.name == name)
    return typer.main.get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")


app = narrow.App(
    cls=_Lazy,
    name="opencode-cache",
    help="Build, prove and start OpenCode with everything that it would download, pinned by hash.",
    epilog="Example: opencode-cache run -- models",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version_asked(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        answer.lines([f"opencode-cache {__version__}"])
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_version_asked, is_eager=True, help="Print the version.")
    ] = False,
    experimental: Annotated[
        bool,
        typer.Option("--experimental", help="OpenCode 2.x too; may stand anywhere before a `--`."),
    ] = False,
) -> None:
    if experimental:
        os.environ[CONSENT] = "1"  # and that of child processes


@functools.cache
def command_line() -> Any:  # noqa: ANN401
    """All of it as one typer command, which makes those below it when they are asked for."""
    return typer.main.get_command(app)


def all_commands() -> dict[str, Any]:
    """Name -> typer's command, of all that there are, in the help's order."""
    group = command_line()
    return {name: group.get_command(None, name) for name in group.list_commands(None)}
