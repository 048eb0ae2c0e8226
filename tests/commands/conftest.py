"""Where these tests find the small caches and bundles that the unit tests make."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "unit"))
