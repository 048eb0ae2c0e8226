"""What `bundle` and `image` have in common: for which systems, what comes along, and whose proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache import pipeline
from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options, preset, subject
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import verdict
from opencode_cache.inspect import inventory
from opencode_cache.layouts import accepts
from opencode_cache.npm import nodejs, platforms
from opencode_cache.ship import items, proving
from opencode_cache.ship.installation import Choices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.proof import Proof
    from opencode_cache.ship.installation import Prover
    from opencode_cache.ship.items import Item


@dataclass(frozen=True)
class Asked:
    """The options that both commands have."""

    plan_file: Path | None
    lock_file: Path | None
    models: Path | None
    cache: Path | None
    opencode: Path | None
    systems: list[str]
    ripgrep: Path | None
    node: Path | None
    programs: Mapping[str, Path]
    proof: Path | None
    emulator: Path | None
    sysroot: Path | None
    preset_file: Path | None
    accept_licences: list[str]
    offline: bool
    allow_missing: bool
    no_prove: bool


@dataclass(frozen=True)
class Part:
    """What ships to machines of one system."""

    system: str
    cache: Path
    opencode: Path
    choices: Choices


def parts(asked: Asked) -> list[Part]:
    """One for each system that is asked for; without any, that of what is given, or this machine's.

    Raises BadInputError for options that do not go together, for a preset or a proof of something else;
    CheckFailedError for a proof that is not complete; and all that `pipeline` raises.
    """
    return [_part(asked, cache, opencode) for cache, opencode in _pairs(asked)]


def _pairs(asked: Asked) -> list[tuple[Path, Path]]:
    sources = asked.lock_file, asked.models, asked.plan_file
    if not asked.systems:
        pair = subject.cache_and_program(
            asked.cache, asked.opencode, *sources, allow_missing=asked.allow_missing
        )
        options.runs_here(manifest.read(pair[0]).system, asked.emulator, asked.sysroot)
        return [pair]
    if asked.cache or asked.opencode or asked.proof or asked.emulator or asked.sysroot:
        raise BadInputError(
            "--system: needs --lock, --plan or neither, and nothing that is of one system; leave it out"
        )
    return subject.of_systems(asked.systems, *sources, allow_missing=asked.allow_missing)


def _part(asked: Asked, cache: Path, opencode: Path) -> Part:
    system = manifest.read(cache).system

    def fits(file: Path) -> bool:
        """Of several systems, each gets the programs that it can run."""
        return not asked.systems or items.suits(file, system)

    ripgrep, node = (file if file and fits(file) else None for file in (asked.ripgrep, asked.node))
    choices = Choices(
        ripgrep=ripgrep,
        node=_node(asked, cache, opencode, ripgrep, node),
        programs={name: file for name, file in asked.programs.items() if fits(file)},
        offline=asked.offline,
        prove=_prover(asked, cache, opencode),
        accept_licences=asked.accept_licences,
        preset=preset.checked(asked.preset_file, cache, opencode),
    )
    return Part(system, cache, opencode, choices)


def _prover(asked: Asked, cache: Path, opencode: Path) -> Prover | None:
    """What gives the proof that travels along.

    Of several systems, what does not run here is shipped with the last proof of it, or without any.
    """
    contents = manifest.read(cache)
    is_ours = contents.system == platforms.current().name
    no_prove = asked.no_prove or (bool(asked.systems) and not is_ours)
    binary = opencode if is_ours else None  # what does not run here cannot be asked
    last = inventory.proved(cache, contents, asked.proof, binary) if asked.proof or no_prove else None
    if asked.proof and last and not last.proof.complete:
        raise CheckFailedError(f"{asked.proof}: {verdict(last.proof)}; what is not proved is not shipped")
    if no_prove and not last:
        console.step(f"for {contents.system}: not proved, and no proof travels along")
        return None

    def prove(items: Mapping[str, Item]) -> Proof:
        proof = last.proof if last else proving.as_it_ships(items, cache)
        if asked.cache:  # else its hosts were told when it was made
            pipeline.say_who_asks(proof)
        return proof

    return prove


def _node(asked: Asked, cache: Path, opencode: Path, ripgrep: Path | None, node: Path | None) -> Path | None:
    """The Node.js to bring along, with a word on what is not. Raises BadInputError for another OpenCode."""
    if not ripgrep:
        console.step(
            "without ripgrep, which OpenCode downloads from GitHub where PATH has none; "
            "give --ripgrep BIN, a static one of github.com/BurntSushi/ripgrep/releases (…-musl)"
        )
    contents = manifest.read(cache)
    is_ours = contents.system == platforms.current().name
    to_be_proved = not (asked.no_prove or asked.systems)
    try:
        if is_ours or to_be_proved:
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
