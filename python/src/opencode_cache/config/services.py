"""Whom a configuration has OpenCode ask, whatever is cached: services, each with who asks it and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opencode_cache.config.entries import Merged
from opencode_cache.config.judge import judge
from opencode_cache.config.mistakes import named_models
from opencode_cache.config.read import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opencode_cache.config.entries import Entry
    from opencode_cache.config.offer import Offer
    from opencode_cache.config.read import Configuration, Document

_START, _PROMPT, _USE = "at every start", "with each prompt", "when used"
_FIRST_USE = "when it is first used"
_SHORT = re.compile(r"[\w.-]+/[\w.-]+(?:#.*)?")
_SSH = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?!/)")
_GITHUB = "https://github.com"


@dataclass(frozen=True)
class Service:
    """One address that is asked. `where`: the file that names it."""

    who: str
    when: str
    address: str
    """An URL; of a repository also `ssh://HOST`."""
    where: str


def services(configuration: Configuration, offer: Offer) -> list[Service]:
    """All that the offer does not answer, in the order in which a person would look for them."""
    own = [document for document in configuration.documents if not document.tui]
    asking = [one.entry for one in judge(configuration, offer) if one.word != "cached"]
    named = [service for entry in asking for service in _of_entry(entry)]
    return list(dict.fromkeys([*named, *_of_providers(own), *_sharing(own)]))


def _of_entry(entry: Entry) -> Iterator[Service]:
    if entry.off:
        return
    name = entry.key.partition(".")[2]
    if entry.kind == "remote":
        yield Service(f"MCP server {name}", _START, entry.value, entry.where)
    elif entry.kind == "url":
        yield Service(entry.key, _PROMPT if entry.key == "instructions" else _START, entry.value, entry.where)
    elif entry.kind == "reference":
        yield Service(f"reference {name}", _FIRST_USE, _repository(entry.value), entry.where)


def _repository(text: str) -> str:
    """Where git would go for a repository: `owner/repo` is GitHub's."""
    if "://" in text:
        return text.removeprefix("git+")
    ssh = _SSH.match(text)
    if ssh:
        return f"ssh://{ssh['host']}"
    return _GITHUB if _SHORT.fullmatch(text) else text


def _of_providers(documents: list[Document]) -> Iterator[Service]:
    for name, provider, where in _providers(documents).items():
        for address in dict.fromkeys(_addresses(provider)):
            yield Service(f"provider {name}", _USE, address, where)


def _providers(documents: list[Document]) -> Merged:
    merged = Merged()
    off = _disabled(documents)
    for document in documents:
        merged.add(
            {name: one for name, one in table(document.value, "provider").items() if name not in off},
            document.where,
        )
    return merged


def _addresses(provider: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the user wrote
    if not isinstance(provider, dict):
        return
    own = table(provider, "options").get("baseURL")
    of_models = (table(settings, "provider").get("api") for settings in table(provider, "models").values())
    for address in (provider.get("api") if own is None else own, *of_models):
        if isinstance(address, str) and address:
            yield address


def _sharing(documents: list[Document]) -> Iterator[Service]:
    named = [(document, table(document.value, "enterprise").get("url")) for document in documents]
    for document, url in reversed(named):
        if isinstance(url, str):
            yield Service("sharing", "when a session is shared", url, document.where)
            return


def providers(configuration: Configuration) -> dict[str, str]:
    """Providers that are used and whose address the catalogue has to tell -> the file that names each."""
    own = [document for document in configuration.documents if not document.tui]
    off, merged = _disabled(own), _providers(own)
    named = {
        model.partition("/")[0]: document.where
        for document in own
        for _, model in named_models(document.value)
        if "/" in model
    }
    named |= {name: where for name, _, where in merged.items()}
    told = {name for name, provider, _ in merged.items() if next(_addresses(provider), None)}
    return {name: where for name, where in sorted(named.items()) if name not in off | told}


def _disabled(documents: list[Document]) -> set[str]:
    """The last list of `disabled_providers` counts, as lists do."""
    lists = [document.value.get("disabled_providers") for document in documents]
    last = next((one for one in reversed(lists) if isinstance(one, list)), [])
    return {one for one in last if isinstance(one, str)}
