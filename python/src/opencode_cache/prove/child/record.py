"""What the steps of the proof have in common: the subject, and the record of what happened."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.formats.proof import Step
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry, Manifest

_RUN_TIMEOUT = 150
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NAMED_ERROR = re.compile(r"[A-Z]\w*Error: (?!Unexpected error)")


@dataclass
class Record:
    """The steps so far, and the hosts asked for in each. `log` gives all names asked for until now."""

    log: Callable[[], Sequence[str]]
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)
    hosts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; the yielded list takes its detail. An expected error is its failure."""
        self.say(name)
        start, detail, ok = time.monotonic(), list[str](), True
        try:
            yield detail
        except (OpencodeCacheError, OSError, ValueError) as error:
            detail, ok = [str(error)], False
        except subprocess.TimeoutExpired as error:
            detail, ok = [f"no end within {error.timeout:.0f} s"], False
        self.note(name, "; ".join(detail), ok=ok, seconds=time.monotonic() - start)

    def note(self, name: str, detail: str, *, ok: bool, seconds: float = 0.0) -> None:
        """A step that is over; what was asked for since the last one is put to it."""
        self.steps.append(Step(name=name, ok=ok, seconds=round(seconds, 2), detail=detail))
        names = self.log()
        self.hosts.update((host, name) for host in names[self._seen :])
        self._seen = len(names)


@dataclass(frozen=True)
class Subject:
    """What is proved, and with what."""

    cache: Path
    binary: Path
    program: Path
    """The wrapper: what the user starts."""
    made: Manifest
    extra: dict[str, str]

    def of_kind(self, kind: str) -> list[Entry]:
        return [entry for entry in self.made.requests if entry.kind == kind]

    def run(self, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return opencode.run(self.program, arguments, home, extra=self.extra, timeout=_RUN_TIMEOUT)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def ended(done: subprocess.CompletedProcess[str]) -> str:
    """Status and the heart of what was said: the first named error, else the end."""
    said = " ".join(_COLOURS.sub("", done.stdout + done.stderr).split())
    found = _NAMED_ERROR.search(said)
    heart = said[found.start() :][:300] if found else said[-300:]
    return f"ended with {done.returncode}: {heart or 'it said nothing'}"
