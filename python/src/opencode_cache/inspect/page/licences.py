"""Licences on the page: by licence, what may not be passed on, and the texts that lie in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats import redistribution
from opencode_cache.formats.manifest import NOT_STATED
from opencode_cache.inspect.page.markup import Content, h, items, lines, megabytes, number, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opencode_cache.formats.manifest import CachedPackage
    from opencode_cache.inspect.inventory import Inventory

_FEW = 12
_NAMED = 3


def by_licence(inventory: Inventory) -> dict[str, list[CachedPackage]]:
    """Licence -> packages, the most frequent one first."""
    groups: dict[str, list[CachedPackage]] = {}
    for package in inventory.manifest.packages:
        groups.setdefault(redistribution.licence(package) or NOT_STATED, []).append(package)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def section(inventory: Inventory) -> Iterator[Content]:
    """A row for each licence, and whether something may not be passed on."""
    packages = inventory.manifest.packages
    held = redistribution.forbidden(packages)
    if held:
        yield h("p", "These may not be passed on, and leave this machine only for who accepts that:")
        yield items(h("span", f"{name}: {terms.title}", class_="warn") for name, terms in held.items())
    else:
        yield h("p", "No package here has a licence that is known to forbid passing it on.")
    yield h("p", "OpenCode itself and opencode-cache are under MIT.", class_="soft")
    rows: list[list[Content]] = []
    for licence, members in by_licence(inventory).items():
        names = ", ".join(f"{package.name} {package.version}" for package in members)
        which = h("details", h("summary", "which"), names) if len(members) > _FEW else names
        rows.append(
            [licence, len(members), megabytes(sum(inventory.size(package) for package in members)), which]
        )
    yield table(
        "by-licence",
        "As the packages declare them.",
        ["Licence", "Packages", "MB", "Which"],
        rows,
        {"Licence": "name", "Packages": "number", "MB": "number", "Which": "long"},
    )
    read = {package.name: redistribution.read_elsewhere(package) for package in packages}
    elsewhere = [f"{name}: {one.licence}, by {one.source}" for name, one in sorted(read.items()) if one]
    if elsewhere:
        yield h("p", "Declared by no package.json, and found elsewhere:")
        yield items(elsewhere)


def texts(inventory: Inventory) -> Iterator[Content]:
    """Every text, once, with the packages that have it."""
    sharing: dict[str, list[CachedPackage]] = {}
    without = []
    for package in inventory.manifest.packages:
        told = inventory.facts.get(package)
        if told and told.licence_text:
            sharing.setdefault(told.licence_text.strip(), []).append(package)
        else:
            without.append(f"{package.name} {package.version}")
    having = number(len(inventory.manifest.packages) - len(without), "package")
    yield h("p", f"{number(len(sharing), 'text')} of {having}, as they lie in the cache.", class_="soft")
    for text, members in sharing.items():
        yield h("details", h("summary", h("b", _names(members)), f" {_stated(members)}"), lines(text))
    if without:
        yield h("p", "Without a text of their own: ", ", ".join(without))


def _names(packages: list[CachedPackage]) -> str:
    names = [f"{package.name} {package.version}" for package in packages]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED + 1 else ""
    return ", ".join(names[:_NAMED] if more else names) + more


def _stated(packages: Iterable[CachedPackage]) -> str:
    return ", ".join(sorted({redistribution.licence(package) or NOT_STATED for package in packages}))
