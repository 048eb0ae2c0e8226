"""What lies in the cache, on the page: its map, every package, the model catalogue and the languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats.manifest import NOT_STATED
from opencode_cache.formats.redistribution import licence
from opencode_cache.inspect.page.markup import Content, facts, h, megabytes, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.inspect.inventory import Inventory


def sizes(drawing: Element) -> Iterator[Content]:
    """The map with its key."""
    yield h(
        "p",
        "Area is size. ",
        h("span", class_="key asked"),
        " with a cut corner is what was asked for, ",
        h("span", class_="key"),
        " is what that needs. A package that several trees need is in each of them.",
        class_="soft",
    )
    yield drawing


def packages(inventory: Inventory) -> Iterator[Content]:
    """The table of all packages, and the filter that a script shows."""
    by_package = {package: inventory.size(package) for package in inventory.manifest.packages}
    ordered = sorted(by_package, key=lambda package: (-by_package[package], package.name, package.version))
    rows: list[list[Content]] = [
        [
            h("span", package.name, h("span", package.github, class_="soft") if package.github else None),
            package.version,
            licence(package) or NOT_STATED,
            megabytes(by_package[package]),
            ", ".join(package.specs),
        ]
        for package in ordered
    ]
    yield h(
        "p",
        h("label", "Filter ", for_="filter"),
        h("input", id="filter", type="search"),
        " ",
        h("span", id="shown", role="status"),
        id="filtering",
        hidden="",
    )
    yield table(
        "all-packages",
        "All of them, the largest first. The size is of all copies together.",
        ["Package", "Version", "Licence", "MB", "Asked for by"],
        rows,
        {"Package": "name", "Version": "word", "MB": "number", "Asked for by": "long"},
    )


def catalogue(inventory: Inventory) -> Iterator[Content]:
    """Which models OpenCode knows of, and since when."""
    manifest = inventory.manifest
    shipped = manifest.catalogue
    pairs: list[tuple[str, Content]]
    if shipped is None:
        pairs = [("From", "the OpenCode program itself: the cache has no catalogue of its own")]
    else:
        pairs = [
            ("From", {"binary": "the OpenCode program"}.get(shipped.source, f"a {shipped.source}")),
            ("Holds", f"{shipped.providers:,} providers, {shipped.models:,} models"),
            ("SHA-256", h("code", shipped.sha256)),
        ]
    pairs.insert(1, ("Date", str(inventory.catalogue_date or "not recorded")))
    pairs.append(("Why", manifest.catalogue_why or "not recorded"))
    yield facts(pairs)


def languages(inventory: Inventory) -> Iterator[Content]:
    """Which languages the interface shows in colours."""
    manifest = inventory.manifest
    yield h("p", "Which the interface shows in colours.", class_="soft")
    yield facts(
        [
            ("From the cache", ", ".join(manifest.languages) or "none"),
            ("Asked of GitHub when first shown", ", ".join(manifest.languages_fetched) or "none"),
        ]
    )
