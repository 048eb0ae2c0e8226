"""Takes away what was put in a prefix, or what the wrapper and `install` put in a person's directories.

Only what is ours goes: links whose text says so, copies that are still what we put there, a package-lock.json
that we wrote. What was in the way, and is called `<name>.before-nix-<n>` since, gets its name again. What
OpenCode or the user put beside stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import roots, store
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.base.files import remove
from opencode_cache.base.model import safe_relative
from opencode_cache.layouts.packages import CONFIG
from opencode_cache.ship import installer
from opencode_cache.wrapper import directories

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OWN = re.compile(r"busy|bun|packages|.+\.sums|(?:bun|packages)\.links\..+")
_KEPT = re.compile(r"(.+)\.before-nix-[1-9][0-9]*")
_HIDDEN = ("node_modules", ".nix")
_LINK = re.compile(r"[./]*\.nix/(?:bun|packages)/(.+)", re.DOTALL)
"""What the text of a link in OpenCode's cache directory is: see `oc_is_ours` in `wrapper.sh`."""
_MODULE = re.compile(rf".*/opencode/\.nix/packages/{CONFIG}/node_modules/(.+)", re.DOTALL)
"""The same in a config directory's `node_modules`: `oc_link_modules`."""


@dataclass(frozen=True)
class Removal:
    """What there is to do, in this order, and which directories go where nothing is left in them."""

    gone: tuple[Path, ...]
    restored: tuple[tuple[Path, Path], ...]
    """What was the user's, and the name that it gets back."""
    emptied: tuple[Path, ...]
    """Directories, the deepest first."""

    def lines(self) -> Iterator[str]:
        yield from (f"remove {path}" for path in self.gone)
        yield from (f"restore {path} as {name}" for path, name in self.restored)

    def do(self) -> None:
        """Raises BadInputError where something cannot be removed; what comes after it is then still there."""
        try:
            for path in self.gone:
                if path.is_dir() and not path.is_symlink():
                    remove(path)
                else:
                    path.unlink(missing_ok=True)
            for directory in self.emptied:
                with contextlib.suppress(OSError):  # something is left there, or it is gone
                    directory.rmdir()
            for path, name in self.restored:
                if not os.path.lexists(name):
                    path.rename(name)
        except OSError as error:
            raise BadInputError(
                f"{error.filename}: cannot be removed ({error.strerror}); ask whom it belongs to"
            ) from error


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


def of_user(environ: Mapping[str, str]) -> Removal:
    """What of ours is in the directories of the user whose environment it is. Changes nothing.

    Raises BadInputError where another user's would be meant, and CheckFailedError while a start is at work.
    """
    try:
        return _of_user(environ)
    except OSError as error:
        raise BadInputError(
            f"{error.filename}: cannot be looked at ({error.strerror}); ask whom it belongs to"
        ) from error


def _of_user(environ: Mapping[str, str]) -> Removal:
    directory = directories.cache(environ)
    if directory.exists() and directory.stat().st_uid not in (os.geteuid(), 0):
        raise BadInputError(f"{directory}: belongs to another user; set HOME or XDG_CACHE_HOME to your own")
    ours = list(dict.fromkeys(path for path in _walk(directory) if _is_ours(path, directory)))
    restored = _restored(directory)
    names = [*ours, *(name for _, name in restored)]
    parents = {above for path in names for above in path.parents if above.is_relative_to(directory)}
    own = directory / ".nix"
    gone = [*_links_to_the_store(), *ours, *_copies(directory), *_own(own)]
    config_gone, config_emptied = _config(directories.config(environ))
    return Removal(
        gone=(*config_gone, *gone),
        restored=tuple(restored),
        emptied=(
            *config_emptied,
            own,
            *sorted(parents - {directory}, key=lambda path: len(path.parts), reverse=True),
            directory,
            *([directory.parent] if directory.parent.name == ".cache-nix" else []),
        ),
    )


def _links_to_the_store() -> list[Path]:
    return roots.links(store.default())


def _walk(directory: Path) -> Iterator[Path]:
    """Links and files that were kept, below OpenCode's cache directory; not in packages and not in `.nix`."""
    for above, names, files in os.walk(directory):
        hidden = [name for name in names if name in _HIDDEN and not Path(above, name).is_symlink()]
        names[:] = [name for name in names if name not in hidden]
        yield from (Path(above, name) for name in sorted((*names, *files)))
    for record in sorted((directory / ".nix").glob("*.links.*")):
        with contextlib.suppress(OSError, ValueError):
            for line in record.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
                yield directory / safe_relative(line)


def _is_ours(path: Path, directory: Path) -> bool:
    match = path.is_symlink() and _LINK.fullmatch(os.readlink(path))  # noqa: PTH115 - its text as it is
    return bool(match and match[1] == path.relative_to(directory).as_posix())


def _restored(directory: Path) -> list[tuple[Path, Path]]:
    """What was in the way. Of several things of one name none gets it: the user has to choose."""
    kept: dict[Path, list[Path]] = {}
    for path in _walk(directory):
        if match := _KEPT.fullmatch(path.name):
            kept.setdefault(path.with_name(match[1]), []).append(path)
    return [
        (paths[0], name)
        for name, paths in kept.items()
        if len(paths) == 1 and (not os.path.lexists(name) or _is_ours(name, directory) or name.is_dir())
    ]


def _copies(directory: Path) -> Iterator[Path]:
    """Copies that are what we put there, by the `cksum` that the wrapper noted.

    Not `version`: without it, OpenCode 1.0 to 1.3 empties the directory, the user's packages included.
    """
    for sums in sorted((directory / ".nix").glob("*.sums")):
        copy = directory / sums.stem
        if copy.is_file() and not copy.is_symlink():
            known = sums.read_text(encoding="utf-8", errors="replace").splitlines()
            with copy.open("rb") as file:
                said = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True)
            if said.stdout.strip() in known:
                yield copy


def _own(own: Path) -> Iterator[Path]:
    """What is in `.nix`."""
    for path in sorted(own.glob("*")):
        if path.name.startswith("stage."):
            pid = path.name.removeprefix("stage.")
            if pid.isdecimal() and _alive(int(pid)):
                raise CheckFailedError(f"{path}: OpenCode is starting (process {pid}); try again in a moment")
            yield path
        elif _OWN.fullmatch(path.name):
            yield path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _config(directory: Path | None) -> tuple[list[Path], list[Path]]:
    """Of the config directory: what goes, and the directories that go where nothing is left in them."""
    if directory is None:
        return [], []
    modules = directory / "node_modules"
    gone: list[Path] = []
    if modules.is_dir() and not modules.is_symlink():
        scopes = [path for path in modules.glob("@*") if path.is_dir() and not path.is_symlink()]
        links = [path for scope in (modules, *scopes) for path in scope.iterdir() if path.is_symlink()]
        for link in links:
            match = _MODULE.fullmatch(os.readlink(link))  # noqa: PTH115 - its text as it is
            if match and match[1] == link.relative_to(modules).as_posix():
                gone.append(link)
    else:
        scopes = []
    package_lock = directory / "package-lock.json"
    if _is_our_lock(package_lock):
        gone.append(package_lock)
    for left in sorted(directory.glob(".opencode-cache.*")):
        pid = left.name.rpartition(".")[2]
        if left.is_dir() and pid.isdecimal() and not _alive(int(pid)):
            gone.append(left)
    return gone, [*scopes, modules] if gone else []


def _is_our_lock(path: Path) -> bool:
    """npm's own name for the root is that of the directory, and it lists packages: see `layouts.packages`."""
    if path.is_symlink():
        return False
    try:
        document = json.loads(path.read_bytes())
        return document["name"] == f"opencode-{CONFIG}" and set(document["packages"]) == {""}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
