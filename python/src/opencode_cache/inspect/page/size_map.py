"""The treemap of a cache: a box for each tree, and in it one for each package.

The boxes are placed by rules of the page's style sheet, once for a wide and once for a narrow screen, in per
cent, so that they fit whatever width there is. They are for the eye; the tables say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base.console import megabytes
from opencode_cache.formats.manifest import NOT_STATED
from opencode_cache.formats.redistribution import licence
from opencode_cache.inspect.page.markup import h
from opencode_cache.inspect.page.treemap import Box, squarify

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from opencode_cache.inspect.inventory import Inventory, Tree

_WIDE, _NARROW = Box(0, 0, 960, 480), Box(0, 0, 330, 720)
"""The map on the two kinds of screens, in CSS pixels; page.css has the heights."""
_HEADING = 20
_SMALLEST_WITH_HEADING = (64, 48)
_SMALLEST = 1 / 4000
"""Of the whole: what is smaller shares one box with others like it in its tree."""
_MOST_NAMED = 2


@dataclass(frozen=True)
class _Cell:
    label: str
    title: str
    bytes: int
    asked: bool = False


@dataclass(frozen=True)
class _Group:
    label: str
    cells: tuple[_Cell, ...]

    @property
    def bytes(self) -> int:
        return sum(cell.bytes for cell in self.cells)


def draw(inventory: Inventory) -> tuple[Element, str]:
    """The map, and the rules that place its boxes."""
    groups = _groups(inventory)
    drawing = h("div", class_="map", role="img", aria_label=_said(groups))
    for number, group in enumerate(groups):
        inner = h("div", class_="cells")
        for index, cell in enumerate(group.cells):
            kind = "cell asked" if cell.asked else "cell"
            label = h("span", h("b", cell.label), h("i", megabytes(cell.bytes)))
            inner.append(h("div", label, class_=kind, id=f"c{number}-{index}", title=cell.title))
        heading = h("span", h("b", group.label), h("i", megabytes(group.bytes)), class_="heading")
        drawing.append(h("div", heading, inner, class_="tree", id=f"t{number}"))
    narrow = "".join(_rules(groups, _NARROW))
    return drawing, "".join(_rules(groups, _WIDE)) + f"@media (max-width:40rem){{\n{narrow}}}\n"


def tree_name(tree: Tree) -> str:
    """A tree by what was asked for."""
    names = [entry.spec for entry in tree.entries]
    if len(names) > _MOST_NAMED:
        return f"{len(names)} requests together"
    return ", ".join(names)


def _groups(inventory: Inventory) -> list[_Group]:
    smallest = inventory.manifest.bytes * _SMALLEST
    groups = [_Group(tree_name(tree), _cells(tree, smallest)) for tree in inventory.trees]
    if inventory.other > smallest:
        what = "metadata, the model catalogue, files of your own"
        cell = _Cell("no package", f"{what}: {megabytes(inventory.other)}", inventory.other)
        groups.append(_Group("other files", (cell,)))
    return sorted((group for group in groups if group.bytes), key=lambda group: (-group.bytes, group.label))


def _cells(tree: Tree, smallest: float) -> tuple[_Cell, ...]:
    asked = {(entry.name, entry.version) for entry in tree.entries}
    cells, small = [], []
    for package, size in sorted(tree.sizes.items(), key=lambda item: (-item[1], item[0].name)):
        if size < smallest and (package.name, package.version) not in asked:
            small.append(size)
            continue
        title = (
            f"{package.name} {package.version}: {megabytes(size)}, licence {licence(package) or NOT_STATED}"
        )
        cells.append(_Cell(package.name, title, size, asked=(package.name, package.version) in asked))
    if small:
        label = f"{len(small)} smaller"
        cells.append(_Cell(label, f"{label} packages: {megabytes(sum(small))}", sum(small)))
    return tuple(cells)


def _said(groups: list[_Group]) -> str:
    parts = ", ".join(f"{group.label} {megabytes(group.bytes)}" for group in groups)
    return f"Treemap of the cache by size: {parts or 'nothing'}. The tables have the same figures."


def _rules(groups: list[_Group], whole: Box) -> Iterable[str]:
    for number, box in enumerate(squarify([group.bytes for group in groups], whole)):
        yield _rule(f"t{number}", box, whole)
        width, height = _SMALLEST_WITH_HEADING
        taken = _HEADING if box.width >= width and box.height >= height else 0
        inside = Box(0, 0, box.width, box.height - taken)
        for index, cell in enumerate(squarify([cell.bytes for cell in groups[number].cells], inside)):
            yield _rule(f"c{number}-{index}", cell, inside)


def _rule(identifier: str, box: Box, whole: Box) -> str:
    left, width = (100 * side / whole.width for side in (box.x, box.width))
    top, height = (100 * side / whole.height for side in (box.y, box.height))
    return f"#{identifier}{{left:{left:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%}}\n"
