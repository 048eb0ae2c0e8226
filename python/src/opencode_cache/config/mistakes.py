"""Mistakes in a configuration that show without starting anything: OpenCode ends with them, or does without.

The shapes are those with which 1.18.33 ends (`debug config`, exit 1): every one was tried.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opencode_cache.config.read import table
from opencode_cache.opencode.versions import EXPERIMENTAL, layout_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opencode_cache.config.read import Configuration, Document

_ENDS = "OpenCode does not start with it"
_LISTS = ("plugin", "instructions")
_COMMON = {"copilot": "github-copilot", "bedrock": "amazon-bedrock"}
"""What no spelling is near to, and people write."""


@dataclass(frozen=True)
class Mistake:
    """`certain`: OpenCode ends with it, or will not find what it names."""

    where: str
    text: str
    fix: str
    certain: bool = True


def mistakes(
    configuration: Configuration, catalogue: Callable[[], Mapping[str, Any]], *, opencode: str
) -> Iterator[Mistake]:
    """Every mistake, in the order of the files. `catalogue` is asked for once a model is named."""
    for one in configuration.broken:
        yield Mistake(one.where, one.why, f"fix it: {_ENDS}")
    documents = [document for document in configuration.documents if not document.tui]
    second = layout_name(opencode) == EXPERIMENTAL
    for document in () if second else documents:
        yield from _shapes(document)
        yield from _of_version_2(document)
    named = [
        (document.where, key, value) for document in documents for key, value in named_models(document.value)
    ]
    if not named:
        return
    own: dict[str, Any] = {}
    for document in documents:
        own |= table(document.value, "provider") | (table(document.value, "providers") if second else {})
    known = catalogue()
    for where, key, value in named:
        yield from _model(where, key, value, known, own)


def _shapes(document: Document) -> Iterator[Mistake]:
    value, where = document.value, document.where
    for key in _LISTS:
        if value.get(key) is not None and not isinstance(value[key], list):
            yield Mistake(where, f"{key} is not a list; {_ENDS}", f'write "{key}": […]')
    for section, right, problem, fix in _SHAPES:
        for name, settings in table(value, section).items():
            if (section, name) not in _NO_SERVERS and not right(settings):
                yield Mistake(where, f"{section}.{name} {problem}; {_ENDS}", fix)


def _is_lsp(settings: Any) -> bool:  # noqa: ANN401 - whatever the user wrote
    return isinstance(settings, dict) and (
        isinstance(settings.get("command"), list) or settings.get("disabled") is True
    )


def _is_formatter(settings: Any) -> bool:  # noqa: ANN401
    return not isinstance(settings, dict) or isinstance(settings.get("command", []), list)


def _is_reference(settings: Any) -> bool:  # noqa: ANN401
    return isinstance(settings, str) or (
        isinstance(settings, dict) and ("repository" in settings or "path" in settings)
    )


def _is_server(settings: Any) -> bool:  # noqa: ANN401
    if not isinstance(settings, dict):
        return False
    local = settings.get("type") == "local" and isinstance(settings.get("command"), list)
    remote = settings.get("type") == "remote" and isinstance(settings.get("url"), str)
    return local or remote or ("type" not in settings and isinstance(settings.get("enabled"), bool))


_NO_SERVERS = {("mcp", "servers"), ("mcp", "timeout")}
"""OpenCode 2's, which 1.18.33 understands."""
_SHAPES: tuple[tuple[str, Callable[[Any], bool], str, str], ...] = (
    (
        *("lsp", _is_lsp, "has no command"),
        'write "lsp": true, or give it a command: ["PROGRAM", "--stdio"], or "disabled": true',
    ),
    ("formatter", _is_formatter, "has a command that is not a list", 'write "command": ["PROGRAM", …]'),
    (
        *("mcp", _is_server, "is not an MCP server"),
        'write "type": "local" and "command": ["PROGRAM", …], or "type": "remote" and "url": "https://…"',
    ),
    ("references", _is_reference, "has neither repository nor path", "write one of them"),
)
"""Section, what OpenCode takes there, and what to say of all else."""


def _of_version_2(document: Document) -> Iterator[Mistake]:
    """Keys of OpenCode 2 (1.18.33, `packages/opencode/src/config/v2-compat.ts`): refused, or passed over."""
    value, where = document.value, document.where
    fix = 'write "permission" as OpenCode 1 has it, or use OpenCode 2'
    if "permissions" in value:
        yield Mistake(where, f"permissions is a key of OpenCode 2; {_ENDS}", fix)
    for section in ("agents", "agent", "mode"):
        for name, settings in table(value, section).items():
            if isinstance(settings, dict) and "permissions" in settings:
                yield Mistake(where, f"{section}.{name}.permissions is a key of OpenCode 2; {_ENDS}", fix)
    for key, old in (("providers", "provider"), ("plugins", "plugin")):
        if key in value:
            text = f"{key} is a key of OpenCode 2, and OpenCode 1 passes over it"
            yield Mistake(where, text, f'write "{old}" as OpenCode 1 has it')


def named_models(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where in a file a model is named, and the text there: `agent.x.model`, `anthropic/claude-…`."""
    named = [(key, document.get(key)) for key in ("model", "small_model")]
    for section in ("agent", "mode", "command"):
        for name, entry in table(document, section).items():
            named.append((f"{section}.{name}.model", entry.get("model") if isinstance(entry, dict) else None))
    yield from ((key, value) for key, value in named if isinstance(value, str) and value)


def near(name: str, names: Sequence[str]) -> str:
    """The name that was most likely meant; empty where none is near."""
    if name in _COMMON and (not names or _COMMON[name] in names):
        return _COMMON[name]
    parts = [one for one in names if name in re.split(r"[-_/.]", one)]
    nearest = (sorted(parts, key=len) + difflib.get_close_matches(name, names, n=1))[:1]
    return nearest[0] if nearest else ""


def _model(
    where: str, key: str, value: str, known: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[Mistake]:
    provider, slash, model = value.partition("/")
    model = model.partition("#")[0]
    if not slash or not model:
        yield Mistake(where, f"{key} {value!r} names no provider", "write it as PROVIDER/MODEL")
        return
    if not known:
        better = _COMMON.get(provider)
        if better and provider not in own:
            yield Mistake(where, f"{key} {value!r}: no provider {provider!r}", f"write {better}/{model}")
        return
    if provider not in known and provider not in own:
        meant = near(provider, [*known, *own])
        fix = f"write {meant}/{model}" if meant else "see `opencode models` for those that exist"
        yield Mistake(where, f"{key} {value!r}: no provider {provider!r}", fix)
        return
    models = [*table(known.get(provider), "models"), *table(own.get(provider), "models")]
    if models and model not in models:
        meant = near(model, models)
        fix = f"write {provider}/{meant}" if meant else f"see `opencode models {provider}`"
        text = f"{key} {value!r}: {provider} has no such model in the catalogue"
        yield Mistake(where, text, fix, certain=False)
