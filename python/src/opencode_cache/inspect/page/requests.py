"""What is asked for, on the page: what the cache answers, and what it does not cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats import redistribution
from opencode_cache.formats.manifest import licences
from opencode_cache.inspect.page.markup import Content, h, items, megabytes, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opencode_cache.formats.lock import Unavailable
    from opencode_cache.formats.manifest import Entry
    from opencode_cache.inspect.inventory import Inventory

_KINDS = {
    "provider": "provider SDK",
    "tool": "npm tool",
    "command": "npx command",
    "config": "config directory",
}
_NEVER = (
    "Models: each answer comes from your provider's service.",
    "Remote MCP servers, and those that uvx, docker or podman start.",
    "Git repositories under references; addresses of instructions and skills that no plan names.",
    "Language servers that do not come from npm: OpenCode takes those that are on PATH.",
)


def answered(inventory: Inventory) -> Iterator[Content]:
    """What OpenCode asks for and finds."""
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
                megabytes(size),
                ", ".join(licences(manifest, entry)),
            ]
        )
    yield table(
        "requests",
        "What OpenCode asks for and finds here, with all that it needs.",
        ["Request", "Kind", "Version", "Packages", "MB", "Licences"],
        rows,
        {
            "Request": "long",
            "Kind": "word",
            "Version": "word",
            "Packages": "number",
            "MB": "number",
            "Licences": "long",
        },
    )
    if len(alone) < len(inventory.trees):
        yield h(
            "p", "Where requests share a tree, the size is of the requested package alone.", class_="soft"
        )
    if manifest.urls:
        yield table(
            "urls",
            "Addresses whose texts OpenCode gets from the cache.",
            ["Address", "sha256 of the text"],
            [[address, h("code", digest)] for address, digest in manifest.urls.items()],
            {"Address": "any", "sha256 of the text": "any"},
        )


def not_covered(inventory: Inventory) -> Iterator[Content]:
    """What this cache lacks, and what no cache can hold."""
    manifest = inventory.manifest
    if manifest.unavailable:
        yield table(
            "unavailable",
            "What OpenCode may ask for and this cache does not have.",
            ["Request", "Kind", "Why not"],
            [[gone.spec, _kind(gone), gone.reason] for gone in manifest.unavailable],
            {"Request": "long", "Kind": "word", "Why not": "long"},
        )
    else:
        yield h("p", "Everything that the plan named is in this cache.")
    if manifest.languages_fetched:
        yield h(
            "p",
            "Languages whose colours OpenCode asks GitHub for when it first shows them: ",
            ", ".join(manifest.languages_fetched),
        )
    silent = [package.name for package in manifest.packages if not redistribution.licence(package)]
    if silent:
        yield h("p", "Packages whose licence nobody states: ", ", ".join(silent))
    yield h("h3", "What no cache can hold")
    yield items(_NEVER)


def _kind(asked: Entry | Unavailable) -> str:
    return _KINDS.get(asked.kind, asked.kind)
