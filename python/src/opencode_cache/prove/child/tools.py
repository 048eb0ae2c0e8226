"""npm tools: that they start, and that OpenCode gets diagnostics out of the language servers.

`opencode debug lsp diagnostics FILE` (tried on 1.14.34, 1.17.0 and 1.18.33) opens the file in every server
that is for it, waits a few seconds, and prints what they found as JSON: path -> list. A server that is slow
at its first start is not waited for, so it gets more than one chance.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError, TooSlowError
from opencode_cache.opencode import run as opencode
from opencode_cache.opencode.tools import TOOLS
from opencode_cache.prove.child.record import ended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.opencode.tools import Tool
    from opencode_cache.prove.child.record import Patience, Record, Subject

_START_TIMEOUT = 30
_VERSION_TIMEOUT = 120
_TRIES = 3
_HEADER = re.compile(rb"Content-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n")


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
        why = tool.remark or f"there is no {tool.project} here"
        if subject.alone:
            why = "OpenCode 2 starts no language servers"
        elif tool.sample and (not tool.project or typescript):
            return _diagnosed(subject, patience, tool, home, typescript)
        environment = opencode.environment(home, extra)
        started([*start, *tool.start], home, environment, patience.limit(_START_TIMEOUT))
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


def _diagnosed(subject: Subject, patience: Patience, tool: Tool, home: Path, typescript: Path | None) -> str:
    assert tool.sample is not None  # noqa: S101 - for mypy; the caller has looked
    work = home / "work"
    (work / tool.sample.name).write_text(tool.sample.text, encoding="utf-8")
    if tool.project and typescript:
        (work / "node_modules").mkdir()
        (work / "node_modules" / "typescript").symlink_to(typescript)
    others = {one.server for one in TOOLS.values() if one.server and one is not tool}
    opencode.write_config(home, {"lsp": {name: {"disabled": True} for name in sorted(others)}})
    for _ in range(_TRIES):
        done = subject.run(patience, home, "debug", "lsp", "diagnostics", tool.sample.name)
        if done.returncode != 0:
            raise CheckFailedError(f"{tool.sample.name}: {ended(done)}")
        count = sum(map(len, diagnostics(done.stdout).values()))
        if count:
            mistakes = "a mistake" if count == 1 else f"{count} mistakes"
            return f"shows OpenCode {mistakes} in {tool.sample.name}"
    raise CheckFailedError(f"{tool.sample.name}: OpenCode got no diagnostics from it")


def diagnostics(printed: str) -> dict[str, list[Any]]:
    """What `debug lsp diagnostics` printed. Raises ValueError where that is no such table."""
    document = json.loads(printed or "{}")
    if not isinstance(document, dict) or not all(isinstance(listed, list) for listed in document.values()):
        raise ValueError(f"no table of diagnostics: {printed[:200]}")
    return document


def started(
    command: Sequence[str], home: Path, environment: dict[str, str], limit: float = _START_TIMEOUT
) -> None:
    """Start a language server and say `initialize`.

    Raises CheckFailedError where it ends without an answer, TooSlowError where it gives none within `limit`
    seconds.
    """
    hello: dict[str, object] = {"processId": None, "rootUri": (home / "work").as_uri(), "capabilities": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
    with (
        (home / "tmp" / "said").open("w+b") as errors,
        subprocess.Popen(
            command,
            cwd=home / "work",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,  # a server that ended leaves nothing to be flushed at it
        ) as process,
    ):
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            with suppress(BrokenPipeError):
                process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            answer = _answer(process, limit)
            if answer is None:
                raise TooSlowError(f"it does not answer `initialize` within {limit:.0f} s")
            if "capabilities" not in answer:
                errors.seek(0)
                words = " ".join(errors.read().decode("utf-8", "replace").split())[-300:]
                if answer:
                    words = " ".join(answer.split())[-300:]
                raise CheckFailedError(f"it does not answer `initialize`: {words or 'it says nothing'}")
        finally:
            process.kill()


def _answer(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """The message that answers request 1, right or wrong; "" where it ends first, None if time runs out."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    limit, heard = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := limit - time.monotonic()) > 0:
            if not selector.select(left):
                return None
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                return ""
            heard += block
            while (start := _HEADER.search(heard)) and len(heard) >= start.end() + int(start[1]):
                message = heard[start.end() : start.end() + int(start[1])]
                heard = heard[start.end() + int(start[1]) :]
                if _is_answer(message):
                    return message.decode("utf-8", "replace")
    return None


def _is_answer(message: bytes) -> bool:
    """Whether it answers request 1: a request of the server's own has a `method`, and maybe that number."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("id") == 1 and "method" not in document
