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


def render(found: Inventory) -> str:
    """The text of the page."""
    made = found.manifest
    drawing, placing = size_map.draw(found)
    package = files(__package__)
    style = package.joinpath("page.css").read_text(encoding="utf-8") + placing
    script = package.joinpath("page.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src {source(style)}; script-src {source(script)}; "
    name = f"OpenCode {made.opencode}: what its cache holds"
    sections = list(_sections(found, drawing))
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
        h("p", f"{made.layout} layout, {made.system}, built by opencode-cache {made.builder}", class_="soft"),
        h("nav", *links, aria_label="Sections"),
        _figures(found),
        last_proof.verdict_line(found.proof),
    )
    body = h("body", top, h("main", *(section for _, section in sections)), raw("script", script))
    return document(h("html", head, body, lang="en"))


def _sections(found: Inventory, drawing: Element) -> Iterator[tuple[str, Element]]:
    named: tuple[tuple[str, str, Iterable[Content]], ...] = (
        ("asked", "Who asked", _requests(found)),
        ("sizes", "Sizes", _sizes(drawing)),
        ("proof", "Last proof", last_proof.section(found)),
        ("licences", "Licences", _licences(found)),
        ("catalogue", "Model catalogue", _catalogue(found)),
        ("languages", "Languages", _languages(found)),
        ("packages", "Packages", _packages(found)),
    )
    for identifier, title, content in named:
        yield title, h("section", h("h2", title, id=f"{identifier}-title"), *content, id=identifier)


def _figures(found: Inventory) -> Element:
    made = found.manifest
    figures = [
        ("in all", megabytes(made.bytes)),
        ("files", f"{made.files:,}"),
        ("packages", f"{len(made.packages):,}"),
        ("requests answered", f"{len(made.requests):,}"),
        ("not to be had", f"{len(made.unavailable):,}"),
        ("licences", f"{len(_by_licence(found)):,}"),
        ("hosts asked for", f"{len(_hosts(found.proof)):,}" if found.proof else "no proof"),
    ]
    return h("dl", *(h("div", h("dt", name), h("dd", value)) for name, value in figures), class_="figures")


def _hosts(proof: Proof) -> set[str]:
    return {host.name for host in proof.hosts}


def _requests(found: Inventory) -> Iterator[Content]:
    made = found.manifest
    alone = {tree.entries[0]: tree for tree in found.trees if len(tree.entries) == 1}
    sizes = {(package.name, package.version): found.size(package) for package in made.packages}
    rows: list[list[Content]] = []
    for entry in made.requests:
        note = h("span", f"{entry.note}", class_="soft") if entry.note else None
        tree = alone.get(entry)
        size = tree.bytes if tree else sizes.get((entry.name, entry.version), 0)
        members = sum(entry.spec in package.specs for package in made.packages)
        rows.append(
            [
                h("span", entry.spec, note),
                _kind(entry),
                entry.version,
                members,
                _number(size),
                ", ".join(licences(made, entry)),
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
    if len(alone) < len(found.trees):
        yield h(
            "p", "Where requests share a tree, the size is of the requested package alone.", class_="soft"
        )
    if made.unavailable:
        yield table(
            "unavailable",
            "What OpenCode may ask for and this cache does not have.",
            ["Request", "Kind", "Why not"],
            [[gone.spec, _kind(gone), gone.reason] for gone in made.unavailable],
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


def _by_licence(found: Inventory) -> dict[str, list[CachedPackage]]:
    groups: dict[str, list[CachedPackage]] = {}
    for package in found.manifest.packages:
        groups.setdefault(package.license or NOT_STATED, []).append(package)
    return groups


def _licences(found: Inventory) -> Iterator[Content]:
    groups = sorted(_by_licence(found).items(), key=lambda item: (-len(item[1]), item[0]))
    rows: list[list[Content]] = []
    for licence, packages in groups:
        names = ", ".join(f"{package.name} {package.version}" for package in packages)
        held = h("details", h("summary", "which"), names) if len(packages) > _FEW else names
        size = sum(found.size(package) for package in packages)
        rows.append([licence, len(packages), _number(size), held])
    yield table(
        "by-licence",
        "As the packages declare them.",
        ["Licence", "Packages", "MB", "Which"],
        rows,
        {"Licence": "name", "Packages": "number", "MB": "number", "Which": "long"},
    )


def _catalogue(found: Inventory) -> Iterator[Content]:
    made = found.manifest
    if made.catalogue is None:
        facts = [
            ("From", "the OpenCode program itself: the cache has no catalogue of its own"),
            ("Date", str(found.catalogue_date or "not recorded")),
        ]
    else:
        facts = [
            (
                "From",
                {"binary": "the OpenCode program"}.get(made.catalogue.source, f"a {made.catalogue.source}"),
            ),
            ("Date", str(found.catalogue_date or "not recorded")),
            ("Holds", f"{made.catalogue.providers:,} providers, {made.catalogue.models:,} models"),
            ("SHA-256", made.catalogue.sha256),
        ]
    facts.append(("Why", made.catalogue_why or "not recorded"))
    yield _facts(facts)


def _languages(found: Inventory) -> Iterator[Content]:
    made = found.manifest
    yield h("p", "Which the interface shows in colours.", class_="soft")
    yield _facts(
        [
            ("From the cache", ", ".join(made.languages) or "none"),
            ("Asked of GitHub when first shown", ", ".join(made.languages_fetched) or "none"),
        ]
    )


def _facts(facts: Iterable[tuple[str, str]]) -> Element:
    pairs = (part for name, value in facts for part in (h("dt", name), h("dd", value)))
    return h("dl", *pairs, class_="facts")


def _packages(found: Inventory) -> Iterator[Content]:
    sizes = {package: found.size(package) for package in found.manifest.packages}
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
