"""The trees: what npm puts beside what OpenCode asks for, and which of it nobody has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import redistribution
from opencode_cache.formats.lock import Unavailable
from opencode_cache.npm import client as npm
from opencode_cache.npm.client import NotInRegistryError
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import tools
from opencode_cache.resolve import missing as missing_names
from opencode_cache.resolve.metadata import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from opencode_cache.formats.lock import Package, Request

_WORKERS = 4


@dataclass(frozen=True)
class Trees:
    """How trees are resolved, for one plan."""

    ranges: Mapping[str, str]
    """Package name -> npm range, for whoever in a tree depends on it."""
    before: date | None
    on_step: Callable[[str], None]
    taken: dict[str, tuple[Package, Path]] = field(default_factory=dict)
    """Spec -> the package out of GitHub and its archive."""

    def resolve(
        self, requests: Sequence[Request], named: Collection[tuple[str, str]] = ()
    ) -> tuple[dict[str, dict[str, str]], dict[str, Package], list[Unavailable]]:
        """Tree → place → key, key → package, and the requests that are left out.

        Those are the requests behind which something is missing, and, unless their kind and spec are among
        the `named`, those with something that may not be passed on.
        """
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

        broken: list[Unavailable] = []

        def resolve_tree(item: tuple[str, list[Request]]) -> tuple[str, dict[str, Package]]:
            tree, members = item
            inside: dict[str, Package] = {}
            try:
                inside = self._tree(tree, members)
                lost = self._not_passed_on(tree, members, inside, named)
            except NotInRegistryError as error:
                lost = self._lacking(tree, members, error)
            if not lost:
                return tree, inside
            broken.extend(gone for _, gone in lost)
            left = [request for request in members if all(request is not other for other, _ in lost)]
            return resolve_tree((tree, left)) if left else (tree, {})

        with ThreadPoolExecutor(_WORKERS) as pool:
            resolved = {tree: inside for tree, inside in pool.map(resolve_tree, by_tree.items()) if inside}
        packages: dict[str, Package] = {}
        for inside in resolved.values():
            for package in inside.values():
                known = packages.setdefault(package.key, package)
                if known.integrity != package.integrity:
                    raise BadInputError(
                        f"{package.key}: the registry gives two integrities for it; lock again"
                    )
        return (
            {
                tree: {path: package.key for path, package in inside.items()}
                for tree, inside in resolved.items()
            },
            packages,
            broken,
        )

    def _brought(self, tool: str) -> str:
        """What a tool gets beside it, in the version that the plan says."""
        spec = tools.brings(tool)
        name = split_spec(spec)[0]
        return f"{name}@{self.ranges[name]}" if name in self.ranges else spec

    def _lacking(
        self, tree: str, members: Sequence[Request], error: NotInRegistryError
    ) -> list[tuple[Request, Unavailable]]:
        """Which of a tree's requests cannot be had: each alone is asked for. Raises NotInRegistryError."""
        if len(members) == 1:
            return [(members[0], missing_names.behind(members[0], error))]
        lacking = []
        for request in members:
            try:
                self._tree(tree, [request])
            except NotInRegistryError as alone:
                lacking.append((request, missing_names.behind(request, alone)))
        if not lacking:
            raise error
        return lacking

    def _not_passed_on(
        self,
        tree: str,
        members: Sequence[Request],
        inside: Mapping[str, Package],
        named: Collection[tuple[str, str]],
    ) -> list[tuple[Request, Unavailable]]:
        """Which of a tree's requests that nobody named bring something that may not be passed on."""
        held_back = []
        for request in members if redistribution.forbidden(inside.values()) else ():
            if (request.kind, request.spec) in named:
                continue
            alone = inside if len(members) == 1 else self._tree(tree, [request])
            if held := redistribution.forbidden(alone.values()):
                reason = redistribution.reason(request.kind, request.name, held)
                held_back.append((request, Unavailable(kind=request.kind, spec=request.spec, reason=reason)))
        return held_back

    def _tree(self, tree: str, members: Sequence[Request]) -> dict[str, Package]:
        """Place below the tree -> package, as npm resolves it."""
        self.on_step(f"resolving {', '.join(r.spec for r in members)}")
        taken = {r.name: self.taken[r.spec] for r in members if r.spec in self.taken}
        specs = [
            f"{r.name}@file:{taken[r.name][1]}" if r.name in taken else f"{r.name}@{r.version}"
            for r in members
        ]
        brought = [self._brought(r.name) for r in members if r.kind == "tool" and tools.brings(r.name)]
        specs += brought
        # A range for a package that nobody asked for by name speaks of the packages' own dependencies.
        named = {r.name for r in members} | {split_spec(spec)[0] for spec in brought}
        overrides = {name: wanted for name, wanted in self.ranges.items() if name not in named}
        try:
            document = npm.package_lock(specs, self.before, overrides)
        except NotInRegistryError:
            if self.before is None:
                raise
            # A version that was named exactly may carry a later date; then npm cannot go by dates here.
            self.on_step(f"--before does not hold for the dependencies of {', '.join(specs)}")
            document = npm.package_lock(specs, None, overrides)
        except npm.ConflictError as error:
            raise npm.ConflictError(f"{', '.join(r.spec for r in members)}: {error}") from error
        own = {f"node_modules/{name}": package for name, (package, _) in taken.items()}
        for path in own:
            document["packages"].pop(path, None)
        return own | nodes(tree, document)
