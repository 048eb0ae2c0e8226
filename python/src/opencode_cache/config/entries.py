"""What a configuration asks for, entry by entry, put together as OpenCode puts its files together.

Upstream (anomalyco/opencode `packages/opencode/src/config/config.ts`; 1.18.33): tables are merged key by key,
lists replace each other but for `plugin`, whose entries are one for each package, the last one written
(`plugin/shared.ts`, `deduplicatePluginOrigins`), and `instructions`, which add up. OpenCode 2.x takes these
keys, and has `plugins` and `providers` of its own (branch v2, `packages/core/src/config`; read).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from opencode_cache.base.errors import BadInputError
from opencode_cache.config import languages
from opencode_cache.config.read import dependencies, table
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode.standalone import AISDK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opencode_cache.config.read import Configuration, Document

Kind = Literal[
    "plugin", "provider", "tool", "servers", "command", "mcp", "remote", "package", "url", "reference"
]


@dataclass(frozen=True)
class Entry:
    """One thing that the configuration asks for.

    `key`: where in the file, such as `mcp.memory`. `value`: the spec, address or program's name. `off`: why
    it is there and does nothing.
    """

    kind: Kind
    where: str
    key: str
    value: str
    words: tuple[str, ...] = ()
    """Of a command, each word."""
    off: str = ""


@dataclass
class Merged:
    """A table of tables, merged, with the file that spoke last of each key."""

    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)

    def add(self, more: dict[str, Any], where: str) -> None:
        """Put a later file's table over what there is."""
        for key, value in more.items():
            self.values[key] = _merge(self.values.get(key), value)
            self.where[key] = where

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Each key, what stands for it, and in which file."""
        return ((key, value, self.where[key]) for key, value in self.values.items())


def _merge(old: Any, new: Any) -> Any:  # noqa: ANN401 - JSON is anything
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old.get(key), value) for key, value in new.items()}
    return new


def entries(configuration: Configuration, *, second: bool = False) -> list[Entry]:
    """Everything that is asked for, in the order in which a person would look for it.

    `second`: OpenCode 2.x reads it.
    """
    documents = [_as_first(document) if second else document for document in configuration.documents]
    own = [document for document in documents if not document.tui]
    collected = [*_plugins(own), *_plugins([document for document in documents if document.tui])]
    collected += _providers(own)
    collected += _switched("lsp", own, configuration.projects)
    collected += _switched("formatter", own, configuration.projects)
    collected += _mcp(own)
    for path in configuration.directories:
        collected += _packages(path)
    collected += _addresses(own)
    collected += _references(own)
    return list(dict.fromkeys(collected))


def _as_first(document: Document) -> Document:
    """A document with what OpenCode 2.x has under keys of its own where 1.x would have it."""
    value = document.value
    plugins = [*_list(value.get("plugin")), *_list(value.get("plugins"))]
    named = [one.get("package") if isinstance(one, dict) else one for one in plugins]
    off = [one for one in named if isinstance(one, str) and one.startswith("-")]
    named = [one for one in named if one not in off and f"-{one}" not in off]
    providers = {
        name: {"npm": _package(settings.get("package")), **settings}
        if isinstance(settings, dict)
        else settings
        for name, settings in table(value, "providers").items()
    }
    return replace(
        document, value=value | {"plugin": named, "provider": table(value, "provider") | providers}
    )


def _package(value: Any) -> Any:  # noqa: ANN401
    return value.removeprefix(AISDK) if isinstance(value, str) else value


def _list(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else []


def _plugins(documents: Sequence[Document]) -> Iterator[Entry]:
    every = []
    for document in documents:
        for item in _list(document.value.get("plugin")):
            spec = item[0] if isinstance(item, list) and item else item
            if isinstance(spec, str) and spec.strip():
                local = spec.startswith(".")
                value = str((document.directory / spec).resolve()) if local else spec
                every.append((value, document.where))
    last = {plugin_name(spec): position for position, (spec, _) in enumerate(every)}
    for position, (spec, where) in enumerate(every):
        winner = every[last[plugin_name(spec)]]
        off = (
            "" if last[plugin_name(spec)] == position else f"{winner[1]} names it again, and that one counts"
        )
        if off and winner[0] == spec:
            continue
        yield Entry("plugin", where, "plugin", spec, off=off)


def plugin_name(spec: str) -> str:
    """What two plugin entries have in common when OpenCode takes them for the same one."""
    return spec if spec.startswith(("file:", "/")) else split_spec(spec)[0]


def _providers(documents: Sequence[Document]) -> Iterator[Entry]:
    merged = Merged()
    for document in documents:
        merged.add(table(document.value, "provider"), document.where)
    for name, provider, where in merged.items():
        if not isinstance(provider, dict):
            continue
        if isinstance(provider.get("npm"), str):
            yield Entry("provider", where, f"provider.{name}.npm", provider["npm"])
        for model, settings in table(provider, "models").items():
            npm = table(settings, "provider").get("npm")
            if isinstance(npm, str):
                yield Entry("provider", where, f"provider.{name}.models.{model}.provider.npm", npm)


def _switched(section: str, documents: Sequence[Document], projects: Sequence[Path]) -> Iterator[Entry]:
    """`lsp` and `formatter`: off, all, or all with exceptions."""
    state: Any = False
    where, inner = "", Merged()
    for document in documents:
        if section not in document.value:
            continue
        given = document.value[section]
        state, where = given, document.where
        if isinstance(given, dict):
            inner.add(given, document.where)
    if state is False or state is None:
        return
    off, seen = set(), False
    for name, settings, source in inner.items():
        if isinstance(settings, dict) and settings.get("disabled") is True:
            off.add(name)
        elif isinstance(settings, dict) and isinstance(settings.get("command"), list):
            off.add(name)  # the user's own command stands for OpenCode's
            yield _command(source, f"{section}.{name}", settings)
    for package in languages.tools(section, projects, off):
        seen = True
        yield Entry("tool", where, section, package)
    if section == "lsp" and not seen:
        yield Entry("servers", where, section, "")


def _command(where: str, key: str, settings: dict[str, Any]) -> Entry:
    words = tuple(str(word) for word in settings.get("command") or ())
    return Entry("command", where, key, words[0] if words else "", words)


def _mcp(documents: Sequence[Document]) -> Iterator[Entry]:
    merged = Merged()
    for document in documents:
        servers = table(document.value, "mcp")
        inner = servers.get("servers")
        # 2.x has its servers in a table of their own, which 1.18.33 takes as well.
        if isinstance(inner, dict) and not isinstance(inner.get("type"), str):
            servers = {
                key: value for key, value in servers.items() if key not in ("servers", "timeout")
            } | inner
        merged.add(servers, document.where)
    for name, settings, where in merged.items():
        if not isinstance(settings, dict):
            continue
        off = (
            "it is switched off"
            if settings.get("enabled") is False or settings.get("disabled") is True
            else ""
        )
        url, command = settings.get("url"), settings.get("command")
        if isinstance(url, str):
            yield Entry("remote", where, f"mcp.{name}", url, off=off)
        elif isinstance(command, list) and command:
            words = tuple(str(word) for word in command)
            yield Entry("mcp", where, f"mcp.{name}", words[0], words, off)


def _packages(config: Path) -> Iterator[Entry]:
    where = str(config / "package.json")
    try:
        wanted = dependencies(config)
    except BadInputError:
        yield Entry("package", where, "dependencies", "")
        return
    for name, version in sorted(wanted.items()):
        yield Entry("package", where, "dependencies", f"{name}@{version}" if version else name)


def _addresses(documents: Sequence[Document]) -> Iterator[Entry]:
    skills: list[Entry] = []
    for document in documents:
        for one in _strings(document.value.get("instructions")):
            if _is_address(one):
                yield Entry("url", document.where, "instructions", one)
        given = document.value.get("skills")
        urls = given if isinstance(given, list) else table(document.value, "skills").get("urls")
        if urls is not None:
            skills = [
                Entry("url", document.where, "skills", one) for one in _strings(urls) if _is_address(one)
            ]
    yield from skills


def _strings(value: Any) -> list[str]:  # noqa: ANN401
    return [one for one in _list(value) if isinstance(one, str)]


def _is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _references(documents: Sequence[Document]) -> Iterator[Entry]:
    merged = Merged()
    for document in documents:
        for key in ("reference", "references"):
            merged.add(table(document.value, key), document.where)
    for name, settings, where in merged.items():
        named = (
            settings
            if isinstance(settings, str)
            else settings.get("repository")
            if isinstance(settings, dict)
            else None
        )
        if isinstance(named, str) and not named.startswith((".", "/", "~")):
            yield Entry("reference", where, f"references.{name}", named)
