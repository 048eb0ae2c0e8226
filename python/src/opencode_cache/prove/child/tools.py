"""npm tools: that they start, and that OpenCode gets diagnostics out of the language servers.

`opencode debug lsp diagnostics FILE` (tried on 1.14.34, 1.17.0 and 1.18.33) opens the file in every server
that is for it, waits a few seconds, and prints what they found as JSON: path -> list. A server that is slow
at its first start is not waited for, so it gets more than one chance. Where the machine is slow every time,
the server is asked directly, and the detail says that OpenCode does not wait for it there.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.opencode import run as opencode
from opencode_cache.opencode.tools import TOOLS
from opencode_cache.prove.child.language_server import started
from opencode_cache.prove.child.record import ended

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.opencode.tools import Tool
    from opencode_cache.prove.child.language_server import LanguageServer
    from opencode_cache.prove.child.record import Patience, Record, Subject

_START_TIMEOUT = 30
_VERSION_TIMEOUT = 120
_TRIES = 3


def prove_tool(subject: Subject, record: Record, entry: Entry) -> None:
    """One step for a tool of the cache: with the `node` on PATH, else with the Bun inside OpenCode."""

    def starts(patience: Patience) -> str:
        links = _own_commands(subject.cache, entry)
        detail = f"{entry.version}: {', '.join(link.name for link in links)}"
        tool = TOOLS.get(entry.name)
        if tool is None:
            return detail
        return f"{detail}; {_prove(subject, patience, tool, links[0].parent / tool.command)}"

    record.step(f"tool {entry.spec}", starts)


def _own_commands(cache: Path, entry: Entry) -> list[Path]:
    """The links in `.bin` that lead to the tool itself."""
    package = (cache / entry.path).resolve()
    links = cache / entry.modules / ".bin"
    own = [link for link in sorted(links.glob("*")) if package in link.resolve().parents]
    broken = [link.name for link in own if not os.access(link, os.X_OK)]
    if broken or not own:
        raise CheckFailedError(
            f"{links}: " + (f"not executable: {', '.join(broken)}" if broken else "has no link to it")
        )
    return own


def _prove(subject: Subject, patience: Patience, tool: Tool, command: Path) -> str:
    with opencode.private_home() as home:
        start, extra = _start(subject, command)
        if not tool.server:
            limit = patience.limit(_VERSION_TIMEOUT)
            done = opencode.run(Path(start[0]), [*start[1:], "--version"], home, extra=extra, timeout=limit)
            if done.returncode != 0:
                raise CheckFailedError(ended(done))
            return "starts"
        typescript = _typescript(subject.cache)
        limit = patience.limit(_START_TIMEOUT)
        server = started([*start, *tool.start], home, opencode.environment(home, extra), limit)
        why = tool.remark or f"there is no {tool.project} here"
        if subject.alone:
            why = "OpenCode 2 starts no language servers"
        elif tool.sample and (not tool.project or typescript):
            return _diagnosed(subject, patience, tool, home, typescript, server)
        with server:
            return f"answers; no diagnostics tried: {why}"


def _start(subject: Subject, command: Path) -> tuple[list[str], dict[str, str]]:
    """How the wrapper has a tool started, and in which environment: without a Node.js, on OpenCode's Bun."""
    extra = dict(subject.extra)
    if shutil.which("node"):
        return [str(command)], extra
    return [str(subject.program), str(command.resolve())], extra | {"BUN_BE_BUN": "1"}


def _typescript(cache: Path) -> Path | None:
    """A TypeScript for a project, out of the cache itself: some servers bring one."""
    for pattern in ("packages/*", "packages/@*/*", "npm/*/1", "npm/@*/*/1"):
        for server in sorted(cache.glob(f"{pattern}/node_modules/typescript/lib/tsserver.js")):
            return server.parents[1]
    return None


def _diagnosed(
    subject: Subject,
    patience: Patience,
    tool: Tool,
    home: Path,
    typescript: Path | None,
    server: AbstractContextManager[LanguageServer],
) -> str:
    assert tool.sample is not None  # noqa: S101 - for mypy; the caller has looked
    name = tool.sample.name
    work = home / "work"
    (work / name).write_text(tool.sample.text, encoding="utf-8")
    if tool.project and typescript:
        (work / "node_modules").mkdir()
        (work / "node_modules" / "typescript").symlink_to(typescript)
    others = {one.server for one in TOOLS.values() if one.server and one is not tool}
    opencode.write_config(home, {"lsp": {name: {"disabled": True} for name in sorted(others)}})
    for _ in range(_TRIES):
        done = subject.run(patience, home, "debug", "lsp", "diagnostics", name)
        if done.returncode != 0:
            raise CheckFailedError(f"{name}: {ended(done)}")
        count = sum(map(len, diagnostics(done.stdout).values()))
        if count:
            return f"shows OpenCode {_counted(count)} in {name}"
    with server as asked:
        count = len(asked.mistakes(name, tool.sample.language))
    return f"shows {_counted(count)} in {name}, later than OpenCode waits for it on this machine"


def _counted(mistakes: int) -> str:
    return "a mistake" if mistakes == 1 else f"{mistakes} mistakes"


def diagnostics(printed: str) -> dict[str, list[Any]]:
    """What `debug lsp diagnostics` printed. Raises ValueError where that is no such table."""
    document = json.loads(printed or "{}")
    if not isinstance(document, dict) or not all(isinstance(listed, list) for listed in document.values()):
        raise ValueError(f"no table of diagnostics: {printed[:200]}")
    return document
