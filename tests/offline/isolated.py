"""Runs one program in a network namespace of its own, beside a model server and a DNS logger.

As a module it is what the tests call; as a program it is the child inside the namespace: it reads a JSON
order on stdin and writes a JSON report on stdout.
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
from dataclasses import dataclass, field
from pathlib import Path

import pyte

from opencode_cache.base import python
from opencode_cache.sandbox import netns, reap
from opencode_cache.sandbox.dns_logger import DnsLogger
from opencode_cache.sandbox.loopback import ModelServer

_FIRST_WORDS = 8
"""Words on the screen by which it counts as drawn: the prompt, the model, the key hints."""


@dataclass
class Report:
    """What happened inside."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    hosts: list[str]
    """Each DNS name asked for, once."""
    models: list[str]
    """Models that the model server was asked for."""
    tool_results: list[str]
    tools: list[str]
    """Tools that the models were offered."""
    bodies: list[str] = field(default_factory=list)
    """What the model server was sent."""


class _Model(ModelServer):
    def __init__(self):
        super().__init__()
        self.bodies = []

    def answer(self, method, target, body):
        self.bodies.append(body.decode(errors="replace"))
        return super().answer(method, target, body)


def run(
    program, arguments, home: Path, *, config=None, env=None, read_only=(), timeout=120, watch=None
) -> Report:
    """Run `program arguments` with that HOME and nothing but loopback.

    `@MODELS@` in config stands for the address of the model server. `watch`: run it in a terminal until it
    has drawn its first screen, and that many seconds more; `seconds` is then the time to the first screen,
    and stdout the last screen's text.
    """
    order = {
        "command": [str(program), *arguments],
        "home": str(home),
        "config": config,
        "env": dict(env or {}),
        "timeout": timeout,
        "watch": watch,
    }
    done = subprocess.run(
        netns.command(list(read_only), [sys.executable, __file__]),
        input=json.dumps(order),
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout + 60,
    )
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout))


def _inside(order) -> dict:
    home = Path(order["home"])
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    (home / "tmp").mkdir(exist_ok=True)
    with _Model() as models, DnsLogger() as dns:
        if order["config"] is not None:
            path = home / ".config" / "opencode" / "opencode.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            config = {"$schema": "https://opencode.ai/config.json", **order["config"]}
            path.write_text(json.dumps(config).replace("@MODELS@", models.url))
        environment = {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            **order["env"],
        }
        act = _execute if order["watch"] is None else _watch
        return {
            **act(order, work, environment),
            "hosts": sorted({name for name, _ in dns.names}),
            "models": sorted({str(request.model) for request in models.requests}),
            "tool_results": list(models.tool_results),
            "tools": sorted({name for request in models.requests for name in request.tools}),
            "bodies": models.bodies,
        }


def _execute(order, work: Path, environment) -> dict:
    began = time.monotonic()
    done = subprocess.run(
        order["command"],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=order["timeout"],
        check=False,
    )
    return {
        "returncode": done.returncode,
        "stdout": done.stdout,
        "stderr": done.stderr,
        "seconds": time.monotonic() - began,
    }


def _watch(order, work: Path, environment) -> dict:
    """Run in a pseudo-terminal; pyte keeps the screen that a person would see."""
    screen = pyte.Screen(120, 40)
    stream = pyte.ByteStream(screen)
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    began = time.monotonic()
    with subprocess.Popen(
        order["command"],
        cwd=work,
        env=environment | {"TERM": "xterm-256color"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        first, limit = None, began + order["timeout"]
        while (left := limit - time.monotonic()) > 0 and process.poll() is None:
            if select.select([outside], [], [], min(left, 0.05))[0]:
                stream.feed(os.read(outside, 65536))
            if first is None and len("".join(screen.display).split()) >= _FIRST_WORDS:
                first = time.monotonic() - began
                limit = time.monotonic() + order["watch"]
        ended = process.poll()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    os.close(inside)
    os.close(outside)
    return {
        "returncode": ended or 0,
        "stdout": "\n".join(line.rstrip() for line in screen.display),
        "stderr": "" if first is not None else "no first screen",
        "seconds": first if first is not None else -1.0,
    }


if __name__ == "__main__":
    with reap.nothing_left():
        json.dump(_inside(json.load(sys.stdin)), sys.stdout)
