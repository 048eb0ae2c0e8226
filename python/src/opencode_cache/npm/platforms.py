"""The systems that OpenCode is released for, and which npm packages fit which of them."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class System:
    """A system by its Nix name (`-musl` appended where the libc is musl), in npm's three words."""

    name: str
    os: str
    cpu: str
    libc: str
    binaries: tuple[str, ...]
    """npm packages of the OpenCode binary, best first."""


SYSTEMS = {
    system.name: system
    for system in (
        # The baseline build runs on every x86_64 machine; the other one needs AVX2 and dies without it.
        System(
            "x86_64-linux", "linux", "x64", "glibc", ("opencode-linux-x64-baseline", "opencode-linux-x64")
        ),
        System(
            "x86_64-linux-musl",
            "linux",
            "x64",
            "musl",
            ("opencode-linux-x64-baseline-musl", "opencode-linux-x64-musl"),
        ),
        System("aarch64-linux", "linux", "arm64", "glibc", ("opencode-linux-arm64",)),
        System("aarch64-linux-musl", "linux", "arm64", "musl", ("opencode-linux-arm64-musl",)),
        System("aarch64-darwin", "darwin", "arm64", "", ("opencode-darwin-arm64",)),
    )
}


def current() -> System:
    """The system of this machine. Raises BadInputError where OpenCode has no release for it."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    name = f"{machine}-{'darwin' if sys.platform == 'darwin' else 'linux'}"
    if sys.platform == "linux" and _is_musl():
        name += "-musl"
    return named(name)


def named(name: str) -> System:
    """The system of that name. Raises BadInputError with the names that exist."""
    if name not in SYSTEMS:
        raise BadInputError(f"system {name!r} is not supported; the supported ones are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def _is_musl() -> bool:
    # As napi packages tell the two apart: the loader of musl is a file with its name in it.
    return not any(Path("/lib64").glob("ld-linux*")) and any(Path("/lib").glob("ld-musl-*"))


def _admits(words: Sequence[str], value: str) -> bool:
    """npm's rule for `os`, `cpu` and `libc` (npm-install-checks lib/current-env.js, npm 10 and 11)."""
    if not words or list(words) == ["any"]:
        return True
    if f"!{value}" in words:
        return False
    wanted = [word for word in words if not word.startswith("!")]
    return not wanted or value in wanted


def fits(system: System, os: Sequence[str], cpu: Sequence[str], libc: Sequence[str]) -> bool:
    """Whether npm on that system would install a package with these fields."""
    if libc and system.os != "linux":
        return False
    return _admits(os, system.os) and _admits(cpu, system.cpu) and (not libc or _admits(libc, system.libc))
