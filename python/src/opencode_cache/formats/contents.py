"""What is in a lock, for one system: trees, packages, and what a manifest says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import grammar
from opencode_cache.formats.manifest import CachedPackage, Entry
from opencode_cache.npm import platforms

if TYPE_CHECKING:
    from opencode_cache.formats.lock import Lock, Package


def selected(lock: Lock, system: platforms.System) -> dict[str, dict[str, Package]]:
    """Tree -> path -> package, without the packages that are for other platforms.

    Raises BadInputError where that leaves out what a request stands for.
    """
    chosen: dict[str, dict[str, Package]] = {}
    for name, nodes in lock.trees.items():
        left_out: list[str] = []
        chosen[name] = {}
        for path, key in sorted(nodes.items()):
            package = lock.packages[key]
            inside = any(path.startswith(f"{gone}/") for gone in left_out)
            if inside or not platforms.fits(system, package.os, package.cpu, package.libc):
                left_out.append(path)
            else:
                chosen[name][path] = package
    for request in lock.requests:
        if f"node_modules/{request.name}" not in chosen[request.tree]:
            raise BadInputError(
                f"{request.spec}: {request.name}@{request.version} is not for {system.name}; "
                "take it out of the plan"
            )
    return chosen


def packages(lock: Lock, system: platforms.System) -> dict[str, Package]:
    """Every package that a build for that system reads, by key; the OpenCode binary is not among them."""
    chosen = {p.key: p for nodes in selected(lock, system).values() for p in nodes.values()}
    return chosen | {key: lock.packages[key] for key in grammar.packages(lock.languages.values())}


def binary_package(lock: Lock, system: platforms.System) -> Package:
    """The npm package of the OpenCode binary. Raises BadInputError where the lock has none."""
    if system.name not in lock.opencode.binaries:
        why = lock.opencode.missing.get(system.name, "the lock was made for other systems")
        raise BadInputError(f"the lock has no OpenCode {lock.opencode.version} for {system.name}: {why}")
    return lock.opencode.binaries[system.name]


def entries(lock: Lock) -> tuple[Entry, ...]:
    """A lock's requests as a manifest has them."""
    return tuple(
        Entry(
            spec=request.spec,
            kind=request.kind,
            name=request.name,
            requested=request.requested,
            version=request.version,
            tree=request.tree,
            note=request.note,
        )
        for request in sorted(lock.requests, key=lambda r: (r.kind, r.spec))
    )


def cached(lock: Lock, chosen: dict[str, dict[str, Package]]) -> tuple[CachedPackage, ...]:
    """What `selected` chose, as a manifest has it."""
    specs: dict[str, set[str]] = {}
    known: dict[str, Package] = {}
    for request in lock.requests:
        for package in chosen[request.tree].values():
            specs.setdefault(package.key, set()).add(request.spec)
            known[package.key] = package
    for name, pin in lock.languages.items():
        for key in pin.packages:
            specs.setdefault(key, set()).add(name)
            known[key] = lock.packages[key]
    return tuple(
        CachedPackage(
            name=package.name,
            version=package.version,
            integrity=package.integrity,
            license=package.license,
            github=package.github,
            specs=tuple(sorted(specs[key])),
        )
        for key, package in sorted(known.items())
    )


def needs_node(lock: Lock) -> bool:
    """Whether something in the lock is a Node.js program of its own: npm tools and commands are."""
    return any(request.kind in ("tool", "command") for request in lock.requests)
