"""Whom OpenCode asks, on the page: who was asked in the proof and by whom, and who would be asked in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.inspect.hosts import FEATURES
from opencode_cache.inspect.page.markup import Content, h, items, number, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.formats.proof import Host, Proof
    from opencode_cache.inspect.inventory import Inventory


def section(inventory: Inventory) -> Iterator[Content]:
    """Hosts of the proof with who asked, what the plan accepts, and hosts of features."""
    if inventory.proof:
        yield _asked(inventory.proof)
    else:
        yield h("p", "Without a proof nobody knows whom it asks at a start.")
    accepted = [
        f"{'anybody' if who == '*' else who} may ask {', '.join(hosts)}"
        for who, hosts in sorted((inventory.manifest.accept or {}).items())
    ]
    if accepted:
        yield h("p", "What the plan accepts:")
        yield items(accepted)
    rows: list[list[Content]] = [[what, ", ".join(hosts), when] for what, hosts, when in FEATURES]
    yield table(
        "features",
        "What somebody may use, and whom OpenCode asks then. The wrapper switches the first two off; none of "
        "it is part of the proof.",
        ["Feature", "Hosts", "When"],
        rows,
        {"Feature": "name", "Hosts": "long", "When": "long"},
    )
    yield h("p", "The hosts of your models and of your own configuration:", class_="soft")
    yield h("p", h("code", "opencode-cache hosts --cache CACHE --provider ID"))


def _asked(proof: Proof) -> Element:
    if not proof.hosts:
        return h("p", f"Hosts asked for: none, in {number(len(proof.steps), 'step')}.")
    rows: list[list[Content]] = [
        [
            " ".join([host.name, *host.ports]),
            host.who or "OpenCode, or a plugin",
            host.step,
            host.count,
            _why(host),
        ]
        for host in proof.hosts
    ]
    return table(
        "hosts",
        "Every host and address that was asked for in the proof.",
        ["Host", "Who asked", "In step", "Times", "Why, or what stops it"],
        rows,
        {"Host": "name", "Times": "number", "In step": "name", "Who asked": "name"}
        | {"Why, or what stops it": "long"},
    )


def _why(host: Host) -> Content:
    if host.accepted:
        return "accepted in the plan"
    return host.known or h("span", "; ".join(filter(None, ["not known", host.fix])), class_="warn")
