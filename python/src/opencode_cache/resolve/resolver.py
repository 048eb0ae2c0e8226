"""The lock step: npm decides which versions stand behind what OpenCode asks for.

Networked. Its only result is a `Lock`; nothing that it looks at but the lock is read by the pure steps.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opencode_cache import layouts
from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import first_problem
from opencode_cache.catalogue import document as catalogue
from opencode_cache.fetch import tarballs
from opencode_cache.formats import grammar, user_files
from opencode_cache.formats.local_plugin import dependencies, is_local
from opencode_cache.formats.lock import Lock, Opencode, Request, Signatures, Unavailable
from opencode_cache.formats.plan import CATALOGUE, default
from opencode_cache.npm import client as npm
from opencode_cache.npm import repository
from opencode_cache.npm.client import NotInRegistryError
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import ask, embedded, highlighting, plugins, tools
from opencode_cache.opencode.versions import EXPERIMENTAL
from opencode_cache.resolve import floor, git, github, grammars, signatures, urls
from opencode_cache.resolve import missing as missing_names
from opencode_cache.resolve.choose_version import UnavailableError, Versions
from opencode_cache.resolve.metadata import package_from, with_terms
from opencode_cache.resolve.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import date

    from opencode_cache.formats.grammar import Grammar
    from opencode_cache.formats.lock import Kind, Package
    from opencode_cache.formats.plan import Plan
    from opencode_cache.layouts.layout import Layout

__all__ = ["Resolver"]

_WORKERS = 4


@dataclass(frozen=True)
class _Wanted:
    kind: Kind
    spec: str

    @property
    def name(self) -> str:
        return split_spec(self.spec)[0]


class Resolver:
    """Locks one plan for one binary. `archives`: where GitHub's archives go, as `fetch` looks for them."""

    def __init__(
        self,
        plan: Plan,
        binary: Path,
        *,
        before: date | None,
        on_step: Callable[[str], None],
        archives: Path | None = None,
        allow_missing: bool = False,
    ) -> None:
        self.plan = plan
        self.binary = binary
        self.before = before
        self.on_step = on_step
        self.allow_missing = allow_missing
        self.archives = archives or store.downloads()
        self.layout: Layout = layouts.for_version(plan.opencode)
        self.sdk_major = ask.sdk_major(binary)
        self.versions = Versions(plan.opencode, self.sdk_major, plan.resolve, before)
        self.trees = Trees(plan.resolve, before, on_step)

    def lock(self, programs: dict[str, Package], missing: dict[str, str]) -> Lock:
        """Resolve the whole plan. Raises NetworkError, BadInputError.

        What a person named and cannot be had is a MissingError with all of it, unless that is allowed.
        """
        try:
            return self._lock(programs, missing)
        except ValidationError as error:
            raise NetworkError(
                f"the registry's answers cannot be locked ({first_problem(error)}); use another registry"
            ) from error

    def _lock(self, programs: dict[str, Package], missing: dict[str, str]) -> Lock:
        files = user_files.read(self.plan.files)
        given = catalogue.given(Path(self.plan.catalogue))[0] if self.plan.catalogue else None
        local = [spec for spec in self.plan.plugins if is_local(spec)]
        languages, unpinned = self._languages()
        # OpenCode imports a local plugin from where it lies: only what it depends on can be locked.
        needed = [wanted for spec in local for wanted in dependencies(spec)]
        facts: ask.BunFacts | None = None
        if self.layout.name == "bun":
            self.on_step("asking the binary for its cache version and built-in plugins")
            facts = ask.bun_facts(self.binary, self.models)
        built_in = facts.built_in_plugins if facts and self.plan.built_in_plugins else ()
        providers = dict.fromkeys((*self._providers(facts), *self.plan.extra_providers))
        wanted = [_Wanted("provider", spec) for spec in providers]
        installed = [spec for spec in self.plan.plugins if spec not in local]
        wanted += [_Wanted("plugin", spec) for spec in (*built_in, *installed)]
        wanted += [_Wanted("tool", spec) for spec in self.plan.tools]
        wanted += [_Wanted("command", spec) for spec in self.plan.commands]
        wanted += [_Wanted("config", spec) for spec in _unnamed(self.plan.config, needed)]
        requests, unavailable = self._choose(list(dict.fromkeys(wanted)), self._bundled(facts))
        named = {(want.kind, want.spec) for want in self._named(wanted)}
        trees, packages, broken = self.trees.resolve(requests, named)
        unavailable += sorted(broken, key=lambda gone: (gone.kind, gone.spec))
        lost = {(gone.kind, gone.spec) for gone in broken}
        requests = [request for request in requests if (request.kind, request.spec) not in lost]
        requests = [with_terms(request, trees[request.tree], packages) for request in requests]
        if self.layout.name == EXPERIMENTAL:
            requests = [_with_api(request, trees[request.tree]) for request in requests]
        texts, without_text = urls.take(self.plan.instructions, self.plan.skills, self.on_step)
        unavailable += without_text
        asked = missing_names.named(unavailable, named)
        if asked and not self.allow_missing:
            raise missing_names.MissingError(asked)
        packages |= self._grammars(languages)
        self.on_step(f"asking for the sizes of {len(packages)} tarballs")
        everything = [p for p in packages.values() if not p.github] + list(programs.values())
        sizes = tarballs.sizes(everything)
        packages = {k: p.model_copy(update={"size": sizes.get(k, p.size)}) for k, p in packages.items()}
        programs = {s: p.model_copy(update={"size": sizes.get(p.key)}) for s, p in programs.items()}
        signed = self._signatures([*everything])
        in_lock = [*packages.values(), *programs.values()]
        if self.plan.require_signatures:
            floor.require_signed(signed, in_lock)
        if self.plan.min_age:
            self.on_step(f"asking the registry whether they are {self.plan.min_age} old")
            floor.require_age(self.plan.min_age, in_lock)
        return Lock(
            opencode=Opencode(
                version=self.plan.opencode,
                layout=self.layout.name,
                cache_version=facts.cache_version if facts else None,
                sdk_major=self.sdk_major,
                bundled=tuple(sorted(self._bundled(facts))),
                binaries=dict(sorted(programs.items())),
                missing=dict(sorted(missing.items())),
            ),
            requests=tuple(requests),
            trees=trees,
            packages=packages,
            unavailable=(*unavailable, *unpinned),
            languages=languages,
            warmup=None if self.plan.warmup is None else tuple(self.plan.warmup),
            files=files,
            urls=texts,
            accept=self.plan.accept,
            signatures=signed,
            require_signatures=self.plan.require_signatures,
            min_age=self.plan.min_age,
            catalogue=catalogue.describe(given, "file").sha256 if given is not None else None,
        )

    def _signatures(self, packages: Sequence[Package]) -> Signatures:
        self.on_step("asking npm whether the registry signed them")
        signed = signatures.check(packages)
        return signed.model_copy(update={"keys": floor.keys()}) if signed.verified else signed

    @cached_property
    def models(self) -> dict[str, Any]:
        """The catalogue compiled into the binary; empty where it has none and nothing is taken from it."""
        try:
            return embedded.catalogue(self.binary)
        except BadInputError:
            if self.plan.providers == CATALOGUE:
                raise
            return {}

    def _providers(self, facts: ask.BunFacts | None) -> list[str]:
        if self.plan.providers != CATALOGUE:
            return list(self.plan.providers)
        return sorted(catalogue.packages(self.models).keys() - self._bundled(facts))

    @cache  # noqa: B019 - a resolver lives as long as its one lock is made
    def _bundled(self, facts: ask.BunFacts | None) -> set[str]:
        self.on_step("asking the binary which provider SDKs it has compiled in")
        return ask.bundled(self.binary, self.models, facts)

    def _named(self, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """Those of the specs that a person named: neither the catalogue nor the version's default plan."""
        usual = default(self.plan.opencode)
        providers = usual.providers if usual.providers != CATALOGUE else []
        own = {("provider", spec) for spec in providers} | {("config", spec) for spec in usual.config}
        if self.plan.providers == CATALOGUE:
            own |= {(want.kind, want.spec) for want in wanted if want.kind == "provider"}
            own -= {("provider", spec) for spec in (*self.plan.extra_providers, *self.plan.resolve)}
        if self.plan.built_in_plugins:
            own |= {(want.kind, want.spec) for want in wanted if want.kind == "plugin"}
            own -= {("plugin", spec) for spec in self.plan.plugins}
        return [want for want in wanted if (want.kind, want.spec) not in own]

    def _choose(
        self, wanted: Sequence[_Wanted], compiled_in: Collection[str]
    ) -> tuple[list[Request], list[Unavailable]]:
        self.on_step(f"choosing versions for {len(wanted)} specs")

        def choose(want: _Wanted) -> Request | Unavailable:
            name = want.name
            if refused := missing_names.refused(want.kind, want.spec, self.plan.opencode):
                return refused
            source = repository.source(want.spec) if want.kind == "plugin" else None
            try:
                if source:
                    package, archive = github.take(git.pinned(source), self.archives)
                    self.trees.taken[want.spec] = package, archive
                    name, version, note = package.name, package.version, None
                else:
                    version, note = self.versions.choose(want.kind, want.spec)
                if want.kind == "plugin":
                    note = plugins.other_name(want.spec) or note
                elif want.kind == "tool":
                    note = tools.note(name) or note
                elif want.kind == "provider" and want.spec in compiled_in:
                    note = plugins.TAKE_IT_OUT
            except NotInRegistryError:
                return missing_names.unknown(want.kind, want.spec, catalogue.packages(self.models).keys())
            except (UnavailableError, BadInputError) as error:
                if isinstance(error, BadInputError) and not source:
                    raise
                return Unavailable(spec=want.spec, kind=want.kind, reason=str(error))
            placed = self.layout.place(self.plan.opencode, want.kind, want.spec, version)
            return Request(
                spec=want.spec,
                kind=want.kind,
                name=name,
                requested=placed.requested,
                version=version,
                tree=placed.tree,
                note=note,
            )

        with ThreadPoolExecutor(_WORKERS) as pool:
            chosen = list(pool.map(choose, wanted))
        return (
            [c for c in chosen if isinstance(c, Request)],
            [c for c in chosen if isinstance(c, Unavailable)],
        )

    def _languages(self) -> tuple[dict[str, Grammar], list[Unavailable]]:
        if not self.plan.languages and not self.plan.grammars:
            return {}, []
        known, embedded = highlighting.remote(self.binary), highlighting.embedded(self.binary)
        pins, without = grammars.choose(self.plan.languages, self.plan.grammars, known, embedded)
        why = "no package is pinned for it; pin one as `grammars.{}` in the plan"
        return pins, [Unavailable(spec=n, kind="language", reason=why.format(n)) for n in without]

    def _grammars(self, pins: dict[str, Grammar]) -> dict[str, Package]:
        specs = grammar.packages(pins.values())

        def package_of(spec: str) -> Package:
            try:
                return package_from(next(iter(npm.view(spec)), {}), split_spec(spec)[0])
            except UnavailableError as error:
                raise NetworkError(f"grammars: {spec}: {error}; pin another package") from error

        with ThreadPoolExecutor(_WORKERS) as pool:
            return dict(zip(specs, pool.map(package_of, specs), strict=True))


def _with_api(request: Request, tree: Mapping[str, str]) -> Request:
    """The request, with a note where it is a plugin that OpenCode 2 does not load."""
    if request.kind != "plugin" or not plugins.of_first_api(tree.values()):
        return request
    return request.model_copy(update={"note": "; ".join(filter(None, [request.note, plugins.FIRST_API]))})


def _unnamed(config: Sequence[str], needed: Iterable[str]) -> list[str]:
    """The plan's own config packages, and of those that local plugins need the ones it does not name."""
    named = {split_spec(spec)[0] for spec in config}
    return [*config, *(spec for spec in dict.fromkeys(needed) if split_spec(spec)[0] not in named)]
