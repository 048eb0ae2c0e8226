"""Where tests keep what they download, between runs and beside each other; and the locks that they take."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = Path(os.environ.get("OPENCODE_CACHE_TEST_DIR") or REPOSITORY / ".cache" / "tests")
LOCKS = REPOSITORY / "nix" / "locks"
TEST_LOCKS = REPOSITORY / "tests" / "offline" / "locks"
