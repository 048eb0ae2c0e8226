"""A root with nothing in it but an installation, and what every machine has that it is for.

That is: a kernel (/proc, /dev), a shell with coreutils, the C library and C++'s run-time library. Everything
else that a program finds here came with the installation. The modules of this Python are there as well, for
the process that looks on; no PATH leads to them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import elf
from opencode_cache.sandbox import foreign, mounts

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Iterator

PLACE = Path("/opt/opencode")
"""Where the installation is in that root."""
PATH = "/usr/bin:/bin"
_BIN = Path("/usr/bin")
_COREUTILS = (
    *("basename", "cat", "chmod", "cp", "cut", "date", "dirname", "echo", "env", "false", "head", "id", "ln"),
    *("ls", "mkdir", "mktemp", "mv", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sleep", "sort"),
    *("stat", "sync", "tail", "test", "touch", "tr", "true", "uname", "uniq", "wc"),
)
_EVERYWHERE = re.compile(r"(ld|lib(?:c|m|dl|rt|pthread|util|resolv|nss_[a-z]+|stdc\+\+|gcc_s))[-.].*")
"""Libraries that every machine has: others that a program asks for have to come with it."""
_BESIDE_LIBC = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"),
    "librt.so.1",  # by the interface of OpenCode 2.0.15
)
"""What is loaded while a program runs."""
_LIST_TIMEOUT = 60


def enter(libc: ctypes.CDLL, installation: Path, files: Iterable[str]) -> None:
    """Become a process in such a root, in a mount namespace of its own, with those files, which are empty.

    The installation lies at PLACE; /tmp is empty. Raises mounts.RefusedError.
    """
    programs = list(_elf_programs(installation))
    loaders = {elf.loader(program) for program in programs}
    shown = {
        **{path: path for path in _python()},
        **dict(_tools()),
        **{path: path.resolve() for path in _libraries(programs)},
        PLACE: installation.resolve(),
    }
    if os.environ.get(foreign.SYSROOT):
        sysroot = Path(os.environ[foreign.SYSROOT])
        shown[sysroot] = sysroot
    with mounts.new_root(libc) as old:
        for target, source in sorted(shown.items()):
            mounts.show(libc, old / source.relative_to("/"), target)
        for name in ("proc", "dev"):
            mounts.show(libc, old / name, Path("/", name))
        Path("/bin").symlink_to(_BIN)
        for loader in loaders:
            if loader and loader.name.startswith("ld-musl"):
                # By which programs of npm packages tell the two libcs apart.
                (_BIN / "ldd").symlink_to(os.environ.get(foreign.SYSROOT, "") + str(loader))
        Path("/tmp").mkdir(exist_ok=True)  # noqa: S108 - of this root
        for name in files:
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).touch()


def _python() -> Iterator[Path]:
    """Modules; what was loaded of libraries stays loaded."""
    paths = sysconfig.get_paths()
    named = [*sys.path, paths["stdlib"], paths["platstdlib"], str(Path(__file__).parents[2])]
    directories = {Path(name).resolve() for name in named if name and Path(name).exists()} - {Path("/")}
    yield from (path for path in directories if not directories & set(path.parents))


def _tools() -> Iterator[tuple[Path, Path]]:
    """Place of a program and of its libraries -> where they are here."""
    programs = {
        name: shutil.which(name, path=os.environ.get("PATH", "") + f":{PATH}") for name in ("sh", *_COREUTILS)
    }
    for name, program in programs.items():
        if program:
            yield _BIN / name, Path(program).resolve()
    for path in _needs({Path(program).resolve() for program in programs.values() if program}):
        yield path, path.resolve()


def _elf_programs(installation: Path) -> Iterator[Path]:
    for path in sorted((installation / "libexec").rglob("*")):
        if path.is_file() and elf.loader(path):
            yield path.resolve()


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Those of the programs' libraries that every machine has."""
    if os.environ.get(foreign.SYSROOT):
        return  # they are in the sysroot
    for path in _needs(set(programs)):
        if found := _EVERYWHERE.fullmatch(path.name):
            # By another name of it, another library may ask for the same file.
            names = [path, *path.parent.glob(f"{found[1]}*")]
            yield from (name for name in names if name.resolve() == path.resolve())
        # musl's loader is its libc.
        for name in _BESIDE_LIBC if path.name.startswith(("libc.so", "ld-musl")) else ():
            for directory in dict.fromkeys((path.parent, Path("/usr", *path.parent.parts[1:]))):
                if (directory / name).exists():
                    yield directory / name


def _needs(programs: set[Path]) -> set[Path]:
    """The loaders of programs, and the libraries that these find for them."""
    needed: set[Path] = set()
    for program in programs:
        loader = elf.loader(program)
        if loader is None or not loader.exists():
            continue
        needed.add(loader)
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            done = subprocess.run(
                [loader, "--list", program],
                cwd="/",
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LIST_TIMEOUT,
                check=False,
            )
            needed |= {Path(word) for word in re.findall(r"(/\S+) \(0x", done.stdout)}
    return needed
