"""JSON of others, as deep as they like."""

from __future__ import annotations

import pytest

from opencode_cache.base.model import parsed_json


@pytest.mark.parametrize("depth", [201, 1000, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")], ids=["lists", "tables"])
def test_what_is_nested_too_deep_is_refused_by_every_python(left, right, depth):
    with pytest.raises(RecursionError):
        parsed_json(left * depth + "1" + right * depth)


def test_what_is_nested_deep_enough_for_anybody_is_read():
    assert parsed_json("[" * 150 + "]" * 150)
    assert parsed_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
