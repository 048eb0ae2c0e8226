"""A client of `opencode serve`: a bash tool call and a web terminal, and what each of them sees.

    drive_server.py PROGRAM COMMAND FILE

starts the program's server on a free port, asks for a bash tool call of COMMAND, and has the terminal write
its environment to FILE. Prints what came of it as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

LIMIT = 60


class Server:
    def __init__(self, program: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [program, "serve", "--port", str(self.port), "--hostname", "127.0.0.1"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def ask(
        self, method: str, path: str, body: object = None, *, password: str | None = None
    ) -> tuple[int, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        if password:
            user = os.environ.get("OPENCODE_SERVER_USERNAME", "opencode")
            word = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("authorization", f"Basic {word}")
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:  # noqa: S310 - this machine's
                text = answer.read()
                return answer.status, json.loads(text) if text[:1] in b"[{" else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def wait(self) -> None:
        """Until it says that it listens."""
        for line in self.process.stdout:
            sys.stderr.buffer.write(line)
            if b"listening" in line:
                return
        raise SystemExit("the server does not listen")


def main() -> None:
    program, command, file = sys.argv[1:]
    password = os.environ.get("OPENCODE_SERVER_PASSWORD")
    server = Server(program)
    try:
        server.wait()
        nobody, _ = server.ask("GET", "/session")
        status, session = server.ask("POST", "/session", {}, password=password)
        message = {
            "model": {"providerID": "extra", "modelID": "mock-model"},
            "parts": [{"type": "text", "text": f"RUN:{command}:END"}],
        }
        server.ask("POST", f"/session/{session['id']}/message", message, password=password)
        wanted = {
            "command": "/bin/sh",
            "args": ["-c", f"env -0 >'{file}.new'; mv '{file}.new' '{file}'; sleep 1"],
        }
        terminal, said = server.ask("POST", "/pty", wanted, password=password)
        end = time.monotonic() + 10
        while not Path(file).exists() and time.monotonic() < end:
            time.sleep(0.1)
        json.dump(
            {"nobody": nobody, "user": status, "terminal": terminal, "said": str(said)[:300]}, sys.stdout
        )
    finally:
        server.process.terminate()
        server.process.wait(10)


if __name__ == "__main__":
    main()
