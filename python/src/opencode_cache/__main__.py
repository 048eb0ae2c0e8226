"""The program's entry: an interrupt is answered in one sentence even while the modules load."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Start the command line; the modules behind it take a moment to load."""
    try:
        from .cli import main as start  # noqa: PLC0415 - that is the point
    except KeyboardInterrupt:
        sys.stderr.write("opencode-cache: interrupted; nothing half-made was left behind\n")
        sys.exit(130)
    start()


if __name__ == "__main__":
    main()
