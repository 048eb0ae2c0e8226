"""Plugins that OpenCode treats by their names, and those that treat themselves in an odd way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode.versions import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

_IGNORED = ("opencode-openai-codex-auth", "opencode-copilot-auth")
_FIRST_THAT_IGNORES = (1, 3, 0)
TAKE_IT_OUT = "OpenCode has this built in; take it out"

_RENAMES_ITSELF = {"oh-my-opencode": "oh-my-openagent"}
"""Tried with oh-my-opencode 4.19.4 on 1.18.33: its first start writes the other name into opencode.json."""

KNOWN = (
    "@tarquinen/opencode-dcp",
    "context-mode",
    "oh-my-openagent",
    "oh-my-opencode",
    "oh-my-opencode-slim",
    "opencode-antigravity-auth",
    "opencode-beads",
    "opencode-gemini-auth",
    "opencode-lmstudio",
    "opencode-pty",
    "opencode-supermemory",
    "opencode-swarm",
    "opencode-swarm-plugin",
    "opencode-wakatime",
)
"""Names that people have in their configurations: what a slip of the pen is compared with."""


FIRST_API = "it is written for the plugins of OpenCode 1, which OpenCode 2 does not load"
"""Of one that brings @opencode-ai/plugin and not @opencode/plugin."""


def of_first_api(packages: Iterable[str]) -> bool:
    """Whether a plugin is one of OpenCode 1 alone, by the packages (`name@version`) of its tree."""
    names = {key.rpartition("@")[0] for key in packages}
    return "@opencode-ai/plugin" in names and "@opencode/plugin" not in names


def ignored(spec: str, opencode: str) -> bool:
    """Whether that version of OpenCode passes over a plugin because it has the like built in.

    Upstream (anomalyco/opencode `packages/opencode/src/plugin/shared.ts`, `isDeprecatedPlugin`): any spec
    with one of two names in it. Read in 1.3.2, 1.14.34 and 1.18.33; 1.0.61 asks npm for one by itself.
    """
    return numbers(opencode) >= _FIRST_THAT_IGNORES and any(name in spec for name in _IGNORED)


def renamed(spec: str) -> str | None:
    """The spec under which a plugin writes itself into the user's configuration at its first start."""
    name, version = split_spec(spec)
    other = _RENAMES_ITSELF.get(name)
    return other and (f"{other}@{version}" if version else other)


def other_name(spec: str) -> str | None:
    """What to do about a plugin that renames itself, or None."""
    other = renamed(spec)
    return other and f"write {other}: at its first start it changes your configuration to that name"
