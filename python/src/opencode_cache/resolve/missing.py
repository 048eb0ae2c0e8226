"""What a person named and nobody has: all of it in one error, with the names that may have been meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from opencode_cache.base.errors import NetworkError
from opencode_cache.formats.lock import Unavailable
from opencode_cache.npm import client as npm
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import bundled, plugins, tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from opencode_cache.formats.lock import Kind, Request

_NEAR = 0.75
_NEAR_VERSION = 0.5
_MOST = 3


class MissingError(NetworkError):
    """Specs that were asked for by name cannot be had (exit status 3)."""

    def __init__(self, gone: Sequence[Unavailable]) -> None:
        told = [f"{one.kind} {one.spec}: {one.reason}" for one in gone]
        way = "--allow-missing goes on without"
        if len(told) == 1:
            super().__init__(f"{told[0]}; {way} it")
        else:
            several = f"{len(told)} of what was asked for cannot be had"
            super().__init__(f"{several}; {way} them: {' | '.join(told)}")
        self.gone = tuple(gone)


def refused(kind: Kind, spec: str, opencode: str) -> Unavailable | None:
    """What no registry is asked for: OpenCode passes over it, or asks for something of another name."""
    meant = tools.meant(split_spec(spec)[0]) if kind == "tool" else None
    if meant:
        reason = f"OpenCode asks npm for no such tool; did you mean {meant}?"
        return Unavailable(spec=spec, kind=kind, reason=reason)
    if kind == "plugin" and plugins.ignored(spec, opencode):
        return Unavailable(spec=spec, kind=kind, reason=plugins.TAKE_IT_OUT)
    return None


def unknown(kind: Kind, spec: str, names: Collection[str] = ()) -> Unavailable:
    """What is said of a spec of which the registry has no such package or version.

    `names` are further ones of which one may have been meant.
    """
    name, version = split_spec(spec)
    reason = "the registry has no such package or version"
    near = near_versions(name, version) if version else []
    if near:
        return Unavailable(kind=kind, spec=spec, reason=f"{reason}; of {name} it has {', '.join(near)}")
    meant = near_names(kind, name, names)
    hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
    return Unavailable(kind=kind, spec=spec, reason=reason + hint)


def near_names(kind: Kind, name: str, names: Collection[str] = ()) -> list[str]:
    """Known names that are spelt nearly like one. Registries need not have a search, so none is asked."""
    known: set[str] = set(names)
    known |= {"plugin": set(plugins.KNOWN), "provider": set(bundled.NAMES), "tool": set(tools.TOOLS)}.get(
        kind, set()
    )
    # Of a scope the rest of the name counts: all its names are near to each other.
    scope, slash, rest = name.partition("/")
    if slash:
        beside = {one.partition("/")[2]: one for one in known if one.partition("/")[0] == scope}
        return [beside[one] for one in difflib.get_close_matches(rest, sorted(beside), _MOST, _NEAR)]
    return difflib.get_close_matches(name, sorted(known - {name}), _MOST, _NEAR)


def near_versions(name: str, version: str) -> list[str]:
    """Versions of a package that are spelt nearly like one, else its last ones; empty where it has none."""
    try:
        has = [str(entry["version"]) for entry in npm.view(f"{name}@>=0")]
    except NetworkError:
        return []
    return difflib.get_close_matches(version, has, _MOST, _NEAR_VERSION) or has[-_MOST:]


def behind(request: Request, error: npm.NotInRegistryError) -> Unavailable:
    """What is said of a spec whose tree lacks something: the dependency, as far as npm names it."""
    lacks = (
        f"it depends on {error.missing}, which the registry does not have" if error.missing else str(error)
    )
    return Unavailable(kind=request.kind, spec=request.spec, reason=lacks)


def named(gone: Iterable[Unavailable], asked: Collection[tuple[str, str]]) -> list[Unavailable]:
    """Those that a person named and that OpenCode would not answer by itself."""
    return [
        one
        for one in gone
        if one.kind == "url" or ((one.kind, one.spec) in asked and one.reason != plugins.TAKE_IT_OUT)
    ]
