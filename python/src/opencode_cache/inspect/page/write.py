"""`list --html`: a cache and its last proof as one page that needs nothing but itself.

All of it is there without JavaScript; a few lines of that add a filter. A Content-Security-Policy allows the
page's own style and script, by their hashes, and nothing else. The same cache and proof give the same bytes.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from opencode_cache.base.console import megabytes
from opencode_cache.formats.manifest import NOT_STATED, licences
from opencode_cache.inspect.page import last_proof, size_map
from opencode_cache.inspect.page.markup import Content, document, h, raw, source, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.formats.lock import Unavailable
    from opencode_cache.formats.manifest import CachedPackage, Entry
    from opencode_cache.formats.proof import Proof
    from opencode_cache.inspect.inventory import Inventory

_MEGABYTE = 1_000_000
_FEW = 12
_KINDS = {
    "provider": "provider SDK",
    "tool": "npm tool",
    "command": "npx command",
    "config": "config directory",
}


def render(inventory: Inventory) -> str:
    """The text of the page."""
    manifest = inventory.manifest
    drawing, placing = size_map.draw(inventory)
    package = files(__package__)
    style = package.joinpath("page.css").read_text(encoding="utf-8") + placing
    script = package.joinpath("page.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src {source(style)}; script-src {source(script)}; "
    name = f"OpenCode {manifest.opencode}: what its cache holds"
    sections = list(_sections(inventory, drawing))
    links = [h("a", title, href=f"#{section.get('id')}") for title, section in sections]
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h(
            "meta",
            http_equiv="Content-Security-Policy",
            content=f"{policy}base-uri 'none'; form-action 'none'",
        ),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("link", rel="icon", href="data:,"),
        h("title", name),
        raw("style", style),
    )
    top = h(
        "header",
        h("h1", name),
        h(
            "p",
            f"{manifest.layout} layout, {manifest.system}, built by opencode-cache {manifest.builder}",
            class_="soft",
        ),
        h("nav", *links, aria_label="Sections"),
        _figures(inventory),
        last_proof.verdict_line(inventory.proof),
    )
    body = h("body", top, h("main", *(section for _, section in sections)), raw("script", script))
    return document(h("html", head, body, lang="en"))


def _sections(inventory: Inventory, drawing: Element) -> Iterator[tuple[str, Element]]:
    named: tuple[tuple[str, str, Iterable[Content]], ...] = (
        ("asked", "Who asked", _requests(inventory)),
        ("sizes", "Sizes", _sizes(drawing)),
        ("proof", "Last proof", last_proof.section(inventory)),
        ("licences", "Licences", _licences(inventory)),
        ("catalogue", "Model catalogue", _catalogue(inventory)),
        ("languages", "Languages", _languages(inventory)),
        ("packages", "Packages", _packages(inventory)),
    )
    for identifier, title, content in named:
        yield title, h("section", h("h2", title, id=f"{identifier}-title"), *content, id=identifier)


def _figures(inventory: Inventory) -> Element:
    manifest = inventory.manifest
    figures = [
        ("size", megabytes(manifest.bytes)),
        ("files", f"{manifest.files:,}"),
        ("packages", f"{len(manifest.packages):,}"),
        ("requests answered", f"{len(manifest.requests):,}"),
        ("unavailable", f"{len(manifest.unavailable):,}"),
        ("licences", f"{len(_by_licence(inventory)):,}"),
        ("hosts asked for", f"{len(_hosts(inventory.proof)):,}" if inventory.proof else "no proof"),
    ]
    return h("dl", *(h("div", h("dt", name), h("dd", value)) for name, value in figures), class_="figures")


def _hosts(proof: Proof) -> set[str]:
    return {host.name for host in proof.hosts}


def _requests(inventory: Inventory) -> Iterator[Content]:
    manifest = inventory.manifest
    alone = {tree.entries[0]: tree for tree in inventory.trees if len(tree.entries) == 1}
    sizes = {(package.name, package.version): inventory.size(package) for package in manifest.packages}
    rows: list[list[Content]] = []
    for entry in manifest.requests:
        note = h("span", f"{entry.note}", class_="soft") if entry.note else None
        tree = alone.get(entry)
        size = tree.bytes if tree else sizes.get((entry.name, entry.version), 0)
        members = sum(entry.spec in package.specs for package in manifest.packages)
        rows.append(
            [
                h("span", entry.spec, note),
                _kind(entry),
                entry.version,
                members,
                _number(size),
                ", ".join(licences(inventory.manifest, entry)),
                "the cache itself" if entry.tree == "." else h("code", entry.tree),
            ]
        )
    yield table(
        "requests",
        "What OpenCode asks for and finds here, with all that it needs.",
        ["Request", "Kind", "Version", "Packages", "MB", "Licences", "Tree"],
        rows,
        {
            "Request": "long",
            "Kind": "word",
            "Version": "word",
            "Packages": "number",
            "MB": "number",
            "Licences": "long",
            "Tree": "name",
        },
    )
    if len(alone) < len(inventory.trees):
        yield h(
            "p", "Where requests share a tree, the size is of the requested package alone.", class_="soft"
        )
    if manifest.unavailable:
        yield table(
            "unavailable",
            "What OpenCode may ask for and this cache does not have.",
            ["Request", "Kind", "Why not"],
            [[gone.spec, _kind(gone), gone.reason] for gone in manifest.unavailable],
            {"Request": "long", "Kind": "word", "Why not": "long"},
        )


def _sizes(drawing: Element) -> Iterator[Content]:
    yield h(
        "p",
        "Area is size. ",
        h("span", class_="key asked"),
        " what was asked for, ",
        h("span", class_="key"),
        " what it needs. A package that several trees need is in each of them.",
        class_="soft",
    )
    yield drawing


def _by_licence(inventory: Inventory) -> dict[str, list[CachedPackage]]:
    groups: dict[str, list[CachedPackage]] = {}
    for package in inventory.manifest.packages:
        groups.setdefault(package.license or NOT_STATED, []).append(package)
    return groups


def _licences(inventory: Inventory) -> Iterator[Content]:
    groups = sorted(_by_licence(inventory).items(), key=lambda item: (-len(item[1]), item[0]))
    rows: list[list[Content]] = []
    for licence, packages in groups:
        names = ", ".join(f"{package.name} {package.version}" for package in packages)
        held = h("details", h("summary", "which"), names) if len(packages) > _FEW else names
        size = sum(inventory.size(package) for package in packages)
        rows.append([licence, len(packages), _number(size), held])
    yield table(
        "by-licence",
        "As the packages declare them.",
        ["Licence", "Packages", "MB", "Which"],
        rows,
        {"Licence": "name", "Packages": "number", "MB": "number", "Which": "long"},
    )


def _catalogue(inventory: Inventory) -> Iterator[Content]:
    manifest = inventory.manifest
    if manifest.catalogue is None:
        facts = [
            ("From", "the OpenCode program itself: the cache has no catalogue of its own"),
            ("Date", str(inventory.catalogue_date or "not recorded")),
        ]
    else:
        facts = [
            (
                "From",
                {"binary": "the OpenCode program"}.get(
                    manifest.catalogue.source, f"a {manifest.catalogue.source}"
                ),
            ),
            ("Date", str(inventory.catalogue_date or "not recorded")),
            ("Holds", f"{manifest.catalogue.providers:,} providers, {manifest.catalogue.models:,} models"),
            ("SHA-256", manifest.catalogue.sha256),
        ]
    facts.append(("Why", manifest.catalogue_why or "not recorded"))
    yield _facts(facts)


def _languages(inventory: Inventory) -> Iterator[Content]:
    manifest = inventory.manifest
    yield h("p", "Which the interface shows in colours.", class_="soft")
    yield _facts(
        [
            ("From the cache", ", ".join(manifest.languages) or "none"),
            ("Asked of GitHub when first shown", ", ".join(manifest.languages_fetched) or "none"),
        ]
    )


def _facts(facts: Iterable[tuple[str, str]]) -> Element:
    pairs = (part for name, value in facts for part in (h("dt", name), h("dd", value)))
    return h("dl", *pairs, class_="facts")


def _packages(inventory: Inventory) -> Iterator[Content]:
    sizes = {package: inventory.size(package) for package in inventory.manifest.packages}
    ordered = sorted(sizes, key=lambda package: (-sizes[package], package.name, package.version))
    rows: list[list[Content]] = [
        [
            h("span", package.name, h("span", package.github, class_="soft") if package.github else None),
            package.version,
            package.license or NOT_STATED,
            _number(sizes[package]),
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


def _kind(asked: Entry | Unavailable) -> str:
    return _KINDS.get(asked.kind, asked.kind)


def _number(size: int) -> str:
    value = f"{size / _MEGABYTE:,.2f}"
    return "<0.01" if size and value == "0.00" else value
