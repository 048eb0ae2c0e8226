"""Commands that take away again: remove, gc."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options
from opencode_cache.cli.app import app
from opencode_cache.ship import gc, remove


@app.command("remove", epilog="Example: opencode-cache remove --user --dry-run")
def remove_command(
    prefix: Annotated[
        Path | None, typer.Option("--prefix", help="What `unbundle` installed there.", metavar="PREFIX")
    ] = None,
    *,
    user: Annotated[
        bool,
        typer.Option("--user", help="Your links, copies and lock file, and what `install` left."),
    ] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Take away what was installed; what OpenCode or you put beside it stays."""
    if not prefix and not user:
        raise BadInputError("remove: give --prefix PREFIX, --user, or both")
    lines: list[str] = []
    if prefix:
        lines += [f"remove {path}" for path in remove.of_prefix(prefix, dry_run=dry_run)]
    if user:
        removal = remove.of_user(os.environ)
        lines += removal.lines()
        if not dry_run:
            removal.do()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if dry_run:
        console.step("nothing was changed")
    elif user:
        console.step(
            "nothing of ours is in use there any more; `opencode-cache gc --keep 0` empties the store"
        )


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
    sys.stdout.write("".join(f"{console.megabytes(size):>10}  {path}\n" for path, size in sizes.items()))
    total = console.megabytes(sum(sizes.values()))
    console.step(f"{total} would be freed; nothing was changed" if dry_run else f"{total} freed")
