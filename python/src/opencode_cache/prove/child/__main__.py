"""The proof, as the child process of `verify`: one JSON object a line, the last one is the result.

The others are steps as they begin, with the seconds within which the next line comes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from opencode_cache import __version__
from opencode_cache.base import files
from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.formats import manifest, proof
from opencode_cache.layouts import accepts
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import (
    attribution,
    commands,
    hosts,
    lanes,
    offered,
    providers,
    serving,
    standalone,
    steps,
    tools,
)
from opencode_cache.prove.child.record import PATIENCE, Patience, Subject, Wanted
from opencode_cache.sandbox import bare, netns, reap
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from opencode_cache.prove.child.record import Record
    from opencode_cache.prove.child.second_start import First

    Result = Future[tuple[Record, list[str], object]]
    Served = Future[tuple[Record, list[str], First]]
    Offered = Future[tuple[Record, list[str], list[str] | None]]

_FIRST_START = 600
"""Seconds for the one `--version` that tells how fast this machine is."""


def prove(options: argparse.Namespace, say: Callable[[str, float], None]) -> proof.Proof:
    """The whole proof, in the process's own namespaces unless `weaker_because` says why there are none."""
    cache, binary = options.cache, options.opencode
    contents = manifest.read(cache)
    version, start_seconds = _first_start(binary, contents, say)
    with (
        files.scratch() as out,
        ThreadPoolExecutor(lanes.at_once()) as pool,
    ):
        program = options.program or wrapper.wrap(cache, binary, out / "wrapped")
        lane = lanes.Lanes(
            pool,
            Subject(cache, binary, program, contents, {}),
            isolated=options.weaker_because is None,
            patience=Patience(start_seconds, options.patience),
            say=say,
        )
        digest = pool.submit(lambda: proof.sha256(opencode.image(binary)))
        done = _all(lane, contents, options.ask)
        results = [one.result() for one in done.lanes]
        record, _, first = done.served.result()
        sought = attribution.sought(contents, [record, *(one.result()[0] for one in done.offered)])
        askers, untold = attribution.askers(done.lane, contents, sought, done.drivable, first.seconds)
        identity = proof.of(cache, digest.result())
    added = [offered.of_plugins(one.result()[2], first) for one in done.offered]
    records = [record for record, _, _ in results]
    everybody = sum((record.asked for record in records), Counter[tuple[str, Wanted]]())
    asked = hosts.all_of(contents, everybody, askers)
    tried = (*(step for record in records for step in record.steps), *(step for step in added if step))
    return proof.Proof(
        **identity.model_dump(),
        tool=__version__,
        opencode=version,
        time=dt.datetime.now(dt.timezone.utc),
        machine=_machine(contents.system),
        kernel=f"{platform.system()} {_numbers(platform.release())}",
        start_seconds=round(start_seconds, 2),
        path=_path(os.environ),
        installation_sha256=options.installation_sha256,
        isolated=options.weaker_because is None,
        weaker_because=options.weaker_because,
        unseen=tuple(dict.fromkeys([*(text for _, unseen, _ in results for text in unseen), *untold])),
        steps=tried,
        hosts=asked,
        ok=proof.holds(tried, asked),
    )


def _first_start(
    binary: Path, contents: manifest.Manifest, say: Callable[[str, float], None]
) -> tuple[str, float]:
    """The version that the bare binary names, and how long it takes to. Raises BadInputError."""
    say("the bare binary", _FIRST_START)
    start = time.monotonic()
    version = accepts.accepted(binary, contents.opencode, _FIRST_START)
    return version, time.monotonic() - start


@dataclass(frozen=True)
class _Begun:
    """The lanes in the order of the list, and those of them that others want to know more of."""

    lane: lanes.Lanes
    """With the MCP servers that were found."""
    drivable: list[manifest.Entry]
    served: Served
    offered: list[Offered]
    """One, or none where there is nothing but OpenCode's own to be offered."""
    lanes: list[Result]


def _all(lane: lanes.Lanes, contents: manifest.Manifest, ask: Sequence[str]) -> _Begun:
    """Every step, begun in the order in which others wait for them, told in the order of the list."""
    kinds = {
        kind: [e for e in contents.requests if e.kind == kind] for kind in ("provider", "tool", "command")
    }
    prove_models, prove_serving = steps.prove_models, serving.prove_serving
    if lane.subject.alone:
        prove_models, prove_serving = standalone.prove_models, standalone.prove_serving
    models: Result = lane.start(prove_models)
    imports: list[Result] = [
        lane.start(partial(steps.prove_import, entry=entry)) for entry in kinds["provider"]
    ]
    started = [lane.start(partial(commands.prove_command, entry=entry)) for entry in kinds["command"]]
    drivable = [e for e, one in zip(kinds["provider"], imports, strict=True) if one.result()[2]]
    answering = tuple(server for one in started if (server := one.result()[2]))
    lane = replace(lane, subject=replace(lane.subject, answering=answering))
    served: Served = lane.start(partial(prove_serving, drivable=drivable))
    driven = serving.all_driven(lane.subject, drivable)[:1]
    more = bool(answering or lane.subject.of_kind("plugin")) and not lane.subject.alone
    offers: list[Offered] = [lane.start(partial(offered.prove_offered, driven=one)) for one in driven if more]
    interface: Result = lane.start(serving.prove_interface)
    others: list[Result] = [lane.start(partial(tools.prove_tool, entry=entry)) for entry in kinds["tool"]]
    asked: list[Result] = [lane.start(partial(providers.prove_ask, model=model)) for model in ask]
    told = [*started, served, *offers]
    return _Begun(
        lane,
        drivable,
        served,
        offers,
        [models, *imports, *others, *cast("list[Result]", told), interface, *asked],
    )


def _machine(system: str) -> str:
    """`x86_64, 2 CPUs`; where that is not what the cache is for, an emulator ran it."""
    own = platform.machine().lower()
    wanted = system.partition("-")[0]
    is_own = wanted in {own, {"arm64": "aarch64", "amd64": "x86_64"}.get(own)}
    return f"{own}, {os.cpu_count()} CPUs" + ("" if is_own else f", emulating {wanted}")


def _numbers(release: str) -> str:
    """`6.1.0` of `6.1.0-13-cloud-of-somebody`."""
    return re.split(r"[^\d.]", release, maxsplit=1)[0]


def _path(environment: os._Environ[str]) -> tuple[str, ...]:
    """PATH without the name of who made the proof."""
    names = [(environment.get("XDG_DATA_HOME", ""), "$XDG_DATA_HOME"), (environment.get("HOME", ""), "~")]
    directories = environment.get("PATH", "").split(os.pathsep)
    for path, name in names:
        if len(path) > 1:
            directories = [
                name + one.removeprefix(path) if f"{one}/".startswith(f"{path}/") else one
                for one in directories
            ]
    return tuple(directories)


def main() -> int:
    """The child process of `verify`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--opencode", type=Path, required=True)
    parser.add_argument("--read-only", type=Path, action="append", default=[])
    parser.add_argument("--weaker-because")
    parser.add_argument("--bare", type=Path)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--installation-sha256")
    parser.add_argument("--patience", type=float, default=PATIENCE)
    parser.add_argument("--ask", action="append", default=[])
    options = parser.parse_args()
    # An exception, so that the servers are stopped and the directories removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if options.weaker_because is None:
            netns.enter(options.read_only, confined=True, bare=options.bare)
        if options.bare:
            os.environ["PATH"] = f"{bare.PATH}:{options.tools}"
            os.environ.pop("LD_LIBRARY_PATH", None)
        with reap.nothing_left():
            result = prove(options, lambda name, within: _emit({"step": name, "within": within}))
    except (OpencodeCacheError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _emit(result.model_dump(mode="json"))
    return 0


_emitting = threading.Lock()


def _emit(document: dict[str, object]) -> None:
    with _emitting:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
