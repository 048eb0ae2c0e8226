"""Who asks for a host: the lane with the server is repeated without plugins, then with each one alone.

What is asked for without any plugin is OpenCode's own question. What is asked for with none alone needs
several of them together, and is put to all. Plugins are tried one by one only for what OpenCode by itself
does not ask for, so a quiet cache costs no start, and a single plugin one.
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
    from collections.abc import Sequence

    from opencode_cache.formats.manifest import Entry, Manifest
    from opencode_cache.prove.child.lanes import Lanes
    from opencode_cache.prove.child.record import Record, Subject

_LEAST, _MOST = 15, 90
"""Seconds that a plugin alone is listened to: as long as the first server was up, within these."""
_PAUSE = 0.2


def sought(manifest: Manifest, record: Record) -> set[str]:
    """The hosts and addresses of a lane of which nothing is known."""
    return {
        wanted.name for step, wanted in record.asked if hosts.why_known(manifest, wanted.name, step) is None
    }


def askers(
    lanes: Lanes, manifest: Manifest, names: set[str], drivable: Sequence[Entry], seconds: float
) -> tuple[hosts.Askers, list[str]]:
    """Host -> the plugins without which nobody asks for it, and a sentence for what could not be told.

    `seconds`: how long the server was up that asked.
    """
    plugins = tuple(entry for entry in manifest.requests if entry.kind == "plugin")
    if not names or not plugins:
        return dict.fromkeys(names, ()), []
    if manifest.layout == EXPERIMENTAL:
        return {}, [f"who asks for {', '.join(sorted(names))}: is not told apart for OpenCode 2"]
    record, _, _ = _told_apart(lanes, "without plugins").start(partial(_without, drivable=drivable)).result()
    if not all(step.ok for step in record.steps if step.name == "serve"):
        return {}, [f"who asks for {', '.join(sorted(names))}: OpenCode does not start without the plugins"]
    own = {wanted.name for _, wanted in record.asked}
    left = names - own
    told: dict[str, tuple[Entry, ...]] = dict.fromkeys(names & own, ())
    alone: dict[Entry, set[str]] = {}
    if left and len(plugins) > 1:
        limit = min(max(seconds, _LEAST), _MOST)
        listening = {
            plugin: _told_apart(lanes, f"{plugin.spec} alone").start(
                partial(_alone, plugin=plugin, drivable=drivable, names=left, seconds=limit)
            )
            for plugin in plugins
        }
        alone = {plugin: one.result()[2] for plugin, one in listening.items()}
    for name in left:
        told[name] = tuple(plugin for plugin in plugins if name in alone.get(plugin, ())) or plugins
    return told, []


def _told_apart(lanes: Lanes, prefix: str) -> Lanes:
    """The same lanes, whose steps say what they are for."""
    return replace(lanes, say=lambda name, within: lanes.say(f"{prefix}: {name}", within))


def _with(subject: Subject, plugins: Sequence[Entry]) -> Subject:
    others = tuple(entry for entry in subject.manifest.requests if entry.kind != "plugin")
    return replace(subject, manifest=subject.manifest.model_copy(update={"requests": (*others, *plugins)}))


def _without(subject: Subject, record: Record, drivable: Sequence[Entry]) -> None:
    """The whole lane, so that whatever OpenCode asks for by itself is asked for here as well."""
    serving.prove_serving(_with(subject, ()), record, drivable)


def _alone(
    subject: Subject,
    record: Record,
    *,
    plugin: Entry,
    drivable: Sequence[Entry],
    names: set[str],
    seconds: float,
) -> set[str]:
    """Which of those names a server with one plugin asks for, until it has asked for all or time is over."""
    subject = _with(subject, (plugin,))
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
