"""The command that says whom a network has to let OpenCode ask."""

from __future__ import annotations

from enum import Enum
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue import document
from opencode_cache.cli import options, tables
from opencode_cache.cli.app import app
from opencode_cache.cli.configuration import read_configuration
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import where_and_when
from opencode_cache.inspect import host_formats, hosts, inventory
from opencode_cache.opencode import embedded


class _Format(str, Enum):
    PLAIN = "plain"
    SQUID = "squid"
    NETWORKPOLICY = "networkpolicy"


_WRITERS = {
    _Format.PLAIN: host_formats.plain,
    _Format.SQUID: host_formats.squid,
    _Format.NETWORKPOLICY: host_formats.network_policy,
}


@app.command("hosts", epilog="Example: opencode-cache hosts --cache cache --provider anthropic --json")
def hosts_command(
    cache: options.Cache,
    opencode: Annotated[
        Path | None,
        typer.Option("--opencode", help="The OpenCode program; its catalogue, its proof.", metavar="BIN"),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="What `verify --json` wrote; default: the last one.", metavar="FILE"),
    ] = None,
    provider: Annotated[
        list[str], typer.Option("--provider", help="A provider that you use; repeatable.", metavar="ID")
    ] = [],  # noqa: B006 - typer makes a new list each time
    config: options.ConfigFiles = [],  # noqa: B006
    project: options.Projects = [],  # noqa: B006
    form: Annotated[
        _Format | None, typer.Option("--format", help="For a proxy, for Cilium, or one host a line.")
    ] = None,
    *,
    no_config: Annotated[
        bool, typer.Option("--no-config", help="Leave your OpenCode configuration out.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="Also what you may ask OpenCode for: sharing, searches, …")
    ] = False,
    json: options.Json = False,
) -> None:
    """The allow-list: every host and address that OpenCode asks for, by whom and when.

    From the last proof, from your OpenCode configuration (its MCP servers, providers, addresses and plugins)
    and from what the options name.
    """
    if form and json:
        raise BadInputError("give either --format or --json")
    if no_config and (config or project):
        raise BadInputError("--no-config: leaves out what --config and --project name; give one of them")
    contents = manifest.read(cache)
    last_proof = inventory.proved(cache, contents, proof, opencode)
    proved = where_and_when(last_proof.proof) if last_proof and last_proof.proof.complete else None
    listed = hosts.allow_list(
        contents,
        last_proof.proof if last_proof else None,
        proved,
        once(partial(_catalogue, cache, opencode)),
        provider,
        None if no_config else read_configuration(config, project),
        features=features,
    )
    if proved is None:
        console.step("it is not proved that nothing else is asked for; do that with `opencode-cache verify`")
    for sentence in listed.untold:
        console.step(f"not in the list: {sentence}")
    if not any(row.source == "provider" or row.who.startswith("provider ") for row in listed.rows):
        console.step("without the hosts of your models: name their providers with --provider")
    if json:
        answer.model(listed)
    elif form:
        answer.lines(_WRITERS[form](listed).splitlines())
    else:
        console.stdout().print(tables.hosts_table(listed))


def _catalogue(cache: Path, opencode: Path | None) -> dict[str, Any]:
    """The catalogue that OpenCode reads with this cache."""
    path = cache / "models.json"
    if path.exists():
        return document.read(path)
    if opencode is None:
        raise BadInputError(f"{cache}: has no catalogue of its own; give the program with --opencode")
    return embedded.catalogue(opencode)
