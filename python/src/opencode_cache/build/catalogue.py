"""The build's part of the model catalogue: whether the cache gets a `models.json`, and which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue import choose
from opencode_cache.catalogue import document as catalogue
from opencode_cache.opencode import embedded

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from opencode_cache.catalogue.document import Catalogue
    from opencode_cache.formats.lock import Lock


@dataclass(frozen=True)
class Shipped:
    """What OpenCode reads with this cache. `day`: its newest, where it has dates."""

    what: Catalogue | None
    why: str
    day: date | None


def write(
    cache: Path, lock: Lock, opencode: Path, models: Path | None, *, forced: bool, by: Path | None = None
) -> Shipped:
    """Write `models.json` if there is to be one: `models`, or what the binary has.

    `forced` ships `models` whatever its age; `by` as in `embedded.catalogue`.
    Raises BadInputError where OpenCode could not use it.
    """
    given, kind = catalogue.given(models) if models else (None, "file")
    _check_catalogue(lock, models, given)
    layout = lock.opencode.layout
    needed = layout != "packages"
    embedded = _embedded(opencode, by)
    decision = choose.decide(embedded, given, needed=needed, forced=forced)
    document = given if decision.take == "given" else embedded
    if layout == "generations" and document is None:
        raise BadInputError(
            f"{opencode}: has no model catalogue that can be read, and OpenCode {lock.opencode.version} "
            "would look for one in the network at every start; give one with --models"
        )
    if layout == "bun" and (document is None or "opencode" not in document):
        # 1.0.61 takes its default model from there without looking whether it exists.
        raise BadInputError(
            f"{models or opencode}: has no provider `opencode` in its model catalogue, without "
            f"which OpenCode {lock.opencode.version} crashes at start; give one with --models"
        )
    day = choose.newest(document) if document is not None else None
    if document is None or not decision.ship:
        return Shipped(None, decision.why, day)
    (cache / "models.json").write_text(catalogue.dumps(document), encoding="utf-8")
    source = kind if decision.take == "given" else "binary"
    return Shipped(catalogue.describe(document, source), decision.why, day)


def _check_catalogue(lock: Lock, models: Path | None, given: dict[str, Any] | None) -> None:
    wanted = lock.catalogue
    if wanted and (given is None or catalogue.describe(given, "file").sha256 != wanted):
        given_as = models or "--models"
        raise BadInputError(f"{given_as}: give the plan's catalogue (sha256 {wanted}), or lock again")


def _embedded(binary: Path, by: Path | None) -> dict[str, Any] | None:
    try:
        return embedded.catalogue(binary, by)
    except BadInputError:
        return None  # some have none, and then there is nothing to compare with
