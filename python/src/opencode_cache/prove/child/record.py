"""What the steps of the proof have in common: the subject, and the record of what happened."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from opencode_cache import layouts
from opencode_cache.base.errors import OpencodeCacheError, TooSlowError
from opencode_cache.formats.proof import Step
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry, Manifest
    from opencode_cache.prove.child.mcp_server import McpServer

_RUN_TIMEOUT = 150
_AGAIN = 2
_PARTS = 4
"""The most programs that one step starts in turn."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NAMED_ERROR = re.compile(r"[A-Z]\w*Error: (?!Unexpected error)")

PATIENCE = 60
"""How many times as long as `opencode --version` a step may take, where that is more than its own limit."""


@dataclass(frozen=True)
class Patience:
    """How long things may take on this machine, measured by how long the bare binary takes to start."""

    start_seconds: float
    factor: float = PATIENCE
    again: int = 1
    """2 in the second try of a step."""

    def limit(self, seconds: float) -> float:
        """Seconds that something may take which takes at most `seconds` on a machine of ordinary speed."""
        return max(seconds, self.factor * self.start_seconds) * self.again

    def for_another_try(self) -> Patience:
        """The longer limits that a step gets when it was too slow once."""
        return Patience(self.start_seconds, self.factor, _AGAIN)


@dataclass(frozen=True)
class Wanted:
    """One question to the outside: a name, or an address with its port."""

    name: str
    port: str | None = None


@dataclass
class Record:
    """The steps of one lane, and who was asked in each. `log` gives all that was asked until now."""

    log: Callable[[], Sequence[Wanted]]
    say: Callable[[str, float], None]
    patience: Patience = field(default_factory=lambda: Patience(0))
    steps: list[Step] = field(default_factory=list)
    asked: Counter[tuple[str, Wanted]] = field(default_factory=Counter)
    """(step, who) -> how often."""
    _seen: int = 0

    def step(self, name: str, action: Callable[[Patience], str]) -> bool:
        """Do a step, which returns its detail; whether it went well. An expected error is its failure.

        What is too slow is done once more, with twice the time.
        """
        start = time.monotonic()
        detail, ok, slow = "", False, False
        for patience in (self.patience, self.patience.for_another_try()):
            self.say(name, patience.limit(_RUN_TIMEOUT) * _PARTS)
            try:
                detail, ok = action(patience), True
            except (TooSlowError, subprocess.TimeoutExpired, TimeoutError) as error:
                detail, slow = too_slow(error), True
                continue
            except (OpencodeCacheError, OSError, ValueError) as error:
                detail = str(error)
            slow = False
            break
        self.note(name, detail, ok=ok, seconds=time.monotonic() - start, slow=slow)
        return ok

    def note(self, name: str, detail: str, *, ok: bool, seconds: float = 0.0, slow: bool = False) -> None:
        """A step that is over; what was asked for since the last one is put to it."""
        self.steps.append(
            Step(name=name, ok=ok, seconds=round(seconds, 2), detail=detail, too_slow=slow and not ok)
        )
        asked = self.log()
        self.asked.update((name, wanted) for wanted in asked[self._seen :])
        self._seen = len(asked)


def too_slow(error: Exception) -> str:
    """The detail of a step that came to no end in time."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no end within {error.timeout:.0f} s"
    return str(error) or "no end in time"


@dataclass(frozen=True)
class Subject:
    """What is proved, and with what."""

    cache: Path
    binary: Path
    program: Path
    """The wrapper: what the user starts."""
    manifest: Manifest
    extra: dict[str, str]
    answering: tuple[McpServer, ...] = ()
    """The MCP servers among the cache's commands."""

    def mcp_servers(self) -> list[McpServer]:
        """Those of them that are to be configured."""
        requests = self.of_kind("command")
        return [one for one in self.answering if one.entry in requests]

    def with_only(self, kinds: Sequence[str], entries: Sequence[Entry] = ()) -> Subject:
        """The subject without requests of those kinds, but for these."""
        kept = [e for e in self.manifest.requests if e.kind not in kinds or e in entries]
        return replace(self, manifest=self.manifest.model_copy(update={"requests": tuple(kept)}))

    @property
    def alone(self) -> tuple[str, ...]:
        """Arguments with which a command is answered by this OpenCode and no other."""
        return layouts.named(self.manifest.layout).alone

    def of_kind(self, kind: str) -> list[Entry]:
        """The cache's requests of a kind, in the manifest's order."""
        return [entry for entry in self.manifest.requests if entry.kind == kind]

    def run(self, patience: Patience, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the wrapped OpenCode to its end, with `home` as HOME. Raises what `opencode.run` does."""
        limit = patience.limit(_RUN_TIMEOUT)
        return opencode.run(self.program, arguments, home, extra=self.extra, timeout=limit)


def version(text: str) -> tuple[int, ...]:
    """The first three numbers in a text: `1.18.33` as (1, 18, 33)."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def ended(done: subprocess.CompletedProcess[str]) -> str:
    """Status and the heart of what was said: the first named error, else the end."""
    output = " ".join(_COLOURS.sub("", done.stdout + done.stderr).split())
    match = _NAMED_ERROR.search(output)
    heart = output[match.start() :][:300] if match else output[-300:]
    return f"ended with {done.returncode}: {heart or 'it said nothing'}"
