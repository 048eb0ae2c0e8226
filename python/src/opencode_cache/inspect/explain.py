"""Where something is in a cache or a lock, who needs it, and whether OpenCode would take it for installed."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import contents
from opencode_cache.formats.redistribution import licence
from opencode_cache.inspect import node_modules
from opencode_cache.npm import platforms, repository
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opencode_cache.formats.lock import Lock
    from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest

_NEAR = 0.55
_MOST_NEAR = 4
_SDK = re.compile(r"@ai-sdk/|ai-sdk|provider", re.IGNORECASE)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Need(_Model):
    """A request whose tree holds the package. `chain` goes from the request's own package to this one."""

    kind: str
    spec: str
    chain: tuple[str, ...] = ()
    """`name@version` each; empty where only a lock was looked at, which does not tell."""


class Copy(_Model):
    """One copy of a package: its place below the cache, and who needs it."""

    place: str
    needs: tuple[Need, ...]
    bytes: int | None = None
    """Of its files, those of packages nested in it apart; None where there is no cache to look at."""


class Found(_Model):
    """One version of a package."""

    name: str
    version: str
    integrity: str | None
    license: str | None
    github: str | None = None
    packed: int | None = None
    """Length of the tarball, where a lock tells it."""
    copies: tuple[Copy, ...]


class Verdict(_Model):
    """What OpenCode would say of a request. `why` is the test that it makes, and how that ends."""

    kind: str
    spec: str
    accepted: bool
    why: str


class Explanation(_Model):
    """The answer; `found` is empty where it is not there, and then `near` and `add` help.

    `add` is there as well for an SDK or a tool that is there for other packages alone: OpenCode would not
    find it. `bundled`: the binary that was asked has the SDK compiled in, and looks for it nowhere.
    """

    spec: str
    where: str
    opencode: str
    found: tuple[Found, ...]
    verdicts: tuple[Verdict, ...] = ()
    near: tuple[str, ...] = ()
    add: str | None = None
    bundled: bool = False


@dataclass(frozen=True)
class Subject:
    """What is looked at: a cache, a lock, or both. `refused`: why the binary is not right for it."""

    where: str
    opencode: str
    layout: str
    entries: tuple[Entry, ...]
    packages: dict[str, CachedPackage]
    """By `name@version`."""
    nodes: tuple[tuple[str, str, str], ...]
    """(tree, place below it, `name@version`) of every package."""
    cache: Path | None = None
    sizes: dict[str, int | None] | None = None
    refused: str | None = None


def of_cache(
    cache: Path, manifest: Manifest, lock: Lock | None = None, refused: str | None = None
) -> Subject:
    """Look at a cache; a lock adds the sizes of the tarballs."""
    trees = sorted({entry.tree for entry in manifest.requests})
    return Subject(
        where=str(cache),
        opencode=manifest.opencode,
        layout=manifest.layout,
        entries=manifest.requests,
        packages={f"{package.name}@{package.version}": package for package in manifest.packages},
        nodes=tuple((tree, path, key) for tree in trees for path, key in node_modules.on_disk(cache / tree)),
        cache=cache,
        sizes={key: package.size for key, package in lock.packages.items()} if lock else None,
        refused=refused,
    )


def of_lock(path: Path, lock: Lock) -> Subject:
    """Look at a lock alone, for this machine's system: no chains, no sizes on disk, no test."""
    chosen = contents.selected(lock, platforms.current())
    return Subject(
        where=str(path),
        opencode=lock.opencode.version,
        layout=lock.opencode.layout,
        entries=contents.entries(lock),
        packages={f"{one.name}@{one.version}": one for one in contents.cached(lock, chosen)},
        nodes=tuple(
            (tree, inner, package.key) for tree, inside in chosen.items() for inner, package in inside.items()
        ),
        sizes={key: package.size for key, package in lock.packages.items()},
    )


def explain(spec: str, subject: Subject) -> Explanation:
    """Everything about a request's spec, a package's name, `name@version`, or a place below the cache."""
    matching = _matching(spec.rstrip("/"), subject)
    by_key: dict[str, list[tuple[str, str]]] = {}
    for tree, path, key in matching:
        by_key.setdefault(key, []).append((tree, path))
    packages = tuple(_found(key, paths, subject) for key, paths in sorted(by_key.items()))
    if not packages:
        return Explanation(
            spec=spec,
            where=subject.where,
            opencode=subject.opencode,
            found=(),
            near=_near(spec, subject),
            add=_command(spec, subject),
        )
    concerned = {(need.kind, need.spec) for one in packages for copy in one.copies for need in copy.needs}
    verdicts = (
        _verdict(entry, subject) for entry in subject.entries if (entry.kind, entry.spec) in concerned
    )
    return Explanation(
        spec=spec,
        where=subject.where,
        opencode=subject.opencode,
        found=packages,
        verdicts=tuple(verdict for verdict in verdicts if verdict),
        add=None if _is_request(spec, subject) else _command(spec, subject),
    )


def _is_request(spec: str, subject: Subject) -> bool:
    """Whether OpenCode asks for it by itself; also true for what is neither an SDK nor a tool."""
    name = split_spec(spec)[0]
    asked_for = any(entry.name == name for entry in subject.entries)
    return asked_for or not (is_sdk(name) or name in tools.TOOLS)


def is_sdk(name: str) -> bool:
    """Whether a package's name is that of a provider SDK, as far as a name tells."""
    return _SDK.search(name) is not None


def _join(tree: str, path: str) -> str:
    return path if tree == "." else f"{tree}/{path}"


def _matching(spec: str, subject: Subject) -> list[tuple[str, str, str]]:
    """The nodes that a spec means: a place, else a request, else a package."""
    nodes = [node for node in subject.nodes if _join(node[0], node[1]) == spec]
    if nodes:
        return nodes
    own = {
        (entry.tree, f"node_modules/{entry.name}")
        for entry in subject.entries
        if spec in (entry.spec, entry.tree) or entry.tree == f"packages/{spec}"
    }
    if own:
        return [node for node in subject.nodes if node[:2] in own]
    return [node for node in subject.nodes if spec in (node[2], node[2].rpartition("@")[0])]


def _found(key: str, paths: Iterable[tuple[str, str]], subject: Subject) -> Found:
    name, _, version = key.rpartition("@")
    # A version on disk lacks the commit that a lock's has.
    package = subject.packages.get(key) or next(
        (
            one
            for one in subject.packages.values()
            if one.name == name and one.version.startswith(f"{version}+")
        ),
        None,
    )
    full = f"{name}@{package.version}" if package else key
    return Found(
        name=name,
        version=package.version if package else version,
        integrity=package.integrity if package else None,
        license=licence(package) if package else None,
        github=package.github if package else None,
        packed=(subject.sizes or {}).get(full),
        copies=tuple(_copy(tree, path, subject) for tree, path in sorted(paths)),
    )


def _copy(tree: str, path: str, subject: Subject) -> Copy:
    here = [entry for entry in subject.entries if entry.tree == tree]
    chains = {
        entry: node_modules.chain(subject.cache / tree, f"node_modules/{entry.name}", path)
        for entry in here
        if subject.cache is not None
    }
    # In a tree of several requests, only those that lead to it need it.
    needing = [entry for entry in here if chains.get(entry)] or here
    needs = [Need(kind=e.kind, spec=e.spec, chain=chains.get(e, ())) for e in needing]
    size = node_modules.size(subject.cache / tree / path) if subject.cache is not None else None
    return Copy(place=_join(tree, path), needs=tuple(needs), bytes=size)


def _verdict(entry: Entry, subject: Subject) -> Verdict | None:
    if subject.cache is None:
        return None
    if subject.refused:
        return Verdict(kind=entry.kind, spec=entry.spec, accepted=False, why=subject.refused)
    accepted, why = layouts.named(subject.layout).installed(subject.cache, entry, subject.opencode)
    return Verdict(kind=entry.kind, spec=entry.spec, accepted=accepted, why=why)


def _near(spec: str, subject: Subject) -> tuple[str, ...]:
    known = {entry.spec for entry in subject.entries} | {key for _, _, key in subject.nodes}
    name = split_spec(spec)[0]
    same = sorted(key for key in known if split_spec(key)[0] == name)
    names = {key.rpartition("@")[0] if key.rfind("@") > 0 else key for key in known}
    return tuple(same[:_MOST_NEAR] or difflib.get_close_matches(name, sorted(names), _MOST_NEAR, _NEAR))


def _command(spec: str, subject: Subject) -> str | None:
    """The command that locks it beside the plugins and tools that are there; None where it cannot be."""
    if spec.startswith(("packages/", "npm/", "node_modules/", "config/")):
        return None
    try:
        if not repository.source(spec):
            npm_spec.check("spec", spec)
    except BadInputError:
        return None
    name = split_spec(spec)[0]
    kind = "tool" if name in tools.TOOLS else "provider" if is_sdk(name) else "plugin"
    others = [e for e in subject.entries if e.kind in {"plugin", "tool"} and e.name != name]
    asked = [(entry.kind, entry.spec) for entry in others]
    words = [word for one, value in [*asked, (kind, spec)] for word in (f"--{one}", value)]
    return shlex.join(
        ["opencode-cache", "lock", "--opencode-version", subject.opencode, *words, "-o", "my.lock.json"]
    )
