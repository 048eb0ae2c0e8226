"""The steps of the proof that need OpenCode to stay up: plugins, local tools, answers, the interface."""

from __future__ import annotations

import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError, OpencodeCacheError, TooSlowError
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import commands, configured, terminal
from opencode_cache.prove.child.configured import IMPORTED, Driven
from opencode_cache.prove.child.record import ended
from opencode_cache.prove.child.second_start import First, configuration, prove_second_start
from opencode_cache.sandbox.loopback import ANSWER, ModelServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.prove.child.record import Patience, Record, Subject

_DRIVEN = ("@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@ai-sdk/openai", "@ai-sdk/google")
"""SDKs whose API the loopback model speaks, the first one for `run`."""
LISTEN_TIMEOUT = 60
_LOADED_TIMEOUT = 120
_PROMPT_TIMEOUT = 90
_PROMPTS_AT_ONCE = 4


def _logged(home: Path) -> str:
    logs = sorted((home / ".local" / "share" / "opencode" / "log").glob("*.log"))
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)


def _prove_start(subject: Subject, record: Record, home: Path, server: opencode.Server) -> list[str]:
    """OpenCode starts with all plugins and a local tool; its loaded modules, [] if it does not."""
    modules: list[str] = []

    def serves(patience: Patience) -> str:
        limit = patience.limit(_LOADED_TIMEOUT)
        server.post("/session", {}, timeout=limit)
        modules.extend(configured.loaded(home, limit))
        return "starts and loads local plugins"

    def prepared(entry: Entry, patience: Patience) -> str:
        tools = configured.tool_ids(server, patience.limit(_PROMPT_TIMEOUT))
        if "proof_tool" not in (tools or ()):
            raise CheckFailedError(f"a local tool that imports {IMPORTED} did not load")
        if entry.name == IMPORTED:
            return f"{entry.version}: a local TypeScript tool that imports it is offered"
        if (home / ".config" / "opencode" / "node_modules" / entry.name).is_dir():
            return f"{entry.version}: local plugins and tools can import it"
        raise CheckFailedError(f"{entry.name} is not in the config directory's node_modules")

    record.step("serve", serves)
    for entry in subject.of_kind("config"):
        record.step(f"config {entry.spec}", partial(prepared, entry))
    return modules


def _prove_plugins(subject: Subject, record: Record, home: Path, modules: Sequence[str]) -> None:
    """To be called when OpenCode has ended: only then is its log complete."""

    def loaded(entry: Entry, _: Patience) -> str:
        directory = str((subject.cache / entry.path).resolve()) + "/"
        own = sum(module.startswith(directory) for module in modules)
        complaint = re.search(
            rf"^.*failed to load plugin.*{re.escape(entry.name)}.*$",
            _logged(home),
            re.MULTILINE | re.IGNORECASE,
        )
        if complaint:
            raise CheckFailedError(complaint[0][-300:])
        if not own:
            raise CheckFailedError("OpenCode did not load it: none of its files is among the loaded modules")
        return f"{entry.version} loaded ({own} of its files)"

    for entry in subject.of_kind("plugin"):
        record.step(f"plugin {entry.spec}", partial(loaded, entry))


def _prove_commands(subject: Subject, record: Record, server: opencode.Server) -> None:
    def connected(patience: Patience) -> str:
        commands.check_connected(subject, server, patience.limit(_LOADED_TIMEOUT))
        return f"OpenCode is connected to {', '.join(one.entry.spec for one in servers)}"

    if servers := subject.mcp_servers():
        record.step("mcp", connected)


@dataclass(frozen=True)
class _Reply:
    seconds: float
    text: str
    slow: bool


def _ask(server: opencode.Server, one: Driven, limit: float) -> _Reply:
    start = time.monotonic()
    text = server.prompt(one.id, one.id, f"RUN:echo {one.id}-$((40 + 2)):END", limit)
    seconds = time.monotonic() - start
    # `prompt` says in words that it waited for nothing.
    return _Reply(seconds, text, slow=text.startswith("error:") and seconds >= limit)


def _prove_answers(
    record: Record, driven: Sequence[Driven], server: opencode.Server, model: ModelServer
) -> None:
    """One prompt for each provider, several at once: the answer has to come, by way of a bash tool call."""
    limit = record.patience.limit(_PROMPT_TIMEOUT)
    again = record.patience.for_another_try().limit(_PROMPT_TIMEOUT)
    rounds = math.ceil(len(driven) / _PROMPTS_AT_ONCE)
    record.say(f"answers of {len(driven)} providers", limit * rounds + again * len(driven))
    with ThreadPoolExecutor(_PROMPTS_AT_ONCE) as pool:
        replies = list(pool.map(lambda one: _ask(server, one, limit), driven))
    for one, first in zip(driven, replies, strict=True):
        reply = _ask(server, one, again) if first.slow else first
        if reply.slow:
            detail = f"no end within {again:.0f} s"
            record.note(one.label, detail, ok=False, seconds=reply.seconds, slow=True)
        else:
            detail, ok = _judged(one, reply.text, model)
            record.note(one.label, detail, ok=ok, seconds=reply.seconds)


def _judged(one: Driven, text: str, model: ModelServer) -> tuple[str, bool]:
    """What to say of an answer, and whether it is as it should be."""
    offered = any(request.model == one.id and "bash" in request.tools for request in model.requests)
    ran = any(f"{one.id}-42" in result for result in model.tool_results_of(one.id))
    answered = ANSWER in text
    if answered and ran:
        return "answered, and ran a bash tool call", True
    if answered and one.locked and not offered:
        return "answered (this SDK offers the model no tools)", True
    if one.locked and any(
        request.path.startswith(f"/{one.id}/") and not request.model for request in model.requests
    ):
        return "imported, not driven: its API is none that the loopback model speaks", True
    if one.note:
        return f"no answer, as its note lets expect: {one.note}", True
    return "answered, but the bash tool call gave nothing" if answered else text[:300] or "no answer", False


def all_driven(subject: Subject, drivable: Sequence[Entry]) -> list[Driven]:
    """The providers that are asked to answer: those that the binary bundles, and those of the cache."""
    locked = {entry.spec: entry.note for entry in drivable}
    bundled = [name for name in _DRIVEN if name in subject.manifest.bundled and name not in locked]
    names = [(name, False) for name in bundled] + [(name, True) for name in locked]
    return [
        Driven(f"proof{index}", npm, is_locked, locked.get(npm))
        for index, (npm, is_locked) in enumerate(names)
    ]


def prove_serving(subject: Subject, record: Record, drivable: Sequence[Entry]) -> First:
    """Everything that is asked of a server, one prompt on the command line, and a second start.

    Returns what the first start was like.
    """
    driven = all_driven(subject, drivable)
    with opencode.private_home() as home, ModelServer() as model:
        configured.configure(subject, home, driven, model)
        before = configuration(home)
        first = _prove_server(subject, record, home, driven, model)
        _prove_plugins(subject, record, home, first.modules)
        if driven:
            record.step("run", partial(_prompted, subject, home, driven[0], model))
        if first.modules:  # else it did not start, which is said already
            prove_second_start(subject, record, home, before, first)
    return first


def _prove_server(
    subject: Subject, record: Record, home: Path, driven: Sequence[Driven], model: ModelServer
) -> First:
    """The steps while the server runs; what this start was like."""
    start, detail, slow = time.monotonic(), "", False
    for patience in (record.patience, record.patience.for_another_try()):
        limit = patience.limit(LISTEN_TIMEOUT)
        record.say("serve: starting", limit)
        try:
            with opencode.serve(subject.program, home, extra=subject.extra, timeout=limit) as server:
                up = time.monotonic()
                modules = _prove_start(subject, record, home, server)
                _prove_commands(subject, record, server)
                _prove_answers(record, driven, server, model)
                tools = configured.tool_ids(server, limit) if modules else None
                offered = frozenset(name for request in model.requests for name in request.tools)
                return First(modules, tools, offered, time.monotonic() - up)
        except TooSlowError as error:
            detail, slow = str(error), True
        except OpencodeCacheError as error:
            # It never listened; the steps keep their own errors to themselves.
            detail, slow = str(error), False
            break
    record.note("serve", detail, ok=False, seconds=time.monotonic() - start, slow=slow)
    return First()


def _prompted(subject: Subject, home: Path, one: Driven, model: ModelServer, patience: Patience) -> str:
    before = len(model.requests)
    done = subject.run(patience, home, "run", "--model", f"{one.id}/{one.id}", "hello")
    if done.returncode != 0 or one.id not in {request.model for request in model.requests[before:]}:
        raise CheckFailedError(ended(done))
    detail = f"one prompt on the command line through {one.npm}"
    if ANSWER not in done.stdout:
        # 1.15.13 prints nothing where the model answers at once, with and without a cache.
        detail += "; the model answered, and OpenCode did not print it"
    return detail


def prove_interface(subject: Subject, record: Record) -> None:
    """The full-screen interface comes up: one step."""

    def drawn(patience: Patience) -> str:
        with opencode.private_home() as home:
            environment = opencode.environment(home, subject.extra)
            limit = patience.limit(terminal.FIRST_SCREEN)
            return terminal.watch(subject.program, home, environment, limit, subject.alone)

    record.step("tui", drawn)
