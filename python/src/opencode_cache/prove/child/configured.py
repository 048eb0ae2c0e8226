"""The configuration that the steps with a server share, and what a running OpenCode says of itself.

Loading is proved from inside: a local plugin in the private HOME reads Bun's `require.cache` in its
`config` hook, which OpenCode calls when all plugins are loaded, and so sees every module file that the
process has. (1.18.33 skips a plugin that is missing without a word; seen in 1.0.61 and 1.18.33.)
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import TooSlowError
from opencode_cache.formats import urls
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.prove.child.record import Subject
    from opencode_cache.sandbox.loopback import ModelServer

_NOT_FOUND = 404

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

IMPORTED = "@opencode-ai/plugin"
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
        """The step's name in the proof."""
        return f"answer {self.npm}" + ("" if self.locked else " (bundled)")


def configure(subject: Subject, home: Path, driven: Sequence[Driven], model: ModelServer) -> None:
    """Write the user's configuration into a private HOME: providers, all plugins, the spy, a local tool."""
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
    config: dict[str, Any] = {"provider": providers, "plugin": plugins, "share": "disabled"}
    config["permission"] = {"bash": "allow"}
    if servers := subject.mcp_servers():
        config["mcp"] = {one.name: {"type": "local", "command": list(one.command)} for one in servers}
    config |= urls.configured(subject.manifest.urls or ())
    if subject.manifest.layout == "bun":
        # 1.1 to 1.3 write titles with a model of opencode.ai unless another one is named.
        config["small_model"] = f"{driven[0].id}/{driven[0].id}"
    opencode.write_config(home, config)
    files = {"plugin/proof.js": _SPY} | ({"tool/proof_tool.ts": _TOOL} if subject.of_kind("config") else {})
    for name, text in files.items():
        path = home / ".config" / "opencode" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


_REPORT = "loaded.json"


def loaded(home: Path, seconds: float) -> list[str]:
    """The module files of the running OpenCode, by real path."""
    report = home / _REPORT
    limit = time.monotonic() + seconds
    while not report.exists():
        if time.monotonic() > limit:
            raise TooSlowError(f"OpenCode loaded no plugins within {seconds:.0f} s")
        time.sleep(0.05)
    names: list[str] = json.loads(report.read_text(encoding="utf-8"))
    return names


def forget_loaded(home: Path) -> None:
    """Before another start in the same HOME."""
    (home / _REPORT).unlink(missing_ok=True)


def asked(server: opencode.Server, path: str, seconds: float) -> Any:  # noqa: ANN401 - JSON is anything
    """What a running OpenCode answers to a GET."""
    with urllib.request.urlopen(server.url + path, timeout=seconds) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def tool_ids(server: opencode.Server, seconds: float) -> list[str] | None:
    """The tools that OpenCode offers its models, sorted; None of a version that does not tell."""
    try:
        return sorted(asked(server, "/experimental/tool/ids", seconds))
    except urllib.error.HTTPError as error:
        if error.code == _NOT_FOUND:
            return None
        raise
