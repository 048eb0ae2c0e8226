"""Commands for machines that no network reaches: bundle, unbundle, image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opencode_cache import pipeline
from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options, preset, subject
from opencode_cache.cli.app import app
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import verdict
from opencode_cache.inspect import inventory
from opencode_cache.layouts import accepts
from opencode_cache.npm import nodejs, platforms
from opencode_cache.ship import image, pack, proving, unbundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opencode_cache.formats.proof import Proof
    from opencode_cache.ship.installation import Prover
    from opencode_cache.ship.items import Item


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
    if system and (cache or opencode or proof or emulator or sysroot):
        raise BadInputError(
            "--system: needs --lock, --plan or neither, and nothing that is of one system; leave it out"
        )
    is_made = cache is None
    if system:
        pairs = subject.of_systems(system, lock_file, models, plan_file, allow_missing=allow_missing)
    else:
        pairs = [
            subject.cache_and_program(
                cache, opencode, lock_file, models, plan_file, allow_missing=allow_missing
            )
        ]
        options.runs_here(manifest.read(pairs[0][0]).system, emulator, sysroot)
    trees = [
        pack.tree(
            cache,
            opencode,
            ripgrep=ripgrep,
            node=_node(cache, opencode, ripgrep, node, runs=not (no_prove or system)),
            programs=options.programs(program),
            serial=serial,
            offline=offline,
            prove=_prover(cache, opencode, proof, told=is_made, no_prove=no_prove, several=bool(system)),
            accept_licences=accept_licence,
            preset=preset.checked(preset_file, cache, opencode),
        )
        for cache, opencode in pairs
    ]
    bundle = pack.bundle(trees, output, since=since, sign_key=sign_key)
    names = " and ".join(info.system for info in bundle.infos)
    console.step(
        f"OpenCode {bundle.infos[0].opencode} for {names}{', a step' if bundle.step else ''}: "
        f"{len(bundle.listing.entries)} entries, {bundle.listing.bytes / 1e6:.0f} MB, "
        f"packed {bundle.packed / 1e6:.1f} MB; sha256 {bundle.sha256}"
    )
    answer.path(bundle.file)


@app.command("image", epilog="Example: opencode-cache image --base debian.oci.tar -o opencode.oci.tar")
def image_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.", metavar="FILE")],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", help="An OCI layout, as a tar or a directory, or a root directory.", metavar="PATH"
        ),
    ] = None,
    join: Annotated[
        list[Path],
        typer.Option(
            "--join", help="Images of several machines, made before, into one file.", metavar="FILE"
        ),
    ] = [],  # noqa: B006
    plan_file: options.Plan = None,
    lock_file: options.LockAsIs = None,
    models: options.LockModels = None,
    cache: options.CacheOrMade = None,
    opencode: options.BinaryOfCache = None,
    ripgrep: options.Ripgrep = None,
    node: options.Node = None,
    program: options.Programs = [],  # noqa: B006
    proof: options.ProofOfIt = None,
    emulator: options.Emulator = None,
    sysroot: options.Sysroot = None,
    preset_file: options.Preset = None,
    accept_licence: options.AcceptLicences = [],  # noqa: B006
    *,
    offline: options.Offline = True,
    allow_missing: options.AllowMissing = False,
    no_prove: options.NoProve = False,
) -> None:
    """Write an OCI image, without a daemon, for `podman load`, `skopeo copy` and registries."""
    if join:
        if base or plan_file or lock_file or models or cache or opencode:
            raise BadInputError("--join: takes images as they are; leave everything but -o out")
        index = image.join(join, output)
        console.step(
            f"OpenCode {index.version}: {' and '.join(index.machines)}, {console.megabytes(index.size)}; "
            f"index {index.digest}"
        )
        answer.path(index.file)
        return
    is_made = cache is None
    cache, opencode = subject.cache_and_program(
        cache, opencode, lock_file, models, plan_file, allow_missing=allow_missing
    )
    options.runs_here(manifest.read(cache).system, emulator, sysroot)
    node = _node(cache, opencode, ripgrep, node, runs=not no_prove)
    if not base:
        console.step("without --base there is no shell or libc in it: for `COPY --from` and image mounts")
    written = image.image(
        cache,
        opencode,
        output,
        base=base,
        ripgrep=ripgrep,
        node=node,
        programs=options.programs(program),
        offline=offline,
        prove=_prover(cache, opencode, proof, told=is_made, no_prove=no_prove),
        accept_licences=accept_licence,
        preset=preset.checked(preset_file, cache, opencode),
    )
    console.step(
        f"OpenCode {written.version}: {written.layers} layers, {console.megabytes(written.size)}; "
        f"manifest {written.digest}"
    )
    answer.path(written.file)


def _prover(
    cache: Path, opencode: Path, given: Path | None, *, told: bool, no_prove: bool, several: bool = False
) -> Prover | None:
    """What gives the proof that travels along.

    `told`: its hosts were told already. `several`: what does not run here is shipped with the last proof of
    it, or without any. Raises BadInputError for a given proof of something else, CheckFailedError for one
    that is not complete.
    """
    contents = manifest.read(cache)
    no_prove = no_prove or (several and contents.system != platforms.current().name)
    binary = None if several else opencode
    last = inventory.proved(cache, contents, given, binary) if given or no_prove else None
    if given and last and not last.proof.complete:
        raise CheckFailedError(f"{given}: {verdict(last.proof)}; what is not proved is not shipped")
    if no_prove and not last:
        console.step(f"for {contents.system}: not proved, and no proof travels along")
        return None

    def prove(items: Mapping[str, Item]) -> Proof:
        proof = last.proof if last else proving.as_it_ships(items, cache)
        if not told:
            pipeline.say_who_asks(proof)
        return proof

    return prove


def _node(cache: Path, opencode: Path, ripgrep: Path | None, node: Path | None, *, runs: bool) -> Path | None:
    """The Node.js to bring along, with a word on what is not. Raises BadInputError for another OpenCode.

    `runs`: the program has to run here, even if it is another system's.
    """
    if not ripgrep:
        console.step(
            "without ripgrep, which OpenCode downloads from GitHub where PATH has none; "
            "give --ripgrep BIN, a static one of github.com/BurntSushi/ripgrep/releases (…-musl)"
        )
    contents = manifest.read(cache)
    is_ours = contents.system == platforms.current().name
    try:
        if runs or is_ours:
            accepts.accepted(opencode, contents.opencode)
    except BadInputError as error:
        if is_ours:
            raise
        raise BadInputError(
            f"{error}; or name what runs it, as it is for {contents.system}: --emulator and --sysroot; "
            "or leave the proof out with --no-prove"
        ) from error
    tools = [entry.spec for entry in contents.requests if entry.kind == "tool"]
    # That of PyPI is for this machine.
    node = node or (nodejs.in_wheel() if tools and is_ours else None)
    if tools and not node:
        names = ", ".join(tools)
        console.step(f"without Node.js: {names} will run on the Bun inside OpenCode, unless --node gives one")
    return node


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
