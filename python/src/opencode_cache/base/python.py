"""How a Python of ours is started as a child, so that nothing but our own modules is imported in it.

`python -m` puts the working directory first on the path of modules, and the user's may hold anything: a
cloned repository with an `argparse.py` in it, say. So such a child starts in an empty directory, and from
Python 3.11 on with -P, which leaves the directory out.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import files

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAFE = ("-P",) if sys.version_info >= (3, 11) else ()


def command(*arguments: str | Path) -> list[str]:
    """The command line of a Python with these arguments. It needs `path()`, and `empty()` to start in."""
    return [sys.executable, *_SAFE, *map(str, arguments)]


def path() -> dict[str, str]:
    """Environment by which a child finds this package, however the parent found it."""
    ours = str(Path(__file__).parents[2])
    here = _here()
    kept = [entry for entry in sys.path if Path(entry).is_absolute() and (entry != here or entry == ours)]
    return {"PYTHONPATH": os.pathsep.join(kept)}


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""


@contextmanager
def empty() -> Iterator[Path]:
    """An empty directory to start in."""
    with files.scratch() as directory:
        yield directory
