"""Leaving: what the wrapper put into a person's directories goes, and what is the person's own stays.

The wrapper (`wrapper/wrapper.sh`, "Cold path") says what it leaves where; nothing is recognised by its place
alone. A prefix is the installer's; the store is for `gc`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opencode_cache.base import roots, store
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.ship import installer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OWN = ".nix"
_LOCK_NAME = "opencode-config"
_MOST_LOCK = 1_000_000
"""Bytes of a package-lock.json that is looked into. Ours has some hundred."""

Verb = Literal["remove", "keep", "move"]


@dataclass(frozen=True)
class Step:
    """One thing that is done. `why` is for what stays, `to` for what gets its old name back."""

    verb: Verb
    path: Path
    why: str = ""
    to: Path | None = None


@dataclass(frozen=True)
class Places:
    """OpenCode's cache directory and configuration directory, as the wrapper finds them."""

    cache: Path
    config: Path | None


def places(environment: Mapping[str, str]) -> Places:
    """Where the wrapper puts things. Raises BadInputError without an absolute HOME or XDG_CACHE_HOME."""
    home = environment.get("HOME", "")
    cache = environment.get("XDG_CACHE_HOME", "")
    root = Path(cache) if cache.startswith("/") else Path(home, ".cache-nix")
    if not root.is_absolute():
        raise BadInputError(
            "HOME is not set to an absolute path; set HOME, or XDG_CACHE_HOME to the directory for the cache"
        )
    given = environment.get("XDG_CONFIG_HOME", "")
    config = Path(given) if given.startswith("/") else Path(home, ".config")
    return Places(root / "opencode", config / "opencode" if config.is_absolute() else None)


def remove(directories: Places, *, dry_run: bool = False) -> list[Step]:
    """Take away what is ours, and say what was done; with `dry_run`, what would be. Raises BadInputError."""
    try:
        steps = [*_in_config(directories), *_in_cache(directories.cache)]
        _refuse_while_starting(directories.cache / _OWN)
        if steps and not dry_run:
            for step in steps:
                _do(step)
            for directory in [
                *(path for top in ("packages", "npm") for path in _scopes(directories.cache / top)),
                *(step.path.parent for step in steps),
            ]:
                _remove_empty(directory, directories)
    except OSError as error:
        raise BadInputError(
            f"{error.filename}: cannot be removed ({error.strerror}); see who may write there"
        ) from error
    return steps


def links_left() -> list[Path]:
    """Links into the local store that `install` and `run --link` left."""
    return roots.links(store.default())


def of_prefix(prefix: Path, *, dry_run: bool = False) -> list[Path]:
    """Remove an installation, by the installer; what goes. Raises CheckFailedError where there is none."""
    prefix = prefix.absolute()
    base = prefix / "lib" / "opencode-cache"
    if not os.path.lexists(base / "current"):
        raise CheckFailedError(f"{prefix}: nothing is installed there; give the PREFIX of an installation")
    installer.check_rights(prefix)
    gone = [path for path in (prefix / "bin" / "opencode", base) if os.path.lexists(path)]
    if not dry_run:
        installer.run(["--remove"], prefix)
    return gone


def _refuse_while_starting(own: Path) -> None:
    for stage in own.glob("stage.*"):
        pid = stage.name.removeprefix("stage.")
        if pid.isdecimal() and _alive(int(pid)):
            raise CheckFailedError(f"{stage}: OpenCode is starting (process {pid}); try again in a moment")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _do(step: Step) -> None:
    if step.verb == "move" and step.to is not None:
        step.path.rename(step.to)
    elif step.verb == "remove" and step.path.is_dir() and not step.path.is_symlink():
        shutil.rmtree(step.path)
    elif step.verb == "remove":
        step.path.unlink()


def _links(below: Path) -> Iterator[Path]:
    """Every link below a directory, none of them followed."""
    for directory, names, files in os.walk(below):
        for name in sorted([*names, *files]):
            path = Path(directory, name)
            if path.is_symlink():
                yield path


def _in_cache(cache: Path) -> Iterator[Step]:
    own = cache / _OWN
    if own.is_symlink() or not own.is_dir():
        return
    removed = []
    for link in _links(cache):
        below = link.relative_to(cache)
        if below.parts[0] == _OWN:
            continue
        # The text tells that it is ours, even when it leads nowhere: some `../`, then the entry's own path.
        if re.fullmatch(rf"[./]*\.nix/[^/]+/{re.escape(str(below))}", str(link.readlink())):
            removed.append(link)
            yield Step("remove", link)
    for sums in sorted(own.glob("*.sums")):
        copy = cache / sums.name.removesuffix(".sums")
        if not copy.is_file():
            continue
        if _sum(copy) in sums.read_text(encoding="utf-8").splitlines():
            removed.append(copy)
            yield Step("remove", copy)
        else:
            yield Step("keep", copy, why="it is not what was put there")
    yield Step("remove", own)
    yield from _back(cache, removed)


def _back(cache: Path, removed: list[Path]) -> Iterator[Step]:
    """What was in the way of ours gets its name back, where that is free again."""
    for aside in sorted(cache.rglob("*.before-nix-1")):
        name = aside.with_name(aside.name.removesuffix(".before-nix-1"))
        later = aside.with_name(f"{name.name}.before-nix-2")
        if (name in removed or not os.path.lexists(name)) and not os.path.lexists(later):
            yield Step("move", aside, to=name)
        else:
            yield Step("keep", aside, why=f"{name} is there")


def _in_config(directories: Places) -> Iterator[Step]:
    config = directories.config
    if config is None or not config.is_dir():
        return
    modules = config / "node_modules"
    ours = []
    if modules.is_dir() and not modules.is_symlink():
        for link in _links(modules):
            below = re.escape(str(link.relative_to(modules)))
            if re.fullmatch(rf"/.*/opencode/\.nix/[^/]+/[^/]+/node_modules/{below}", str(link.readlink())):
                ours.append(link)
    yield from (Step("remove", link) for link in ours)
    lock = config / "package-lock.json"
    if lock.is_file() and _is_our_lock(lock, directories.cache / _OWN):
        yield Step("remove", lock)


def _is_our_lock(lock: Path, own: Path) -> bool:
    """Whether it is the one that the cache has, or one that names nothing that is installed, as ours."""
    if lock.stat().st_size > _MOST_LOCK:
        return False
    content = lock.read_bytes()
    if any(
        theirs.read_bytes() == content for theirs in own.glob("*/*/package-lock.json") if theirs.is_file()
    ):
        return True
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    named = document.get("name") if isinstance(document, dict) else None
    packages = document.get("packages") if isinstance(document, dict) else None
    return named == _LOCK_NAME and isinstance(packages, dict) and list(packages) == [""]


def _sum(path: Path) -> str:
    """As POSIX's cksum has it, which is what the wrapper wrote down."""
    with path.open("rb") as file:
        done = subprocess.run(["cksum"], stdin=file, cwd="/", capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _scopes(packages: Path) -> list[Path]:
    """Directories that hold links to packages, deepest first: older generations leave some empty."""
    listed = []
    for directory, names, _ in os.walk(packages):
        names[:] = [name for name in names if name != "node_modules"]
        listed.append(Path(directory))
    return listed[::-1]


def _remove_empty(directory: Path, directories: Places) -> None:
    """A directory that held nothing but ours goes, and those above it: scopes, packages/, node_modules."""
    tops = (
        {directories.cache, directories.cache.parent}
        if directories.cache.parent.name == ".cache-nix"
        else {directories.cache}
    )
    if directories.config is not None:
        tops.add(directories.config / "node_modules")
    while any(directory == top or top in directory.parents for top in tops):
        try:
            directory.rmdir()
        except OSError:  # something is in it, or it is gone already
            return
        directory = directory.parent
