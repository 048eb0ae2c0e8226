"""Commands for machines that no network reaches: bundle, unbundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opencode_cache import pipeline
from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options
from opencode_cache.cli.app import app
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import verdict
from opencode_cache.layouts import accepts
from opencode_cache.npm import nodejs, platforms
from opencode_cache.prove import on_file
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
        typer.Option("--ripgrep", help="A static ripgrep to bring along; default: none.", metavar="BIN"),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option(
            "--node", help="A Node.js that runs by itself, for npm tools; default: PyPI's.", metavar="BIN"
        ),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="What `verify --json` wrote of this cache and program.", metavar="FILE"),
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Key to sign with: SSH's or minisign's.", metavar="FILE")
    ] = None,
    serial: Annotated[
        int, typer.Option("--serial", help="Tells bundles of one day apart, in their order.", metavar="N")
    ] = 0,
    accept_licence: Annotated[
        list[str],
        typer.Option(
            "--accept-licence", help="Take a package that may not be passed on along.", metavar="NAME"
        ),
    ] = [],  # noqa: B006 - typer makes a new list each time
    *,
    offline: Annotated[
        bool, typer.Option("--offline/--online", help="Whether OpenCode may look for newer things.")
    ] = True,
    allow_missing: options.AllowMissing = False,
) -> None:
    """Put OpenCode, its cache and the wrapper into one file for a machine without a network."""
    cache, opencode = _subject(plan_file, cache, opencode, allow_missing=allow_missing)
    if not ripgrep:
        console.step(
            "without ripgrep, which OpenCode downloads from GitHub where PATH has none; "
            "give --ripgrep BIN, a static one of github.com/BurntSushi/ripgrep/releases (…-musl)"
        )
    contents = manifest.read(cache)
    if proof:
        given = on_file.given(proof, cache, contents, opencode).proof
        if not given.ok:
            raise CheckFailedError(f"{proof}: {verdict(given)}; what is not proved is not shipped")
    # Another system's program cannot be asked here.
    if contents.system == platforms.current().name:
        accepts.accepted(opencode, contents.opencode)
    tools = [entry.spec for entry in contents.requests if entry.kind == "tool"]
    node = node or (nodejs.in_wheel() if tools else None)
    if tools and not node:
        names = ", ".join(tools)
        console.step(f"without Node.js: {names} will run on the Bun inside OpenCode, unless --node gives one")
    bundle = pack.bundle(
        cache,
        opencode,
        output,
        ripgrep=ripgrep,
        node=node,
        sign_key=sign_key,
        serial=serial,
        offline=offline,
        accept_licences=accept_licence,
    )
    console.step(
        f"OpenCode {bundle.info.opencode} for {bundle.info.system}: {len(bundle.listing.entries)} entries, "
        f"{bundle.listing.bytes / 1e6:.0f} MB, packed {bundle.packed / 1e6:.0f} MB; sha256 {bundle.sha256}"
    )
    answer.path(bundle.file)


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
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Also a bundle that is older than what is installed.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to what was installed before.")] = False,
) -> None:
    """Check every byte of a bundle, then install it at once or not at all. Needs neither root nor Nix."""
    if undo == (file is not None):
        raise BadInputError("unbundle: give either FILE or --undo")
    if file is None:
        generation = unbundle.undo(to)
        console.step(f"{to}: back to {generation.name}")
        answer.path(unbundle.program(to))
        return
    done = unbundle.unbundle(file, to, trusted=trusted, system=system, keep=keep, allow_older=allow_older)
    what = "installed" if done.changed else "already the one in use, and whole"
    console.step(f"OpenCode {done.info.opencode} for {done.info.system}: {what} ({done.generation.name})")
    answer.path(done.program)
