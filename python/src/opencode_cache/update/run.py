"""The whole of `update`: look, pin, resolve, prove, and only then write.

Networked up to the last step; the repository's files are read once at the start and written once at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache import pipeline
from opencode_cache.base import console, files, transaction
from opencode_cache.base.errors import BadInputError, CheckFailedError, NetworkError
from opencode_cache.base.http import UnreachableError
from opencode_cache.formats import lock
from opencode_cache.formats import plan as plans
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.opencode.versions import numbers
from opencode_cache.update import archives, changes, checkout, choose, pins, prefetch, proofs
from opencode_cache.update.changes import Changes, Left, Row
from opencode_cache.update.github import GitHub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from opencode_cache.formats.proof import Proof
    from opencode_cache.update.archives import Pinned
    from opencode_cache.update.checkout import Checkout
    from opencode_cache.update.choose import Chosen
    from opencode_cache.update.github import Revision

_SHORT = 7


def update(
    start: Path, *, version: str | None = None, only: Sequence[str] = (), check: bool = False
) -> Changes:
    """Bring the repository around `start` up to date, or with `check` only say what would change.

    `version`: the OpenCode to go to, the newest by default. `only`: systems that move, all by default. Raises
    any OpencodeCacheError; the files are then as they were.
    """
    root = checkout.find(start)
    with transaction.alone(root):
        _finish_earlier(root, check=check)
        now = checkout.read(root)
        wanted = _wanted(now, only)
        github = GitHub()
        chosen = choose.named(version, github) if version is not None else choose.newest(now, wanted, github)
        console.step(f"going to OpenCode {chosen.version}")
        # Only a version that was named may be older than what is there.
        moving = [
            system
            for system in wanted
            if (current := now.releases[system].version) != chosen.version
            and (version is not None or numbers(chosen.version) > numbers(current))
        ]
        pinned = _pin_all(now, moving, chosen, github)
        inputs, left = _pin_inputs(now, github, chosen, check=check)
        new_lock = _lock(now, chosen, pinned)
        texts, told = _compose(now, chosen, pinned, inputs, new_lock)
        told = told.model_copy(update={"left": (*_left_systems(now, wanted, moving, chosen), *left)})
        if told.files and not check:
            proof = _prove(new_lock)
            console.step(f"writing {len(texts)} files")
            transaction.replace(root, texts)
            for name, change in texts.items():
                if change.old is None:
                    console.step(f"{name} is new: Nix sees it after `git add {name}`")
            before = {name: now.texts[name] for name in now.npm_locks}
            proved = proofs.settle(root, before, proof)
            told = told.model_copy(update={"files": tuple(sorted({*told.files, *proved}))})
    return told


def _finish_earlier(root: Path, *, check: bool) -> None:
    if check and transaction.waiting(root):
        raise CheckFailedError(
            f"{root}: an update was interrupted while it put its files in place; "
            "run `update` without --check to finish it"
        )
    if not check and (done := transaction.complete(root)):
        console.step(f"finished an update that was interrupted: {', '.join(done)}")


def _wanted(now: Checkout, only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in now.releases:
            raise BadInputError(
                f"--system {name}: is not in {checkout.RELEASES}; there are {', '.join(now.releases)}"
            )
    return [name for name in now.releases if not only or name in only]


def _pin_all(now: Checkout, moving: Sequence[str], chosen: Chosen, github: GitHub) -> dict[str, Pinned]:
    """System -> hash of its release. Raises NetworkError that names every one that cannot be had."""
    pinned: dict[str, Pinned] = {}
    missing: list[str] = []
    for system in moving:
        console.step(f"hashing the release for {system}")
        try:
            pinned[system] = archives.pin(chosen.version, now.archive(system), github, chosen.release)
        except archives.CannotPinError as error:
            missing.append(f"{now.releases[system].input} ({system}): {error}")
    if missing:
        some = f", or move what can be moved with --system {' --system '.join(pinned)}" if pinned else ""
        raise NetworkError(
            f"OpenCode {chosen.version} cannot be pinned: {'; '.join(missing)}; nothing was changed; "
            f"try again later{some}"
        )
    return pinned


def _pin_inputs(
    now: Checkout, github: GitHub, chosen: Chosen, *, check: bool
) -> tuple[dict[str, tuple[Revision, str]], list[Left]]:
    """Node of flake.lock -> its newer revision and hash; and what is left as it was."""
    inputs: dict[str, tuple[Revision, str]] = {}
    left: list[Left] = []
    for name, (source, pinned) in now.github_inputs().items():
        at = f"{name} {pinned.rev[:_SHORT]}"
        if isinstance(chosen.release, str):
            left.append(Left(name=at, why=chosen.release))
            continue
        console.step(f"looking for the newest {source.owner}/{source.repo}")
        try:
            newest = github.newest(source.owner, source.repo, source.ref)
        except UnreachableError as error:
            left.append(Left(name=at, why=str(error)))
            continue
        if newest.rev == pinned.rev:
            continue
        if newest.last_modified < pinned.last_modified:
            left.append(Left(name=at, why=f"GitHub's newest, {newest.rev[:_SHORT]}, is older"))
        elif why := prefetch.lacking():
            left.append(Left(name=at, why=why, newer=True))
        else:
            console.step(f"pinning {source.owner}/{source.repo} of {newest.day}")
            # A dry run tells the revision, and need not download it for its hash.
            nar_hash = "" if check else prefetch.nar_hash(source.owner, source.repo, newest.rev)
            inputs[name] = newest, nar_hash
    return inputs, left


def _lock(now: Checkout, chosen: Chosen, pinned: Mapping[str, Pinned]) -> lock.Lock:
    """The lock of the version that systems go to; where none does and there is no such lock, the main one."""
    version = chosen.version
    if not pinned and version not in {entry.opencode.version for entry in now.npm_locks.values()}:
        version = now.npm_locks[checkout.MAIN_LOCK].opencode.version
    try:
        return pipeline.make_lock(plans.default(version), None)
    except (npm.NotInRegistryError, BadInputError) as error:
        what = f"OpenCode {version} cannot be locked on {platforms.current().name}"
        raise NetworkError(f"{what}: {error}; nothing was changed") from error


def _compose(
    now: Checkout,
    chosen: Chosen,
    pinned: Mapping[str, Pinned],
    inputs: Mapping[str, tuple[Revision, str]],
    new_lock: lock.Lock,
) -> tuple[dict[str, transaction.Change], Changes]:
    """Every file that changes, and what to say of it."""
    nar_hashes = {system: pin.nar_hash for system, pin in pinned.items()}
    texts: dict[str, str | None] = dict(pins.with_releases(now, chosen.version, nar_hashes, inputs))
    released = {chosen.version if s in pinned else release.version for s, release in now.releases.items()}
    texts |= pins.with_lock(now, new_lock, released)
    texts = {name: text for name, text in texts.items() if text != now.texts.get(name)}
    oldest = min((now.releases[s].version for s in pinned), key=numbers, default=new_lock.opencode.version)
    rows = [
        Row(
            kind="release",
            name=system,
            old=now.releases[system].version,
            new=chosen.version,
            note=f"hash from {' and '.join(pin.sources)}",
        )
        for system, pin in pinned.items()
    ]
    old = now.github_inputs()
    rows += [
        Row(kind="input", name=name, old=old[name][1].rev[:_SHORT], new=new.rev[:_SHORT], note=new.day)
        for name, (new, _) in inputs.items()
    ]
    rows += changes.packages(pins.before(now, oldest), new_lock, platforms.current())
    told = Changes(opencode=chosen.version, rows=tuple(rows), left=(), files=())
    if texts:
        texts[checkout.CHANGELOG] = changes.with_entry(now.texts[checkout.CHANGELOG], told)
    done = {
        name: transaction.Change(
            old=now.texts[name].encode() if name in now.texts else None,
            new=text.encode() if text is not None else None,
        )
        for name, text in texts.items()
    }
    return done, told.model_copy(update={"files": tuple(sorted(done))})


def _left_systems(now: Checkout, wanted: Sequence[str], moving: Sequence[str], chosen: Chosen) -> list[Left]:
    return [
        Left(name=f"{system} {release.version}", why="newer already" if system in wanted else "not asked for")
        for system, release in now.releases.items()
        if system not in moving and release.version != chosen.version
    ]


def _prove(new_lock: lock.Lock) -> Proof | None:
    with files.scratch() as directory:
        path = directory / "candidate.lock.json"
        files.write_atomically(path, lock.dumps(new_lock))
        console.step(f"proving the lock for OpenCode {new_lock.opencode.version}")
        return proofs.prove(pipeline.built(path)[0])
