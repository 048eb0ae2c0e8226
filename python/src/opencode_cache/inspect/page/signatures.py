"""The registry's signatures on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.inspect.page.markup import Content, h, number, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opencode_cache.inspect.inventory import Inventory


def section(inventory: Inventory) -> Iterator[Content]:
    """What npm found when the lock was made."""
    signatures = inventory.manifest.signatures
    total = number(len(inventory.manifest.packages), "package")
    yield h(
        "p",
        f"Each of {total} is held to the sha512 in the lock, whether or not the registry signed it.",
    )
    if signatures is None:
        yield h("p", "Nothing is recorded of the registry's signatures.", class_="warn")
        return
    if signatures.unchecked:
        yield h("p", f"Signatures were not checked: {signatures.unchecked}.", class_="warn")
        return
    yield h(
        "p",
        f"npm verified the registry's signature of {number(signatures.verified, 'package')} of the lock, "
        "which is for all systems.",
    )
    if signatures.missing:
        missing = ", ".join(signatures.missing)
        yield h("p", f"Without a signature: {missing}.", class_="warn")
    if signatures.keys:
        rows: list[list[Content]] = [[name, h("code", digest)] for name, digest in signatures.keys.items()]
        yield table(
            "keys",
            "The registry's keys when the lock was made.",
            ["Key", "sha256"],
            rows,
            {"Key": "any", "sha256": "any"},
        )
