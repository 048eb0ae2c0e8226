"""Shows code in OpenCode's interface, offline, and tells in which colours it stands there.

As a module it is what the tests call; as a program it is the child inside the network namespace. `opencode
run` gets an answer from the model server, or a call of the write tool too; the interface then shows that.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pyte

from opencode_cache.base import python
from opencode_cache.sandbox import ask, dialects, netns, reap
from opencode_cache.sandbox.dns_logger import DnsLogger
from opencode_cache.sandbox.loopback import ModelServer

_ROWS, _COLUMNS = 200, 120
_LIMIT = 60
_QUIET = 6
"""Seconds without a change after which nothing more is expected on the screen, or asked for."""
_EVERY = 0.5
"""Seconds between two looks at the screen."""
_END = "THAT-WAS-ALL"


@dataclass
class Shown:
    """What was seen, and asked for."""

    lines: dict[str, list[str]]
    """Text of a line of the screen, without space around it -> the colours in it, each once."""
    hosts: list[str]
    """Each DNS name asked for while the interface was there, once."""
    before: list[str]
    """Each one asked for before it was."""
    problem: str

    def colours(self, line: str) -> list[str]:
        """The colours of the first line on the screen that has this text in it."""
        found = next((colours for text, colours in self.lines.items() if line in text), None)
        assert found is not None, f"{line!r} is not on the screen: {list(self.lines)}"
        return found


def show(program: Path, answer: str, home: Path, *, file: tuple[str, str] | None = None) -> Shown:
    """Show `answer`, and a file (name, text) that the agent writes, until the screen stands still."""
    order = {
        "program": str(program),
        "answer": f"{answer}\n\n{_END}\n",
        "home": str(home),
        "file": file,
    }
    done = subprocess.run(
        netns.command([], [sys.executable, __file__]),
        input=json.dumps(order),
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * _LIMIT,
    )
    assert done.returncode == 0, done.stderr
    shown = Shown(**json.loads(done.stdout))
    assert not shown.problem, shown.problem
    return shown


def _inside(order) -> dict:
    home = Path(order["home"])
    work = home / "work"
    for directory in (work, home / "tmp", home / ".config" / "opencode"):
        directory.mkdir(parents=True, exist_ok=True)
    dialects.ANSWER = order["answer"]
    prompt = "hello"
    if order["file"]:
        name, text = order["file"]
        ask._SHELLS = ("write",)
        dialects._arguments = lambda _: {"filePath": str(work / name), "content": text}
        prompt = "RUN:write:END"
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
    }
    with ModelServer() as models, DnsLogger() as dns:
        options = {"baseURL": f"{models.url}/v1", "apiKey": "loopback"}
        mock = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"mock-model": {}}}
        (home / ".config" / "opencode" / "opencode.json").write_text(
            json.dumps({"provider": {"mock": mock}, "model": "mock/mock-model"})
        )
        done = subprocess.run(
            [order["program"], "run", prompt],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
        before = [name for name, _ in dns.names]
        problem = "" if _END in done.stdout else f"no answer: {done.stdout[-500:]}{done.stderr[-500:]}"
        screen = pyte.Screen(_COLUMNS, _ROWS)
        if not problem:
            problem = _watch(screen, order["program"], work, environment)
        asked = [name for name, _ in dns.names][len(before) :]
        return {
            "lines": _lines(screen),
            "hosts": sorted(set(asked)),
            "before": sorted(set(before)),
            "problem": problem,
        }


def _watch(screen, program: str, work: Path, environment) -> str:
    """Run the interface on the last session; what went wrong, or nothing."""
    stream = pyte.ByteStream(screen)
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    with subprocess.Popen(
        [program, "--continue"],
        cwd=work,
        env=environment | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        limit = time.monotonic() + _LIMIT
        seen, changed, is_done, look = None, time.monotonic(), False, 0.0
        while not is_done and time.monotonic() < limit and process.poll() is None:
            if select.select([outside], [], [], 0.2)[0]:
                stream.feed(os.read(outside, 65536))
            # Reading all of the screen takes more time than drawing it.
            if time.monotonic() < look:
                continue
            look = time.monotonic() + _EVERY
            now = _lines(screen)
            if now != seen:
                seen, changed = now, time.monotonic()
            is_done = any(_END in line for line in now) and time.monotonic() - changed > _QUIET
        ended = process.poll()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    os.close(inside)
    os.close(outside)
    if ended is not None:
        return f"the interface ended with {ended}: {_lines(screen)}"
    return "" if is_done else f"the answer was not shown within {_LIMIT} s: {_lines(screen)}"


def _lines(screen) -> dict[str, list[str]]:
    found = {}
    for y, line in enumerate(screen.display):
        if line.strip():
            cells = (screen.buffer[y][x] for x in range(_COLUMNS))
            found[line.strip()] = sorted({cell.fg for cell in cells if cell.data.strip()})
    return found


if __name__ == "__main__":
    with reap.nothing_left():
        json.dump(_inside(json.load(sys.stdin)), sys.stdout)
