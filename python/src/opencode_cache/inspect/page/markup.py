"""HTML made of elements and never of text: whatever a value holds, it is a value on the page.

`ElementTree` of the standard library does the escaping. What cannot be seen, or turns the text around it, is
replaced: no name may look like another one.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MEGABYTE = 1_000_000

Content: TypeAlias = "Element | str | int | None"

_ON_LINES_OF_THEIR_OWN = frozenset(
    [
        *("head", "link", "meta", "script", "style", "title"),
        *("body", "details", "div", "dl", "h1", "h2", "h3", "header", "li", "main", "nav", "p", "pre"),
        *("section", "ul"),
        *("table", "tbody", "thead", "tr"),
    ]
)


def visible(text: str) -> str:
    """The text with spaces for white space, and U+FFFD for what has no shape of its own."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def h(tag: str, *children: Content, **attributes: str | int | None) -> Element:
    """An element. `class_` is the attribute `class`, `aria_label` is `aria-label`; None leaves one out."""
    element = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): visible(str(value))
            for name, value in attributes.items()
            if value is not None
        },
    )
    if tag in _ON_LINES_OF_THEIR_OWN:
        element.tail = "\n"
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif child is not None:
            _add(element, visible(str(child)))
    return element


def _add(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def table(
    identifier: str,
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Content]],
    classes: dict[str, str],
) -> Element:
    """A table in a box that scrolls sideways by itself, with the keyboard as well.

    Each cell has its column's name, which a narrow screen shows beside it.
    """
    kinds = [classes.get(column) for column in columns]
    head = h(
        "tr",
        *(h("th", column, scope="col", class_=kind) for column, kind in zip(columns, kinds, strict=True)),
    )
    body = (
        h(
            "tr",
            *(
                h("td", cell, class_=kind, data_label=column)
                for cell, kind, column in zip(row, kinds, columns, strict=True)
            ),
        )
        for row in rows
    )
    whole = h("table", h("caption", h("span", caption, id=identifier)), h("thead", head), h("tbody", *body))
    return h("div", whole, class_="scroll", role="region", tabindex=0, aria_labelledby=identifier)


def facts(pairs: Iterable[tuple[str, Content]]) -> Element:
    """Names, and what each of them is."""
    return h(
        "dl", *(part for name, value in pairs for part in (h("dt", name), h("dd", value))), class_="facts"
    )


def items(contents: Iterable[Content]) -> Element:
    """A list of points."""
    return h("ul", *(h("li", content) for content in contents))


def lines(text: str) -> Element:
    """A text whose lines stay lines."""
    element = h("pre")
    element.text = "\n".join(visible(line) for line in text.splitlines()).strip("\n")
    return element


def number(value: int, unit: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{value:,} {unit}{'' if value == 1 else 's'}"


def megabytes(size: int) -> str:
    """For a column of megabytes: `12.34`."""
    value = f"{size / _MEGABYTE:,.2f}"
    return "<0.01" if size and value == "0.00" else value


def raw(tag: str, text: str) -> Element:
    """A `style` or `script` of ours, as it is. Raises ValueError for a text that would end its element."""
    if "</" in text or "<!--" in text:
        raise ValueError(f"{tag}: this text would end its element")
    element = Element(tag)
    element.text, element.tail = text, "\n"
    return element


def source(text: str) -> str:
    """How a Content-Security-Policy names a style or a script by its content."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def document(root: Element) -> str:
    """The text of a page."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html").rstrip() + "\n"
