"""How old a version has to be: `7d`, `2w`. It rolls: what counts is the day of the lock, or of the fetch."""

from __future__ import annotations

import datetime as dt
import re

PATTERN = r"^[1-9][0-9]{0,3}[dw]$"


def days(text: str) -> int:
    """The number of days. Raises ValueError with the fix."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text[:40]!r} is no age; write days as '7d', weeks as '2w'")
    return int(text[:-1]) * (7 if text.endswith("w") else 1)


def first_day_too_young(text: str, today: dt.date) -> dt.date:
    """The day from which on versions are too young, as `--before` takes it."""
    return today - dt.timedelta(days=days(text))
