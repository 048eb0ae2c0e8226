"""Small bundles, and the two ways to install them: what the bundle's tests share."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.formats import manifest
from opencode_cache.npm import platforms
from opencode_cache.ship import pack, unbundle
from opencode_cache.ship.file_format import DIGITS, TRAILER

if TYPE_CHECKING:
    from pathlib import Path

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


def make_cache(at: Path) -> Path:
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
        system=platforms.current().name,
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
    return pack.bundle(cache, make_program(directory / f"opencode-{version}", version), out, **options).file


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


def run_sh(file: Path, prefix: Path, **options) -> subprocess.CompletedProcess[str]:
    """The documented one-liner."""
    return subprocess.run(
        [*sh_words(), "-c", ONE_LINE, "sh", file, prefix],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
        **options,
    )


def by_sh(file: Path, prefix: Path) -> bool:
    return run_sh(file, prefix).stdout == f"{prefix}/bin/opencode\n"


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
