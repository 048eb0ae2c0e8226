"""What runs OpenCode of four systems on one machine: Debian's emulator, and the libraries of each system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import pytest
from kept import KEPT, REPOSITORY, kept_tree

sys.path.append(str(REPOSITORY / "tests" / "nix"))
from typing import TYPE_CHECKING

import debian

if TYPE_CHECKING:
    from pathlib import Path

_PLACE = KEPT / "systems"
_LIBRARIES = {"glibc": ("bookworm", ["libc6", "libstdc++6", "libgcc-s1"]), "musl": ("sid", ["musl"])}
"""Suite and packages; Debian's stable musl is too old for OpenCode."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_WHEEL = "numpy"
"""Its wheels for musl bring libstdc++ and libgcc_s, which Debian does not have for it."""


@dataclass(frozen=True)
class Foreign:
    """How programs of a system run here."""

    system: str
    emulator: Path | None = None
    sysroot: Path | None = None

    @property
    def options(self) -> list[str]:
        named = {"--emulator": self.emulator, "--sysroot": self.sysroot}
        return [str(word) for name, path in named.items() if path for word in (name, path)]


def foreign(system: str) -> Foreign:
    """Skips, with what is missing, where it cannot be had."""
    machine, _, libc = system.partition("-linux")
    here = os.uname().machine
    if sys.platform != "linux" or here not in _ARCHITECTURES:
        pytest.skip(f"needs Linux on {' or '.join(_ARCHITECTURES)}")
    if machine == here and not libc:
        return Foreign(system)
    if debian.why_not():
        pytest.skip(f"needs the libraries of {system}: to unpack Debian's, this machine {debian.why_not()}")
    emulator = None
    if machine != here:
        packages = _kept(
            "emulator", lambda to: _packages("bookworm", ["qemu-user-static"], to, _ARCHITECTURES[here])
        )
        emulator = packages / "usr" / "bin" / f"qemu-{machine}-static"
    suite, names = _LIBRARIES[libc.strip("-") or "glibc"]

    def libraries(to: Path) -> None:
        _packages(suite, names, to, _ARCHITECTURES[machine])
        if libc:
            _from_wheel(to / "usr" / "lib", machine)

    return Foreign(system, emulator, _kept(system, libraries))


def _kept(name: str, make) -> Path:
    try:
        return kept_tree(_PLACE / name, make)
    except (debian.CannotError, subprocess.SubprocessError) as error:
        pytest.skip(f"needs {name} out of Debian's packages and a wheel: {error}")


def _packages(suite: str, names: list[str], to: Path, architecture: str) -> None:
    debian.unpack(suite, names, to, KEPT / "bare" / "debs", architecture)


def _from_wheel(to: Path, machine: str) -> None:
    """Libraries have a part of their hash in their names there; their own names are put beside."""
    wheels = to.parent / "wheels"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *("--platform", f"musllinux_1_2_{machine}", "--python-version", "3.12", "--implementation", "cp"),
            *("--dest", wheels, _WHEEL),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            file = name.rpartition("/")[2]
            for library, own in (("libstdc++-", "libstdc++.so.6"), ("libgcc_s-", "libgcc_s.so.1")):
                if file.startswith(library):
                    (to / file).write_bytes(archive.read(name))
                    (to / own).symlink_to(file)
    shutil.rmtree(wheels)
