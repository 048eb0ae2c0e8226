"""What a request to a model API wants, whatever its wire format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHELLS = ("bash", "shell")  # the second name is OpenCode 2's
_COMMAND = re.compile(r"RUN:(.*?):END", re.DOTALL)


@dataclass(frozen=True)
class Ask:
    """What one request wants. `model` is "" where neither body nor path names one."""

    model: str
    command: str | None
    """The command for the bash tool, where the prompt has `RUN:…:END` and the tool may be called."""
    tools: tuple[str, ...]
    """The names of the tools that are offered."""
    tool_results: tuple[str, ...]
    stream: bool

    @property
    def tool(self) -> str:
        """The bash tool's name, where it is offered."""
        return next((name for name in self.tools if name in _SHELLS), "")


def _strings(node: object) -> Iterator[str]:
    """Every string in a JSON value, depth first."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)


def dicts(node: object) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, outer ones first."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from dicts(value)


def ask(model: object, talk: object, tools: object, results: Iterable[object], *, stream: bool) -> Ask:
    """The request of a body's parts, whatever they hold."""
    given = tuple("\n".join(_strings(result)) for result in results)
    match = _COMMAND.search("\n".join(_strings(talk)))
    offered = tuple(_names(tools))
    command = match[1] if match and {*offered} & {*_SHELLS} and not given else None
    return Ask(str(model or ""), command, offered, given, stream)


def _names(tools: object) -> Iterator[str]:
    """The outermost names: what is in a tool's own description is none."""
    if isinstance(tools, dict) and isinstance(tools.get("name"), str):
        yield tools["name"]
    elif isinstance(tools, dict | list):
        for value in tools.values() if isinstance(tools, dict) else tools:
            yield from _names(value)
