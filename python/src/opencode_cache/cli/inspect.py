"""Commands that ask and change nothing: verify, list, doctor."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import answer, console, files
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options, tables
from opencode_cache.cli.app import app
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import verdict, where_and_when
from opencode_cache.inspect import difference, doctor, inventory, locked, sbom
from opencode_cache.inspect.page import write as page
from opencode_cache.prove import on_file
from opencode_cache.prove import verify as verify_step


class _Sbom(str, Enum):
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


@app.command("verify", epilog="Example: opencode-cache verify --cache cache --opencode ./opencode --json")
def verify_command(
    cache: options.Cache,
    opencode: options.Binary,
    patience: Annotated[
        float | None,
        typer.Option(
            "--patience",
            min=1,
            help="A step may take N times as long as `opencode --version`, where that is longer than usual.",
            metavar="N",
        ),
    ] = None,
    ask: Annotated[
        list[str],
        typer.Option("--ask", help="Also ask that model, to see whom it asks.", metavar="PROVIDER/MODEL"),
    ] = [],  # noqa: B006 - typer makes a new list each time
    emulator: options.Emulator = None,
    sysroot: options.Sysroot = None,
    *,
    json: options.Json = False,
) -> None:
    """Prove that the cache is complete: no network, the real OpenCode, every host and address it asks for."""
    for model in ask:
        if not all(model.partition("/")):
            raise BadInputError(f"--ask {model!r}: write it as PROVIDER/MODEL, as `opencode models` does")
    if emulator or sysroot:
        options.runs_here(manifest.read(cache).system, emulator, sysroot)
    proof = verify_step.verify(cache, opencode, patience=patience, ask=ask, on_step=console.step)
    elsewhere = on_file.travelled(on_file.of(proof), cache)
    if elsewhere:
        console.step(f"proved elsewhere, on {where_and_when(elsewhere)}")
    if json:
        answer.document(on_file.dumps(proof))
    else:
        console.stdout().print(tables.proof_table(proof))
    if not proof.ok:
        raise CheckFailedError(f"{cache}: {verdict(proof)}")


@app.command(
    "list", epilog="Example: opencode-cache list --cache cache --html page.html --since old.lock.json"
)
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
    since: Annotated[
        Path | None,
        typer.Option("--since", help="For the page: what changed since that lock or cache.", metavar="OLD"),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="What `verify --json` wrote of this very cache.", metavar="FILE"),
    ] = None,
    opencode: Annotated[
        Path | None,
        typer.Option(
            "--opencode", help="The program of the proof; default: what it was built with.", metavar="BIN"
        ),
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """What is cached, for which spec, version, size, licence."""
    _one_form(html, sbom_format, proof, since, json=json)
    if lock_file and not cache:
        if html or sbom_format or proof or opencode:
            raise BadInputError("--html, --format, --proof and --opencode are about files; give --cache")
        what = locked.read(lock_file, system)
        if json:
            answer.model(what)
        else:
            tables.locked(what)
        return
    if cache is None or lock_file or system:
        raise BadInputError("list: give --cache, or --lock, which takes --system")
    contents = manifest.read(cache)
    if html:
        changes = difference.take(contents, since) if since else None
        files.write_atomically(html, page.render(inventory.take(cache, proof, opencode), changes))
    elif sbom_format:
        bill = sbom.take(contents, cache)
        document = sbom.cyclonedx(bill) if sbom_format is _Sbom.CYCLONEDX else sbom.spdx(bill)
        answer.document(sbom.dumps(document))
    elif json:
        answer.document(manifest.dumps_with_licences(contents))
    else:
        tables.contents(cache, contents, inventory.proved(cache, contents, proof, opencode))


def _one_form(
    html: Path | None, sbom_format: _Sbom | None, proof: Path | None, since: Path | None, *, json: bool
) -> None:
    """Raises BadInputError for two forms at once, and for what the form has no use for."""
    if (html is not None) + bool(sbom_format) + json > 1:
        raise BadInputError("give only one of --html, --format and --json")
    if proof and (sbom_format or json):
        raise BadInputError(f"--proof {proof}: is for the page and the table; leave --format and --json out")
    if since and not html:
        raise BadInputError(f"--since {since}: is for the page; give --html FILE as well")


@app.command("doctor", epilog="Example: opencode-cache doctor")
def doctor_command(
    cache: Annotated[
        Path | None, typer.Option("--cache", help="The cache to compare with.", metavar="DIR")
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """What your OpenCode directories hold, what the next start will do, and mistakes in your config."""
    report = doctor.examine(os.environ, Path.cwd(), cache)
    if json:
        answer.model(report)
    else:
        console.stdout().print(tables.doctor_table(report))
    if not report.ok:
        raise CheckFailedError(f"{report.directory}: something there needs your attention")
