"""What a bill of materials lists, whatever its format: parts, and which of them depends on which.

Deterministic: the same manifest and cache give the same bill. With the cache itself, suppliers, licence texts
and dependencies are those of the packages' own files. With a manifest alone, what was requested depends on
every package of its tree; the `bun` layout has one tree for all requests, so there the cache depends on all.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from opencode_cache.formats import redistribution
from opencode_cache.inspect.sbom import on_disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opencode_cache.formats.manifest import CachedPackage, Manifest
    from opencode_cache.formats.redistribution import Read

NAME = "opencode-cache"
AUTHORS = "the opencode-cache authors"
OPENCODE, WRAPPER, PRELOAD = "opencode", "wrapper", "preload"
CATALOGUE = "models.json"
_ANOMALY = "Anomaly, github.com/anomalyco/opencode"


@dataclass(frozen=True)
class Part:
    """One component. `hashes`: "SHA-256" or "SHA-512" -> hexadecimal."""

    ref: str
    name: str
    version: str
    supplier: str
    kind: Literal["library", "application", "data", "file"] = "library"
    hashes: Mapping[str, str] = field(default_factory=dict)
    purl: str | None = None
    licence: str | None = None
    """As the package states it."""
    licence_file: str | None = None
    """Where its text is, relative to the cache."""
    licence_text: str | None = None
    read: Read | None = None
    """What somebody read of the licence where the package states none."""
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bill:
    """Parts, and reference -> references of what it depends on: every part is there, the cache first."""

    manifest: Manifest
    parts: tuple[Part, ...]
    graph: Mapping[str, list[str]]
    exact: bool
    """Whether the graph is that of the packages' own files."""

    @property
    def description(self) -> str:
        """What the bill is of, in a sentence."""
        return f"What OpenCode {self.manifest.opencode} finds in its cache on {self.manifest.system}"


def program_part(ref: str, name: str, supplier: str, sha256: str, licence: str | None) -> Part:
    """A program whose version nobody states: its digest stands for that."""
    version = f"sha256:{sha256[:16]}"
    name_in_purl = f"pkg:generic/{quote(name)}?checksum=sha256:{sha256}"
    return Part(
        ref, name, version, supplier, "application", {"SHA-256": sha256}, name_in_purl, licence=licence
    )


def take(
    manifest: Manifest,
    cache: Path | None = None,
    *,
    digests: Mapping[str, str] | None = None,
    beside: Iterable[Part] = (),
) -> Bill:
    """The bill of a cache.

    `digests`: OPENCODE, WRAPPER, PRELOAD -> sha256, where such files are shipped; `beside`: other programs.
    """
    shipped = {OPENCODE: manifest.opencode_sha256 or "", **(digests or {})}
    on_cache = on_disk.read(cache, manifest) if cache else None
    packages = sorted(manifest.packages, key=lambda package: (package.name, package.version))
    parts = [_package(package, on_cache) for package in packages]
    outside = [*_data(manifest), _opencode(manifest, shipped), *_own(manifest, shipped), *beside]
    graph = _graph(manifest, packages, on_cache)
    graph[NAME] += [part.ref for part in outside]
    graph |= {part.ref: [] for part in outside}
    graph[WRAPPER] = [OPENCODE, PRELOAD]
    return Bill(manifest, (*parts, *outside), graph, exact=on_cache is not None)


def purl(name: str, version: str) -> str:
    """`pkg:npm/%40scope/name@1.0.0`: the name of a package that a registry has."""
    return f"pkg:npm/{quote(name, safe='/')}@{quote(version, safe='')}"


def _purl(package: CachedPackage) -> str:
    """The package's name in every bill of materials: GitHub's, where it comes from there."""
    if package.github:
        repository, _, commit = package.github.partition("#")
        return f"pkg:github/{quote(repository.lower(), safe='/')}@{commit}"
    return purl(package.name, package.version)


def _package(package: CachedPackage, on_cache: on_disk.Found | None) -> Part:
    told = on_cache.facts.get(package) if on_cache else None
    return Part(
        _purl(package),
        package.name,
        package.version,
        (told and told.supplier) or _publisher(package),
        hashes={"SHA-512": base64.b64decode(package.integrity.partition("-")[2]).hex()},
        purl=_purl(package),
        licence=package.license,
        licence_file=told.licence_file if told else None,
        licence_text=told.licence_text if told else None,
        read=redistribution.read_elsewhere(package),
        properties=tuple(("spec", spec) for spec in package.specs),
    )


def _publisher(package: CachedPackage) -> str:
    """Who supplies a package that names no author: whoever may publish under its name."""
    if package.github:
        return f"github.com/{package.github.partition('/')[0]}"
    scope, slash, _ = package.name.partition("/")
    return f"the publishers of {scope if slash else package.name} on npm"


def _data(manifest: Manifest) -> list[Part]:
    catalogue = manifest.catalogue
    if not catalogue:
        return []
    version = f"sha256:{catalogue.sha256[:16]}"
    told = (("catalogue", catalogue.source),)
    return [
        Part(
            CATALOGUE,
            CATALOGUE,
            version,
            "models.dev",
            "data",
            {"SHA-256": catalogue.sha256},
            properties=told,
        )
    ]


def _opencode(manifest: Manifest, digests: Mapping[str, str]) -> Part:
    digest = digests[OPENCODE]
    tarball = manifest.opencode_integrity
    return Part(
        OPENCODE,
        "opencode",
        manifest.opencode,
        _ANOMALY,
        "application",
        {"SHA-256": digest} if digest else {},
        f"pkg:github/anomalyco/opencode@v{quote(manifest.opencode, safe='')}",
        licence="MIT",
        properties=(("npm-integrity", tarball),) if tarball else (),
    )


def _own(manifest: Manifest, digests: Mapping[str, str]) -> list[Part]:
    names = {WRAPPER: "opencode-cache wrapper (bin/opencode)", PRELOAD: "opencode-cache preload"}
    return [
        Part(
            ref,
            name,
            manifest.builder,
            AUTHORS,
            "file",
            {"SHA-256": digests[ref]} if ref in digests else {},
            licence="MIT",
        )
        for ref, name in names.items()
    ]


def _graph(
    manifest: Manifest, packages: list[CachedPackage], on_cache: on_disk.Found | None
) -> dict[str, list[str]]:
    references = {(package.name, package.version): _purl(package) for package in packages}
    asked: dict[str, set[str]] = {}  # what was requested -> the specs that it stands for
    for entry in manifest.requests:
        if ref := references.get((entry.name, entry.version)):
            asked.setdefault(ref, set()).add(entry.spec)
    if on_cache:
        below = {
            _purl(package): sorted({_purl(other) for other in on_cache.depends.get(package, ())})
            for package in packages
        }
        return {NAME: _roots(sorted(asked), below)} | below
    if manifest.layout == "bun":
        return {NAME: list(references.values())} | {ref: [] for ref in references.values()}
    trees: dict[str, list[str]] = {}
    for root, specs in asked.items():
        trees[root] = [
            _purl(package)
            for package in packages
            if _purl(package) != root and not specs.isdisjoint(package.specs)
        ]
    return {NAME: sorted(asked)} | {ref: trees.get(ref, []) for ref in references.values()}


def _roots(asked: list[str], below: Mapping[str, list[str]]) -> list[str]:
    """What was requested, and what nothing that was requested leads to: npm put that there as well."""
    roots, seen = list(asked), set[str]()
    waiting = list(asked)
    for ref in (None, *below):
        if ref is not None and ref not in seen:
            roots.append(ref)
            waiting.append(ref)
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += below.get(one, ())
    return roots
