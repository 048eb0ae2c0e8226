"""The last proof on the page: the verdict, every host asked for, every step. The model is `verify.Proof`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats.proof import verdict
from opencode_cache.inspect.page.markup import Content, h, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.formats.proof import Proof
    from opencode_cache.inspect.inventory import Inventory

_MAKE_ONE = (
    "opencode-cache verify --cache CACHE --opencode BIN --json > proof.json",
    "opencode-cache list --cache CACHE --proof proof.json --html FILE",
)


def verdict_line(proof: Proof | None) -> Element:
    if proof is None:
        return h(
            "p", "There is no proof that this cache is complete. ", h("a", "How to make one", href="#proof")
        )
    said = verdict(proof)
    return h("p", f"{said[0].upper()}{said[1:]}.", class_=None if proof.ok else "warn")


def section(found: Inventory) -> Iterator[Content]:
    proof = found.proof
    if proof is None:
        yield h("p", "There is none for this cache. To make one and put it on this page:")
        yield from (h("p", h("code", line)) for line in _MAKE_ONE)
        return
    yield verdict_line(proof)
    origin = "kept from before its first start" if found.proof_kept else "given as a file"
    where = f"The proof of OpenCode {proof.opencode} with this cache, {origin}."
    if proof.isolated:
        where += " OpenCode ran in a network namespace of its own, with the cache mounted read-only."
    yield h("p", where, class_="soft")
    if not proof.isolated:
        yield h("p", f"A weaker proof: {proof.weaker_because or 'it was not isolated'}.", class_="warn")
    if proof.hosts:
        rows: list[list[Content]] = [
            [
                host.name,
                host.count,
                host.step,
                host.known or h("span", f"not known. {host.mend or ''}".rstrip(), class_="warn"),
            ]
            for host in proof.hosts
        ]
        yield table(
            "hosts",
            "Every host that OpenCode asked for.",
            ["Host", "Times", "In step", "Why"],
            rows,
            {"Host": "name", "Times": "number", "In step": "name", "Why": "long"},
        )
    else:
        count = len(proof.steps)
        yield h("p", f"Hosts asked for: none, in {count} step{'' if count == 1 else 's'}.")
    steps: list[list[Content]] = [
        [
            "ok" if step.ok else h("span", "failed", class_="warn"),
            step.name,
            f"{step.seconds:.1f}",
            step.detail,
        ]
        for step in proof.steps
    ]
    yield table(
        "steps",
        "What was tried.",
        ["Result", "Step", "Seconds", "Detail"],
        steps,
        {"Step": "long", "Seconds": "number", "Detail": "long"},
    )
