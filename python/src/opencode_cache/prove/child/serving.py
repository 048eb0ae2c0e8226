"""The steps of the proof that need OpenCode to stay up: plugins, local tools, answers, the interface.

Loading is proved from inside: a local plugin in the private HOME reads Bun's `require.cache` in its
`config` hook, which OpenCode calls when all plugins are loaded, and so sees every module file that the
process has. (1.18.33 skips a plugin that is missing without a word; seen in 1.0.61 and 1.18.33.)
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError, OpencodeCacheError
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import terminal
from opencode_cache.prove.child.record import ended
from opencode_cache.sandbox.loopback import ANSWER, ModelServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.prove.child.record import Record, Subject

_DRIVEN = ("@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@ai-sdk/openai", "@ai-sdk/google")
"""SDKs whose API the loopback model speaks, the first one for `run`."""
_LOADED_TIMEOUT = 120
_PROMPT_TIMEOUT = 90
_PROMPTS_AT_ONCE = 4

_SPY = """
import { writeFileSync, renameSync } from "node:fs"
export const Proof = async () => ({
  config: async () => {
    const file = process.env.HOME + "/loaded.json"
    writeFileSync(file + ".part", JSON.stringify(Object.keys(require.cache)))
    renameSync(file + ".part", file)
  },
})
"""

_IMPORTED = "@opencode-ai/plugin"
_TOOL = """
import { tool } from "@opencode-ai/plugin"
export default tool({
  description: "proves that local tools load",
  args: { word: tool.schema.string() },
  async execute(args) { return args.word },
})
"""


@dataclass(frozen=True)
class Driven:
    """A provider of the private opencode.json: `id` is also the name of its only model."""

    id: str
    npm: str
    locked: bool
    note: str | None = None
    """What the lock says against this version: it is there, and may not work."""

    @property
    def label(self) -> str:
        return f"answer {self.npm}" + ("" if self.locked else " (bundled)")


def _configure(subject: Subject, home: Path, driven: Sequence[Driven], model: ModelServer) -> None:
    providers = {
        one.id: {
            "npm": one.npm,
            "name": one.id,
            # An address of its own: what each SDK asked for can be told apart.
            "options": {"baseURL": f"{model.url}/{one.id}/v1", "apiKey": "loopback"},
            "models": {one.id: {"name": one.id}},
        }
        for one in driven
    }
    plugins = [entry.spec for entry in subject.of_kind("plugin")]
    config = {"provider": providers, "plugin": plugins, "permission": {"bash": "allow"}, "share": "disabled"}
    if subject.made.layout == "bun":
        # 1.1 to 1.3 write titles with a model of opencode.ai unless another one is named.
        config["small_model"] = f"{driven[0].id}/{driven[0].id}"
    opencode.write_config(home, config)
    files = {"plugin/proof.js": _SPY} | ({"tool/proof_tool.ts": _TOOL} if subject.of_kind("config") else {})
    for name, text in files.items():
        path = home / ".config" / "opencode" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _logged(home: Path) -> str:
    logs = sorted((home / ".local" / "share" / "opencode" / "log").glob("*.log"))
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)


def _loaded(home: Path) -> list[str]:
    """The module files of the running OpenCode, by real path."""
    report = home / "loaded.json"
    limit = time.monotonic() + _LOADED_TIMEOUT
    while not report.exists():
        if time.monotonic() > limit:
            raise CheckFailedError(f"OpenCode loaded no plugins within {_LOADED_TIMEOUT} s")
        time.sleep(0.05)
    names: list[str] = json.loads(report.read_text(encoding="utf-8"))
    return names


def _prove_start(subject: Subject, record: Record, home: Path, server: opencode.Server) -> list[str]:
    """OpenCode starts with all plugins and a local tool; its loaded modules, [] if it does not."""
    modules: list[str] = []
    with record.step("serve") as detail:
        server.post("/session", {}, timeout=_LOADED_TIMEOUT)
        modules = _loaded(home)
        detail.append("starts and loads local plugins")
    for entry in subject.of_kind("config"):
        with record.step(f"config {entry.spec}") as detail:
            address = f"{server.url}/experimental/tool/ids"
            with urllib.request.urlopen(address, timeout=_PROMPT_TIMEOUT) as answer:  # noqa: S310 - loopback
                tools = json.load(answer)
            if "proof_tool" not in tools:
                raise CheckFailedError(f"a local tool that imports {_IMPORTED} did not load")
            if entry.name == _IMPORTED:
                detail.append(f"{entry.version}: a local TypeScript tool that imports it is offered")
            elif (home / ".config" / "opencode" / "node_modules" / entry.name).is_dir():
                detail.append(f"{entry.version}: local plugins and tools can import it")
            else:
                raise CheckFailedError(f"{entry.name} is not in the config directory's node_modules")
    return modules


def _prove_plugins(subject: Subject, record: Record, home: Path, modules: Sequence[str]) -> None:
    """To be called when OpenCode has ended: only then is its log complete."""
    for entry in subject.of_kind("plugin"):
        with record.step(f"plugin {entry.spec}") as detail:
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
                raise CheckFailedError(
                    "OpenCode did not load it: none of its files is among the loaded modules"
                )
            detail.append(f"{entry.version} loaded ({own} of its files)")


def _prove_answers(
    record: Record, driven: Sequence[Driven], server: opencode.Server, model: ModelServer
) -> None:
    """One prompt for each provider, several at once: the answer has to come, by way of a bash tool call."""

    def ask(one: Driven) -> tuple[float, str]:
        start = time.monotonic()
        text = server.prompt(one.id, one.id, f"RUN:echo {one.id}-$((40 + 2)):END", _PROMPT_TIMEOUT)
        return time.monotonic() - start, text

    record.say(f"answers of {len(driven)} providers")
    with ThreadPoolExecutor(_PROMPTS_AT_ONCE) as pool:
        answers = list(pool.map(ask, driven))
    for one, (seconds, text) in zip(driven, answers, strict=True):
        offered = any(request.model == one.id and request.bash for request in model.requests)
        ran = any(f"{one.id}-42" in result for result in model.tool_results_of(one.id))
        answered = ANSWER in text
        if answered and ran:
            record.note(one.label, "answered, and ran a bash tool call", ok=True, seconds=seconds)
        elif answered and one.locked and not offered:
            record.note(one.label, "answered (this SDK offers the model no tools)", ok=True, seconds=seconds)
        elif one.locked and any(
            request.path.startswith(f"/{one.id}/") and not request.model for request in model.requests
        ):
            reason = "its API is none that the loopback model speaks"
            record.note(one.label, f"imported, not driven: {reason}", ok=True, seconds=seconds)
        else:
            detail = (
                "answered, but the bash tool call gave nothing" if answered else text[:300] or "no answer"
            )
            if one.note:
                detail = f"no answer, as its note lets expect: {one.note}"
            record.note(one.label, detail, ok=bool(one.note), seconds=seconds)


def prove_serving(subject: Subject, record: Record, drivable: Sequence[Entry]) -> None:
    locked = {entry.spec: entry.note for entry in drivable}
    bundled = [name for name in _DRIVEN if name in subject.made.bundled and name not in locked]
    names = [(name, False) for name in bundled] + [(name, True) for name in locked]
    driven = [
        Driven(f"proof{index}", npm, is_locked, locked.get(npm))
        for index, (npm, is_locked) in enumerate(names)
    ]
    with opencode.private_home() as home, ModelServer() as model:
        _configure(subject, home, driven, model)
        modules: list[str] = []
        try:
            with opencode.serve(subject.program, home, extra=subject.extra) as server:
                modules = _prove_start(subject, record, home, server)
                _prove_answers(record, driven, server, model)
        except OpencodeCacheError as error:
            # It never listened; the steps keep their own errors to themselves.
            record.note("serve", str(error), ok=False)
        _prove_plugins(subject, record, home, modules)
        if driven:
            first = driven[0].id
            with record.step("run") as detail:
                before = len(model.requests)
                done = subject.run(home, "run", "--model", f"{first}/{first}", "hello")
                if done.returncode != 0 or first not in {one.model for one in model.requests[before:]}:
                    raise CheckFailedError(ended(done))
                detail.append(f"one prompt on the command line through {driven[0].npm}")
                if ANSWER not in done.stdout:
                    # 1.15.13 prints nothing where the model answers at once, with and without a cache.
                    detail.append("the model answered, and OpenCode did not print it")
    with record.step("tui") as detail, opencode.private_home() as home:
        detail.append(terminal.watch(subject.program, home, opencode.environment(home, subject.extra)))
