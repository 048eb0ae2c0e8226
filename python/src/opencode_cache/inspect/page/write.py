"""`list --html`: a cache and its last proof as one page that needs nothing but itself.

All of it is there without JavaScript; a few lines of that add a filter, and unfold for printers what a style
sheet cannot. A Content-Security-Policy allows the page's own style and script, by their hashes, and nothing
else. The same cache and proof give the same bytes.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from opencode_cache.base.console import megabytes
from opencode_cache.inspect.page import (
    contents,
    last_proof,
    licences,
    network,
    requests,
    signatures,
    since,
    size_map,
)
from opencode_cache.inspect.page.markup import Content, document, h, raw, source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.inspect.difference import Difference
    from opencode_cache.inspect.inventory import Inventory


def render(inventory: Inventory, difference: Difference | None = None) -> str:
    """The text of the page; with `difference`, what changed comes first."""
    manifest = inventory.manifest
    drawing, placing = size_map.draw(inventory)
    sections = list(_sections(inventory, drawing, difference))
    name = f"OpenCode {manifest.opencode}: what its cache holds"
    top = h(
        "header",
        h("h1", name),
        h(
            "p",
            f"{manifest.layout} layout, {manifest.system}, built by opencode-cache {manifest.builder}",
            class_="soft",
        ),
        last_proof.banner(inventory),
        _figures(inventory),
    )
    links = [h("li", h("a", title, href=f"#{section.get('id')}")) for title, section in sections]
    return document(
        h(
            "html",
            *_head_and_script(
                name,
                placing,
                h("a", "Skip to the content", href="#content", class_="skip"),
                top,
                h("nav", h("ul", *links), aria_label="Sections"),
                h("main", *(section for _, section in sections), id="content", tabindex=-1),
            ),
            lang="en",
        )
    )


def _head_and_script(title: str, placing: str, *body: Element) -> tuple[Element, Element]:
    package = files(__package__)
    style = package.joinpath("page.css").read_text(encoding="utf-8") + placing
    script = package.joinpath("page.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src {source(style)}; script-src {source(script)}; "
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
        h("title", title),
        raw("style", style),
    )
    return head, h("body", *body, raw("script", script))


def _sections(
    inventory: Inventory, drawing: Element, difference: Difference | None
) -> Iterator[tuple[str, Element]]:
    changed = [("since", "What changed", since.section(difference))] if difference else []
    named: list[tuple[str, str, Iterable[Content]]] = [
        *changed,
        ("proof", "Proof", last_proof.section(inventory)),
        ("network", "Network", network.section(inventory)),
        ("asked", "Requests", requests.answered(inventory)),
        ("lacking", "Not covered", requests.not_covered(inventory)),
        ("licences", "Licences", licences.section(inventory)),
        ("signatures", "Signatures", signatures.section(inventory)),
        ("sizes", "Sizes", contents.sizes(drawing)),
        ("catalogue", "Model catalogue", contents.catalogue(inventory)),
        ("languages", "Languages", contents.languages(inventory)),
        ("packages", "Packages", contents.packages(inventory)),
        ("texts", "Licence texts", licences.texts(inventory)),
    ]
    for identifier, title, content in named:
        yield title, h("section", h("h2", title, id=f"{identifier}-title"), *content, id=identifier)


def _figures(inventory: Inventory) -> Element:
    manifest, proof = inventory.manifest, inventory.proof
    hosts = f"{len({host.name for host in proof.hosts}):,}" if proof else "no proof"
    figures = [
        ("size", megabytes(manifest.bytes)),
        ("files", f"{manifest.files:,}"),
        ("packages", f"{len(manifest.packages):,}"),
        ("requests answered", f"{len(manifest.requests):,}"),
        ("unavailable", f"{len(manifest.unavailable):,}"),
        ("licences", f"{len(licences.by_licence(inventory)):,}"),
        ("hosts asked for", hosts),
    ]
    return h("dl", *(h("div", h("dt", name), h("dd", value)) for name, value in figures), class_="figures")
