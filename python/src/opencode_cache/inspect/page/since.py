"""What is different since an older lock or cache, on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.inspect.page.markup import Content, h, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opencode_cache.inspect.difference import Change, Difference

_LACKING = "\u2013"


def section(difference: Difference) -> Iterator[Content]:
    """A row for each change, with what nobody may overlook before them."""
    if not difference.changes:
        yield h("p", f"Nothing is different since {difference.since}.")
        return
    for change in difference.replaced:
        yield h(
            "p",
            f"{change.name} has other bytes than in {difference.since}, under the same version. "
            "Find out why before you use it.",
            class_="warn",
        )
    rows: list[list[Content]] = [
        [change.name, change.what, _how(change), change.old or _LACKING, change.new or _LACKING]
        for change in difference.changes
    ]
    yield table(
        "changes",
        f"Since {difference.since}.",
        ["Name", "What", "Change", "Before", "Now"],
        rows,
        {"Change": "word", "What": "word", "Name": "name", "Before": "any", "Now": "any"},
    )


def _how(change: Change) -> str:
    return "new" if change.old is None else "gone" if change.new is None else "changed"
