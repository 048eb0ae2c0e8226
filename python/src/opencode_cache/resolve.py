"""The lock step: npm decides which versions stand behind what OpenCode asks for.

Networked. Its only result is a `Lock`; nothing that it looks at but the lock is read by the pure steps.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import catalogue, layouts, npm, probe, systems, tarball
from .errors import BadInputError
from .layouts.layout import split_spec
from .lock import Lock, Opencode, Package, Request, Unavailable
from .npm import NotInRegistryError
from .plan import CATALOGUE
from .versions import UnavailableError, Versions, is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from .layouts.layout import Layout
    from .lock import Kind
    from .plan import Plan

_WORKERS = 4


@dataclass(frozen=True)
class _Wanted:
    kind: Kind
    spec: str

    @property
    def name(self) -> str:
        return split_spec(self.spec)[0]


def package_from(entry: dict[str, Any], name: str) -> Package:
    """A lock's package from an entry of npm's package-lock or an answer of `npm view`."""
    integrity = entry.get("integrity") or (entry.get("dist") or {}).get("integrity") or ""
    # A package-lock's "integrity" may list several hashes.
    strongest = next((word for word in integrity.split() if word.startswith("sha512-")), "")
    if not strongest:
        raise UnavailableError(f"{name}@{entry.get('version')} has no sha512 integrity in the registry")
    return Package(
        name=name,
        version=entry["version"],
        integrity=strongest,
        license=_licence(entry.get("license")),
        bin=_bins(name, entry.get("bin")),
        **{key: _words(entry.get(key)) for key in ("os", "cpu", "libc")},
    )


def _licence(value: object) -> str | None:
    """An SPDX expression; old packages have a table, or a list of either."""
    if isinstance(value, list):
        return " OR ".join(filter(None, map(_licence, value))) or None
    if isinstance(value, dict):
        value = value.get("type")
    return value if isinstance(value, str) else None


def _bins(name: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        return {name.rpartition("/")[2]: value}
    pairs = value.items() if isinstance(value, dict) else ()
    return {command: path for command, path in pairs if isinstance(path, str)}


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
                if entries:
                    found[system.name] = package_from(entries[0], name)
                    return
            except NotInRegistryError:
                continue
            except UnavailableError as error:
                missing[system.name] = str(error)
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
        self.versions = Versions(plan.opencode, self.sdk_major, plan.resolve, before)

    def lock(self, found: dict[str, Package], missing: dict[str, str]) -> Lock:
        """Resolve the whole plan. Raises NetworkError, BadInputError."""
        era: probe.BunEra | None = None
        if self.layout.name == "bun":
            self.on_step("asking the binary for its cache version and built-in plugins")
            era = probe.bun_era(self.binary, self.models)
        built_in = era.built_in_plugins if era and self.plan.built_in_plugins else ()
        providers = dict.fromkeys((*self._providers(era), *self.plan.extra_providers))
        wanted = [_Wanted("provider", spec) for spec in providers]
        wanted += [_Wanted("plugin", spec) for spec in (*built_in, *self.plan.plugins)]
        wanted += [_Wanted("tool", spec) for spec in self.plan.tools]
        wanted += [_Wanted("config", spec) for spec in self.plan.config]
        requests, unavailable = self._choose(list(dict.fromkeys(wanted)))
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
                cache_version=era.cache_version if era else None,
                sdk_major=self.sdk_major,
                binaries=dict(sorted(found.items())),
                missing=dict(sorted(missing.items())),
            ),
            requests=tuple(requests),
            trees=trees,
            packages=packages,
            unavailable=tuple(unavailable),
        )

    @cached_property
    def models(self) -> dict[str, Any]:
        """The catalogue compiled into the binary."""
        return catalogue.embedded(self.binary)

    def _providers(self, era: probe.BunEra | None) -> list[str]:
        if self.plan.providers != CATALOGUE:
            return list(self.plan.providers)
        self.on_step("asking the binary which provider SDKs it does not bundle")
        return sorted(probe.not_bundled(self.binary, self.models, era))

    def _choose(self, wanted: Sequence[_Wanted]) -> tuple[list[Request], list[Unavailable]]:
        self.on_step(f"choosing versions for {len(wanted)} specs")

        def one(want: _Wanted) -> Request | Unavailable:
            try:
                version, note = self.versions.choose(want.kind, want.spec)
            except (NotInRegistryError, UnavailableError) as error:
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

    def _resolve(self, requests: Sequence[Request]) -> tuple[dict[str, dict[str, str]], dict[str, Package]]:
        by_tree: dict[str, list[Request]] = {}
        for request in requests:
            members = by_tree.setdefault(request.tree, [])
            for other in members:
                if other.name == request.name and other.version != request.version:
                    raise BadInputError(
                        f"{other.spec} and {request.spec} stand for two versions of {request.name} in one "
                        "node_modules; take one out of the plan"
                    )
            members.append(request)

        def one(item: tuple[str, list[Request]]) -> tuple[str, dict[str, Package]]:
            tree, members = item
            self.on_step(f"resolving {', '.join(r.spec for r in members)}")
            specs = [f"{r.name}@{r.version}" for r in members]
            # A range for a package that nobody asked for by name speaks of the packages' own dependencies.
            named = {r.name for r in members}
            overrides = {name: wanted for name, wanted in self.plan.resolve.items() if name not in named}
            try:
                document = npm.package_lock(specs, self.before, overrides)
            except NotInRegistryError:
                if self.before is None:
                    raise
                # A version that was named exactly may carry a later date; then npm cannot go by dates here.
                self.on_step(f"--before does not hold for the dependencies of {', '.join(specs)}")
                document = npm.package_lock(specs, None, overrides)
            return tree, _nodes(tree, document)

        with ThreadPoolExecutor(_WORKERS) as pool:
            resolved = dict(pool.map(one, by_tree.items()))
        packages: dict[str, Package] = {}
        for nodes in resolved.values():
            for package in nodes.values():
                known = packages.setdefault(package.key, package)
                if known.integrity != package.integrity:
                    raise BadInputError(
                        f"{package.key}: the registry gives two integrities for it; lock again"
                    )
        return {
            tree: {path: package.key for path, package in nodes.items()} for tree, nodes in resolved.items()
        }, packages


def _nodes(tree: str, document: dict[str, Any]) -> dict[str, Package]:
    nodes: dict[str, Package] = {}
    for path, entry in document["packages"].items():
        if not path or entry.get("inBundle"):
            continue  # the root; or shipped in the tarball of the package around it
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        foreign = str(entry.get("resolved") or "").startswith(("git", "file:")) or not is_exact(
            str(entry.get("version"))
        )
        if entry.get("link") or foreign or not entry.get("integrity"):
            raise BadInputError(
                f"{tree}: {path} does not come from a registry, so no hash can be locked for it"
            )
        try:
            nodes[path] = package_from(entry, name)
        except UnavailableError as error:
            raise BadInputError(f"{tree}: {error}") from error
    return nodes
