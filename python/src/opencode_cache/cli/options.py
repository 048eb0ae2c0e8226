"""Options that several commands share, and the plan that they describe."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import ages, plan, shipped
from opencode_cache.npm import platforms
from opencode_cache.opencode import tools
from opencode_cache.sandbox import foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _complete(words: Iterable[str]) -> Callable[[str], list[str]]:
    """For the shell's completion: those of the words that go on from what is typed."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


Lock = Annotated[Path, typer.Option("--lock", help="The lock file.", metavar="LOCK")]
Cache = Annotated[Path, typer.Option("--cache", help="A cache made by `build`.", metavar="DIR")]
CacheOrMade = Annotated[
    Path | None,
    typer.Option("--cache", help="A cache made by `build`; else what `run` makes.", metavar="DIR"),
]
BinaryOfCache = Annotated[
    Path | None, typer.Option("--opencode", help="With --cache: the OpenCode program.", metavar="BIN")
]
Binary = Annotated[Path, typer.Option("--opencode", help="The OpenCode program.", metavar="BIN")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ProofOfIt = Annotated[
    Path | None,
    typer.Option("--proof", help="What `verify --json` wrote of this cache and program.", metavar="FILE"),
]
Ripgrep = Annotated[
    Path | None,
    typer.Option("--ripgrep", help="A static ripgrep to bring along; default: none.", metavar="BIN"),
]
Node = Annotated[
    Path | None,
    typer.Option(
        "--node", help="A Node.js that runs by itself, for npm tools; default: PyPI's.", metavar="BIN"
    ),
]
Programs = Annotated[
    list[str],
    typer.Option(
        "--program",
        help="A single program to bring along on OpenCode's PATH: gopls=./gopls.",
        metavar="NAME=FILE",
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline/--online", help="Whether OpenCode may look for newer things.")
]
Prove = Annotated[bool, typer.Option("--prove", help="Prove here what was proved before, or elsewhere.")]
NoProve = Annotated[
    bool, typer.Option("--no-prove", help="Ship it as it is, with the last proof of it if there is one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
System = Annotated[
    str | None,
    typer.Option(
        "--system",
        help="Default: this machine's.",
        metavar="SYSTEM",
        autocompletion=_complete(platforms.SYSTEMS),
    ),
]
Emulator = Annotated[
    Path | None,
    typer.Option("--emulator", help="For another CPU: qemu-aarch64-static, …", metavar="PROGRAM"),
]
Sysroot = Annotated[
    Path | None,
    typer.Option("--sysroot", help="Libraries of another system: a root directory of it.", metavar="DIR"),
]
Systems = Annotated[
    list[str],
    typer.Option(
        "--system",
        help="Also for others, each with one --system; `linux`: all Linux systems of the lock.",
        metavar="SYSTEM",
        autocompletion=_complete([*platforms.SYSTEMS, "linux"]),
    ),
]
LockAsIs = Annotated[
    Path | None,
    typer.Option("--lock", help="A lock, taken as it stands: nothing is resolved.", metavar="LOCK"),
]
LockModels = Annotated[
    Path | None,
    typer.Option("--models", help="With --lock: the catalogue that its plan named.", metavar="PATH"),
]
Plan = Annotated[Path | None, typer.Option("--plan", help="A plan file (TOML).", metavar="FILE")]
Version = Annotated[str | None, typer.Option("--opencode-version", help="OpenCode to lock.", metavar="V")]
Providers = Annotated[list[str], typer.Option("--provider", help="Add a provider SDK.", metavar="SPEC")]
Plugins = Annotated[list[str], typer.Option("--plugin", help="Add a plugin.", metavar="SPEC")]
Tools = Annotated[
    list[str],
    typer.Option(
        "--tool",
        help="Add an npm tool (LSP, formatter).",
        metavar="SPEC",
        autocompletion=_complete(tools.TOOLS),
    ),
]
Resolve = Annotated[
    list[str], typer.Option("--resolve", help="Version range behind a spec.", metavar="NAME=RANGE")
]
ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config", help="Read this file, and not your own configuration.", metavar="FILE"),
]
Projects = Annotated[
    list[Path],
    typer.Option("--project", help="A project; this directory if nothing is given.", metavar="DIR"),
]
MinAge = Annotated[
    str | None,
    typer.Option("--min-age", help="Only versions that are so old: 7d, 2w.", metavar="AGE"),
]
RequireSignatures = Annotated[
    bool,
    typer.Option("--require-signatures", help="Only what the registry signed, as npm verifies it."),
]
AcceptKeys = Annotated[
    bool, typer.Option("--accept-keys", help="Although the registry's keys are not the last lock's.")
]
Preset = Annotated[
    Path | None,
    typer.Option(
        "--preset",
        help="An opencode.json for everybody who uses it; checked as `plan --check` does.",
        metavar="FILE",
    ),
]
AcceptLicences = Annotated[
    list[str],
    typer.Option("--accept-licence", help="Take a package along that may not be passed on.", metavar="NAME"),
]
Before = Annotated[
    datetime | None,
    typer.Option("--before", formats=["%Y-%m-%d"], help="Only versions published before that day."),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on without what was asked for and cannot be had.")
]


def runs_here(system: str, emulator: Path | None, sysroot: Path | None) -> None:
    """From now on, programs of that system run, by what was named for it. Raises as `foreign.enter`."""
    if emulator or sysroot:
        foreign.enter(system, emulator, sysroot)


def with_floor(chosen: plan.Plan, *, require_signatures: bool, age: str | None) -> plan.Plan:
    """The plan with what the options demand of every package. Raises BadInputError."""
    if age is not None:
        try:
            ages.days(age)
        except ValueError as error:
            raise BadInputError(f"--min-age: {error}") from error
    return chosen.model_copy(
        update={
            "require_signatures": require_signatures or chosen.require_signatures,
            "min_age": age or chosen.min_age,
        }
    )


def pair(option: str, entry: str, form: str, example: str) -> tuple[str, str]:
    """The two sides of an option's `=`. Raises BadInputError."""
    name, equals, value = entry.partition("=")
    if not (name and equals and value):
        raise BadInputError(f"{option} {entry!r}: write it as {form}, for example '{example}'")
    return name, value


def programs(entries: Iterable[str]) -> dict[str, Path]:
    """What `--program` names. Raises BadInputError."""
    named: dict[str, Path] = {}
    for entry in entries:
        name, file = pair("--program", entry, "NAME=FILE", "gopls=./gopls")
        if name in named:
            raise BadInputError(f"--program {entry!r}: {name} is given twice; take one away")
        named[name] = Path(file)
    return named


def planned(
    file: Path | None,
    version: str | None,
    providers: list[str],
    plugins: list[str],
    tools: list[str],
    resolves: list[str],
) -> tuple[plan.Plan, bool]:
    """The plan that the options describe, and whether it is the version's default one."""
    base = plan.read(file, version) if file else plan.default(version or shipped.default_version())
    extra = dict(pair("--resolve", entry, "NAME=RANGE", "@ai-sdk/anthropic=^2") for entry in resolves)
    chosen = base.with_more({"extra_providers": providers, "plugins": plugins, "tools": tools}, extra)
    return chosen, file is None and chosen == base
