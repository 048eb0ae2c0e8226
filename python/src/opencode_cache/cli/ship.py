"""Commands for machines that no network reaches: bundle, unbundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache import pipeline
from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options
from opencode_cache.cli.app import app
from opencode_cache.formats import manifest
from opencode_cache.layouts import accepts
from opencode_cache.npm import nodejs, platforms
from opencode_cache.ship import pack, unbundle


@app.command("bundle", epilog="Example: opencode-cache bundle --plan my.toml -o opencode.tar.zst")
def bundle_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.", metavar="FILE")],
    plan_file: options.Plan = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="A cache made by `build`; else what `run` makes.", metavar="DIR"),
    ] = None,
    opencode: Annotated[
        Path | None, typer.Option("--opencode", help="With --cache: the OpenCode program.", metavar="BIN")
    ] = None,
    ripgrep: Annotated[
        Path | None,
        typer.Option(
            "--ripgrep", help="A static ripgrep; default: the one beside this program.", metavar="BIN"
        ),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option(
            "--node", help="A Node.js that runs by itself, for npm tools; default: PyPI's.", metavar="BIN"
        ),
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Key to sign with: SSH's or minisign's.", metavar="FILE")
    ] = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline/--online", help="Whether OpenCode may look for newer things.")
    ] = True,
    allow_missing: options.AllowMissing = False,
) -> None:
    """Put OpenCode, its cache and the wrapper into one file for a machine without a network."""
    cache, opencode = _subject(plan_file, cache, opencode, allow_missing=allow_missing)
    beside = Path(sys.executable).parent / "rg"
    found = ripgrep or (beside if beside.is_file() else None)
    if not found:
        console.step("without ripgrep, which OpenCode then downloads where PATH has none; see --ripgrep")
    about = manifest.read(cache)
    # Another system's program cannot be asked here.
    if about.system == platforms.current().name:
        accepts.accepted(opencode, about.opencode)
    tools = [entry.spec for entry in about.requests if entry.kind == "tool"]
    node = node or (nodejs.in_wheel() if tools else None)
    if tools and not node:
        names = ", ".join(tools)
        console.step(f"without Node.js: {names} will run on the Bun inside OpenCode, unless --node gives one")
    made = pack.bundle(cache, opencode, output, ripgrep=found, node=node, sign_key=sign_key, offline=offline)
    console.step(
        f"OpenCode {made.info.opencode} for {made.info.system}: {len(made.listing.entries)} entries, "
        f"{made.listing.bytes / 1e6:.0f} MB, packed {made.packed / 1e6:.0f} MB; sha256 {made.sha256}"
    )
    sys.stdout.write(f"{made.file}\n")


def _subject(
    plan_file: Path | None, cache: Path | None, opencode: Path | None, *, allow_missing: bool
) -> tuple[Path, Path]:
    """The cache and the program that are given, or those of a plan, which are made where they are not yet."""
    if cache and opencode and not plan_file:
        return cache, opencode
    if cache or opencode:
        raise BadInputError("bundle: give --cache and --opencode, or --plan, or nothing for the default plan")
    chosen, is_default = options.planned(plan_file, None, [], [], [], [])
    ready = pipeline.ready_for(chosen, is_default=is_default, allow_missing=allow_missing)
    return ready.cache, ready.opencode


@app.command("unbundle", epilog="Example: opencode-cache unbundle opencode.tar.zst --to ~/.local")
def unbundle_command(
    to: Annotated[Path, typer.Option("--to", help="Gets bin/opencode.", metavar="PREFIX")],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="What `bundle` wrote.")] = None,
    trusted: Annotated[
        Path | None,
        typer.Option(
            "--trusted",
            help="SSH's allowed signers, or minisign's public key: who must have signed.",
            metavar="FILE",
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", help="Keep that many generations; all by default.", metavar="N")
    ] = None,
    system: options.System = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to what was installed before.")] = False,
) -> None:
    """Check every byte of a bundle, then install it at once or not at all. Needs neither root nor Nix."""
    if undo == (file is not None):
        raise BadInputError("unbundle: give either FILE or --undo")
    if file is None:
        generation = unbundle.undo(to)
        console.step(f"{to}: back to {generation.name}")
        sys.stdout.write(f"{unbundle.program(to)}\n")
        return
    done = unbundle.unbundle(file, to, trusted=trusted, system=system, keep=keep)
    what = "installed" if done.changed else "already the one in use, and whole"
    console.step(f"OpenCode {done.info.opencode} for {done.info.system}: {what} ({done.generation.name})")
    sys.stdout.write(f"{done.program}\n")
