"""Small bundles, and the two ways to install them: what the bundle's tests share."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.formats import manifest
from opencode_cache.npm import platforms
from opencode_cache.ship import file_format, installation, pack, unbundle
from opencode_cache.ship.file_format import (
    BLOCK,
    CONTENTS,
    DIGITS,
    SIGNATURE,
    SUMS,
    TRAILER,
    Listing,
    tar_header,
)

LONG = "packages/@scope/plugin@latest/node_modules/" + "/".join(["long-directory-name"] * 12) + "/index.js"
FILES = {
    "packages/foo/node_modules/foo/index.js": "module.exports = 'foo'\n",
    "packages/foo/node_modules/foo/cli with space.js": "#!/usr/bin/env node\n",
    "packages/foo/node_modules/foo/ünïcode.js": "ü\n",
    "packages/foo/node_modules/foo/empty.js": "",
    "packages/@scope/plugin@latest/node_modules/plugin/index.js": "x" * 5000,
    LONG: "deep\n",
    # By the letter, the file stands between the directory and what is in that.
    "packages/foo/node_modules/foo/client/index.js": "",
    "packages/foo/node_modules/foo/client.gen.js": "",
    "models.json": "{}\n",
}
LINKS = {
    "packages/foo/node_modules/.bin/foo": "../foo/cli with space.js",
    "packages/foo/node_modules/.bin/deep": "../../../" + LONG.removeprefix("packages/"),
}


def make_cache(at: Path, system: str = "") -> Path:
    """A directory that is a cache as far as a bundle goes."""
    for name, text in FILES.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (at / "packages/foo/node_modules/foo/cli with space.js").chmod(0o755)
    for name, target in LINKS.items():
        (at / name).parent.mkdir(exist_ok=True)
        (at / name).symlink_to(target)
    found = manifest.Manifest(
        builder="0.1.0",
        opencode="1.18.33",
        layout="packages",
        system=system or platforms.current().name,
        links=("packages/foo", "packages/@scope/plugin@latest"),
        copies=("models.json",),
        requests=(),
        packages=(),
        files=len(FILES),
        bytes=0,
    )
    (at / manifest.FILE).write_text(manifest.dumps(found))
    return at


def make_program(at: Path, version: str = "1") -> Path:
    """A stand-in for OpenCode that says its version."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(f"#!/bin/sh\necho version {version} $*\n")
    at.chmod(0o755)
    return at


def make_bundle(directory: Path, version: str = "1", **options) -> Path:
    """A bundle whose program says that version."""
    directory.mkdir(parents=True, exist_ok=True)
    cache = make_cache(directory / f"cache-{version}")
    out = directory / f"{version}.tar.zst"
    return bundled(cache, make_program(directory / f"opencode-{version}", version), out, **options).file


def tree(cache: Path, program: Path, *, serial: int = 0, **chosen) -> pack.Tree:
    """`chosen` is what `Choices` has."""
    return pack.tree(cache, program, installation.Choices(**chosen), serial=serial)


def bundled(cache: Path, program: Path, out: Path, *, since=None, sign_key=None, **options) -> pack.Bundle:
    """The bundle of one system."""
    return pack.bundle([tree(cache, program, **options)], out, since=since, sign_key=sign_key)


def unpacked_tar(file: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())


def packed_again(tar: bytes, at: Path) -> Path:
    """A file with that tar in it and the right digits at its end, as somebody would make it who knows how."""
    frame = zstandard.compress(tar, 1) + TRAILER
    at.write_bytes(frame + hashlib.sha256(frame).hexdigest().encode())
    assert len(at.read_bytes()) == len(frame) + DIGITS
    return at


def by_python(file: Path, prefix: Path) -> bool:
    try:
        unbundle.unbundle(file, prefix)
    except OpencodeCacheError as error:
        said = str(error)
    else:
        return True
    assert "\n" not in said
    return False


def sh_words() -> list[str]:
    for program in ("zstd", "tar", "sha256sum"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} on PATH, as install.sh does")
    return [shutil.which("dash") or "sh"]


# As install.sh has it in its first lines. The copy's own script may be damaged: zstd finds that first.
ONE_LINE = 'f=$1; zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" "$2"'
SCRIPT = Path(pack.__file__).with_name("install.sh")


def run_sh(file: Path, prefix: Path, **options) -> subprocess.CompletedProcess[str]:
    """The documented one-liner; or, with `sums`, which were checked, the script that they vouch for.

    With `sums` that are the empty string, the script that is ours, whatever the bundle brings.
    """
    sums = options.pop("sums", None)
    words = [*sh_words(), SCRIPT] if sums is not None else [*sh_words(), "-c", ONE_LINE, "sh"]
    words += ["--sums", sums] if sums else []
    return subprocess.run(
        [*words, file, prefix],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
        **options,
    )


def by_sh(file: Path, prefix: Path, **options) -> bool:
    return run_sh(file, prefix, **options).stdout == f"{prefix}/bin/opencode\n"


INSTALL = {"python": by_python, "sh": by_sh}


def says(prefix: Path, home: Path) -> str:
    """What the installed program says; the empty string where there is none."""
    program = prefix / "bin" / "opencode"
    if not os.path.lexists(program):
        return ""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [program, "hello"], env=environment, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def everything(root: Path) -> dict[str, tuple]:
    """Name → kind and mode, and the content or the target, for everything below."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""  # noqa: PTH115 - its text as it is
        found[path.relative_to(root).as_posix()] = (status.st_mode, content)
    return found


def differences(tree: Path, listing: Listing) -> str:
    """The first thing in which a directory differs from a listing; empty where it is just that.

    Looks at every name, kind, mode, link target and byte, SHA256SUMS and CONTENTS included.
    """
    wanted = {entry.path: entry for entry in listing.entries}
    documents = {SUMS: listing.sums, CONTENTS: listing.contents}
    seen = set()
    for directory, directories, names in os.walk(tree):
        for path in (Path(directory, name) for name in (*directories, *names)):
            name = path.relative_to(tree).as_posix()
            status = path.lstat()
            if name == SIGNATURE and stat.S_ISREG(status.st_mode):
                continue
            seen.add(name)
            entry = wanted.get(name)
            if entry is None:
                if not stat.S_ISREG(status.st_mode) or path.read_bytes() != documents.get(name):
                    return f"{name} does not belong there"
                continue
            kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(status.st_mode))
            modes = (entry.mode, 0o555) if kind == "d" else (entry.mode,)
            same = kind == entry.kind and (kind == "l" or stat.S_IMODE(status.st_mode) in modes)
            if kind == "f" and same:
                same = hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
            if not same or (kind == "l" and os.readlink(path) != entry.target):  # noqa: PTH115 - its text
                return f"{name} is not what the list says"
    missing = sorted((wanted.keys() | documents.keys()) - seen)
    return f"{missing[0]} is missing" if missing else ""


# Machines with few tools, or with others


TOOLS = [
    *(
        "cat",
        "chmod",
        "cut",
        "head",
        "ln",
        "ls",
        "mkdir",
        "mv",
        "readlink",
        "rm",
        "rmdir",
        "sha256sum",
        "sleep",
    ),
    *("sort", "sync", "tail", "tar", "tr", "uname", "uniq", "wc", "zstd"),
]
"""All that install.sh starts: coreutils, tar and zstd."""


def only(path: Path, tools) -> Path:
    """A directory for PATH that has these tools alone."""
    path.mkdir()
    for name in tools:
        (path / name).symlink_to(shutil.which(name))
    return path


def busyboxes(path: Path) -> None:
    for name in set(TOOLS) - {"zstd"}:
        (path / name).unlink()
        (path / name).symlink_to(shutil.which("busybox"))


def libarchives(path: Path) -> None:
    """What macOS has."""
    (path / "tar").unlink()
    (path / "tar").symlink_to(shutil.which("bsdtar"))


def perls(path: Path) -> None:
    """What macOS has."""
    (path / "sha256sum").unlink()
    for name in ("shasum", "perl"):
        (path / name).symlink_to(shutil.which(name))


OTHER_TOOLS = [("busybox", busyboxes), ("bsdtar", libarchives), ("shasum", perls)]


# Bundles of somebody who knows how


RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"


@dataclass(frozen=True)
class Parts:
    """The tar of a bundle: its three documents, and the rest."""

    sums: bytes
    signature: bytes
    contents: bytes
    rest: bytes

    @classmethod
    def of(cls, file: Path) -> Parts:
        tar, documents = unpacked_tar(file), {}
        while tar.startswith((SUMS.encode(), CONTENTS.encode())):
            name = tar[:100].rstrip(b"\0").decode()
            size = int(tar[124:135], 8)
            documents[name] = tar[BLOCK : BLOCK + size]
            tar = tar[BLOCK + -(-size // BLOCK) * BLOCK :]
        return cls(documents[SUMS], documents.get(SIGNATURE, b""), documents[CONTENTS], tar)

    @property
    def tar(self) -> bytes:
        documents = {SUMS: self.sums, SIGNATURE: self.signature, CONTENTS: self.contents}
        return b"".join(member(name, data) for name, data in documents.items() if data) + self.rest

    def agreeing(self) -> Parts:
        """With lists that say what the rest is: all is as it should be but for the signature."""
        lines = self.contents.split(b"\n", 1)[1]
        rest = file_format.Rest(len(self.rest), hashlib.sha256(self.rest).hexdigest())
        contents = rest.line.encode() + lines
        sums = hashlib.sha256(contents).hexdigest().encode() + self.sums[64:]
        return replace(self, sums=sums, contents=contents)

    def at(self, name: str) -> int:
        """Where a member of the rest begins."""
        wanted = name.encode() + b"\0"
        return next(at for at in range(0, len(self.rest), BLOCK) if self.rest.startswith(wanted, at))


def member(name: str, data: bytes = b"", flag: bytes = b"0", mode: int = 0o444, target: str = "") -> bytes:
    return tar_header(name, flag, mode, len(data), target) + data + bytes(-len(data) % BLOCK)


def by_hand(file: Path, signers: Path, at: Path, environment: dict[str, str] | None = None):
    """What docs/recipes.md says of asking the signature by hand; `at/.local` is the prefix."""
    recipe = re.search(r"```sh\n(f=\$PWD.*?)```", RECIPES.read_text(), re.DOTALL)[1]
    minisign = re.search(r"```sh\n(\[ .*minisign.*)\n```", RECIPES.read_text())[1]
    if signers.read_bytes().startswith(b"untrusted"):
        recipe = re.sub(r"ssh-keygen.*(?= &&\n)", lambda _: minisign, recipe)
    at.mkdir(exist_ok=True)
    for name, there in (("opencode.tar.zst", file), ("allowed_signers", signers)):
        if there != at / name:
            shutil.copy(there, at / name)
    return subprocess.run(
        [*sh_words(), "-c", recipe],
        cwd=at,
        env=os.environ | {"HOME": str(at)} | (environment or {}),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
    )
