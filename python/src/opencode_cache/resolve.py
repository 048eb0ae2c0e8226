"""The lock step: npm decides which versions stand behind what OpenCode asks for.

Networked. Its only result is a `Lock`; nothing that it looks at but the lock is read by the pure steps.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import semver

from . import catalogue, layouts, npm, probe, systems, tarball
from .errors import BadInputError
from .layouts.layout import split_spec
from .lock import Lock, Opencode, Package, Request, Unavailable
from .npm import NotInRegistryError
from .plan import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from .layouts.layout import Layout
    from .lock import Kind
    from .plan import Plan

_PROVIDER = "@ai-sdk/provider"
_EXACT = re.compile(r"^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$")
_MAJOR = re.compile(r"(\d+)")
_WORKERS = 4


class _UnavailableError(Exception):
    """This spec cannot be locked; the text says why."""


@dataclass
class _Wanted:
    kind: Kind
    spec: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = split_spec(self.spec)[0]


def package_from(entry: dict[str, Any], name: str) -> Package:
    """A lock's package from an entry of npm's package-lock or an answer of `npm view`."""
    integrity = entry.get("integrity") or (entry.get("dist") or {}).get("integrity") or ""
    binaries = entry.get("bin") or {}
    if isinstance(binaries, str):
        binaries = {name.rpartition("/")[2]: binaries}
    # A package-lock's "integrity" may list several hashes.
    strongest = next((word for word in integrity.split() if word.startswith("sha512-")), "")
    if not strongest:
        raise _UnavailableError(f"{name}@{entry.get('version')} has no sha512 integrity in the registry")
    licence = entry.get("license")
    return Package(
        name=name,
        version=entry["version"],
        integrity=strongest,
        license=licence.get("type") if isinstance(licence, dict) else licence,
        bin=binaries,
        **{key: _words(entry.get(key)) for key in ("os", "cpu", "libc")},
    )


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(word) for word in value) if isinstance(value, list) else ()


def binaries(version: str, names: Iterable[str]) -> tuple[dict[str, Package], dict[str, str]]:
    """The npm package of the OpenCode binary for each system, and why there is none for the others."""
    found: dict[str, Package] = {}
    missing: dict[str, str] = {}

    def one(system: systems.System) -> None:
        for name in system.binaries:
            try:
                entries = npm.view(f"{name}@{version}")
            except NotInRegistryError:
                continue
            if entries:
                found[system.name] = package_from(entries[0], name)
                return
        missing[system.name] = f"the registry has no {' or '.join(system.binaries)} {version}"

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(one, [systems.named(name) for name in names]))
    return found, missing


class Resolver:
    """Locks one plan for one binary."""

    def __init__(
        self, plan: Plan, binary: Path, *, before: date | None, on_step: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.binary = binary
        self.before = before
        self.on_step = on_step
        self.layout: Layout = layouts.for_version(plan.opencode)
        self.sdk_major = probe.sdk_major(binary)

    def lock(self, found: dict[str, Package], missing: dict[str, str]) -> Lock:
        """Resolve the whole plan. Raises NetworkError, BadInputError."""
        cache_version = None
        built_in: tuple[str, ...] = ()
        if self.layout.name == "bun":
            self.on_step("asking the binary for its cache version and built-in plugins")
            era = probe.bun_era(self.binary)
            cache_version = era.cache_version
            built_in = era.built_in_plugins if self.plan.built_in_plugins else ()
        providers = dict.fromkeys((*self._providers(), *self.plan.extra_providers))
        wanted = [_Wanted("provider", spec) for spec in providers]
        wanted += [_Wanted("plugin", spec) for spec in dict.fromkeys((*built_in, *self.plan.plugins))]
        wanted += [_Wanted("tool", spec) for spec in self.plan.tools]
        wanted += [_Wanted("config", spec) for spec in self.plan.config]
        requests, unavailable = self._choose(wanted)
        trees, packages = self._resolve(requests)
        self.on_step(f"asking for the sizes of {len(packages)} tarballs")
        everything = list(packages.values()) + list(found.values())
        sizes = tarball.sizes(everything)
        packages = {k: p.model_copy(update={"size": sizes.get(k)}) for k, p in packages.items()}
        found = {s: p.model_copy(update={"size": sizes.get(p.key)}) for s, p in found.items()}
        return Lock(
            opencode=Opencode(
                version=self.plan.opencode,
                layout=self.layout.name,
                cache_version=cache_version,
                sdk_major=self.sdk_major,
                binaries=dict(sorted(found.items())),
                missing=dict(sorted(missing.items())),
            ),
            requests=tuple(requests),
            trees=trees,
            packages=packages,
            unavailable=tuple(unavailable),
        )

    def _providers(self) -> list[str]:
        if self.plan.providers != CATALOGUE:
            return list(self.plan.providers)
        self.on_step("asking the binary which provider SDKs it does not bundle")
        return sorted(probe.not_bundled(self.binary, catalogue.packages(catalogue.embedded(self.binary))))

    def _choose(self, wanted: Sequence[_Wanted]) -> tuple[list[Request], list[Unavailable]]:
        self.on_step(f"choosing versions for {len(wanted)} specs")

        def one(want: _Wanted) -> Request | Unavailable:
            try:
                version, note = self._version(want)
            except (NotInRegistryError, _UnavailableError) as error:
                reason = "the registry has no such package or version"
                return Unavailable(
                    spec=want.spec,
                    kind=want.kind,
                    reason=reason if isinstance(error, NotInRegistryError) else str(error),
                )
            place = self.layout.place(self.plan.opencode, want.kind, want.spec, version)
            return Request(
                spec=want.spec,
                kind=want.kind,
                name=want.name,
                requested=place.requested,
                version=version,
                tree=place.tree,
                note=note,
            )

        with ThreadPoolExecutor(_WORKERS) as pool:
            chosen = list(pool.map(one, wanted))
        return (
            [c for c in chosen if isinstance(c, Request)],
            [c for c in chosen if isinstance(c, Unavailable)],
        )

    def _version(self, want: _Wanted) -> tuple[str, str | None]:
        """Which version stands behind a spec, and what a user should know of it.

        In this order: --resolve, an exact version, the binary's SDK generation, npm's latest.
        """
        asked = split_spec(want.spec)[1]
        if want.name in self.plan.resolve:
            return self._newest(want.name, self.plan.resolve[want.name], dated=True), None
        if _EXACT.match(asked):
            # Never by date: what is named exactly is wanted exactly, and mirrors' dates can be wrong.
            return self._newest(want.name, asked, dated=False), None
        if want.kind == "config" and not asked:
            return self._newest(want.name, self.plan.opencode, dated=False), None
        if want.kind == "provider" and not asked and self.sdk_major is not None:
            return self._newest_of_generation(want.name)
        if asked or self.before:
            return self._newest(want.name, asked or ">=0", dated=True), None
        return str(npm.view(want.name)[-1]["version"]), None

    def _newest(self, name: str, wanted: str, *, dated: bool) -> str:
        versions = self._dated(npm.view(f"{name}@{wanted}")) if dated else npm.view(f"{name}@{wanted}")
        if not versions:
            raise _UnavailableError(f"no version of {name} matches {wanted} and was published in time")
        return max((str(entry["version"]) for entry in versions), key=_precedence)

    def _dated(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.before is None:
            return entries
        limit = self.before.isoformat()
        return [e for e in entries if str((e.get("time") or {}).get(e["version"], ""))[:10] < limit]

    def _newest_of_generation(self, name: str) -> tuple[str, str | None]:
        """The newest release whose `@ai-sdk/provider` dependency has the major that the binary speaks."""
        entries = self._dated(npm.view(f"{name}@>=0"))
        releases = sorted(
            (e for e in entries if "-" not in e["version"]), key=lambda e: _precedence(e["version"])
        )
        if not releases:
            raise _UnavailableError("no release was published in time")
        fitting = [e["version"] for e in releases if _sdk_major(e) == self.sdk_major]
        if fitting:
            return str(fitting[-1]), None
        newest = releases[-1]
        major = _sdk_major(newest)
        if major is None:
            return str(newest["version"]), None  # not an AI SDK provider: no generation to fit
        # OpenCode would take the newest too. Such a one can work (1.18.33 speaks 3 and answers through SDKs
        # of 4) or not (1.0.61 speaks 2 and fails on 4): `verify` tells.
        note = f"no version speaks {_PROVIDER} {self.sdk_major} as OpenCode does; this one speaks {major}"
        return str(newest["version"]), note

    def _resolve(
        self, requests: Sequence[Request]
    ) -> tuple[dict[str, dict[str, str]], dict[str, Package]]:
        by_tree: dict[str, list[Request]] = {}
        for request in requests:
            by_tree.setdefault(request.tree, []).append(request)

        def one(item: tuple[str, list[Request]]) -> tuple[str, dict[str, Package]]:
            tree, members = item
            self.on_step(f"resolving {', '.join(r.spec for r in members)}")
            specs = [f"{r.name}@{r.version}" for r in members]
            try:
                document = npm.package_lock(specs, self.before)
            except NotInRegistryError:
                if self.before is None:
                    raise
                # A version that was named exactly may carry a later date; then npm cannot go by dates here.
                self.on_step(f"--before does not hold for the dependencies of {', '.join(specs)}")
                document = npm.package_lock(specs)
            return tree, _nodes(tree, document)

        with ThreadPoolExecutor(_WORKERS) as pool:
            resolved = dict(pool.map(one, by_tree.items()))
        packages: dict[str, Package] = {}
        for nodes in resolved.values():
            for package in nodes.values():
                known = packages.setdefault(package.key, package)
                if known.integrity != package.integrity:
                    raise BadInputError(f"{package.key}: the registry gives two integrities for it; lock again")
        return {
            tree: {path: package.key for path, package in nodes.items()} for tree, nodes in resolved.items()
        }, packages


def _nodes(tree: str, document: dict[str, Any]) -> dict[str, Package]:
    nodes: dict[str, Package] = {}
    for path, entry in document["packages"].items():
        if not path or entry.get("inBundle"):
            continue  # the root; or shipped in the tarball of the package around it
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        if entry.get("link") or not entry.get("integrity"):
            raise BadInputError(f"{tree}: {path} does not come from a registry, so no hash can be locked for it")
        try:
            nodes[path] = package_from(entry, name)
        except _UnavailableError as error:
            raise BadInputError(f"{tree}: {error}") from error
    return nodes


def _precedence(version: str) -> semver.Version:
    return semver.Version.parse(version)


def _sdk_major(entry: dict[str, Any]) -> int | None:
    wanted = (entry.get("dependencies") or {}).get(_PROVIDER) or (entry.get("peerDependencies") or {}).get(
        _PROVIDER
    )
    found = _MAJOR.search(wanted or "")
    return int(found[1]) if found else None
