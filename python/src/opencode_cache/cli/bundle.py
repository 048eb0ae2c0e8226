"""Commands for machines that no network reaches: bundle, unbundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options, shipping
from opencode_cache.cli.app import app
from opencode_cache.ship import pack, unbundle


@app.command("bundle", epilog="Example: opencode-cache bundle --plan my.toml -o opencode.tar.zst")
def bundle_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.", metavar="FILE")],
    plan_file: options.Plan = None,
    lock_file: options.LockAsIs = None,
    models: options.LockModels = None,
    cache: options.CacheOrMade = None,
    opencode: options.BinaryOfCache = None,
    system: options.Systems = [],  # noqa: B006 - typer makes a new list each time
    since: Annotated[
        Path | None,
        typer.Option(
            "--since",
            help="Only what has changed since this bundle, or installed generation (or its CONTENTS).",
            metavar="OLD",
        ),
    ] = None,
    ripgrep: options.Ripgrep = None,
    node: options.Node = None,
    program: options.Programs = [],  # noqa: B006 - typer makes a new list each time
    proof: options.ProofOfIt = None,
    emulator: options.Emulator = None,
    sysroot: options.Sysroot = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Key to sign with: SSH's or minisign's.", metavar="FILE")
    ] = None,
    serial: Annotated[
        int, typer.Option("--serial", help="Tells bundles of one day apart, in their order.", metavar="N")
    ] = 0,
    preset_file: options.Preset = None,
    accept_licence: options.AcceptLicences = [],  # noqa: B006
    *,
    offline: options.Offline = True,
    allow_missing: options.AllowMissing = False,
    no_prove: options.NoProve = False,
) -> None:
    """Put OpenCode, its cache and the wrapper into one file for a machine without a network.

    Of several systems, each machine takes what fits it.
    """
    parts = shipping.parts(
        shipping.Asked(
            plan_file=plan_file,
            lock_file=lock_file,
            models=models,
            cache=cache,
            opencode=opencode,
            systems=system,
            ripgrep=ripgrep,
            node=node,
            programs=options.programs(program),
            proof=proof,
            emulator=emulator,
            sysroot=sysroot,
            preset_file=preset_file,
            accept_licences=accept_licence,
            offline=offline,
            allow_missing=allow_missing,
            no_prove=no_prove,
        )
    )
    trees = [pack.tree(part.cache, part.opencode, part.choices, serial=serial) for part in parts]
    bundle = pack.bundle(trees, output, since=since, sign_key=sign_key)
    names = " and ".join(info.system for info in bundle.infos)
    console.step(
        f"OpenCode {bundle.infos[0].opencode} for {names}{', a step' if bundle.step else ''}: "
        f"{len(bundle.listing.entries)} entries, {bundle.listing.bytes / 1e6:.0f} MB, "
        f"packed {bundle.packed / 1e6:.1f} MB; sha256 {bundle.sha256}"
    )
    answer.path(bundle.file)


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
