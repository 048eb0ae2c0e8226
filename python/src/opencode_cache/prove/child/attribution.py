"""Who asks for a host: the lane with the server again without plugins and commands, then with each alone.

What is asked for without any of them is OpenCode's own question. What is asked for with none alone needs
several of them together, and is put to all. They are tried one by one only for what OpenCode by itself does
not ask for, so a quiet cache costs no start, and a single plugin one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.opencode import run as opencode
from opencode_cache.opencode.versions import EXPERIMENTAL
from opencode_cache.prove.child import configured, hosts, serving
from opencode_cache.sandbox.loopback import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opencode_cache.formats.manifest import Entry, Manifest
    from opencode_cache.prove.child.lanes import Lanes
    from opencode_cache.prove.child.record import Record, Subject

_LEAST, _MOST = 15, 90
"""Seconds that each alone is listened to: as long as the first server was up, within these."""
_PAUSE = 0.2
_ASKERS = ("plugin", "command")


def sought(manifest: Manifest, records: Iterable[Record]) -> set[str]:
    """The hosts and addresses of lanes of which nothing is known."""
    asked = [one for record in records for one in record.asked]
    return {wanted.name for step, wanted in asked if hosts.why_known(manifest, wanted.name, step) is None}


def askers(
    lanes: Lanes, manifest: Manifest, names: set[str], drivable: Sequence[Entry], seconds: float
) -> tuple[hosts.Askers, list[str]]:
    """Host -> the plugins and commands without which nobody asks for it; a sentence for what was not told.

    `seconds`: how long the server was up that asked.
    """
    suspects = tuple(entry for entry in manifest.requests if entry.kind in _ASKERS)
    if not names or not suspects:
        return dict.fromkeys(names, ()), []
    if manifest.layout == EXPERIMENTAL:
        return {}, [f"who asks for {', '.join(sorted(names))}: is not told apart for OpenCode 2"]
    record, _, _ = (
        _told_apart(lanes, "without plugins and commands")
        .start(partial(_without, drivable=drivable))
        .result()
    )
    if not all(step.ok for step in record.steps if step.name == "serve"):
        return {}, [f"who asks for {', '.join(sorted(names))}: OpenCode does not start without plugins"]
    own = {wanted.name for _, wanted in record.asked}
    left = names - own
    told: dict[str, tuple[Entry, ...]] = dict.fromkeys(names & own, ())
    alone: dict[Entry, set[str]] = {}
    if left and len(suspects) > 1:
        limit = min(max(seconds, _LEAST), _MOST)
        listening = {
            one: _told_apart(lanes, f"{one.spec} alone").start(
                partial(_alone, one=one, drivable=drivable, names=left, seconds=limit)
            )
            for one in suspects
        }
        alone = {one: heard.result()[2] for one, heard in listening.items()}
    for name in left:
        told[name] = tuple(one for one in suspects if name in alone.get(one, ())) or suspects
    return told, []


def _told_apart(lanes: Lanes, prefix: str) -> Lanes:
    """The same lanes, whose steps say what they are for."""
    return replace(lanes, say=lambda name, within: lanes.say(f"{prefix}: {name}", within))


def _without(subject: Subject, record: Record, drivable: Sequence[Entry]) -> None:
    """The whole lane, so that whatever OpenCode asks for by itself is asked for here as well."""
    serving.prove_serving(subject.with_only(_ASKERS), record, drivable)


def _alone(
    subject: Subject,
    record: Record,
    *,
    one: Entry,
    drivable: Sequence[Entry],
    names: set[str],
    seconds: float,
) -> set[str]:
    """Which of those names OpenCode with one of them asks for, until it has asked for all or time is over."""
    subject = subject.with_only(_ASKERS, (one,))
    driven = serving.all_driven(subject, drivable)[:1]
    limit = record.patience.limit(serving.LISTEN_TIMEOUT)
    record.say("serve", limit + seconds)
    heard: set[str] = set()
    with opencode.private_home() as home, ModelServer() as model:
        configured.configure(subject, home, driven, model)
        try:
            with opencode.serve(subject.program, home, extra=subject.extra, timeout=limit) as server:
                end = time.monotonic() + seconds
                server.post("/session", {}, timeout=limit)
                if driven:
                    server.prompt(driven[0].id, driven[0].id, "hello", seconds)
                while not names <= heard and time.monotonic() < end:
                    heard = {wanted.name for wanted in record.log()}
                    time.sleep(_PAUSE)
        except (OpencodeCacheError, OSError):
            pass  # what it asked for before is heard all the same
        return names & {wanted.name for wanted in record.log()}
