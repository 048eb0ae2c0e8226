"""Where a bundle's content comes from: the files of a cache, and programs that also run elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from opencode_cache.base import elf
from opencode_cache.base.errors import BadInputError
from opencode_cache.npm import platforms
from opencode_cache.ship.file_format import DIRECTORY_MODE, LINK_MODE, OPENCODE, PROGRAM_MODE, mode_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
_BUN = re.compile(rb"Bun v[\w.-]+ \(\w+\) Linux x64( \(baseline\))?\n")
_BUN_LENGTH = 100
_ELF64 = b"\x7fELF\x02\x01"
_MACHO64, _UNIVERSAL = b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"
_ELF_MACHINES = {62: "x64", 183: "arm64"}
_MACHO_MACHINES = {0x01000007: "x64", 0x0100000C: "arm64"}
"""Their numbers (ELF's e_machine, Mach-O's cputype) -> npm's words."""


@dataclass(frozen=True)
class Item:
    """Where the content of a path comes from: a file, bytes, a link's target, nothing for a directory."""

    file: Path | None = None
    data: bytes | None = None
    target: str = ""
    mode: int = DIRECTORY_MODE

    def pieces(self) -> Iterator[bytes]:
        """The content of a file, in pieces of at most 1 MiB."""
        if self.data is not None:
            yield self.data
        elif self.file is not None:
            with self.file.open("rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece

    def sha256(self) -> str:
        """Of the content of a file, as hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


def program(path: Path, better: str, system: str) -> Item:
    """A program that also runs where there is no Nix, on machines of that system. Raises BadInputError."""
    if not path.is_file() or not os.access(path, os.X_OK):
        raise BadInputError(f"{path}: not an executable file; give {better}")
    needs = interpreter(path)
    if needs.startswith("/nix/"):
        raise BadInputError(f"{path}: runs with {needs} only, which other machines have not; give {better}")
    if not suits(path, system):
        kind = " ".join([*(machine(path) or ()), *([f"with {needs}"] if needs else [])])
        raise BadInputError(
            f"{path}: is a program for {kind}, and this is for {system}; give {better} for that"
        )
    return Item(file=path.resolve(), mode=PROGRAM_MODE)


def suits(program: Path, system: str) -> bool:
    """Whether machines of that system can run it: its processor, and the libc of its loader."""
    wanted, own = platforms.named(system), machine(program)
    if own is None:
        return True
    loader = PurePath(interpreter(program)).name
    libc = "musl" if loader.startswith("ld-musl") else "glibc" if loader.startswith("ld-linux") else ""
    return own in ((wanted.os, wanted.cpu), (wanted.os, "any")) and libc in ("", wanted.libc)


def machine(program: Path) -> tuple[str, str] | None:
    """The system and the processor that a program is for, in npm's words; None for a script."""
    with program.open("rb") as file:
        head = file.read(20)
    if head.startswith(b"\x7fELF"):
        number = int.from_bytes(head[18:20], "little") if head.startswith(_ELF64) else 0
        return "linux", _ELF_MACHINES.get(number, "another processor")
    if head.startswith(_MACHO64):
        return "darwin", _MACHO_MACHINES.get(int.from_bytes(head[4:8], "little"), "another processor")
    if head.startswith(_UNIVERSAL):
        return "darwin", "any"
    return ("win32", "any") if head.startswith(b"MZ") else None


def interpreter(program: Path) -> str:
    """What the kernel starts a program with: the one in its #! line, an ELF file's loader, else nothing."""
    with program.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"#!"):
        return os.fsdecode((head[2:].split(b"\n")[0].split() or [b""])[0])
    return str(elf.loader(program) or "")


def needs_avx2(program: Path) -> bool:
    """Whether it is an OpenCode that dies without AVX2: its Bun is not the build for any x86_64."""
    last = b""
    for piece in Item(file=program).pieces():
        if marker := _BUN.search(last + piece):
            return marker[1] is None
        last = piece[-_BUN_LENGTH:]
    return False


def tree(root: Path, at: str, opencode: Path) -> Iterator[tuple[str, Item]]:
    """The items of a directory, itself included, as `at`.

    A link to `opencode` leads to the bundle's own; another link out of the directory becomes the file that it
    leads to. Raises BadInputError for what can be neither.
    """
    yield at, Item()
    for directory, directories, names in os.walk(root):
        below = Path(directory).relative_to(root).as_posix()
        for name in (*directories, *names):
            path = Path(directory) / name
            own = f"{at}/{name}" if below == "." else f"{at}/{below}/{name}"
            if path.is_symlink():
                yield own, _link(path, root, own, opencode)
            elif path.is_dir():
                yield own, Item()
            elif path.is_file():
                yield own, Item(file=path, mode=mode_of(path.stat().st_mode))
            else:
                raise BadInputError(f"{path}: neither a file, a directory nor a link; build the cache again")


def _link(path: Path, root: Path, own: str, opencode: Path) -> Item:
    target = os.readlink(path)  # noqa: PTH115 - its text as it is
    leads_to = path.resolve()
    if leads_to == opencode:  # the bun layout's tui
        up = "../" * own.count("/")
        return Item(target=up + OPENCODE, mode=LINK_MODE)
    if leads_to.is_relative_to(root) and not target.startswith("/"):
        return Item(target=target, mode=LINK_MODE)
    if leads_to.is_file():
        return Item(file=leads_to, mode=mode_of(leads_to.stat().st_mode))
    raise BadInputError(f"{path}: leads to {target}, which cannot be in a bundle; build the cache again")
