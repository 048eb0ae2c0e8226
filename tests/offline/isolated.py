"""Runs one program in a network namespace of its own, beside a model server and a DNS logger.

As a module it is what the tests call; as a program it is the child inside the namespace: it reads a JSON
order on stdin and writes a JSON report on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from opencode_cache import netns
from opencode_cache.loopback import DnsLogger, ModelServer


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
    extra: dict = field(default_factory=dict)


def run(program, arguments, home: Path, *, config=None, env=None, read_only=(), timeout=120) -> Report:
    """Run `program arguments` with that HOME and nothing but loopback.

    `@MODELS@` in config stands for the address of the model server.
    """
    order = {
        "command": [str(program), *arguments],
        "home": str(home),
        "config": config,
        "env": dict(env or {}),
        "timeout": timeout,
    }
    done = subprocess.run(
        netns.command(list(read_only), [sys.executable, __file__]),
        input=json.dumps(order),
        env=os.environ | netns.python_path(),
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
    with ModelServer() as models, DnsLogger() as dns:
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
        seconds = time.monotonic() - began
        return {
            "returncode": done.returncode,
            "stdout": done.stdout,
            "stderr": done.stderr,
            "seconds": seconds,
            "hosts": sorted({name for name, _ in dns.names}),
            "models": sorted({str(request.model) for request in models.requests}),
            "tool_results": list(models.tool_results),
        }


if __name__ == "__main__":
    json.dump(_inside(json.load(sys.stdin)), sys.stdout)
