"""What the configuration starts with `npx` and the like: that it starts from the cache, and its tools.

An MCP server is asked by itself here (`initialize`, `tools/list`). The arguments that a user gives are known
to no plan, so a server that ends without any is started once more with its directory, which is what most of
these want; what then ends with a word of its own lacks nothing that a cache could hold.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError, TooSlowError
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import configured
from opencode_cache.prove.child.mcp_server import McpServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.prove.child.record import Patience, Record, Subject

_ANSWER_TIMEOUT = 30
_VERSION_TIMEOUT = 60
_ARGUMENTS = ((), (".",))
_NOT_ANSWERED = 97
_NO_RUNNER = f"#!/bin/sh\nexit {_NOT_ANSWERED}\n"
_START = """
const { BUN_BE_BUN, OPENCODE_CACHE_COMMAND, ...env } = process.env
const stdio = ["inherit", "inherit", "inherit"]
const child = Bun.spawn(JSON.parse(OPENCODE_CACHE_COMMAND), { stdio, env })
await child.exited
process.exit(child.exitCode ?? 128)
"""
"""Starts a command as OpenCode does: what the wrapper preloads sees it and answers it from the cache."""
_LACKING = tuple(
    re.compile(pattern)
    for pattern in (
        r"Cannot find (?:module|package|native)|Could not (?:resolve|locate)",
        r"was compiled against a different|cannot open shared object|ENOENT.*node_modules",
        r"MODULE_NOT_FOUND",
    )
)
"""What programs say that lack a part of themselves, the clearest first."""
_NO_TOOLS = -32601
_SHOWN = 200


@dataclass(frozen=True)
class _Ended:
    """A program that ended before it answered."""

    status: int
    words: str


def prove_command(subject: Subject, record: Record, entry: Entry) -> McpServer | None:
    """One step for a command of the cache; the MCP server that it turns out to be."""
    servers: list[McpServer] = []

    def starts(patience: Patience) -> str:
        package = json.loads((subject.cache / entry.path / "package.json").read_text(encoding="utf-8"))
        command = _command(entry, package)
        if not _is_server(subject.cache, entry, package):
            return f"{entry.version}: {_told(_version(subject, patience, command))}"
        ended = _Ended(0, "")
        for arguments in _ARGUMENTS:
            answer = _asked(subject, record, patience, (*command, *arguments))
            if isinstance(answer, str):
                return f"{entry.version}: {answer}"
            if isinstance(answer, list):
                server = McpServer(entry, (*command, *arguments), tuple(answer))
                servers.append(server)
                given = f", started with `{' '.join(arguments)}`" if arguments else ""
                return f"{entry.version}: an MCP server with {_count(len(answer), 'tool')}{given}"
            ended = answer
        return f"{entry.version}: {_told(ended)}"

    record.step(f"command {entry.spec}", starts)
    return servers[0] if servers else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _command(entry: Entry, package: dict[str, Any]) -> tuple[str, ...]:
    """As a person would write it: of several programs, none of which is the package's own, the first one."""
    programs, own = package.get("bin"), entry.name.rpartition("/")[2]
    if isinstance(programs, dict) and len({*programs.values()}) > 1 and own not in programs:
        return ("npx", "-y", "-p", entry.spec, next(iter(programs)))
    return ("npx", "-y", entry.spec)


def _is_server(cache: Path, entry: Entry, package: dict[str, Any]) -> bool:
    """Whether it may be an MCP server: by its dependencies, or as its package.json speaks of it."""
    if (cache / entry.modules / "@modelcontextprotocol").is_dir():
        return True
    return "mcp" in json.dumps([package.get(key) for key in ("name", "description", "keywords")]).lower()


def _told(ended: _Ended) -> str:
    """What to say of a program that ended by itself. Raises CheckFailedError where it lacks a part."""
    if ended.status == _NOT_ANSWERED and not ended.words:
        raise CheckFailedError("the cache does not answer `npx` with it")
    lacking = next((match for one in _LACKING if (match := one.search(ended.words))), None)
    if lacking or ended.status >= 128:  # noqa: PLR2004 - a shell's way to say which signal
        heart = ended.words[lacking.start() if lacking else 0 :]
        raise CheckFailedError(f"ended with {ended.status}: {heart[:_SHOWN] or 'it said nothing'}")
    if ended.status == 0:
        return "starts"
    return f"starts, and wants something of yours: {ended.words[:_SHOWN] or 'it says nothing'}"


@contextmanager
def _started(subject: Subject, home: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command, with a PATH on which nobody else can answer it."""
    runners = home / "runners"
    runners.mkdir()
    (runners / "npx").write_text(_NO_RUNNER, encoding="utf-8")
    (runners / "npx").chmod(0o755)
    extra = subject.extra | {"BUN_BE_BUN": "1", "OPENCODE_CACHE_COMMAND": json.dumps(command)}
    environment = opencode.environment(home, extra)
    environment["PATH"] = f"{runners}{os.pathsep}{environment['PATH']}"
    with (home / "tmp" / "said").open("w+b") as errors:
        process = subprocess.Popen(
            [subject.program, "--no-install", "-e", _START],
            cwd=home / "work",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _words(home: Path) -> str:
    text = (home / "tmp" / "said").read_text(encoding="utf-8", errors="replace")
    return " ".join(text.split())


def _version(subject: Subject, patience: Patience, command: Sequence[str]) -> _Ended:
    """What becomes of a program that is no MCP server."""
    limit = patience.limit(_VERSION_TIMEOUT)
    with opencode.private_home() as home, _started(subject, home, [*command, "--version"]) as process:
        output, _ = process.communicate(timeout=limit)
        return _Ended(process.returncode, _words(home) or " ".join(output.decode("utf-8", "replace").split()))


def _asked(
    subject: Subject, record: Record, patience: Patience, command: Sequence[str]
) -> list[str] | _Ended | str:
    """The tools of an MCP server; or how it ended; or what it waits for."""
    before = len(record.log())
    limit = patience.limit(_ANSWER_TIMEOUT)
    with opencode.private_home() as home, _started(subject, home, command) as process:
        talk = _Talk(process, time.monotonic() + limit)
        try:
            return talk.tools()
        except TooSlowError:
            hosts = list(dict.fromkeys(wanted.name for wanted in record.log()[before:]))
            if hosts:
                return f"starts, and waits for {', '.join(hosts)}"
            if patience.again == 1:
                raise TooSlowError(f"it does not answer `tools/list` within {limit:.0f} s") from None
            # One that listens elsewhere, as long as no arguments say otherwise.
            return f"starts, and says nothing on its standard streams for {limit:.0f} s"
        except EOFError:
            status = process.wait(limit)
            return _Ended(status, _words(home))


class _Talk:
    """JSON-RPC on standard streams, a message a line (modelcontextprotocol.io, "Transports")."""

    def __init__(self, process: subprocess.Popen[bytes], end: float) -> None:
        self._process, self._end, self._heard, self._last = process, end, b"", 0

    def tools(self) -> list[str]:
        """The names of all tools, sorted. Raises EOFError where it ends, TooSlowError."""
        greeting = {"protocolVersion": "2025-06-18", "capabilities": {}}
        self._ask("initialize", greeting | {"clientInfo": {"name": "opencode-cache", "version": "1"}})
        self._send({"method": "notifications/initialized"})
        names: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self._ask("tools/list", cursor)
            names += [str(tool.get("name")) for tool in page.get("tools", [])]
            if not page.get("nextCursor"):
                return sorted(names)
            cursor = {"cursor": page["nextCursor"]}

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        while True:
            message = self._read()
            if "method" in message:
                if "id" in message:  # a question of the server's own
                    error = {"code": _NO_TOOLS, "message": "not here"}
                    self._send({"id": message["id"], "error": error})
            elif message.get("id") == self._last:
                if (message.get("error") or {}).get("code") == _NO_TOOLS:
                    return {}  # a server of resources or prompts alone
                if "error" in message:
                    raise CheckFailedError(f"`{method}`: {json.dumps(message['error'])[:_SHOWN]}")
                return dict(message.get("result") or {})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _read(self) -> dict[str, Any]:
        """The next message; what else it prints is passed over, as the protocol's own SDK does."""
        while True:
            line, end, rest = self._heard.partition(b"\n")
            if end:
                self._heard = rest
                with suppress(ValueError, RecursionError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        return message
                continue
            self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            left = self._end - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TooSlowError
        block = os.read(self._process.stdout.fileno(), 1 << 16)
        if not block:
            raise EOFError
        self._heard += block


def check_connected(subject: Subject, server: opencode.Server, seconds: float) -> None:
    """Raises CheckFailedError or TooSlowError for a server that a running OpenCode is not connected to."""
    for one in subject.mcp_servers():
        told = configured.asked(server, "/mcp", seconds).get(one.name) or {}
        words = str(told.get("error") or told.get("status") or "OpenCode does not know of it")
        if told.get("status") != "connected":
            raise (TooSlowError if "timed out" in words else CheckFailedError)(f"{one.entry.spec}: {words}")
