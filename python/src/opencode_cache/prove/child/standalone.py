"""The steps that need OpenCode 2.x to stay up: its models, plugins, and an answer from each provider.

A start that succeeds proves nothing: models and plugins come seconds after it, and plugins that are missing
are installed behind it (anomalyco/opencode, branch v2, `packages/core/src/plugin`; tried on 2.0.15). So it is
asked for them until they are there, or time is over.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError, TooSlowError
from opencode_cache.opencode import plugins, standalone
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child.configured import Driven
from opencode_cache.prove.child.record import ended
from opencode_cache.prove.child.second_start import First, check_unchanged, configuration
from opencode_cache.sandbox.loopback import ANSWER, ModelServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.opencode.standalone import Standalone
    from opencode_cache.prove.child.record import Patience, Record, Subject

_LISTEN_TIMEOUT = 60
_LOADED_TIMEOUT = 120
_PROMPT_TIMEOUT = 90
_PAUSE = 0.5


def prove_models(subject: Subject, record: Record) -> None:
    """OpenCode lists its models: one step."""

    def models(patience: Patience) -> str:
        limit = patience.limit(_LOADED_TIMEOUT)
        end = time.monotonic() + limit
        with opencode.private_home() as home, _served(subject, home, patience) as served:
            while time.monotonic() < end:
                done = served.run("models", timeout=limit)
                listed = [line for line in done.stdout.splitlines() if "/" in line]
                if done.returncode != 0:
                    raise CheckFailedError(ended(done))
                if listed:
                    return f"{len(listed)} listed"
                time.sleep(_PAUSE)
        raise TooSlowError(f"no model is listed within {limit:.0f} s")

    record.step("models", models)


def prove_serving(subject: Subject, record: Record, drivable: Sequence[Entry]) -> First:
    """Everything that is asked of a running OpenCode; what the start was like."""
    driven = [
        Driven(f"proof{n}", entry.spec, locked=True, note=entry.note) for n, entry in enumerate(drivable)
    ]
    driven = driven or [Driven("proof0", "@ai-sdk/openai-compatible", locked=False)]
    start = time.monotonic()
    with opencode.private_home() as home, ModelServer() as model, ExitStack() as stack:
        _configure(subject, home, driven, model)
        before = configuration(home)
        up: list[Standalone] = []

        def serves(patience: Patience) -> str:
            up[:] = [stack.enter_context(_served(subject, home, patience))]
            return "starts with all plugins configured"

        if record.step("serve", serves):
            for entry in subject.of_kind("plugin"):
                record.step(f"plugin {entry.spec}", partial(_loaded, up[0], entry))
            for one in driven:
                record.step(one.label, partial(_answers, up[0], one, model))
        record.step("configuration", partial(_unchanged, before, home))
    return First(seconds=time.monotonic() - start)


def _served(subject: Subject, home: Path, patience: Patience) -> AbstractContextManager[Standalone]:
    return standalone.serve(subject.program, home, subject.extra, patience.limit(_LISTEN_TIMEOUT))


def _configure(subject: Subject, home: Path, driven: Sequence[Driven], model: ModelServer) -> None:
    specs = [entry.spec for entry in subject.of_kind("plugin")]
    addresses = {one.id: (one.npm, f"{model.url}/{one.id}/v1") for one in driven}
    opencode.write_config(home, standalone.configuration(addresses, specs))


def _loaded(up: Standalone, entry: Entry, patience: Patience) -> str:
    """Wait until a plugin is active, or refused."""
    limit = patience.limit(_LOADED_TIMEOUT)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        for one in up.plugins(limit):
            status = one["state"]["status"] if one["source"].get("target") == entry.spec else ""
            if status == "active":
                return f"{entry.version} is active"
            if status == "failed":
                said = one["state"].get("error") or "it says nothing"
                hint = f"; {plugins.FIRST_API}" if entry.note and plugins.FIRST_API in entry.note else ""
                raise CheckFailedError(f"OpenCode did not load it ({said}){hint}")
        time.sleep(_PAUSE)
    raise TooSlowError(f"OpenCode did not load it within {limit:.0f} s")


def _answers(up: Standalone, one: Driven, model: ModelServer, patience: Patience) -> str:
    before = len(model.requests)
    limit = patience.limit(_PROMPT_TIMEOUT)
    prompt = f"RUN:echo {one.id}-$((40 + 2)):END"
    done = up.run("run", "--auto", "--model", f"{one.id}/{one.id}", prompt, timeout=limit)
    asked = [request for request in model.requests[before:] if request.model == one.id]
    if done.returncode != 0 or not asked or ANSWER not in done.stdout:
        raise CheckFailedError(ended(done))
    if any(f"{one.id}-42" in result for result in model.tool_results_of(one.id)):
        return "answered, and ran a shell tool call"
    if any("shell" in request.tools for request in asked):
        raise CheckFailedError("answered, but the shell tool call gave nothing")
    return "answered (this SDK offers the model no tools)"


def _unchanged(before: dict[str, object], home: Path, _: Patience) -> str:
    check_unchanged(before, configuration(home))
    return "is as it was"
