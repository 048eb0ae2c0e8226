"""Every expected failure: one sentence with the file, the value and the fix, and an exit status."""

from __future__ import annotations

INTERRUPTED = "interrupted; nothing half-made was left behind"
INTERRUPTED_STATUS = 130


class OpencodeCacheError(Exception):
    """An expected failure. `str()` is one sentence for the user; `exit_status` is the process's."""

    exit_status = 2


class CheckFailedError(OpencodeCacheError):
    """The check failed, or the answer is no: a proof failed, something is newer (exit status 1)."""

    exit_status = 1


class BadInputError(OpencodeCacheError):
    """A file or a value from the user cannot be used (exit status 2)."""


class TooSlowError(CheckFailedError):
    """A program came to no end in time; nothing else is known to be wrong."""


class NetworkError(OpencodeCacheError):
    """The network or the registry failed (exit status 3)."""

    exit_status = 3


class CacheLacksError(OpencodeCacheError):
    """OpenCode asked for something that the cache lacks (exit status 4)."""

    exit_status = 4
