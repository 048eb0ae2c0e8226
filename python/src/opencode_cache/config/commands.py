"""Commands that fetch a program when they start: `npx NAME`, `uvx NAME` and the like.

OpenCode starts the commands of `mcp`, `formatter` and `lsp` as they are written. The options are those of
npm 11's `npx` and `npm exec`, pnpm 10's `dlx`, Yarn's `dlx`, Bun 1.3's `x`, and uv's `uvx`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNNERS: tuple[tuple[str, ...], ...] = (
    ("npx",),
    ("bunx",),
    ("pnpx",),
    ("npm", "exec"),
    ("npm", "x"),
    ("pnpm", "dlx"),
    ("pnpm", "exec"),
    ("yarn", "dlx"),
    ("bun", "x"),
)
_PYTHON: tuple[tuple[str, ...], ...] = (("uvx",), ("uv", "tool", "run"), ("pipx", "run"))
_PACKAGE = ("-p", "--package", "--from")
_WITH_VALUE = (*_PACKAGE, "--with", "--python", "--index-url", "--spec", "-w", "--workspace", "--registry")
_SHELLS = ("sh", "bash", "dash", "zsh", "cmd")
_HIDDEN = re.compile(r"\b(?:npx|bunx|pnpx|uvx|pnpm dlx|npm exec)\b")


@dataclass(frozen=True)
class Fetched:
    """A command that fetches what it starts. `by`: whose packages, or what cannot be told apart."""

    by: Literal["npm", "python", "container", "shell"]
    runner: str
    """The words that fetch, such as `npm exec`."""
    spec: str
    """The package as it is written; empty where none is named."""
    arguments: tuple[str, ...] = ()
    """What the program itself gets."""
    command: str = ""
    """The program's name where it is given apart from the package's (`npx -p NAME COMMAND`)."""


def fetched(command: Sequence[str]) -> Fetched | None:
    """What a command fetches; None for one that starts a program of the machine's."""
    words = (
        [PurePath(command[0]).name.removesuffix(".cmd").removesuffix(".exe"), *command[1:]] if command else []
    )
    for runners, by in ((_RUNNERS, "npm"), (_PYTHON, "python")):
        for runner in runners:
            if tuple(words[: len(runner)]) == runner:
                return _parsed(words[len(runner) :], " ".join(runner), "npm" if by == "npm" else "python")
    if words[:1] in (["docker"], ["podman"]) and "run" in words[1:]:
        image = next((word for word in words[words.index("run") + 1 :] if "/" in word or ":" in word), "")
        return Fetched("container", words[0], image)
    inside = " ".join(words[1:])
    if words and words[0] in _SHELLS and _HIDDEN.search(inside):
        return Fetched("shell", words[0], "")
    return None


def _parsed(words: Sequence[str], runner: str, by: Literal["npm", "python"]) -> Fetched:
    packages: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        name, equals, value = word.partition("=")
        if word == "--":
            position += 1
            break
        if not word.startswith("-"):
            break
        if name in _PACKAGE:
            packages.append(value if equals else words[position + 1] if position + 1 < len(words) else "")
        position += 1 if equals or name not in _WITH_VALUE else 2
    rest = list(words[position:])
    if runner.startswith("npm ") and rest[:1] == ["--"]:
        rest = rest[1:]
    if packages:
        return Fetched(by, runner, packages[0], tuple(rest[1:]), rest[0] if rest else "")
    # `npm exec NAME -- ARGUMENTS`
    arguments = rest[2:] if runner.startswith("npm ") and rest[1:2] == ["--"] else rest[1:]
    return Fetched(by, runner, rest[0] if rest else "", tuple(arguments))
