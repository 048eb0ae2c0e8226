"""The whole of `update`: look, pin, resolve, prove, and only then write.

Networked up to the last step; the repository's files are read once at the start and written once at the end.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache import pipeline
from opencode_cache.base import console, files, model
from opencode_cache.base.errors import BadInputError, CheckFailedError, NetworkError
from opencode_cache.formats import lock
from opencode_cache.formats import plan as plans
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.update import (
    archives,
    changes,
    checkout,
    choose,
    flakes,
    locks,
    prefetch,
    proofs,
    transaction,
)
from opencode_cache.update.changes import Changes, Left, Row
from opencode_cache.update.door import UnreachableError
from opencode_cache.update.github import GitHub, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        found = checkout.read(root)
        wanted = _wanted(found, only)
        github = GitHub()
        chosen = (
            choose.named(version, github) if version is not None else choose.newest(found, wanted, github)
        )
        console.step(f"going to OpenCode {chosen.version}")
        moving = [
            system for system in wanted if _moves(found, system, chosen.version, asked=version is not None)
        ]
        pins = _pin_all(found, moving, chosen, github)
        inputs, left = _pin_inputs(found, github, chosen, check=check)
        made = _lock(found, chosen, pins)
        texts, told = _compose(found, chosen, pins, inputs, made)
        told = told.model_copy(update={"left": (*_left_systems(found, wanted, moving, chosen), *left)})
        if told.files and not check:
            proof = _prove(made)
            console.step(f"writing {len(texts)} files")
            transaction.replace(root, texts)
            _name_new_files(texts)
            before = {name: found.texts[name] for name in found.npm_locks}
            proved = proofs.settle(root, before, proof)
            told = told.model_copy(update={"files": tuple(sorted({*told.files, *proved}))})
    return told


def _name_new_files(texts: dict[str, transaction.Change]) -> None:
    for name, change in texts.items():
        if change.old is None:
            console.step(f"{name} is new: Nix sees it after `git add {name}`")


def _finish_earlier(root: Path, *, check: bool) -> None:
    if check and transaction.waiting(root):
        raise CheckFailedError(
            f"{root}: an update was interrupted while it put its files in place; "
            "run `update` without --check to finish it"
        )
    if not check:
        done = transaction.complete(root)
        if done:
            console.step(f"finished an update that was interrupted: {', '.join(done)}")


def _wanted(found: Checkout, only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in found.releases:
            raise BadInputError(
                f"--system {name}: is not in {checkout.RELEASES}; there are {', '.join(found.releases)}"
            )
    return [name for name in found.releases if not only or name in only]


def _moves(found: Checkout, system: str, version: str, *, asked: bool) -> bool:
    """Only a version that was named may be older than what is there."""
    now = found.releases[system].version
    return now != version and (asked or numbers(version) > numbers(now))


def _pin_all(found: Checkout, moving: Sequence[str], chosen: Chosen, github: GitHub) -> dict[str, Pinned]:
    """System -> hash of its release. Raises NetworkError that names every one that cannot be had."""
    pins: dict[str, Pinned] = {}
    missing: dict[str, str] = {}
    for system in moving:
        archive = flakes.archive_of(found, system)
        console.step(f"hashing the release for {system}")
        try:
            pins[system] = archives.pin(chosen.version, archive, github, chosen.release)
        except archives.CannotPinError as error:
            missing[f"{found.releases[system].input} ({system})"] = str(error)
    if missing:
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        mend = f", or move what can be moved with --system {' --system '.join(pins)}" if pins else ""
        raise NetworkError(
            f"OpenCode {chosen.version} cannot be pinned: {reasons}; nothing was changed; "
            f"try again later{mend}"
        )
    return pins


def _pin_inputs(
    found: Checkout, github: GitHub, chosen: Chosen, *, check: bool
) -> tuple[dict[str, tuple[Revision, str]], list[Left]]:
    """Node of flake.lock -> its newer revision and hash; and what is left as it was."""
    pins: dict[str, tuple[Revision, str]] = {}
    left: list[Left] = []
    for name, (source, pinned) in found.github_inputs().items():
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
            found_hash = "" if check else prefetch.nar_hash(source.owner, source.repo, newest.rev)
            pins[name] = newest, found_hash
    return pins, left


def _lock(found: Checkout, chosen: Chosen, pins: dict[str, Pinned]) -> lock.Lock:
    """The lock of the version that systems go to; where none does and there is no such lock, the main one."""
    have = {entry.opencode.version for entry in found.npm_locks.values()}
    version = chosen.version
    if not pins and version not in have:
        version = found.npm_locks[checkout.MAIN_LOCK].opencode.version
    here = platforms.current()
    with _npms_words():
        try:
            return pipeline.make_lock(plans.default(version), None)
        except ValidationError as error:
            raise NetworkError(
                f"the npm registry's answers make no lock ({model.first_problem(error)}); nothing was changed"
            ) from error
        except BadInputError as error:
            raise NetworkError(
                f"OpenCode {version} cannot be locked on {here.name}: {error}; nothing was changed"
            ) from error


@contextmanager
def _npms_words() -> Iterator[None]:
    try:
        yield
    except npm.NotInRegistryError as error:
        raise NetworkError(f"{error}; nothing was changed") from error


def _compose(
    found: Checkout,
    chosen: Chosen,
    pins: dict[str, Pinned],
    inputs: dict[str, tuple[Revision, str]],
    made: lock.Lock,
) -> tuple[dict[str, transaction.Change], Changes]:
    """Every file that changes, and what to say of it."""
    nar_hashes = {system: pin.nar_hash for system, pin in pins.items()}
    texts: dict[str, str | None] = dict(flakes.with_releases(found, chosen.version, nar_hashes, inputs))
    released = {chosen.version if s in pins else release.version for s, release in found.releases.items()}
    texts |= locks.with_lock(found, made, released)
    texts = {name: text for name, text in texts.items() if text != found.texts.get(name)}
    before = min((found.releases[s].version for s in pins), key=numbers, default=made.opencode.version)
    told = Changes(
        opencode=chosen.version,
        rows=(*_rows(found, chosen, pins, inputs), *_package_rows(found, before, made)),
        left=(),
        files=(),
    )
    if texts:
        texts[checkout.CHANGELOG] = changes.with_entry(found.texts[checkout.CHANGELOG], told)
    done = {
        name: transaction.Change(
            old=found.texts[name].encode() if name in found.texts else None,
            new=text.encode() if text is not None else None,
        )
        for name, text in texts.items()
    }
    return done, told.model_copy(update={"files": tuple(sorted(done))})


def _rows(
    found: Checkout, chosen: Chosen, pins: dict[str, Pinned], inputs: dict[str, tuple[Revision, str]]
) -> list[Row]:
    rows = [
        Row(
            kind="release",
            name=system,
            old=found.releases[system].version,
            new=chosen.version,
            note=f"hash from {' and '.join(pin.sources)}",
        )
        for system, pin in pins.items()
    ]
    pinned = found.github_inputs()
    rows += [
        Row(kind="input", name=name, old=pinned[name][1].rev[:_SHORT], new=new.rev[:_SHORT], note=new.day)
        for name, (new, _) in inputs.items()
    ]
    return rows


def _package_rows(found: Checkout, before: str, made: lock.Lock) -> list[Row]:
    return changes.packages(locks.before(found, before), made, platforms.current())


def _left_systems(
    found: Checkout, wanted: Sequence[str], moving: Sequence[str], chosen: Chosen
) -> list[Left]:
    left = []
    for system, release in found.releases.items():
        if system in moving or release.version == chosen.version:
            continue
        why = "newer already" if system in wanted else "not asked for"
        left.append(Left(name=f"{system} {release.version}", why=why))
    return left


def _prove(made: lock.Lock) -> Proof | None:
    """Build, wrap and verify for this machine. Raises what they raise."""
    with tempfile.TemporaryDirectory(prefix="opencode-cache-update-") as directory:
        path = Path(directory) / "candidate.lock.json"
        files.write_atomically(path, lock.dumps(made))
        console.step(f"proving the lock for OpenCode {made.opencode.version}")
        return proofs.prove(pipeline.built(path)[0])
