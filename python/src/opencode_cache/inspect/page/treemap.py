"""Squarified treemap: a rectangle divided by weight, in pieces that are as square as can be.

The algorithm of Bruls, Huizing and van Wijk ("Squarified Treemaps", 2000): the heaviest first, in rows along
the shorter side of what is left; a row takes one more for as long as that makes its worst piece squarer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Box:
    """A rectangle: its left upper corner and its sides, in whatever unit the caller has."""

    x: float
    y: float
    width: float
    height: float


def squarify(weights: Sequence[float], inside: Box) -> list[Box]:
    """One box for each weight, in the order given; areas are as the weights are, and fill `inside`.

    A weight of 0 gets a box without an area. Raises ValueError for a negative one.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("a weight of a treemap is negative")
    boxes = [Box(inside.x, inside.y, 0, 0)] * len(weights)
    order = sorted((n for n, weight in enumerate(weights) if weight > 0), key=lambda n: (-weights[n], n))
    left, start = inside, 0
    while start < len(order):
        # Recounted for every row, so that what rounding loses does not add up.
        rest = sum(weights[n] for n in order[start:])
        scale = left.width * left.height / rest
        areas = [weights[n] * scale for n in order[start:]]
        row = areas[: _row(areas, min(left.width, left.height))]
        taken, left = _divide(row, left, last=len(row) == len(areas))
        for n, box in zip(order[start:], taken, strict=False):
            boxes[n] = box
        start += len(row)
    return boxes


def _row(areas: Sequence[float], side: float) -> int:
    """How many of the areas, heaviest first, make the next row along a side of that length."""
    total, best = 0.0, float("inf")
    for count, area in enumerate(areas):
        total += area
        worst = _worst(areas[0], area, total, side)
        if worst > best:
            return count
        best = worst
    return len(areas)


def _worst(largest: float, smallest: float, total: float, side: float) -> float:
    """The greatest ratio of sides in a row; infinite where rounding leaves it without an area."""
    square = total * total
    if not smallest or not square or not side:
        return float("inf")
    return max(side * side * largest / square, square / (side * side * smallest))


def _divide(row: Sequence[float], left: Box, *, last: bool) -> tuple[list[Box], Box]:
    """The boxes of a row along the shorter side of `left`, and what is left then."""
    total = sum(row)
    upright = left.width >= left.height
    side, depth = (left.height, left.width) if upright else (left.width, left.height)
    thickness = depth if last or not side else min(total / side, depth)
    boxes, offset = [], 0.0
    for area in row:
        length = side * area / total if total else 0.0
        if upright:
            boxes.append(Box(left.x, left.y + offset, thickness, length))
        else:
            boxes.append(Box(left.x + offset, left.y, length, thickness))
        offset += length
    if upright:
        return boxes, Box(left.x + thickness, left.y, left.width - thickness, left.height)
    return boxes, Box(left.x, left.y + thickness, left.width, left.height - thickness)
