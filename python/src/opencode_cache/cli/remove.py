"""The commands for leaving: remove, gc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options
from opencode_cache.cli.app import app
from opencode_cache.ship import gc, remove

_WORDS = {"remove": "removed", "keep": "kept", "move": "moved back"}


@app.command("remove", epilog="Example: opencode-cache remove --user --dry-run")
def remove_command(
    prefix: Annotated[
        Path | None,
        typer.Option("--prefix", help="What `unbundle` or install.sh installed there.", metavar="PREFIX"),
    ] = None,
    *,
    user: Annotated[
        bool,
        typer.Option(
            "--user",
            help="What the wrapper put into your cache and config directories, and links of `install`.",
        ),
    ] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Take the wrapper's links, lock file and copies out of your directories; what is yours stays."""
    if not user and prefix is None:
        raise BadInputError(
            "say what to remove: --user, for what is in your own directories, or --prefix PREFIX"
        )
    gone = remove.of_prefix(prefix, dry_run=dry_run) if prefix else []
    steps = [remove.Step("remove", path) for path in gone]
    if user:
        steps += remove.remove(remove.places(os.environ), dry_run=dry_run)
        for link in remove.links_left():
            steps.append(remove.Step("remove", link))
            if not dry_run:
                link.unlink(missing_ok=True)
    lines = []
    for step in steps:
        rest = f" to {step.to}" if step.to else f" ({step.why})" if step.why else ""
        lines.append(f"{step.verb if dry_run else _WORDS[step.verb]} {step.path}{rest}")
    answer.lines(lines or ["nothing of opencode-cache is in your directories"])


@app.command("gc", epilog="Example: opencode-cache gc --keep 2 --dry-run")
def gc_command(
    keep: Annotated[
        int, typer.Option("--keep", help="Also keep the newest programs, that many.", metavar="N")
    ] = 1,
    *,
    dry_run: options.DryRun = False,
) -> None:
    """Remove what nobody uses of the local store, downloads, proofs and locks."""
    unused = gc.unused(keep, os.environ)
    sizes = {path: gc.size(path) for path in unused.paths}
    if not dry_run:
        gc.remove(unused)
    answer.lines(f"{console.megabytes(size):>10}  {path}" for path, size in sizes.items())
    total = console.megabytes(sum(sizes.values()))
    console.step(f"{total} would be freed; nothing was changed" if dry_run else f"{total} freed")
