"""Where tests keep what they download, between runs and beside each other."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = Path(os.environ.get("OPENCODE_CACHE_TEST_DIR") or REPOSITORY / ".cache" / "tests")
