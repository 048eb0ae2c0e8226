"""The proofs that the shipped locks come with: `nix/locks/NAME.SYSTEM.proof.json`, one for each system.

Builds are reproducible, so whoever has the same lock and system has the same digests, and needs to prove
nothing before the first start. One that matches nothing any more costs nobody anything but that.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache import pipeline
from opencode_cache.base import console, files, store
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.formats import lock, manifest, shipped
from opencode_cache.formats import proof as proofs
from opencode_cache.npm import platforms
from opencode_cache.prove import on_file
from opencode_cache.prove.verify import verify
from opencode_cache.update.checkout import NPM_LOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opencode_cache.formats.proof import Proof
    from opencode_cache.pipeline import Built

_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
"""What a proof that is shipped has on PATH, beside what the wrapper brings: no maintainer's own programs."""


def renew(root: Path) -> list[str]:
    """Prove every shipped lock that has no proof of this machine's system, or one of something else.

    Returns the files that were written or removed. Raises CheckFailedError for what does not hold.
    """
    system = platforms.current().name
    changed = []
    for path in sorted((root / NPM_LOCKS).glob(f"*{shipped.LOCK}")):
        if system not in lock.read(path).opencode.binaries:
            console.step(f"{path.name}: has no OpenCode for {system}, which is what can be proved here")
            continue
        built, _ = pipeline.built(path)
        proof_file = shipped.proof_path(path, system)
        if _speaks_for(proof_file, built):
            continue
        console.step(f"proving {path.name} for {system}")
        files.write_atomically(proof_file, on_file.dumps(prove(built)))
        changed.append(str(proof_file.relative_to(root)))
    return changed + _without_a_lock(root)


def prove(built: Built) -> Proof:
    """Prove a cache with a plain PATH. Raises CheckFailedError unless it holds, seen in full."""
    with _plain_path():
        proof = verify(built.cache, built.opencode, on_step=console.step)
    if not proof.ok:
        raise CheckFailedError(f"{built.cache}: {proofs.verdict(proof)}")
    if not proof.isolated or proof.unseen:
        why = proof.weaker_because or proof.unseen[0]
        raise CheckFailedError(
            f"{built.cache}: only a weaker proof can be had here, and is not shipped: {why}"
        )
    return proof


def settle(root: Path, before: Mapping[str, str], proof: Proof | None) -> list[str]:
    """After an update: proofs follow their lock, those of changed locks go, the new one is put in place.

    `before` are the texts of the locks as they were, by path relative to `root`. Returns the files that were
    written or removed.
    """
    directory = root / NPM_LOCKS
    old = {path: path.read_text(encoding="utf-8") for path in sorted(directory.glob(f"*{shipped.PROOF}"))}
    was = {text: Path(name).name.removesuffix(shipped.LOCK) for name, text in before.items()}
    new: dict[Path, str] = {}
    for path in sorted(directory.glob(f"*{shipped.LOCK}")):
        text = path.read_text(encoding="utf-8")
        stem, name = was.get(text), path.name.removesuffix(shipped.LOCK)
        for one in old if stem else ():
            if one.name.startswith(f"{stem}.") and "." not in _system(one, f"{stem}."):
                new[directory / f"{name}.{_system(one, f'{stem}.')}{shipped.PROOF}"] = old[one]
        if proof and lock.read(path).opencode.version == proof.opencode:
            proof_file = shipped.proof_path(path, platforms.current().name)
            kept = proofs.Proof.model_validate_json(new[proof_file]) if proof_file in new else None
            if kept is None or not on_file.of(kept).is_of(proof):
                new[proof_file] = on_file.dumps(proof)
    for path in old.keys() - new.keys():
        path.unlink()
    for path, text in new.items():
        if old.get(path) != text:
            files.write_atomically(path, text)
    return sorted(
        str(path.relative_to(root)) for path in old.keys() | new.keys() if old.get(path) != new.get(path)
    )


def _system(path: Path, prefix: str) -> str:
    return path.name.removeprefix(prefix).removesuffix(shipped.PROOF)


def _speaks_for(proof_file: Path, built: Built) -> bool:
    if not proof_file.exists():
        return False
    wanted = on_file.identity(built.cache, manifest.read(built.cache), built.opencode)
    try:
        return wanted.is_of(proofs.read(proof_file))
    except BadInputError:  # of another version of this program
        return False


def _without_a_lock(root: Path) -> list[str]:
    directory = root / NPM_LOCKS
    systems = [f".{name}{shipped.PROOF}" for name in platforms.SYSTEMS]
    removed = []
    for path in sorted(directory.glob(f"*{shipped.PROOF}")):
        stems = [path.name.removesuffix(end) for end in systems if path.name.endswith(end)]
        if not any((directory / f"{stem}{shipped.LOCK}").exists() for stem in stems):
            path.unlink()
            removed.append(str(path.relative_to(root)))
    return removed


@contextmanager
def _plain_path() -> Iterator[None]:
    given = os.environ.get("PATH", "")
    own = [name for name in given.split(os.pathsep) if Path(name).is_relative_to(store.data_home())]
    os.environ["PATH"] = os.pathsep.join([*_PATH, *own, *_ripgrep(given)])
    try:
        yield
    finally:
        os.environ["PATH"] = given


def _ripgrep(path: str) -> list[str]:
    """A directory with nothing but `rg`, which every user has and this plain PATH may lack."""
    if shutil.which("rg", path=os.pathsep.join(_PATH)):
        return []
    beside = Path(sys.executable).with_name("rg")
    program = shutil.which("rg", path=path) or (str(beside) if beside.is_file() else None)
    if program is None:
        raise BadInputError("a proof that is shipped is made with ripgrep on PATH; install ripgrep")
    link = store.data_home() / "path" / "rg"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(Path(program).resolve())
    return [str(link.parent)]
