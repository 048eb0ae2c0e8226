"""Where tests keep what they download, between runs and beside each other; their locks; which are slow."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

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


def kept_tree(place: Path, fill: Callable[[Path], None]) -> Path:
    """A directory that `fill` makes, whole or not at all, once for all processes. Raises what that raises."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "kept.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            beside = place.with_name(f".new-{place.name}")
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            fill(beside)
            beside.rename(place)
    return place
