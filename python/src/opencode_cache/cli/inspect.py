"""Commands that ask and change nothing: verify, list, doctor."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import console, files
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options, tables
from opencode_cache.cli.app import app
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import verdict
from opencode_cache.inspect import doctor, inventory, locked, sbom
from opencode_cache.inspect.page import write as page
from opencode_cache.prove import verify as verify_step


class _Sbom(str, Enum):
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


@app.command("verify", epilog="Example: opencode-cache verify --cache cache --opencode ./opencode --json")
def verify_command(cache: options.Cache, opencode: options.Binary, *, json: options.Json = False) -> None:
    """Prove that the cache is complete: no network, the real OpenCode, every host that it asks for."""
    proof = verify_step.verify(cache, opencode, on_step=console.step)
    if json:
        sys.stdout.write(proof.model_dump_json(indent=2) + "\n")
    else:
        console.stdout().print(tables.proof_table(proof))
    if not proof.ok:
        raise CheckFailedError(f"{cache}: {verdict(proof)}")


@app.command("list", epilog="Example: opencode-cache list --cache cache --json")
def list_command(
    cache: Annotated[
        Path | None, typer.Option("--cache", help="A cache made by `build`.", metavar="DIR")
    ] = None,
    lock_file: Annotated[
        Path | None,
        typer.Option("--lock", help="What a cache of that lock would have.", metavar="LOCK"),
    ] = None,
    system: options.System = None,
    sbom_format: Annotated[
        _Sbom | None, typer.Option("--format", help="Print a bill of materials in that format instead.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page for a browser instead.", metavar="FILE")
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="For --html: what `verify --json` wrote.", metavar="FILE"),
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """What is cached, for which spec, version, size, licence."""
    if (html is not None) + bool(sbom_format) + json > 1:
        raise BadInputError("--html, --format and --json are three answers; give one of them")
    if proof and not html:
        raise BadInputError(f"--proof {proof}: is for the page alone; give --html FILE as well")
    if lock_file and not cache:
        if html or sbom_format:
            raise BadInputError("--html and --format describe files; give --cache")
        what = locked.read(lock_file, system)
        if json:
            sys.stdout.write(what.model_dump_json(indent=2, exclude_none=True) + "\n")
        else:
            tables.locked(what)
        return
    if cache is None or lock_file or system:
        raise BadInputError("list: give --cache, or --lock, which takes --system")
    found = manifest.read(cache)
    if html:
        files.write_atomically(html, page.render(inventory.take(cache, proof)))
    elif sbom_format:
        document = sbom.cyclonedx(found) if sbom_format is _Sbom.CYCLONEDX else sbom.spdx(found)
        sys.stdout.write(sbom.dumps(document))
    elif json:
        sys.stdout.write(manifest.dumps(found))
    else:
        tables.contents(cache, found)


@app.command("doctor", epilog="Example: opencode-cache doctor")
def doctor_command(
    cache: Annotated[
        Path | None, typer.Option("--cache", help="The cache to compare with.", metavar="DIR")
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """What your OpenCode directories hold, what the next start will do, and mistakes in your config."""
    found = doctor.examine(os.environ, Path.cwd(), cache)
    if json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        console.stdout().print(tables.doctor_table(found))
    if not found.ok:
        raise CheckFailedError(f"{found.directory}: something there needs you")
