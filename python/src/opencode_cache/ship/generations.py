"""A prefix with generations of one program: what `unbundle` and a bundle's `install.sh` both write.

    PREFIX/bin/opencode                      -> ../lib/opencode-cache/current/bin/opencode
    PREFIX/lib/opencode-cache/current        -> history/2
    PREFIX/lib/opencode-cache/history/2      -> ../generations/<content hash>
    PREFIX/lib/opencode-cache/generations/<content hash>/
    PREFIX/lib/opencode-cache/.new-[sh-]<pid>/    somebody at work, or killed: the next install removes it

Every link is relative, so that the prefix may be moved, and every change is one rename: at any moment
`current` leads to a whole generation. Undoing goes one back in the history; installing after that forgets
what was undone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.base.files import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = "bin/opencode"
_STAGE, _SH_STAGE = ".new-", ".new-sh-"
_BIN_TARGET = "../lib/opencode-cache/current/bin/opencode"


class Generations:
    """The generations below one prefix. Nothing is written before `locked`."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix.absolute()
        self.base = self.prefix / "lib" / "opencode-cache"
        self.program = self.prefix / PROGRAM
        self._history = self.base / "history"
        self._trees = self.base / "generations"
        self._current = self.base / "current"
        self._lock = self.base / ".lock"

    def check(self) -> None:
        """Raises BadInputError where something of the user's is where the program or the links have to go."""
        if os.path.lexists(self.program) and not self._is_link(self.program, _BIN_TARGET):
            raise BadInputError(f"{self.program}: is not ours; move it away, or choose another --to")
        if os.path.lexists(self._current) and self.number() is None:
            raise BadInputError(f"{self._current}: is not ours; move it away, or choose another --to")

    def number(self) -> int | None:
        """The current place in the history."""
        try:
            found = re.fullmatch(r"history/([0-9]+)", os.readlink(self._current))  # noqa: PTH115 - its text
        except OSError:
            return None
        return int(found[1]) if found else None

    def current(self) -> Path | None:
        """The current generation."""
        number = self.number()
        return None if number is None else self._tree(number)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time. Directories that were made for it and are empty in the end go again.

        Turns the system's errors into BadInputError.
        """
        made = []
        try:
            for path in (self._trees, self._history, self.program.parent):
                for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
                    missing.mkdir(exist_ok=True)
                    made.append(missing)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._tidy()
                yield
            finally:
                os.close(handle)
        except OSError as error:
            what = error.filename or self.prefix
            raise BadInputError(
                f"{self.prefix}: cannot be written ({what}: {error.strerror}); "
                "make room there, or choose another --to"
            ) from error
        finally:
            for path in reversed(made):
                with contextlib.suppress(OSError):
                    if path == self.base and not self._trees.exists():
                        self._lock.unlink()
                    path.rmdir()

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A directory of one's own on the same file system; what is left in it goes in the end."""
        stage = self.base / f"{_STAGE}{os.getpid()}"
        stage.mkdir(mode=0o700)
        try:
            yield stage
        finally:
            try:
                remove(stage)
            except BaseException:
                remove(stage)  # An interrupt that comes now is not to leave half of it.
                raise

    def find(self, key: str, is_whole: Callable[[Path], bool]) -> Path:
        """The generation of that content; a place for it where there is none, or only damaged ones."""
        place, copy = self._trees / key, 0
        while place.exists() and not is_whole(place):
            copy += 1
            place = self._trees / f"{key}.{copy}"
        return place

    @staticmethod
    def place(tree: Path, generation: Path) -> None:
        """Rename a finished tree to be that generation; nothing leads to it yet."""
        tree.rename(generation)
        generation.chmod(0o555)

    def switch(self, generation: Path, stage: Path) -> bool:
        """Make it the current one; False where it is that already."""
        changed = generation != self.current()
        if changed:
            number = (self.number() or 0) + 1
            os.sync()  # A rename may reach the disk before what it renames.
            self._link(stage, f"../generations/{generation.name}", self._history / str(number))
            self._link(stage, f"history/{number}", self._current)
            for undone in self._numbers():
                if undone > number:
                    (self._history / str(undone)).unlink()
        if not os.path.lexists(self.program):
            self._link(stage, _BIN_TARGET, self.program)
        return changed

    def undo(self, stage: Path) -> Path:
        """Go back to the generation before. Raises CheckFailedError where there is none."""
        now = self.number() or 0
        before = [
            number for number in self._numbers() if number < now and (self._tree(number) / PROGRAM).exists()
        ]
        if not before:
            raise CheckFailedError(f"{self.prefix}: nothing was installed before the present one")
        self._link(stage, f"history/{before[-1]}", self._current)
        return self._tree(before[-1])

    def forget(self, keep: int, stage: Path) -> None:
        """Remove all but the newest `keep` of the history, and each generation that nothing leads to then."""
        now = self.number() or 0
        for number in [number for number in self._numbers() if number <= now][:-keep]:
            (self._history / str(number)).unlink()
        wanted = {self._tree(number) for number in self._numbers()}
        for tree in self._trees.iterdir():
            if tree not in wanted:
                # Half a generation never has a generation's name. Only root moves a read-only directory.
                tree.chmod(0o755)
                tree.rename(stage / tree.name)

    def _tree(self, number: int) -> Path:
        return self._trees / (self._history / str(number)).readlink().name

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self._history.iterdir() if path.name.isdecimal())

    def _link(self, stage: Path, target: str, at: Path) -> None:
        beside = stage / "link"
        beside.symlink_to(target)
        beside.replace(at)

    @staticmethod
    def _is_link(path: Path, target: str) -> bool:
        return path.is_symlink() and os.readlink(path) == target  # noqa: PTH115 - its text

    def _tidy(self) -> None:
        """With the lock held: nobody else of us is at work, but an `install.sh` may be."""
        for left in self.base.glob(f"{_STAGE}*"):
            if not (left.name.startswith(_SH_STAGE) and _alive(left.name.removeprefix(_SH_STAGE))):
                remove(left)


def _alive(pid: str) -> bool:
    """Whether there is a process of that number. Our own number means one of before."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
