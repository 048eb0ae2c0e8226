"""A language server that is asked directly, as an editor asks: that it answers, and what it finds in a file.

Patience is the caller's, where OpenCode has limits that no setting changes (`src/lsp/client.ts`, 1.18: three
seconds for an answer about a file).
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError, TooSlowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HEADER = re.compile(rb"Content-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n")
_BLOCK = 1 << 16


@contextmanager
def started(
    command: Sequence[str], home: Path, environment: dict[str, str], limit: float = 30
) -> Iterator[LanguageServer]:
    """A server with `home/work` as its project, which has answered `initialize`; it is killed in the end.

    `limit`: seconds for the whole conversation. Raises CheckFailedError where it ends without an answer,
    TooSlowError where it gives none in time.
    """
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
            server = LanguageServer(process, home / "work", limit)
            if not server.initialize():
                errors.seek(0)
                words = " ".join(errors.read().decode("utf-8", "replace").split())[-300:]
                raise CheckFailedError(f"it does not answer `initialize`: {words or 'it says nothing'}")
            yield server
        finally:
            process.kill()


class LanguageServer:
    """A conversation with a server."""

    def __init__(self, process: subprocess.Popen[bytes], work: Path, limit: float) -> None:
        self._process = process
        self._work = work
        self._limit = limit
        self._until = time.monotonic() + limit
        self._heard = b""

    def initialize(self) -> bool:
        """Say hello; False where it ends first. Raises CheckFailedError where it refuses, TooSlowError."""
        folder = {"name": "work", "uri": self._work.as_uri()}
        hello: dict[str, object] = {
            "processId": None,
            "rootUri": folder["uri"],
            "workspaceFolders": [folder],
            "capabilities": {"textDocument": {"publishDiagnostics": {}}},
        }
        self._say(id=1, method="initialize", params=hello)
        for message in self._messages():
            if message.get("id") == 1 and "method" not in message:
                if "capabilities" not in (message.get("result") or {}):
                    raise CheckFailedError(f"it does not answer `initialize`: {json.dumps(message)[-300:]}")
                return True
        if time.monotonic() >= self._until:
            raise TooSlowError(f"it does not answer `initialize` within {self._limit:.0f} s")
        return False

    def mistakes(self, name: str, language: str) -> list[Any]:
        """What it finds in a file of the project that has some. Raises TooSlowError where that is nothing."""
        file = self._work / name
        document = {
            "uri": file.as_uri(),
            "languageId": language,
            "version": 0,
            "text": file.read_text(encoding="utf-8"),
        }
        self._say(method="initialized", params={})
        self._say(method="textDocument/didOpen", params={"textDocument": document})
        for message in self._messages():
            if message.get("method") == "textDocument/publishDiagnostics":
                diagnostics = message["params"]["diagnostics"]
                if isinstance(diagnostics, list) and diagnostics:
                    return diagnostics
        raise TooSlowError(f"{name}: it shows no mistake within {self._limit:.0f} s")

    def _say(self, **message: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _messages(self) -> Iterator[dict[str, Any]]:
        """What it says, until it ends or time runs out; what it asks for, it gets nothing of."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                yield from self._whole_messages()
                left = self._until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return
                block = os.read(self._process.stdout.fileno(), _BLOCK)
                if not block:
                    return
                self._heard += block

    def _whole_messages(self) -> Iterator[dict[str, Any]]:
        while (start := _HEADER.search(self._heard)) and len(self._heard) >= start.end() + int(start[1]):
            message = self._heard[start.end() : start.end() + int(start[1])]
            self._heard = self._heard[start.end() + int(start[1]) :]
            try:
                document = json.loads(message)
            except (ValueError, RecursionError):
                continue
            if not isinstance(document, dict):
                continue
            if "id" in document and "method" in document:
                self._say(id=document["id"], result=None)
            yield document
