"""`engines.node`: which ranges have which version in them, as npm's own semver says."""

from __future__ import annotations

import pytest

from opencode_cache.npm import engines


@pytest.mark.parametrize(
    ("wanted", "version", "admitted"),
    [
        (">=18", "18.0.0", True),
        (">=18", "17.9.9", False),
        (">=22.22.2", "20.20.2", False),
        ("^18.12.0 || >= 20.9.0", "20.20.2", True),
        ("^18.12.0 || >= 20.9.0", "19.0.0", False),
        ("^18.12.0", "18.11.9", False),
        ("^18.12.0", "18.99.0", True),
        ("^0.10.0", "0.11.0", False),
        ("~20.1", "20.1.9", True),
        ("~20.1", "20.2.0", False),
        ("20", "20.5.1", True),
        ("20.x", "21.0.0", False),
        ("18.x || 20.x", "20.1.0", True),
        (">18", "18.9.0", False),
        (">18", "19.0.0", True),
        ("<=20", "20.9.0", True),
        ("<21", "21.0.0", False),
        ("14 - 20", "20.9.9", True),
        ("14 - 20", "21.0.0", False),
        (">=14 <21", "20.20.2", True),
        (">= 14", "20.20.2", True),
        ("*", "20.0.0", True),
        ("", "20.0.0", True),
        ("lts", "20.0.0", True),
        ("v20.1.0", "20.1.0", True),
    ],
)
def test_ranges(wanted, version, admitted):
    assert engines.admits(wanted, engines.numbers(version)) is admitted


def test_what_is_no_version():
    assert engines.numbers("v24.14.1") == (24, 14, 1)
    assert engines.numbers("no") is None
