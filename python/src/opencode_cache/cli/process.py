"""What this process is given by whoever starts it, and what it makes of that: streams, umask, directory."""

from __future__ import annotations

import os
import sys

from opencode_cache.base.errors import BadInputError

_OURS = 0o022
"""What is made is for all to read and for nobody else to write, whatever the caller's umask."""
_STREAMS = 3


umask = _OURS
"""The caller's, for a program that is started in this one's place."""


def prepare() -> None:
    """To be called before anything is opened."""
    global umask  # noqa: PLW0603 - there is one process, and it has one
    for number in range(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would be taken for stdout. This one cannot be written to.
            os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    umask = os.umask(_OURS)


def explained(error: OSError) -> BadInputError:
    """One sentence for an error of the system that no step expects, such as that of a broken disk."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return BadInputError("the directory that this was started in is gone; change to another one")
    where = error.filename if error.filename is not None else "the system"
    return BadInputError(f"{os.fsdecode(where)}: {error.strerror or error}; see the disk, and start again")
