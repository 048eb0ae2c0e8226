"""The time that what is made bears: that of SOURCE_DATE_EPOCH (reproducible-builds.org), else now."""

from __future__ import annotations

import datetime as dt
import os
import re

from opencode_cache.base.errors import BadInputError
from opencode_cache.ship import policy


def now() -> dt.datetime:
    """In UTC. Raises BadInputError for a SOURCE_DATE_EPOCH that is no time."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    try:
        return dt.datetime.fromtimestamp(_seconds(epoch), dt.timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInputError(
            f"SOURCE_DATE_EPOCH is {policy.shown(epoch)}, which is not a time; give seconds since 1970"
        ) from error


def today() -> str:
    """The day, in UTC: 2026-11-26."""
    return now().date().isoformat()


def _seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise ValueError(text)
    return int(text)
