"""The command that says why something is in the cache, or how to get it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import options
from opencode_cache.cli.app import app
from opencode_cache.formats import lock, manifest, shipped
from opencode_cache.inspect import explain
from opencode_cache.layouts import accepts
from opencode_cache.opencode import ask, plugins

if TYPE_CHECKING:
    from opencode_cache.inspect.explain import Explanation, Found


@app.command("explain", epilog="Example: opencode-cache explain zod --cache cache --opencode ./opencode")
def explain_command(
    spec: Annotated[
        str,
        typer.Argument(help="A spec of the plan, a package's name, name@version, or a place: packages/…"),
    ],
    cache: Annotated[
        Path | None, typer.Option("--cache", help="A cache made by `build`.", metavar="DIR")
    ] = None,
    lock_file: Annotated[
        Path | None,
        typer.Option(
            "--lock", help="A lock file; the one that is shipped if nothing is given.", metavar="LOCK"
        ),
    ] = None,
    opencode: Annotated[
        Path | None, typer.Option("--opencode", help="Would this OpenCode accept it?", metavar="BIN")
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """Say where the cache has something, who needs it, and whether OpenCode accepts it."""
    subject = _subject(cache, lock_file, opencode)
    explanation = explain.explain(spec, subject)
    if plugins.ignored(spec, subject.opencode):
        explanation = explanation.model_copy(update={"bundled": True, "add": None, "verdicts": ()})
    sdk = explanation.add is not None and explain.is_sdk(spec)
    if sdk and opencode and not subject.refused and ask.bundles(opencode, spec):
        explanation = explanation.model_copy(update={"bundled": True, "add": None})
    if json:
        answer.model(explanation)
    else:
        _print(explanation)
    if sdk and not opencode:
        console.step("OpenCode may have that SDK compiled in; with --cache and --opencode, it is asked")
    if not explanation.found and not explanation.bundled:
        near = f"; the nearest are {', '.join(explanation.near)}" if explanation.near else ""
        raise CheckFailedError(f"{explanation.where}: has no {spec}{near}")
    refused = [verdict for verdict in explanation.verdicts if not verdict.accepted]
    if refused:
        raise CheckFailedError(f"{explanation.where}: {refused[0].spec}: {refused[0].why}")


def _subject(cache: Path | None, lock_file: Path | None, opencode: Path | None) -> explain.Subject:
    if cache is not None:
        contents = manifest.read(cache)
        refused = None
        if opencode is not None:
            try:
                accepts.accepted(opencode, contents.opencode)
            except BadInputError as error:
                refused = str(error)
        return explain.of_cache(cache, contents, lock.read(lock_file) if lock_file else None, refused)
    if opencode is not None:
        raise BadInputError("--opencode checks what a cache would be accepted as; give --cache as well")
    path = lock_file or shipped.lock_for(shipped.default_version())
    if path is None:
        raise BadInputError("give --cache or --lock")
    return explain.of_lock(path, lock.read(path))


def _print(explanation: Explanation) -> None:
    lines = [line for one in explanation.found for line in _lines(one)]
    for verdict in explanation.verdicts:
        says = "accepts" if verdict.accepted else "does not accept"
        lines.append(f"OpenCode {explanation.opencode} {says} {verdict.kind} {verdict.spec}: {verdict.why}")
    if explanation.bundled:
        ignored = plugins.ignored(explanation.spec, explanation.opencode)
        bundled = (
            f"OpenCode {explanation.opencode} has {explanation.spec} compiled in, and looks for it nowhere"
        )
        lines.append(f"{explanation.spec}: {plugins.TAKE_IT_OUT}" if ignored else bundled)
    elif explanation.add:
        lines.append(
            f"{'Only others find it there. ' if explanation.found else ''}To add it: {explanation.add}"
        )
    answer.lines(lines)


def _lines(package: Found) -> list[str]:
    facts = [package.license or "licence unknown"]
    if package.packed is not None:
        facts.append(f"{_size(package.packed)} packed")
    if package.github:
        facts.append(f"from github:{package.github}")
    lines = [f"{package.name} {package.version} ({', '.join(facts)})"]
    if package.integrity:
        lines.append(f"  {package.integrity}")
    for copy in package.copies:
        size = f" ({_size(copy.bytes)})" if copy.bytes is not None else ""
        lines.append(f"  {copy.place}{size}")
        for need in copy.needs:
            way = f": {' -> '.join(need.chain)}" if len(need.chain) > 1 else ""
            lines.append(f"    for {need.kind} {need.spec}{way}")
    return lines


def _size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{size / 1000:.1f} kB"  # noqa: PLR2004
