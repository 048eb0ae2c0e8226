"""Programs of npm packages on systems without /lib64, as NixOS: each gets the loader that is there.

What npm has of Linux programs (`@biomejs/biome`) names the loader of glibc by its usual path. Only that is
changed, with patchelf: strip and rpath damage programs that carry their own code behind them.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

from opencode_cache.base import elf
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

# With one argument at most: the kernel hands on what follows as one.
_ASKS_ENV = re.compile(rb"#![ \t]*/usr/bin/env[ \t]+(?:-S[ \t]*)?node(?P<argument>[ \t]+\S+)?\s*")
_LONGEST_LINE = 255
"""What Linux reads of a script's first line."""


def give(cache: Path, interpreter: Path) -> list[Path]:
    """Make every program below `cache` that asks for such a loader elsewhere ask for `interpreter`.

    Returns those programs. Raises BadInputError without patchelf, and where it fails.
    """
    wanted = [path for path in sorted(cache.rglob("*")) if _asks_for(path, interpreter)]
    if wanted and not shutil.which("patchelf"):
        raise BadInputError(f"{wanted[0]}: needs another ELF interpreter; put patchelf on PATH")
    for path in wanted:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
        done = subprocess.run(
            ["patchelf", "--set-interpreter", interpreter, path.absolute()],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BadInputError(
                f"{path}: patchelf cannot change it ({done.stderr.strip()[-200:]}); give another binary"
            )
    return wanted


def give_node(cache: Path, node: Path) -> None:
    """Make every script below `cache` that asks /usr/bin/env for node be started with that one.

    A sandbox of Nix has no /usr/bin/env. Raises BadInputError for a path that no kernel would take.
    """
    line = f"#!{node}".encode()
    if not node.is_absolute() or len(line) >= _LONGEST_LINE or len(line.split()) != 1:
        raise BadInputError(f"{node}: cannot start scripts; give a short absolute path without spaces")
    for path in sorted(cache.rglob("*")):
        information = path.lstat()
        if not stat.S_ISREG(information.st_mode) or not information.st_mode & stat.S_IXUSR:
            continue
        with path.open("rb") as file:
            asks = _ASKS_ENV.fullmatch(file.readline(_LONGEST_LINE))
            if asks is None:
                continue
            rest = file.read()
        path.chmod(information.st_mode | stat.S_IWUSR)
        path.write_bytes(line + (asks["argument"] or b"") + b"\n" + rest)


def _asks_for(path: Path, interpreter: Path) -> bool:
    """Whether it is a program for a loader of that name at another place."""
    information = path.lstat()
    if not stat.S_ISREG(information.st_mode) or not information.st_mode & stat.S_IXUSR:
        return False
    wanted = elf.loader(path)
    return wanted is not None and wanted != interpreter and wanted.name == interpreter.name
