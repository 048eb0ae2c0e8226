"""lock → fetch → build → wrap → verify in a row, into the local store: what `run` does at first."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache import layouts
from opencode_cache.base import console, files, store
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.build import builder, release_binary
from opencode_cache.fetch import github as github_archives
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import ages, contents, lock, manifest, shipped
from opencode_cache.formats import proof as proofs
from opencode_cache.layouts import accepts
from opencode_cache.npm import client as npm
from opencode_cache.npm import nodejs, platforms
from opencode_cache.prove import on_file, warm_up, who_asks
from opencode_cache.prove.verify import verify
from opencode_cache.resolve import floor, programs, resolver
from opencode_cache.resolve import missing as missing_names
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from opencode_cache.formats.lock import Lock
    from opencode_cache.formats.plan import Plan
    from opencode_cache.formats.proof import Proof

NO_RIPGREP = (
    "ripgrep (rg) is not on PATH, and OpenCode then downloads it from GitHub to search; "
    "install it: `apt install ripgrep`, `brew install ripgrep`, or github.com/BurntSushi/ripgrep/releases"
)
"""Asked for, not brought along: no package of it on PyPI or npm is published by ripgrep's own author."""


@dataclass(frozen=True)
class Built:
    """What stands in the store for one lock."""

    opencode: Path
    cache: Path
    program: Path
    """The wrapper."""


def fetch(cache_lock: Lock, system: platforms.System, to: Path, *, with_binary: bool = True) -> None:
    """Download what a build for that system reads, and the OpenCode binary."""
    wanted = list(contents.packages(cache_lock, system).values())
    if with_binary and (cache_lock.opencode.binaries or not cache_lock.opencode.missing):
        wanted.append(contents.binary_package(cache_lock, system))
    total = sum(package.size or 0 for package in wanted if not (to / package.tarball).exists())
    if any(not (to / package.tarball).exists() for package in wanted):
        floor.check_again(cache_lock, wanted, console.step)
        console.step(f"fetching {len(wanted)} tarballs")
    with console.downloading(len(wanted), total) as on_bytes:
        tarball.fetch([package for package in wanted if not package.github], to, on_bytes=on_bytes)
    github_archives.fetch([package for package in wanted if package.github], to)


def make_lock(
    plan: Plan, before: date | None, *, allow_missing: bool = False, program: Path | None = None
) -> Lock:
    """The lock step, with the binary that it asks fetched into the store first, unless `program` is one."""
    if program:
        accepts.accepted(program, plan.opencode)
    store.sweep()
    plan.check_files()
    tarballs, cache_store = store.downloads(), store.default()
    here = platforms.current()
    names = plan.systems or list(platforms.SYSTEMS)
    console.step(f"looking for OpenCode {plan.opencode}")
    binaries, missing = programs.binaries(plan.opencode, dict.fromkeys([here.name, *names]))
    if here.name not in binaries and not program:
        near = missing_names.near_versions(
            layouts.for_version(plan.opencode).binaries(here)[0], plan.opencode
        )
        hint = f"; it has {', '.join(near)}" if near else "; give the program of yours with `lock --opencode`"
        raise npm.NotInRegistryError(
            f"OpenCode {plan.opencode} cannot be asked here: {missing[here.name]}{hint}"
        )
    package = binaries.get(here.name)
    if plan.min_age:
        # At once: with wrong dates nothing would be old enough, and everything "not to be had".
        if package:
            floor.require_age(plan.min_age, [package])
        limit = ages.first_day_too_young(plan.min_age, dt.datetime.now(dt.timezone.utc).date())
        before = min(before or limit, limit)
    if package and not program:
        console.step(f"fetching {package.key}")
        tarball.fetch([package], tarballs)
        program = release_binary.in_store(package, tarballs, cache_store)
    assert program is not None  # noqa: S101 - for mypy; without a package it was refused above
    kept = {name: binaries[name] for name in names if name in binaries}
    locking = resolver.Resolver(
        plan,
        program,
        before=before,
        on_step=console.step,
        archives=tarballs,
        allow_missing=allow_missing,
    )
    return locking.lock(kept, {name: why for name, why in missing.items() if name in names})


def build(
    inputs: builder.Inputs, out: Path, commands: Sequence[str] | None = None, *, trust_proofs: bool = False
) -> None:
    """The build step with its progress and its warm-up.

    `commands` are OpenCode's arguments for the warm-up: None for what the lock says, or else the default;
    an empty list for none. `trust_proofs`: the default is not run on a cache of which there is a proof, since
    that has run it.
    """
    default = inputs.lock.warmup if inputs.lock.warmup is not None else warm_up.DEFAULT
    arguments = default if commands is None else commands

    def prove(cache: Path) -> None:
        known = trust_proofs and tuple(arguments) == warm_up.DEFAULT
        if known and on_file.find(on_file.identity(cache, manifest.read(cache), inputs.opencode)):
            return
        if arguments:
            console.step("warming up: the real OpenCode must ask for nothing")
            warm_up.warm_up(cache, inputs.opencode, arguments)

    count = len(contents.packages(inputs.lock, inputs.system))
    with console.counting("unpacking", count) as on_done:
        builder.build(inputs, out, on_done=on_done, prove=prove)


def ready(path: Path, models: Path | None = None, *, prove: bool = False) -> Built:
    """As `built`, and proved once. `prove`: here, whatever was proved before."""
    done, is_new = built(path, models)
    _prove(done.cache, done.opencode, again=prove, is_new=is_new)
    return done


def built(path: Path, models: Path | None = None) -> tuple[Built, bool]:
    """Everything that stands behind a lock file, made where it is not there yet; whether it was not.

    `models` is the plan's catalogue, where it names one.

    Raises any OpencodeCacheError; the store is then as it was, but for what was finished.
    """
    store.sweep()
    cache_lock = lock.read(path)
    cache_store = store.default()
    cache, opencode = _cache(cache_lock, models, platforms.current())
    extra_path = _extra_path(cache_lock, cache_store)
    key = store.key("wrapper", str(cache), str(opencode), str(extra_path), _this_program())
    wrapped_name = f"opencode-with-cache-{cache_lock.opencode.version}"
    prefix = cache_store.path(key, wrapped_name)
    is_new = not prefix.exists()
    wrapped = cache_store.add(key, wrapped_name, lambda out: _wrap(cache, opencode, out, extra_path, prefix))
    return Built(opencode, cache, wrapped / "bin" / "opencode"), is_new


def ready_for_system(path: Path, models: Path | None, system: platforms.System) -> tuple[Path, Path]:
    """The cache and the program of a lock for any system. What runs here is proved, as by `ready`."""
    if system == platforms.current():
        here = ready(path, models)
        return here.cache, here.opencode
    cache, opencode = _cache(lock.read(path), models, system)
    last_proof = on_file.find(on_file.identity(cache, manifest.read(cache)))
    if last_proof:
        say_who_asks(last_proof.proof)
    return cache, opencode


def _cache(cache_lock: Lock, models: Path | None, system: platforms.System) -> tuple[Path, Path]:
    """The cache of a lock, and its program."""
    cache_store, tarballs, here = store.default(), store.downloads(), platforms.current()
    name = cache_lock.opencode.version
    package = contents.binary_package(cache_lock, system)
    cache_key = store.key("cache", lock.dumps(cache_lock), system.name, _this_program())
    cache = cache_store.path(cache_key, f"opencode-cache-{name}")
    program = cache_store.path(store.key("opencode", package.integrity), f"{package.name}-{name}")
    if not cache_store.whole(cache) or not cache_store.whole(program):
        fetch(cache_lock, system, tarballs)
    opencode = release_binary.in_store(package, tarballs, cache_store)

    def make_cache(out: Path) -> None:
        by = None
        if system != here:
            package = contents.binary_package(cache_lock, here)
            tarball.fetch([package], tarballs)
            by = release_binary.in_store(package, tarballs, cache_store)
        inputs = builder.Inputs(cache_lock, tarballs, opencode, system, models=models, by=by)
        console.step("unpacking")
        build(inputs, out, [] if by else None, trust_proofs=True)

    return cache_store.add(cache_key, f"opencode-cache-{name}", make_cache), opencode


def ready_for(
    plan: Plan,
    before: date | None = None,
    *,
    is_default: bool,
    allow_missing: bool = False,
    prove: bool = False,
) -> Built:
    """The same for a plan, whose lock is made where there is none yet."""
    models = Path(plan.catalogue) if plan.catalogue else None
    path = locked(plan, before, is_default=is_default, allow_missing=allow_missing)
    return ready(path, models, prove=prove)


def _this_program() -> str:
    """A name for this program as it stands: what another state of it made is not what this one would make."""
    here = Path(__file__).parent
    sources = sorted(path for path in here.rglob("*") if path.suffix in {".py", ".sh", ".js", ".css"})
    return store.key(*(part for path in sources for part in (str(path.relative_to(here)), path.read_bytes())))


def _wrap(cache: Path, opencode: Path, out: Path, extra_path: list[str], prefix: Path) -> None:
    wrapper.wrap(cache, opencode, out, extra_path=extra_path, prefix=prefix)


def _extra_path(cache_lock: Lock, cache_store: store.Store) -> list[str]:
    """Directories for the end of the wrapper's PATH, each with one program that OpenCode or a tool needs."""
    if shutil.which("rg") is None:
        console.step(NO_RIPGREP)
    # Without a Node.js, what the wrapper preloads starts npm tools with the Bun inside OpenCode.
    node = contents.needs_node(cache_lock) and nodejs.there()
    directories = [nodejs.directory(cache_store)] if node else []
    # For the proof as well, which starts its own wrapper.
    known = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*known, *(one for one in directories if one not in known)])
    return directories


def _prove(cache: Path, opencode: Path, *, again: bool, is_new: bool) -> None:
    """Prove the cache here, unless that was done here, or elsewhere with the same digests."""
    cache_manifest = manifest.read(cache)
    last_proof = on_file.find(
        on_file.identity(cache, cache_manifest, None if cache_manifest.opencode_sha256 else opencode)
    )
    if last_proof and not again:
        if is_new and not last_proof.here:
            console.step(
                f"proved elsewhere, on {proofs.where_and_when(last_proof.proof)}; "
                "`opencode-cache run --prove` does it here"
            )
        say_who_asks(last_proof.proof)
        return
    console.step("verifying: offline, in a network namespace of its own")
    proof = verify(cache, opencode, on_step=console.step)
    say_who_asks(proof)
    if not proof.complete:
        raise CheckFailedError(
            f"{cache}: {proofs.verdict(proof)}; "
            f"see `opencode-cache verify --cache {cache} --opencode {opencode}`"
        )


def say_who_asks(proof: Proof) -> None:
    """A line for each host that a plugin asks for, which is not what the cache is for."""
    if proof.complete:
        for line in who_asks.lines(proof):
            console.step(line)


def locked(plan: Plan, before: date | None = None, *, is_default: bool, allow_missing: bool = False) -> Path:
    """The lock file for a plan: the one that is shipped, else one that was made for it once."""
    if is_default and before is None:
        path = shipped.lock_for(plan.opencode)
        if path:
            return path
    # What was locked without something is not what is asked for without that option.
    key = store.key("plan", plan.stamp(), str(before), *(["allow-missing"] if allow_missing else []))
    path = store.data_home() / "locks" / f"{plan.opencode}-{key}.lock.json"
    try:
        lock.read(path)
    except BadInputError:
        if path.exists():
            console.step(f"{path} is damaged, so it is made again")
        files.write_atomically(path, lock.dumps(make_lock(plan, before, allow_missing=allow_missing)))
    return path
