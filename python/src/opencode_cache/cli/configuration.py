"""The command that turns an OpenCode configuration into a plan, and what `run` takes from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opencode_cache.base import console, files
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options, tables
from opencode_cache.cli.app import app
from opencode_cache.config import judge, offer, read, write
from opencode_cache.config.mistakes import mistakes
from opencode_cache.formats import lock, manifest, plan
from opencode_cache.formats import shipped as shipped_locks
from opencode_cache.inspect import configured, doctor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.config.read import Configuration
    from opencode_cache.formats.plan import Plan


@app.command("plan", epilog="Example: opencode-cache plan --project . -o plan.toml")
def plan_command(
    config: options.ConfigFiles = [],  # noqa: B006 - typer makes a new list each time
    project: options.Projects = [],  # noqa: B006
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where to write the plan; stdout by default.", metavar="FILE"),
    ] = None,
    opencode_version: options.Version = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="For --check: the cache to look at.", metavar="DIR")
    ] = None,
    lock_file: Annotated[
        Path | None, typer.Option("--lock", help="For --check: the lock to look at.", metavar="LOCK")
    ] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; a table, and status 1 if something is lacking.")
    ] = False,
    certain: Annotated[
        bool,
        typer.Option("--certain", help="For --check: count only what OpenCode surely does without."),
    ] = False,
) -> None:
    """Write the plan that your OpenCode configuration asks for, and say what no cache can hold."""
    if (cache or lock_file or certain) and not check:
        raise BadInputError("--cache, --lock and --certain are for --check; give --check as well")
    configuration = read_configuration(config, project)
    version = opencode_version or shipped_locks.default_version()
    wrong = list(
        mistakes(
            configuration,
            lambda: configured.catalogue(os.environ, *doctor.in_use(os.environ)),
            opencode=version,
        )
    )
    for mistake in wrong:
        console.step(f"{_short(mistake.where)}: {mistake.text}; {mistake.fix}")
    if check:
        _check(configuration, _offers(cache, lock_file, opencode_version), certain=certain)
        first = next((mistake for mistake in wrong if mistake.certain), None)
        if first:
            raise CheckFailedError(f"{first.where}: {first.text}; {first.fix}")
        return
    judgements = judge.judge(configuration, offer.Offer(plan.default(version).opencode))
    sources = dict.fromkeys(_short(document.where) for document in configuration.documents)
    text = write.text(judgements, wrong, version, list(sources))
    if output:
        files.write_atomically(output, text)
        lacking = len(judge.lacking(judgements))
        console.step(f"{output}: {len(judgements)} entries, {lacking} not covered; its comments say why")
    else:
        sys.stdout.write(text)


def read_configuration(config: Sequence[Path], projects: Sequence[Path]) -> Configuration:
    """The configuration. Raises BadInputError for what OpenCode itself would end with."""
    for path in projects:
        if not path.is_dir():
            raise BadInputError(f"--project {path}: is not a directory; give the top of a project")
    directories = [path.absolute() for path in projects]
    if config:
        configuration = read.read_files(config, os.environ, directories)
    else:
        configuration = read.read(os.environ, directories or [Path.cwd()])
    if configuration.broken:
        first = configuration.broken[0]
        raise BadInputError(f"{first.where}: {first.why}; fix it: OpenCode does not start with it")
    return configuration


def _offers(cache: Path | None, lock_file: Path | None, version: str | None) -> list[offer.Offer]:
    """What --check looks at: what is named, else what the starts here use, else what could be locked."""
    if lock_file:
        return [offer.of_lock(lock.read(lock_file))]
    if cache:
        return [offer.of_cache(manifest.read(cache))]
    directory, caches = doctor.in_use(os.environ)
    used = [offer.of_cache(manifest.read(one), directory) for one in caches]
    return used or [offer.Offer(version or shipped_locks.default_version())]


def _check(configuration: Configuration, offers: Sequence[offer.Offer], *, certain: bool) -> None:
    judgements = [
        judge.worst(same) for same in zip(*(judge.judge(configuration, one) for one in offers), strict=True)
    ]
    console.stdout().print(tables.judgements_table(judgements))
    lacking = [one for one in judge.lacking(judgements) if one.certain or not certain]
    if lacking:
        first, more = lacking[0], f" ({len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise CheckFailedError(f"not covered: {first.shown}: {first.reason}; {first.fix}{more}")


def _short(where: str) -> str:
    home = os.environ.get("HOME", "")
    return f"~{where[len(home) :]}" if home and where.startswith(f"{home}/") else where


def with_configuration(base: Plan, shipped: Path | None) -> Plan:
    """A plan with what the user's own configuration asks for beside it; what is not covered is said."""
    configuration = read.read(os.environ, [Path.cwd()])
    offered = offer.of_lock(lock.read(shipped)) if shipped else offer.Offer(base.opencode, ())
    every = judge.judge(configuration, offer.Offer(base.opencode, compiled_in=offered.compiled_in))
    there = judge.judge(configuration, offered)
    wanted = [one for one, here in zip(every, there, strict=True) if here.word != "cached"]
    more, final = write.additions(wanted)
    for one in final:
        if one.word == "not covered" or one.fix:
            console.step(f"{one.word}: {one.shown}: {one.reason}; {one.fix}")
    return base.with_more(more)
