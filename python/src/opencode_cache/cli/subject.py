"""What a command is about: a cache and a program that are given, or what a lock or a plan leads to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache import pipeline
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options
from opencode_cache.cli.configuration import with_configuration
from opencode_cache.formats import lock, shipped
from opencode_cache.npm import platforms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def built(
    lock_file: Path | None = None,
    models: Path | None = None,
    plan_file: Path | None = None,
    opencode_version: str | None = None,
    provider: list[str] = [],  # noqa: B006 - never changed
    plugin: list[str] = [],  # noqa: B006
    tool: list[str] = [],  # noqa: B006
    resolve: list[str] = [],  # noqa: B006
    before: datetime | None = None,
    *,
    allow_missing: bool = False,
    prove: bool = False,
    configured: bool = False,
) -> pipeline.Built:
    """Everything behind a lock, taken as it stands, or behind the plan that the other options describe.

    `configured`: without a plan file, what the user's own OpenCode configuration asks for is in it, too.
    Raises BadInputError for a lock beside what would describe another one, and all that `pipeline` raises.
    """
    described = {
        "--plan": plan_file,
        "--opencode-version": opencode_version,
        "--provider": provider,
        "--plugin": plugin,
        "--tool": tool,
        "--resolve": resolve,
        "--before": before,
        "--allow-missing": allow_missing,
    }
    given = [name for name, value in described.items() if value]
    if lock_file:
        if given:
            raise BadInputError(
                f"{given[0]}: nothing is resolved anew for --lock {lock_file}; leave one of the two out, "
                "or make another lock with `opencode-cache lock`"
            )
        return pipeline.ready(lock_file, models, prove=prove)
    if models:
        raise BadInputError(f"--models {models}: is for --lock; in a plan, it is the key `catalogue`")
    chosen, is_default = options.planned(plan_file, opencode_version, provider, plugin, tool, resolve)
    if configured and plan_file is None:
        asked = with_configuration(chosen, shipped.lock_for(chosen.opencode))
        is_default = is_default and asked == chosen
        chosen = asked
    day = before.date() if before else None
    return pipeline.ready_for(chosen, day, is_default=is_default, allow_missing=allow_missing, prove=prove)


def cache_and_program(
    cache: Path | None,
    opencode: Path | None,
    lock_file: Path | None,
    models: Path | None,
    plan_file: Path | None,
    *,
    allow_missing: bool = False,
) -> tuple[Path, Path]:
    """The cache and the program that are given, or those of a lock, a plan, or the default plan."""
    if cache and opencode and not (lock_file or plan_file or models):
        return cache, opencode
    if cache or opencode:
        raise BadInputError(
            "give --cache and --opencode, or --plan, or --lock, or nothing for the default plan"
        )
    ready = built(lock_file, models, plan_file, allow_missing=allow_missing)
    return ready.cache, ready.opencode


def of_systems(
    names: Iterable[str],
    lock_file: Path | None,
    models: Path | None,
    plan_file: Path | None,
    *,
    allow_missing: bool = False,
) -> list[tuple[Path, Path]]:
    """The cache and the program for each of the systems; `linux` is all Linux systems that the lock has.

    Raises BadInputError for a system that the lock does not have, and all that `pipeline` raises.
    """
    if lock_file is None:
        chosen, is_default = options.planned(plan_file, None, [], [], [], [])
        models = Path(chosen.catalogue) if chosen.catalogue else None
        lock_file = pipeline.locked(chosen, is_default=is_default, allow_missing=allow_missing)
    elif plan_file:
        raise BadInputError(
            f"--plan: nothing is resolved anew for --lock {lock_file}; leave one of the two out"
        )
    linux = [name for name in lock.read(lock_file).opencode.binaries if "linux" in name]
    wanted = dict.fromkeys(one for name in names for one in (linux if name == "linux" else [name]))
    return [pipeline.ready_for_system(lock_file, models, platforms.named(name)) for name in wanted]
