"""Whether a cache that was locked for one version of OpenCode is right for a binary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.opencode import run as opencode
from opencode_cache.opencode.versions import check_experimental

if TYPE_CHECKING:
    from pathlib import Path


def accepted(binary: Path, locked: str, timeout: float = opencode.VERSION_TIMEOUT) -> str:
    """The version of a binary. Raises BadInputError unless a cache locked for `locked` is right for it."""
    check_experimental(locked)
    actual = opencode.version(binary, timeout)
    if not layouts.for_version(locked).accepts(locked, actual):
        raise BadInputError(
            f"{binary}: this is OpenCode {actual}, the lock is for {locked}; "
            f"give that binary, or lock again with --opencode-version {actual}"
        )
    return actual
