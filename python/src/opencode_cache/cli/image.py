"""The command `image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import answer, console, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options, shipping
from opencode_cache.cli.app import app
from opencode_cache.ship import image


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
    system: options.Systems = [],  # noqa: B006
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
    """Write an OCI image, without a daemon, for `podman load`, `skopeo copy` and registries.

    Of several systems, it is one index, of which a registry gives each machine what fits it.
    """
    if join:
        if base or plan_file or lock_file or models or cache or opencode or system:
            raise BadInputError("--join: takes images as they are; leave everything but -o out")
        _join(join, output)
        return
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
    if not base:
        console.step("without --base there is no shell or libc in it: for `COPY --from` and image mounts")
    if len(parts) > 1:
        with files.beside(output) as beside:
            images = [
                image.image(
                    part.cache, part.opencode, beside / f"{part.system}.oci.tar", part.choices, base=base
                ).file
                for part in parts
            ]
            _join(images, output)
        return
    written = image.image(parts[0].cache, parts[0].opencode, output, parts[0].choices, base=base)
    console.step(
        f"OpenCode {written.version}: {written.layers} layers, {console.megabytes(written.size)}; "
        f"manifest {written.digest}"
    )
    answer.path(written.file)


def _join(images: list[Path], output: Path) -> None:
    index = image.join(images, output)
    console.step(
        f"OpenCode {index.version}: {' and '.join(index.machines)}, {console.megabytes(index.size)}; "
        f"index {index.digest}"
    )
    answer.path(index.file)
