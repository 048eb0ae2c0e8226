"""Which packages may not be passed on: what their licences say, as far as somebody has read them.

Such a package is in no default, and leaves this machine by no bundle, unless a person accepts its licence by
name. A licence that nobody has read and that is no SPDX expression is shown in `list`, not judged here. Of a
package that states none, READ has the one that stands elsewhere, where somebody found it.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from opencode_cache.formats.lock import Kind

_OPTIONS = ("provider", "plugin", "tool")


@dataclass(frozen=True)
class Terms:
    """A licence that forbids passing its packages on."""

    title: str
    source: str
    """Where it stands and which words say so."""
    names: frozenset[str] = frozenset()
    """Packages that are under it, where they state their licence in a file alone."""
    stated: frozenset[str] = frozenset()
    """What packages under it have as `license` in package.json, in capitals."""


TABLE = (
    Terms(
        "SAP Developer License",
        "LICENSE of @sap/xsenv 6.2.2 (version 3.1) and @sap/xssec 4.15.0 (version 3.2)",
        names=frozenset({"@sap/xsenv", "@sap/xssec"}),
        stated=frozenset({"SAP DEVELOPER LICENSE AGREEMENT", "SAP DEVELOPER LICENSE"}),
    ),
    Terms(
        "Intelephense Licence",
        "LICENSE.txt of intelephense 1.18.5, 5 c: no copying or distribution",
        names=frozenset({"intelephense"}),
    ),
    Terms(
        "UNLICENSED",
        "npm's documentation of package.json: no right to use it under any terms",
        stated=frozenset({"UNLICENSED"}),
    ),
)


@dataclass(frozen=True)
class Read:
    """The licence of a package whose package.json states none, and where it stands."""

    licence: str
    source: str
    copyright: str


READ = {
    "@openauthjs/openauth": Read(
        "MIT",
        "LICENSE of github.com/anomalyco/openauth since 2024-12-09; the package on npm lacks it (issue 301)",
        "Copyright (c) 2024 SST",
    ),
    "opencode-anthropic-auth": Read("MIT", "LICENSE in the package, 0.0.2", "Copyright (c) 2025 SST"),
    "opencode-copilot-auth": Read("MIT", "LICENSE in the package, 0.0.5", "Copyright (c) 2025 SST"),
}
"""Name -> what was read: they may be passed on with that line, which the bills of materials have."""


class Licensed(Protocol):
    """A package of a lock or of a manifest."""

    @property
    def name(self) -> str:
        """npm's name."""

    @property
    def license(self) -> str | None:
        """What package.json says."""


def read_elsewhere(package: Licensed) -> Read | None:
    """What is known of the licence of a package that states none."""
    return None if package.license else READ.get(package.name)


def licence(package: Licensed) -> str | None:
    """What package.json states, else what somebody read elsewhere; None where neither says anything."""
    read = read_elsewhere(package)
    return read.licence if read else package.license


def terms(package: Licensed) -> Terms | None:
    """What forbids passing the package on; None where nothing that is known does."""
    stated = " ".join((package.license or "").upper().split())
    return next((one for one in TABLE if package.name in one.names or stated in one.stated), None)


def forbidden(packages: Iterable[Licensed]) -> dict[str, Terms]:
    """Name -> terms, of those that may not be passed on, sorted by name."""
    judged = ((package.name, terms(package)) for package in packages)
    return {name: held for name, held in sorted(judged, key=itemgetter(0)) if held}


def reason(kind: Kind, name: str, held: dict[str, Terms]) -> str:
    """Why a request that nobody named is not locked."""
    way = f"with --{kind}" if kind in _OPTIONS else "in a plan"
    return f"{_sentence(name, held)}; name it yourself {way} to lock it for yourself"


def note(name: str, held: dict[str, Terms]) -> str:
    """What the lock says of a request that was named."""
    accept = " ".join(f"--accept-licence {one}" for one in held)
    return f"{_sentence(name, held)}; `bundle` takes it with {accept} alone"


def _sentence(name: str, held: dict[str, Terms]) -> str:
    titles = ", ".join(dict.fromkeys(one.title for one in held.values()))
    others = [one for one in held if one != name]
    if not others:
        subject = "it"
    else:
        subject = f"its {'dependency' if len(others) == 1 else 'dependencies'} {' and '.join(others)}"
    return f"{subject} may not be passed on ({titles})"


def not_accepted(packages: Iterable[Licensed], accepted: Collection[str]) -> dict[str, Terms]:
    """Those that may not be passed on and whose licence nobody accepted, by the package's name."""
    return {name: one for name, one in forbidden(packages).items() if name not in accepted}
