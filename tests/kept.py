"""Where tests keep what they download, between runs and beside each other; their locks; which are slow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = Path(os.environ.get("OPENCODE_CACHE_TEST_DIR") or REPOSITORY / ".cache" / "tests")
LOCKS = REPOSITORY / "nix" / "locks"
TEST_LOCKS = REPOSITORY / "tests" / "offline" / "locks"
EVERY = bool(os.environ.get("OPENCODE_CACHE_TEST_EVERY"))
slow = pytest.mark.skipif(not EVERY, reason="once a week and for a tag: needs OPENCODE_CACHE_TEST_EVERY=1")
"""For what takes minutes, and for cases with the real OpenCode of a kind of which another runs each time."""
FIELD = bool(os.environ.get("OPENCODE_CACHE_TEST_FIELD"))
field = pytest.mark.skipif(
    not FIELD, reason="takes minutes and the npm registry: OPENCODE_CACHE_TEST_FIELD=1"
)
"""For tests that lock and start what people really have, as the registry has it today."""
