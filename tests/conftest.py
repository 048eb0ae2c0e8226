"""Programs that the tests start and a machine may lack: Debian's."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "nix"))
import debian
from kept import KEPT

PROGRAMS = KEPT / "programs"
"""At the end of PATH while the tests run."""
_HARMLESS = {"rg": ["--version"], "bsdtar": ["--version"], "busybox": ["true"], "minisign": ["-v"]}
_PACKAGES = {"bsdtar": "libarchive-tools", "rg": "ripgrep"}
"""Debian's package of a program, where its name is another."""
_LIBRARIES = {
    "bsdtar": ("archive", "bz2", "icudata", "icuuc", "lz4", "lzma", "nettle", "xml2", "zstd"),
    "minisign": ("sodium",),
}
"""Libraries that such a program needs and a machine may lack, below Debian's /usr/lib."""


def pytest_configure(config) -> None:
    if hasattr(config, "workerinput"):  # with PATH from the process that has done this
        return
    config.opencode_cache_lacking = []
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] += f"{os.pathsep}{PROGRAMS}"
    with (PROGRAMS.parent / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in _HARMLESS:
            if shutil.which(name):
                continue
            why = _debians(name)
            if why:
                config.opencode_cache_lacking.append(f"{name} is not on PATH, and {why}")


def pytest_report_header(config) -> list[str]:
    return getattr(config, "opencode_cache_lacking", [])


def _debians(name: str) -> str:
    """Debian's, for which this machine's libc has to do. What it returns is why not.

    Not the static one: its shell takes tools of its own whatever PATH says.
    """
    why = debian.why_not()
    if why:
        return f"to unpack Debian's, this machine {why}"
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        try:
            debian.unpack(
                "bookworm", [_PACKAGES.get(name, name)], Path(scratch, "tree"), Path(scratch, "debs")
            )
        except (debian.CannotError, subprocess.TimeoutExpired) as error:
            return str(error)
        program = Path(scratch, "tree/usr/bin", name)
        found = [Path(scratch, "tree/usr/lib").glob(f"*/lib{one}.so.*") for one in _LIBRARIES.get(name, ())]
        libraries = [path for paths in found for path in paths]
        if libraries:
            program = _with(libraries, program)
        if subprocess.run([program, *_HARMLESS[name]], capture_output=True, check=False).returncode:
            return "Debian's does not run on this machine"
        program.replace(PROGRAMS / name)
    return ""


def _with(libraries: list[Path], program: Path) -> Path:
    """A script that starts the program with libraries of its own, which are kept beside it."""
    place = PROGRAMS / f"{program.name}.d"
    place.mkdir(exist_ok=True)
    for library in libraries:
        shutil.copy(library, place / library.name)
    shutil.copy(program, place / program.name)
    script = program.with_name(f"{program.name}.sh")
    script.write_text(f"#!/bin/sh\nLD_LIBRARY_PATH='{place}' exec '{place / program.name}' \"$@\"\n")
    script.chmod(0o755)
    return script
