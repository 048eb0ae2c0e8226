"""The second start, in the HOME that the first one left: the same plugins, the same tools, nothing rewritten.

A plugin that edits the user's configuration may not be found by the next start: oh-my-opencode 4.19.4 writes
itself there as oh-my-openagent, which is another spec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.opencode import plugins
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import commands, configured

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from opencode_cache.prove.child.record import Patience, Record, Subject

_FILES = ("opencode.json", "opencode.jsonc", "config.json")
"""Where the user's configuration may be, in `~/.config/opencode`."""
_LISTEN_TIMEOUT = 60
_LOADED_TIMEOUT = 120
_SHOWN = 5


@dataclass
class First:
    """What the first start was like."""

    modules: list[str] = field(default_factory=list)
    """The module files that it loaded; [] where it did not start."""
    tools: list[str] | None = None
    offered: frozenset[str] = frozenset()
    """The tools that models were offered."""
    seconds: float = 0.0
    """How long it was up."""


def configuration(home: Path) -> dict[str, Any]:
    """What stands in the user's configuration, by file: JSON where it is that, else the text."""
    directory = home / ".config" / "opencode"
    texts = {name: (directory / name) for name in _FILES}
    return {
        name: _parsed(path.read_text(encoding="utf-8", errors="replace"))
        for name, path in texts.items()
        if path.is_file()
    }


def _parsed(text: str) -> Any:  # noqa: ANN401 - whatever is in it
    try:
        return json.loads(text)
    except ValueError:
        return text


def prove_second_start(
    subject: Subject, record: Record, home: Path, before: dict[str, Any], first: First
) -> None:
    """Start once more: one step. `before` is the configuration as it was at the first start."""
    cached = [entry.spec for entry in subject.of_kind("plugin")]

    def again(patience: Patience) -> str:
        renamed = check_unchanged(before, configuration(home), cached)
        configured.forget_loaded(home)
        listens, loads = patience.limit(_LISTEN_TIMEOUT), patience.limit(_LOADED_TIMEOUT)
        with opencode.serve(subject.program, home, extra=subject.extra, timeout=listens) as server:
            server.post("/session", {}, timeout=loads)
            modules = configured.loaded(home, loads)
            tools = configured.tool_ids(server, loads)
            commands.check_connected(subject, server, loads)
        check_unchanged(before, configuration(home), cached)
        for entry in subject.of_kind("plugin"):
            if entry.spec in renamed:
                continue
            directory = str((subject.cache / entry.path).resolve()) + "/"
            if _any(first.modules, directory) and not _any(modules, directory):
                raise CheckFailedError(
                    f"plugin {entry.spec} was loaded at the first start, and not at this one"
                )
        others = f"{', '.join(renamed)} goes by its other name now, which is cached"
        return f"{others if renamed else 'the configuration is as it was'}{_compared(first.tools, tools)}"

    record.step("second start", again)


def _any(modules: Sequence[str], directory: str) -> bool:
    return any(module.startswith(directory) for module in modules)


def _compared(first: list[str] | None, second: list[str] | None) -> str:
    if first is None or second is None:
        return "; this version does not tell its tools"
    if first != second:
        gone, new = sorted({*first} - {*second}), sorted({*second} - {*first})
        parts = [
            f"{what} {', '.join(names[:_SHOWN])}"
            for what, names in (("without", gone), ("with", new))
            if names
        ]
        raise CheckFailedError(f"it offers other tools than the first start: {'; '.join(parts)}")
    return f", and the {len(second)} tools are those of the first start"


def check_unchanged(before: dict[str, Any], after: dict[str, Any], cached: Collection[str] = ()) -> list[str]:
    """The plugins that renamed themselves, where their other names are in the cache as well.

    Raises CheckFailedError that names what else was rewritten, and a plugin's new name.
    """
    if before == after:
        return []
    gone, new = _minus(_plugins(before), _plugins(after)), _minus(_plugins(after), _plugins(before))
    others = [plugins.renamed(spec) for spec in gone]
    if gone and all(other in cached for other in others) and {*new} <= {*others}:
        return gone
    if gone and new:
        raise CheckFailedError(
            f"plugin {', '.join(gone)} writes itself into the user's configuration as {', '.join(new)}, "
            f"which the next start looks for; name it {', '.join(new)} in the plan and in opencode.json"
        )
    names = [name for name in _FILES if before.get(name) != after.get(name)]
    keys = sorted({key for name in names for key in _changed(before.get(name), after.get(name))})
    what = f" ({', '.join(keys[:_SHOWN])})" if keys else ""
    lost = f"; plugin {', '.join(gone)} is not in it any more" if gone else ""
    added = f"; plugin {', '.join(new)} was added: name it in the plan as well" if new else ""
    raise CheckFailedError(f"the first start rewrites the user's {', '.join(names)}{what}{lost}{added}")


def _changed(before: Any, after: Any) -> list[str]:  # noqa: ANN401 - whatever is in it
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    return [str(key) for key in {*before, *after} if before.get(key) != after.get(key)]


def _plugins(documents: dict[str, Any]) -> list[str]:
    named = []
    for document in documents.values():
        listed = document.get("plugin") if isinstance(document, dict) else None
        # A plugin with options is a pair, and its name comes first.
        named += [str(one[0] if isinstance(one, list) and one else one) for one in listed or ()]
    return named


def _minus(some: list[str], others: list[str]) -> list[str]:
    return [one for one in some if one not in others]
