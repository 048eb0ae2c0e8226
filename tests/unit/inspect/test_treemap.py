"""The treemap's layout: areas as the weights, nothing outside, nothing twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.inspect.page.treemap import Box, squarify

WEIGHTS = st.lists(
    st.one_of(st.integers(0, 10), st.integers(1, 10**9), st.floats(1e-3, 1e6, allow_nan=False)), max_size=60
)
SIDES = st.floats(0.5, 5000, allow_nan=False)
BOXES = st.builds(Box, st.floats(-100, 100), st.floats(-100, 100), SIDES, SIDES)


def area(box):
    return box.width * box.height


@settings(max_examples=200)
@given(WEIGHTS, BOXES)
def test_areas_are_as_the_weights_are(weights, inside):
    total = sum(weights)
    boxes = squarify(weights, inside)
    assert len(boxes) == len(weights)
    for weight, box in zip(weights, boxes, strict=True):
        wanted = area(inside) * weight / total if total else 0
        assert math.isclose(area(box), wanted, rel_tol=1e-6, abs_tol=area(inside) * 1e-9)


@settings(max_examples=200)
@given(WEIGHTS, BOXES)
def test_nothing_lies_outside(weights, inside):
    slack = (inside.width + inside.height + 100) * 1e-9
    for box in squarify(weights, inside):
        assert box.width >= 0
        assert box.height >= 0
        assert box.x >= inside.x - slack
        assert box.y >= inside.y - slack
        assert box.x + box.width <= inside.x + inside.width + slack
        assert box.y + box.height <= inside.y + inside.height + slack


@settings(max_examples=100)
@given(WEIGHTS, BOXES)
def test_no_two_overlap(weights, inside):
    boxes = [box for box in squarify(weights, inside) if area(box)]
    slack = (inside.width + inside.height + 100) * 1e-9
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert across <= slack or down <= slack


@given(WEIGHTS, BOXES)
def test_the_same_weights_give_the_same_boxes(weights, inside):
    assert squarify(weights, inside) == squarify(list(weights), inside)


@given(st.integers(1, 200))
def test_equal_weights_are_nearly_square(count):
    boxes = squarify([1] * count, Box(0, 0, 100, 100))
    assert all(max(b.width / b.height, b.height / b.width) < 4 for b in boxes)


def test_the_example_of_the_paper():
    """Figure 4: 6, 6, 4, 3, 2, 2, 1 in six by four. The first row is 6 above 6, the next 4 beside 3."""
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert [(round(b.x, 2), round(b.y, 2), round(b.width, 2), round(b.height, 2)) for b in boxes[:4]] == [
        (0, 0, 3, 2),
        (0, 2, 3, 2),
        (3, 0, 1.71, 2.33),
        (4.71, 0, 1.29, 2.33),
    ]


@pytest.mark.parametrize("weights", [[], [0], [0, 0.0]])
def test_no_weight_has_no_area(weights):
    assert squarify(weights, Box(1, 2, 3, 4)) == [Box(1, 2, 0, 0)] * len(weights)


def test_a_box_without_an_area_can_be_divided():
    assert all(area(box) == 0 for box in squarify([3, 2, 1], Box(0, 0, 0, 4)))


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="negative"):
        squarify([1, -1], Box(0, 0, 1, 1))
