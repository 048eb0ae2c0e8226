"""The proof that a cache is complete: the real OpenCode, no network, and every host that it asks for.

The proof itself (`child/`) runs in a child process, because a process cannot leave a namespace again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Proof
from opencode_cache.opencode import run as opencode_run
from opencode_cache.opencode.versions import check_experimental
from opencode_cache.prove import on_file
from opencode_cache.sandbox import bare, netns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FIRST_WORD = 600
"""Seconds for Python to start and the namespace to be made."""
_SLACK = 600
"""Beyond what a step may take: for those that wait for a lane."""
_STOP_TIMEOUT = 20


@dataclass(frozen=True)
class Installation:
    """What ships, as it lies in a directory."""

    root: Path
    program: Path
    """The wrapper."""
    tools: Path
    """Directory of what is brought beside OpenCode, if anything is: the end of PATH."""
    sha256: str
    """Of the list of it all."""

    def arguments(self, cache: Path, opencode: Path) -> list[str]:
        """The child's, whose root has it in another place."""
        named = {"cache": cache, "opencode": opencode, "program": self.program, "tools": self.tools}
        places = {name: bare.PLACE / path.relative_to(self.root) for name, path in named.items()}
        words = [word for name, path in places.items() for word in (f"--{name}", str(path))]
        return [*words, "--bare", str(self.root), "--installation-sha256", self.sha256]


def verify(
    cache: Path,
    opencode: Path,
    *,
    patience: float | None = None,
    ask: Sequence[str] = (),
    installation: Installation | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Prove a cache with an OpenCode binary; `on_step` is told the name of each step as it begins.

    `patience`: how many times as long as `opencode --version` a step may take. `ask`: models, as
    `provider/model`, that are also asked to answer, to see whom they ask. What was proved is filed
    (`on_file.py`). `installation`: what ships, with that cache and program in it; nothing else is in sight
    then (`sandbox/bare.py`). Where the kernel allows no namespace the proof is made without one and says so
    in `weaker_because`; of an installation there is none then. Raises BadInputError where cache or binary
    cannot be used, or the proof itself did not come to an end, CheckFailedError without a namespace.
    """
    check_experimental(manifest.read(cache).opencode)
    if not os.access(opencode, os.X_OK) or opencode.is_dir():
        raise BadInputError(f"{opencode}: not a program; give the OpenCode binary")
    isolation = netns.available()
    if installation and not isolation.ok:
        raise CheckFailedError(f"{installation.root}: cannot be proved as it ships: {isolation.why}")
    arguments = ["--cache", str(cache.resolve()), "--opencode", str(opencode.resolve())]
    if installation:
        arguments = installation.arguments(cache, opencode)
    elif isolation.ok:
        for path in opencode_run.read_by(cache.resolve(), opencode.absolute()):
            arguments += ["--read-only", str(path)]
    else:
        arguments += ["--weaker-because", _weaker(isolation.why)]
    if patience is not None:
        arguments += ["--patience", str(patience)]
    for model in ask:
        arguments += ["--ask", model]
    try:
        output, errors = _run_child(arguments, on_step)
    except OSError as error:
        raise BadInputError(f"{sys.executable}: cannot be run for the proof ({error.strerror})") from error
    try:
        proof = Proof.model_validate_json(output)
    except ValidationError as error:
        reason = " ".join(errors.split())[-400:] or "it gave no result in time"
        raise BadInputError(f"{cache}: the proof did not finish ({reason}); start it again") from error
    on_file.put(proof)
    return proof


def _weaker(why: str) -> str:
    return (
        f"{why.rstrip('.')}; so the proof ran without a network namespace: it sees only the hosts that are "
        "asked for through the proxy settings, the cache is as writable as it is, and plugins ran with your "
        "rights over your files"
    )


class _Guard:
    """Ends a child that has said nothing for longer than it had said it would."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._limit = 0.0
        self._timer: threading.Timer | None = None

    def wait_for(self, seconds: float) -> None:
        """The next word comes within so many seconds; steps run side by side, so the longest time counts."""
        now = time.monotonic()
        self._limit = max(self._limit, now + seconds)
        self.cancel()
        self._timer = threading.Timer(self._limit - now, _stop, [self._child])
        self._timer.start()

    def cancel(self) -> None:
        if self._timer:
            self._timer.cancel()


def _run_child(arguments: list[str], on_step: Callable[[str], None]) -> tuple[str, str]:
    """Run the proof; its result as JSON ("" for none) and what it wrote to stderr."""
    result = ""
    with (
        python.empty() as directory,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            python.command("-m", "opencode_cache.prove.child", *arguments),
            cwd=directory,
            env=os.environ | python.path(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        ) as child,
    ):
        guard = _Guard(child)
        guard.wait_for(_FIRST_WORD)
        try:
            for line in child.stdout or ():
                document = json.loads(line)
                if "step" in document:
                    guard.wait_for(document["within"] + _SLACK)
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
