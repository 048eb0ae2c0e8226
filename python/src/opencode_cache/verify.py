"""The proof that a cache is complete: the real OpenCode, no network, and every host that it asks for.

The proof itself (`proof.py`) runs in a child process, because a process cannot leave a namespace again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from . import manifest, netns
from .errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BASE_TIMEOUT = 600
_TIMEOUT_PER_REQUEST = 60
_STOP_TIMEOUT = 20


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Model):
    """One thing that was tried. `detail` is a sentence or a figure; `seconds` is wall time."""

    name: str
    ok: bool
    seconds: float
    detail: str


class Host(_Model):
    """A host that OpenCode asked for in a step. `count` is the number of questions (A and AAAA are two)."""

    name: str
    count: int
    step: str
    known: str | None = None
    """Why this version asks and what it costs, where nobody can stop it."""
    mend: str | None = None
    """What would stop it, where that is known."""


class Proof(_Model):
    """The result. It is `ok` when every step is, and every host asked for is a known one."""

    opencode: str
    isolated: bool
    """Whether it ran in a network namespace, with the cache mounted read-only."""
    weaker_because: str | None = None
    steps: tuple[Step, ...]
    hosts: tuple[Host, ...]
    ok: bool


def verify(cache: Path, opencode: Path, *, on_step: Callable[[str], None] = lambda _: None) -> Proof:
    """Prove a cache with an OpenCode binary; `on_step` is told the name of each step as it begins.

    Where the kernel allows no namespace the proof is made without one and says so in `weaker_because`.
    Raises BadInputError where cache or binary cannot be used, or the proof itself did not come to an end.
    """
    found = manifest.read(cache)
    if not os.access(opencode, os.X_OK) or opencode.is_dir():
        raise BadInputError(f"{opencode}: not a program; give the OpenCode binary")
    isolation = netns.available()
    arguments = ["--cache", str(cache.resolve()), "--opencode", str(opencode.resolve())]
    if not isolation.ok:
        arguments += ["--weaker-because", _weaker(isolation.why)]
    limit = _BASE_TIMEOUT + _TIMEOUT_PER_REQUEST * len(found.requests)
    try:
        said, errors = _run_child(arguments, limit, on_step)
    except OSError as error:
        raise BadInputError(f"{sys.executable}: cannot be run for the proof ({error.strerror})") from error
    try:
        return Proof.model_validate_json(said)
    except ValidationError as error:
        reason = " ".join(errors.split())[-400:] or f"it gave no result within {limit} s"
        raise BadInputError(f"{cache}: the proof did not come to an end ({reason})") from error


def _weaker(why: str) -> str:
    return (
        f"{why.rstrip('.')}; so the proof ran without a network namespace: it sees only the hosts that are "
        "asked for through the proxy settings, and the cache is as writable as it is"
    )


def _run_child(arguments: list[str], limit: float, on_step: Callable[[str], None]) -> tuple[str, str]:
    """Run the proof; its result as JSON ("" for none) and what it wrote to stderr."""
    result = ""
    with (
        tempfile.TemporaryDirectory(prefix="opencode-proof-") as directory,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "opencode_cache.proof", *arguments],
            # Python puts the working directory first on its path, so it is an empty one.
            cwd=directory,
            env=os.environ | netns.python_path(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        ) as child,
    ):
        guard = threading.Timer(limit, _stop, [child])
        guard.start()
        try:
            for line in child.stdout or ():
                document = json.loads(line)
                if "step" in document:
                    on_step(document["step"])
                else:
                    result = line
        finally:
            guard.cancel()
            if child.poll() is None and not result:
                _stop(child)
        child.wait()
        errors.seek(0)
        return result, errors.read()


def _stop(child: subprocess.Popen[str]) -> None:
    """End the proof and all that it started: first politely, so that it removes its directories."""
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


def table(proof: Proof) -> Group:
    """The proof for a person: steps, hosts and the verdict, as something that rich prints."""
    steps = Table("", "step", "s", "detail", box=None, pad_edge=False)
    for step in proof.steps:
        mark = "[green]ok[/green]" if step.ok else "[red]no[/red]"
        steps.add_row(mark, escape(step.name), f"{step.seconds:.1f}", escape(step.detail))
    parts: list[Table | Text] = [steps, Text()]
    if proof.hosts:
        hosts = Table("host asked for", "times", "in step", "", box=None, pad_edge=False)
        for host in proof.hosts:
            note = f"known: {host.known}" if host.known else host.mend or "not known"
            hosts.add_row(escape(host.name), str(host.count), escape(host.step), escape(note))
        parts += [hosts, Text()]
    if proof.weaker_because:
        parts.append(Text(f"weaker proof: {proof.weaker_because}", style="yellow"))
    parts.append(Text(verdict(proof), style="green" if proof.ok else "red"))
    return Group(*parts)


def verdict(proof: Proof) -> str:
    """The result in one line: proved, or what failed and which hosts were asked for."""
    if proof.ok:
        asked = "only for hosts that are known" if proof.hosts else "for no host"
        return f"proved: OpenCode {proof.opencode} asked {asked}"
    unknown = sorted({host.name for host in proof.hosts if not host.known})
    failed = [step.name for step in proof.steps if not step.ok]
    reasons = [f"failed: {', '.join(failed)}" if failed else "", _asked(unknown)]
    return "not proved: " + "; ".join(filter(None, reasons))


def _asked(names: list[str]) -> str:
    return f"asked for: {', '.join(names)}" if names else ""
