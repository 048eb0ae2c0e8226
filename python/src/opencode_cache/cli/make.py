"""Commands that make: lock, fetch, build, wrap, catalogue, run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache import pipeline
from opencode_cache.base import answer, console, files, roots, store
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import builder
from opencode_cache.catalogue import document as catalogue
from opencode_cache.catalogue import generate
from opencode_cache.cli import options, process, subject
from opencode_cache.cli.app import app
from opencode_cache.formats import contents, lock, manifest
from opencode_cache.npm import platforms
from opencode_cache.opencode.versions import check_experimental
from opencode_cache.resolve import floor
from opencode_cache.ship import registry
from opencode_cache.wrapper import render as wrapper


@app.command("lock", epilog="Example: opencode-cache lock --plugin opencode-gemini-auth -o my.lock.json")
def lock_command(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where to write the lock.", metavar="LOCK")
    ] = Path("opencode-cache.lock.json"),
    plan_file: options.Plan = None,
    opencode_version: options.Version = None,
    provider: options.Providers = [],  # noqa: B006 - typer makes a new list each time
    plugin: options.Plugins = [],  # noqa: B006
    tool: options.Tools = [],  # noqa: B006
    resolve: options.Resolve = [],  # noqa: B006
    before: options.Before = None,
    min_age: options.MinAge = None,
    opencode: Annotated[
        Path | None,
        typer.Option("--opencode", help="An OpenCode of yours to ask, in place of npm's.", metavar="BIN"),
    ] = None,
    *,
    require_signatures: options.RequireSignatures = False,
    accept_keys: options.AcceptKeys = False,
    allow_missing: options.AllowMissing = False,
) -> None:
    """Resolve a plan with npm into exact versions and hashes (needs the registry)."""
    chosen, _ = options.planned(plan_file, opencode_version, provider, plugin, tool, resolve)
    chosen = options.with_floor(chosen, require_signatures=require_signatures, age=min_age)
    new_lock = pipeline.make_lock(
        chosen, before.date() if before else None, allow_missing=allow_missing, program=opencode
    )
    if not accept_keys:
        _same_keys(output, new_lock)
    files.write_atomically(output, lock.dumps(new_lock))
    for request in new_lock.requests:
        if request.note:
            console.step(f"note: {request.kind} {request.spec} {request.version}: {request.note}")
    for gone in new_lock.unavailable:
        console.step(f"unavailable: {gone.kind} {gone.spec}: {gone.reason}")
    for system, why in new_lock.opencode.missing.items():
        console.step(f"unavailable: OpenCode for {system}: {why}")
    console.step(f"{output}: {len(new_lock.requests)} specs, {len(new_lock.packages)} packages")


def _same_keys(output: Path, new_lock: lock.Lock) -> None:
    """Raises BadInputError where the lock that is to be replaced was made with other keys of the registry."""
    if not output.exists() or not new_lock.signatures:
        return
    try:
        last = lock.read(output).signatures
    except BadInputError:
        console.step(f"{output}: is no whole lock, so the registry's keys are compared with none")
        return
    floor.same_keys(last.keys if last else {}, new_lock.signatures.keys, str(output))


@app.command("fetch", epilog="Example: opencode-cache fetch my.lock.json --to tarballs")
def fetch_command(
    lock_file: Annotated[Path, typer.Argument(metavar="LOCK")],
    to: Annotated[Path, typer.Option("--to", help="Directory for the tarballs.", metavar="DIR")],
    system: options.System = None,
    *,
    as_registry: Annotated[
        bool,
        typer.Option(
            "--as-registry",
            help="As npm registries keep them (Verdaccio, Artifactory), for all systems of the lock.",
        ),
    ] = False,
) -> None:
    """Download every tarball of a lock for one system, by hash (needs the registry)."""
    cache_lock = lock.read(lock_file)
    if as_registry:
        systems = [_system(system)] if system else list(map(platforms.named, cache_lock.opencode.binaries))
        _fill_registry(cache_lock, systems, to)
    else:
        pipeline.fetch(cache_lock, _system(system), to)


def _fill_registry(cache_lock: lock.Lock, systems: list[platforms.System], to: Path) -> None:
    tarballs, wanted = store.downloads(), dict[str, lock.Package]()
    for one in systems:
        pipeline.fetch(cache_lock, one, tarballs)
        program = contents.binary_package(cache_lock, one)
        wanted |= contents.packages(cache_lock, one) | {program.key: program}
    for package in wanted.values():
        if package.github:
            console.step(f"{package.key}: is GitHub's and in no registry, so it is left out")
    count = registry.write([package for package in wanted.values() if not package.github], tarballs, to)
    console.step(f"{to}: {count} packages, and what npm asks a registry about them")


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
    models_revision: Annotated[
        str | None,
        typer.Option("--models-revision", help="Revision of --models, for the manifest.", metavar="REV"),
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep source maps, declarations, tests and docs.")
    ] = False,
    interpreter: Annotated[
        Path | None,
        typer.Option("--interpreter", help="Loader for programs in npm packages (NixOS).", metavar="PATH"),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option("--node", help="Node.js for scripts in npm packages (NixOS).", metavar="BIN"),
    ] = None,
    system: options.System = None,
    emulator: options.Emulator = None,
    sysroot: options.Sysroot = None,
) -> None:
    """Make the cache from tarballs, and prove that OpenCode asks for nothing (no network)."""
    wanted = _system(system)
    options.runs_here(wanted.name, emulator, sysroot)
    inputs = builder.Inputs(
        lock.read(lock_file),
        tarballs,
        opencode,
        wanted,
        models=models,
        tui=tui,
        force_models=force_models,
        models_revision=models_revision,
        keep_all=keep_all,
        interpreter=interpreter,
        node=node,
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
    check_experimental(manifest.read(cache.absolute()).opencode)
    program = wrapper.wrap(
        cache, opencode, out, name=name, offline=offline, shell=shell, extra_path=extra_path, tools=tools
    )
    answer.path(program)


@app.command("catalogue", epilog="Example: opencode-cache catalogue models.dev -o models.json")
def catalogue_command(
    source: Annotated[Path, typer.Argument(help="A checkout of models.dev.", metavar="SOURCE_DIR")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.", metavar="FILE")],
) -> None:
    """Make the model catalogue that OpenCode reads from the TOML sources of models.dev."""
    document = generate.generate(source)
    files.write_atomically(output, catalogue.dumps(document))
    described = catalogue.describe(document, "directory")
    console.step(f"{output}: {described.providers} providers, {described.models} models")


@app.command(
    "run",
    epilog="Example: opencode-cache run -- models",
    options_metavar="[OPTIONS] [-- ARGS]",
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
    lock_file: options.LockAsIs = None,
    models: options.LockModels = None,
    link: Annotated[
        list[Path],
        typer.Option("--link", help="Also leave a link to the wrapped program here.", metavar="FILE"),
    ] = [],  # noqa: B006
    *,
    allow_missing: options.AllowMissing = False,
    prove: options.Prove = False,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Do not start it: print where the wrapped program is.")
    ] = False,
) -> None:
    """Do whatever of lock, fetch, build, wrap and verify is not done yet, then start OpenCode.

    Without a plan it is the default one, and what your own OpenCode configuration asks for.
    """
    built = subject.built(
        lock_file,
        models,
        plan_file,
        opencode_version,
        provider,
        plugin,
        tool,
        resolve,
        before,
        allow_missing=allow_missing,
        prove=prove,
        configured=True,
    )
    program = built.program
    for one in link:
        roots.leave(program, one)
    if no_start:
        answer.path(program)
        return
    os.umask(process.umask)
    os.execv(program, [str(program), *context.args])  # noqa: S606 - the wrapper is the point


def _system(name: str | None) -> platforms.System:
    return platforms.named(name) if name else platforms.current()
