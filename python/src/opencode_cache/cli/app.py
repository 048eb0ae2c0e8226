"""The typer application that every command registers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typing import Any

_ORDER = (
    *("run", "plan", "lock", "fetch", "build", "wrap", "verify"),
    *("list", "explain", "doctor", "bundle", "unbundle", "catalogue", "update"),
)
"""As the help lists them: the way through, then what looks at its result, then the rest."""


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typers bring a click of their own
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    cls=_InOrder,
    name="opencode-cache",
    help="Build, prove and start OpenCode with everything that it would download, pinned by hash.",
    epilog="Example: opencode-cache run -- models",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
