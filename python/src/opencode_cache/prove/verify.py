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

from pydantic import ValidationError

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Proof
from opencode_cache.opencode import run as opencode_run
from opencode_cache.sandbox import netns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BASE_TIMEOUT = 600
_TIMEOUT_PER_REQUEST = 60
_STOP_TIMEOUT = 20


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
    if isolation.ok:
        for path in opencode_run.read_by(cache.resolve(), opencode.absolute()):
            arguments += ["--read-only", str(path)]
    else:
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
        "asked for through the proxy settings, the cache is as writable as it is, and plugins ran with your "
        "rights over your files"
    )


def _run_child(arguments: list[str], limit: float, on_step: Callable[[str], None]) -> tuple[str, str]:
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
