"""The program's entry: an interrupt is answered in one sentence even while the modules load."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from opencode_cache.base.errors import INTERRUPTED, INTERRUPTED_STATUS


def main() -> NoReturn:
    """Start the command line; the modules behind it take a moment to load."""
    try:
        from opencode_cache.cli.main import main as start  # noqa: PLC0415 - that is the point

        start()
    except KeyboardInterrupt:
        sys.stderr.write(f"opencode-cache: {INTERRUPTED}\n")
        _leave()
    except SystemExit as end:
        if end.code == INTERRUPTED_STATUS:
            _leave()
        raise


def _leave() -> NoReturn:
    # CPython notes an interrupt that came while text was compiled and run, as dataclasses do, and would end
    # the process by the signal, however it was handled.
    sys.stderr.flush()
    os._exit(INTERRUPTED_STATUS)


if __name__ == "__main__":
    main()
