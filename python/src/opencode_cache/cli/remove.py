"""The command for leaving: remove."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from opencode_cache.base.errors import BadInputError
from opencode_cache.cli.app import app
from opencode_cache.ship import remove

_WORDS = {"remove": "removed", "keep": "kept", "move": "moved back"}


@app.command("remove", epilog="Example: opencode-cache remove --user --dry-run")
def remove_command(
    *,
    user: Annotated[
        bool, typer.Option("--user", help="What the wrapper put into your cache and config directories.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Take the wrapper's links, lock file and copies out of your directories; what is yours stays."""
    if not user:
        raise BadInputError("say what to remove: --user, for what is in your own directories")
    steps = remove.remove(remove.places(os.environ), dry_run=dry_run)
    for step in steps:
        rest = f" to {step.to}" if step.to else f" ({step.why})" if step.why else ""
        verb = step.verb if dry_run else _WORDS[step.verb]
        sys.stdout.write(f"{_shown(f'{verb} {step.path}{rest}')}\n")
    if not steps:
        sys.stdout.write("nothing of opencode-cache is in your directories\n")


def _shown(text: str) -> str:
    """Names of files are anybody's: no control characters, and no bytes that are not UTF-8."""
    plain = text.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in plain)
