"""The command that puts the wrapped program where a shell finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from opencode_cache.base import answer, console, roots, store
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options, subject
from opencode_cache.cli.app import app


@app.command("install", epilog="Example: opencode-cache install --plugin opencode-gemini-auth")
def install_command(
    plan_file: options.Plan = None,
    opencode_version: options.Version = None,
    provider: options.Providers = [],  # noqa: B006 - typer makes a new list each time
    plugin: options.Plugins = [],  # noqa: B006
    tool: options.Tools = [],  # noqa: B006
    resolve: options.Resolve = [],  # noqa: B006
    before: options.Before = None,
    lock_file: options.LockAsIs = None,
    models: options.LockModels = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The program's name; default: ~/.local/bin/opencode.", metavar="FILE"),
    ] = None,
    *,
    allow_missing: options.AllowMissing = False,
    prove: options.Prove = False,
) -> None:
    """Do what `run` does, but leave a link to the wrapped program on PATH in place of starting it."""
    link = (to or _default()).expanduser().absolute()
    _refuse_what_is_not_ours(link)
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
    roots.leave(built.program, link)
    for line in _next(link, lock_file, plugin):
        console.step(line)
    answer.path(link)


def _default() -> Path:
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        raise BadInputError(f"HOME is {home!r}, not a directory; set HOME, or give --to FILE")
    return Path(home) / ".local" / "bin" / "opencode"


def _refuse_what_is_not_ours(link: Path) -> None:
    """Another OpenCode of that name is not replaced."""
    if link.is_dir() and not link.is_symlink():
        raise BadInputError(f"{link}: is a directory; give --to {link / 'opencode'}")
    root = store.default().root
    if os.path.lexists(link) and not (
        link.is_symlink() and Path(os.readlink(link)).is_relative_to(root)  # noqa: PTH115 - a link to a link
    ):
        raise BadInputError(f"{link}: is not ours; move it away, or give --to FILE")


def _next(link: Path, lock_file: Path | None, plugins: list[str]) -> list[str]:
    """What to do now, a line each."""
    directories = os.environ.get("PATH", "").split(os.pathsep)
    first = next((one for one in directories if os.access(Path(one) / link.name, os.X_OK)), None)
    lines = []
    if str(link.parent) not in directories:
        lines.append(f'put it on PATH: export PATH="{link.parent}:$PATH" in your shell\'s start-up file')
    elif first and Path(first) != link.parent:
        lines.append(f"{first}/{link.name} comes first on PATH; move that away, or {link.parent} before it")
    if plugins:
        lines.append(f"name {', '.join(plugins)} under `plugin` in opencode.json, too")
    again = f" --lock {lock_file}" if lock_file else ""
    lines.append(f"to update it: opencode-cache install{again} with another lock, plan or --opencode-version")
    lines.append("to remove it: opencode-cache remove --user, then opencode-cache gc --keep 0")
    return lines
