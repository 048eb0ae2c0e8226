"""The last proof on the page: verdict, every host asked for, every step. The model is `formats/proof.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats.proof import verdict, where_and_when
from opencode_cache.inspect.page.markup import Content, h, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.formats.proof import Host, Proof
    from opencode_cache.inspect.inventory import Inventory

_MAKE_ONE = (
    "opencode-cache verify --cache CACHE --opencode BIN --json > proof.json",
    "opencode-cache list --cache CACHE --proof proof.json --html FILE",
)


def verdict_line(proof: Proof | None) -> Element:
    """One paragraph: what the proof says, or that there is none."""
    if proof is None:
        return h(
            "p", "There is no proof that this cache is complete. ", h("a", "How to make one", href="#proof")
        )
    sentence = verdict(proof)
    return h("p", f"{sentence[0].upper()}{sentence[1:]}.", class_=None if proof.ok else "warn")


def _why(host: Host) -> Content:
    if host.accepted:
        return "accepted in the plan"
    return host.known or h("span", f"not known. {host.fix or ''}".rstrip(), class_="warn")


def section(inventory: Inventory) -> Iterator[Content]:
    """The page's section about the proof: its verdict, steps and hosts, or how to make one."""
    proof = inventory.proof
    if proof is None:
        yield h("p", "There is none for this cache. To make one and put it on this page:")
        yield from (h("p", h("code", line)) for line in _MAKE_ONE)
        return
    yield verdict_line(proof)
    origin = "Proved here" if inventory.proved_here else "Proved elsewhere"
    where = f"{origin}, on {where_and_when(proof)}, with OpenCode {proof.opencode}."
    if proof.isolated:
        where += " OpenCode ran in a network namespace of its own, with the cache mounted read-only."
    yield h("p", where, class_="soft")
    yield h(
        "p",
        "Of the cache whose manifest.json has the sha256 ",
        h("code", proof.manifest_sha256),
        " and the program with ",
        h("code", proof.binary_sha256),
        "; it says nothing of others.",
    )
    if not proof.isolated:
        yield h("p", f"A weaker proof: {proof.weaker_because or 'it was not isolated'}.", class_="warn")
    yield from (h("p", f"A weaker proof: {text}.", class_="warn") for text in proof.unseen)
    if proof.hosts:
        rows: list[list[Content]] = [
            [
                " ".join([host.name, *host.ports]),
                host.count,
                host.step,
                host.who or "OpenCode, or a plugin",
                _why(host),
            ]
            for host in proof.hosts
        ]
        yield table(
            "hosts",
            "Every host and address that was asked for.",
            ["Host", "Times", "In step", "By", "Why"],
            rows,
            {"Host": "name", "Times": "number", "In step": "name", "By": "name", "Why": "long"},
        )
    else:
        count = len(proof.steps)
        yield h("p", f"Hosts asked for: none, in {count} step{'' if count == 1 else 's'}.")
    steps: list[list[Content]] = [
        [
            "ok" if step.ok else h("span", "too slow" if step.too_slow else "failed", class_="warn"),
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
