"""Which model catalogue a cache holds: a given one, the binary's own, or none at all.

OpenCode (1.0.61 to 1.18.33) reads `models.json` in its cache before the catalogue compiled into the binary,
however old the file is. So a given catalogue goes into the cache only if it is not older than the binary's,
or if it is forced. Where OpenCode cannot do without the file, it holds the newer of the two.

The age is read off the catalogues themselves, which needs no network and no clock: models.dev notes when each
model came out and was last changed, and adds new ones daily. A single date proves nothing: the sources have
had models of month 16, and of ten months ahead. So a catalogue is as new as the newest day that models of
three providers reach. On 147 revisions of eight months that was up to nine days before the revision's own.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITNESSES = 3


@dataclass(frozen=True)
class Decision:
    """What `models.json` holds, and why: one clause, for `manifest.json` and `list`."""

    take: Literal["given", "binary"] | None
    """None: the cache has no `models.json`, and OpenCode reads what is compiled into it."""
    why: str

    @property
    def ship(self) -> bool:
        """Whether the cache gets a catalogue file; else OpenCode reads the one compiled into it."""
        return self.take is not None


def newest(catalogue: Mapping[str, Any]) -> dt.date | None:
    """The newest day that models of three providers (of all, if there are fewer) reach; None without dates.

    A date without a day is its first; what is no date in the calendar does not count.
    """
    reached = sorted((day for p in catalogue.values() if (day := _newest_of(p))), reverse=True)
    return reached[min(_WITNESSES, len(reached)) - 1] if reached else None


def _newest_of(provider: Mapping[str, Any]) -> dt.date | None:
    models = provider.get("models", {}).values()
    days = [_day(model.get(field)) for model in models for field in ("last_updated", "release_date")]
    return max((day for day in days if day), default=None)


def _day(text: object) -> dt.date | None:
    if not isinstance(text, str):
        return None
    try:
        return dt.date.fromisoformat(f"{text}-01" if len(text) == len("2026-07") else text)
    except ValueError:
        return None


def decide(
    embedded: Mapping[str, Any] | None,
    given: Mapping[str, Any] | None,
    *,
    needed: bool = False,
    forced: bool = False,
) -> Decision:
    """Which catalogue to ship. Both are as in `api.json`; None is one that does not exist.

    `needed`: OpenCode wants a file (all but the `packages` layout). `forced`: the user wants the given one,
    whatever its age.
    """
    if given is None:
        if needed and embedded is not None:
            return Decision("binary", "this OpenCode needs the file, and no other catalogue was given")
        return Decision(None, "no catalogue was given")
    if forced:
        return Decision("given", "forced, whatever its age")
    if embedded is None:
        return Decision("given", "the binary has none of its own")
    return _newer(newest(given), newest(embedded), needed=needed)


def _newer(given: dt.date | None, embedded: dt.date | None, *, needed: bool) -> Decision:
    if given is None or embedded is None:
        which = "the given catalogue" if given is None else "the binary's catalogue"
        return Decision("given", f"{which} has no dates to compare")
    if given < embedded:
        older = f"binary is newer: its catalogue is of {embedded}, the given one of {given}"
        return Decision("binary" if needed else None, older)
    relation = "newer than" if given > embedded else "as new as"
    return Decision("given", f"given is {relation} the binary's own: {given} against {embedded}")
