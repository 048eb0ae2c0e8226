"""The command that brings this repository's own pins up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opencode_cache import update as updates
from opencode_cache.base import answer, console, files
from opencode_cache.base.errors import CheckFailedError
from opencode_cache.cli import options, tables
from opencode_cache.cli.app import app
from opencode_cache.update import checkout
from opencode_cache.update import proofs as renew


@app.command("update", epilog="Example: opencode-cache update --check")
def update_command(
    opencode_version: Annotated[
        str | None, typer.Option("--opencode-version", help="Default: the newest release.", metavar="V")
    ] = None,
    system: Annotated[
        list[str], typer.Option("--system", help="Move this system alone; repeatable.", metavar="SYSTEM")
    ] = [],  # noqa: B006 - typer makes a new list each time
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", help="Also write what changed for a pull request.", metavar="FILE"),
    ] = None,
    *,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Only prove the shipped locks here, where that is due.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 when something is newer.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Bring this checkout's pins and locks up to date: proved first, then all of them at once or none.

    Changes flake.nix, flake.lock, nix/ and CHANGELOG.md. Needs npm, and GitHub unless a version is named.

    GITHUB_TOKEN is honoured; OPENCODE_CACHE_GITHUB_API and OPENCODE_CACHE_GITHUB name mirrors of GitHub.
    """
    if proofs:
        changed = renew.renew(checkout.find(Path.cwd()))
        answer.lines(changed)
        return
    result = updates.update(Path.cwd(), version=opencode_version, only=system, check=check)
    if markdown:
        files.write_atomically(markdown, tables.markdown(result))
    if json:
        answer.model(result)
    else:
        console.stdout().print(tables.changes_table(result))
    if check and result.newer:
        raise CheckFailedError("newer versions are there; take them with `opencode-cache update`")
