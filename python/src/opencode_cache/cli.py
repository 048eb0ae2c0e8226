"""The command line: thin, one function a command. Exit statuses are those of the errors."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from . import (
    __version__,
    builder,
    catalogue,
    doctor,
    lock,
    manifest,
    models_dev,
    options,
    pipeline,
    progress,
    report,
    sbom,
    systems,
    wrapper,
)
from . import verify as verify_step
from .errors import INTERRUPTED, INTERRUPTED_STATUS, BadInputError, NotSoError, OpencodeCacheError

# Newer typers carry their own click, older ones import it; the class is found from what both export.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

app = typer.Typer(
    name="opencode-cache",
    help="Build, prove and start OpenCode with everything that it would download, pinned by hash.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Sbom(str, Enum):
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


@app.command("lock", epilog="Example: opencode-cache lock --plugin opencode-gemini-auth -o my.lock.json")
def lock_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the lock.", metavar="LOCK")],
    plan_file: options.Plan = None,
    opencode_version: options.Version = None,
    provider: options.Providers = [],  # noqa: B006 - typer makes a new list each time
    plugin: options.Plugins = [],  # noqa: B006
    tool: options.Tools = [],  # noqa: B006
    resolve: options.Resolve = [],  # noqa: B006
    before: options.Before = None,
) -> None:
    """Resolve a plan with npm into exact versions and hashes (needs the registry)."""
    chosen, _ = options.planned(plan_file, opencode_version, provider, plugin, tool, resolve)
    made = pipeline.make_lock(chosen, before.date() if before else None)
    lock.write_atomically(output, lock.dumps(made))
    for gone in made.unavailable:
        progress.step(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}")
    for system, why in made.opencode.missing.items():
        progress.step(f"unavailable: OpenCode for {system}: {why}")
    progress.step(f"{output}: {len(made.requests)} specs, {len(made.packages)} packages")


@app.command("fetch", epilog="Example: opencode-cache fetch my.lock.json --to tarballs")
def fetch_command(
    lock_file: Annotated[Path, typer.Argument(metavar="LOCK")],
    to: Annotated[Path, typer.Option("--to", help="Directory for the tarballs.", metavar="DIR")],
    system: options.System = None,
) -> None:
    """Download every tarball of a lock for one system, by hash (needs the registry)."""
    pipeline.fetch(lock.read(lock_file), _system(system), to)


@app.command(
    "build",
    epilog="Example: opencode-cache build --lock my.lock.json --tarballs tarballs --opencode BIN --out cache",
)
def build_command(
    lock_file: options.Lock,
    tarballs: Annotated[Path, typer.Option("--tarballs", help="What `fetch` wrote.", metavar="DIR")],
    opencode: options.Binary,
    out: Annotated[Path, typer.Option("--out", help="The new cache; must not exist.", metavar="DIR")],
    models: Annotated[
        Path | None,
        typer.Option("--models", help="Catalogue: an api.json, or models.dev's sources.", metavar="PATH"),
    ] = None,
    tui: Annotated[
        Path | None,
        typer.Option("--tui", help="Release binary for tui/tui-VERSION.", metavar="BIN"),
    ] = None,
    warmup: Annotated[
        list[str], typer.Option("--warmup", help="OpenCode arguments to warm up with.", metavar="CMD")
    ] = [],  # noqa: B006
    *,
    no_warmup: Annotated[bool, typer.Option("--no-warmup", help="Do not run OpenCode.")] = False,
    force_models: Annotated[
        bool, typer.Option("--force-models", help="Ship --models even if the binary's own is newer.")
    ] = False,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep source maps, declarations, tests and docs.")
    ] = False,
    system: options.System = None,
) -> None:
    """Make the cache from tarballs, and prove that OpenCode asks for nothing (no network)."""
    inputs = builder.Inputs(
        lock.read(lock_file),
        tarballs,
        opencode,
        _system(system),
        models=models,
        tui=tui,
        force_models=force_models,
        keep_all=keep_all,
    )
    pipeline.build(inputs, out.absolute(), [] if no_warmup else (warmup or None))


@app.command("wrap", epilog="Example: opencode-cache wrap --cache cache --opencode ./opencode --out wrapped")
def wrap_command(
    cache: options.Cache,
    opencode: options.Binary,
    out: Annotated[Path, typer.Option("--out", help="Gets bin/NAME.", metavar="DIR")],
    name: Annotated[str, typer.Option("--name", help="Name of the program.")] = "opencode",
    shell: Annotated[
        str | None,
        typer.Option("--shell", help="Interpreter of the wrapper, /bin/sh by default.", metavar="PATH"),
    ] = None,
    extra_path: Annotated[
        list[str], typer.Option("--extra-path", help="Directory for the end of PATH.", metavar="DIR")
    ] = [],  # noqa: B006
    tools: Annotated[
        str | None, typer.Option("--tools", help="Directory of coreutils for the wrapper.", metavar="DIR")
    ] = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline/--online", help="Whether OpenCode may look for newer things.")
    ] = True,
) -> None:
    """Write bin/opencode, which points OpenCode's cache directory at the cache and starts it."""
    program = wrapper.wrap(
        cache, opencode, out, name=name, offline=offline, shell=shell, extra_path=extra_path, tools=tools
    )
    sys.stdout.write(f"{program}\n")


@app.command("verify", epilog="Example: opencode-cache verify --cache cache --opencode ./opencode --json")
def verify_command(cache: options.Cache, opencode: options.Binary, *, json: options.Json = False) -> None:
    """Prove that the cache is complete: no network, the real OpenCode, every host that it asks for."""
    proof = verify_step.verify(cache, opencode, on_step=progress.step)
    if json:
        sys.stdout.write(proof.model_dump_json(indent=2) + "\n")
    else:
        report.out().print(verify_step.table(proof))
    if not proof.ok:
        raise NotSoError(f"{cache}: {verify_step.verdict(proof)}")


@app.command("list", epilog="Example: opencode-cache list --cache cache --json")
def list_command(
    cache: options.Cache,
    sbom_format: Annotated[
        _Sbom | None, typer.Option("--format", help="Print a bill of materials in that format instead.")
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """What is cached, for which spec, version, size, licence."""
    found = manifest.read(cache)
    if sbom_format:
        document = sbom.cyclonedx(found) if sbom_format is _Sbom.CYCLONEDX else sbom.spdx(found)
        sys.stdout.write(sbom.dumps(document))
    elif json:
        sys.stdout.write(manifest.dumps(found))
    else:
        report.contents(cache, found)


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
        report.out().print(doctor.table(found))
    if not found.ok:
        raise NotSoError(f"{found.directory}: something there needs you")


@app.command("catalogue", epilog="Example: opencode-cache catalogue models.dev -o models.json")
def catalogue_command(
    source: Annotated[Path, typer.Argument(help="A checkout of models.dev.", metavar="SOURCE_DIR")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.", metavar="FILE")],
) -> None:
    """Make the model catalogue that OpenCode reads from the TOML sources of models.dev."""
    document = models_dev.generate(source)
    lock.write_atomically(output, catalogue.dumps(document))
    described = catalogue.describe(document, "directory")
    progress.step(f"{output}: {described.providers} providers, {described.models} models")


@app.command(
    "run",
    epilog="Example: opencode-cache run -- models",
    context_settings={"allow_extra_args": True},
)
def run_command(
    context: typer.Context,
    plan_file: options.Plan = None,
    opencode_version: options.Version = None,
    provider: options.Providers = [],  # noqa: B006
    plugin: options.Plugins = [],  # noqa: B006
    tool: options.Tools = [],  # noqa: B006
    resolve: options.Resolve = [],  # noqa: B006
    before: options.Before = None,
    link: Annotated[
        Path | None,
        typer.Option("--link", help="Also leave a link to the wrapped program here.", metavar="FILE"),
    ] = None,
) -> None:
    """Do whatever of lock, fetch, build, wrap and verify is not done yet, then start OpenCode."""
    chosen, is_default = options.planned(plan_file, opencode_version, provider, plugin, tool, resolve)
    path = pipeline.locked(chosen, before.date() if before else None, is_default=is_default)
    program = pipeline.ready(path).program
    if link:
        pipeline.leave_link(program, link)
    os.execv(program, [str(program), *context.args])  # noqa: S606 - the wrapper is the point


def _system(name: str | None) -> systems.System:
    return systems.named(name) if name else systems.current()


def _version_asked(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        sys.stdout.write(f"opencode-cache {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version_asked, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """The entry point: expected errors become one sentence and their exit status."""
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that went away is expected
    except OpencodeCacheError as error:
        progress.error(str(error))
        sys.exit(error.exit_status)
    except _UsageError as error:
        said = error.format_message()  # type: ignore[attr-defined]
        if said:  # nothing is said where the help was shown
            progress.error(f"{said} (see --help)")
        sys.exit(BadInputError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        progress.error(INTERRUPTED)
        sys.exit(INTERRUPTED_STATUS)
    except BrokenPipeError:
        # The reader of our output went away; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    if status == INTERRUPTED_STATUS:  # newer typers make it a status by themselves
        progress.error(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
