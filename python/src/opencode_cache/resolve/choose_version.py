"""Which version stands behind a spec.

OpenCode asks for "latest", but the newest SDK need not speak the binary's AI SDK generation: 1.0.61 fails on
`@ai-sdk/anthropic` 4 and works with 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import semver

from opencode_cache.npm import client as npm
from opencode_cache.npm import nodejs
from opencode_cache.npm.engines import admits
from opencode_cache.npm.spec import is_exact, split_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from opencode_cache.formats.lock import Kind
    from opencode_cache.npm.engines import Triple

_PROVIDER = "@ai-sdk/provider"
_OPENCODES_OWN = "@opencode-ai/"
_MAJOR = re.compile(r"(?:^|[\s|])[\^~>=<v]*([0-9]+)")


class UnavailableError(Exception):
    """A spec cannot be locked; the text says why."""


@dataclass(frozen=True)
class Versions:
    """The rules, for one binary and one plan."""

    opencode: str
    sdk_major: int | None
    """The newest major of `@ai-sdk/provider` that the binary speaks."""
    ranges: Mapping[str, str]
    """Package name -> npm range that overrides all else."""
    before: date | None

    def choose(self, kind: Kind, spec: str) -> tuple[str, str | None]:
        """The version behind a spec, and what a user should know of it.

        In this order: the plan's range, an exact version, OpenCode's own version for its own packages, the
        binary's SDK generation, npm's latest. Raises UnavailableError or NotInRegistryError where there is
        none, NetworkError.
        """
        name, asked = split_spec(spec)
        if name in self.ranges:
            return self._newest(name, self.ranges[name], dated=not is_exact(self.ranges[name])), None
        if is_exact(asked):
            # Never by date: what is named exactly is wanted exactly, and mirrors' dates can be wrong.
            return self._newest(name, asked, dated=False), None
        if asked:
            return self._newest(name, asked, dated=True), None
        return self._usual(kind, name)

    def _usual(self, kind: Kind, name: str) -> tuple[str, str | None]:
        """The version behind a spec that is a bare name."""
        if kind == "config" and name.startswith(_OPENCODES_OWN):
            return self._nearest(name)
        if kind == "provider" and self.sdk_major is not None:
            return self._newest_of_generation(name)
        if kind in ("tool", "command"):
            return self._newest_that_runs(name)
        if self.before:
            return self._newest(name, ">=0", dated=True), None
        latest = npm.view(name)
        if not latest:
            raise UnavailableError("the registry has no `latest` version of it")
        return str(latest[-1]["version"]), None

    def _newest_that_runs(self, name: str) -> tuple[str, str | None]:
        """The newest release whose `engines.node` has the Node.js in it that will run it.

        npm's latest comes first, as a package may call an older line its latest.
        """
        latest = npm.view(name)
        node = nodejs.version()
        if not self.before and latest and (node is None or _runs(latest[-1], node)):
            return str(latest[-1]["version"]), None
        entries = self._dated(npm.view(f"{name}@>=0"))
        releases = sorted(
            (e for e in entries if "-" not in e["version"]), key=lambda e: _precedence(e["version"])
        )
        if not releases:
            raise UnavailableError(f"no release was published before {self.before or 'now'}")
        fitting = [entry for entry in releases if node is None or _runs(entry, node)]
        if fitting:
            return str(fitting[-1]["version"]), None
        newest = releases[-1]
        wanted = _engine(newest)
        return str(
            newest["version"]
        ), f"it wants Node.js {wanted}, and {'.'.join(map(str, node or ()))} is here"

    def _newest(self, name: str, wanted: str, *, dated: bool) -> str:
        entries = npm.view(f"{name}@{wanted}")
        if dated:
            entries = self._dated(entries)
        if not entries:
            in_time = f" and was published before {self.before}" if dated and self.before else ""
            raise UnavailableError(f"no version of {name} matches {wanted}{in_time}")
        return max((str(entry["version"]) for entry in entries), key=_precedence)

    def _dated(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.before is None:
            return entries
        limit = self.before.isoformat()
        return [e for e in entries if str((e.get("time") or {}).get(e["version"], "9"))[:10] < limit]

    def _nearest(self, name: str) -> tuple[str, str | None]:
        """OpenCode's own version of one of its packages, else the last one before it, else the first one.

        OpenCode asks for its own version and does not compare (`layouts/packages.py`): with another one it
        starts at once, with none it asks the registry at every start. Registries have gaps.
        """
        entries = npm.view(f"{name}@>=0")
        releases = sorted((str(e["version"]) for e in entries if "-" not in e["version"]), key=_precedence)
        if not releases:
            raise UnavailableError("the registry has no release of it")
        own = _precedence(self.opencode)
        before = [version for version in releases if _precedence(version) <= own]
        version = before[-1] if before else releases[0]
        note = f"the registry does not have {self.opencode}; this is the nearest version that it has"
        return version, None if version == self.opencode else note

    def _newest_of_generation(self, name: str) -> tuple[str, str | None]:
        """The newest release whose `@ai-sdk/provider` dependency has the major that the binary speaks."""
        entries = self._dated(npm.view(f"{name}@>=0"))
        releases = sorted(
            (e for e in entries if "-" not in e["version"]), key=lambda e: _precedence(e["version"])
        )
        if not releases:
            raise UnavailableError(f"no release was published before {self.before or 'now'}")
        fitting = [e["version"] for e in releases if self.sdk_major in _sdk_majors(e)]
        if fitting:
            return str(fitting[-1]), None
        newest = releases[-1]
        majors = _sdk_majors(newest)
        if not majors:
            return str(newest["version"]), None  # not an AI SDK provider: no generation to fit
        # OpenCode would take the newest too. Such a one can work (1.18.33 speaks 3 and answers through SDKs
        # of 4) or not (1.0.61 speaks 2 and fails on 4): `verify` tells.
        note = (
            f"no version speaks {_PROVIDER} {self.sdk_major} as OpenCode does; this one speaks {max(majors)}"
        )
        return str(newest["version"]), note


def _precedence(version: str) -> semver.Version:
    if not semver.Version.is_valid(version):
        return semver.Version(0)
    return semver.Version.parse(version)


def _engine(entry: dict[str, Any]) -> str:
    engines = entry.get("engines")
    return str(engines.get("node") or "*") if isinstance(engines, dict) else "*"


def _runs(entry: dict[str, Any], node: Triple) -> bool:
    return admits(_engine(entry), node)


def _sdk_majors(entry: dict[str, Any]) -> set[int]:
    """Majors of `@ai-sdk/provider` that a manifest's dependency on it admits; empty where it has none."""
    for field in ("dependencies", "peerDependencies"):
        wanted = (entry.get(field) or {}).get(_PROVIDER)
        if wanted:
            return {int(number) for number in _MAJOR.findall(wanted)}
    return set()
