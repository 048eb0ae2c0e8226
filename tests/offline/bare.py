"""Bare machines: root directories with a user, what unpacks a bundle, and the libraries of OpenCode alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import isolated
from kept import KEPT, REPOSITORY, kept_tree

SUITE = "trixie"
PACKAGES = ["coreutils", "dash", "libgcc-s1", "libstdc++6", "tar", "zstd"]
"""All there is on the Debian machine: what OpenCode is linked with, a shell, and what unpacks the bundle."""
USER = 1000

# $1: the machine's root directory, $2: its tree, $3: who to be; then an environment and the command.
ENTER = """
set -eu
root=$1 tree=$2 user=$3
shift 3
mount --bind "$tree/usr" "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
chown -R "$OWNER" "$root/home/user"
exec chroot --userspec="$user:$user" "$root" /bin/sh -c 'cd /home/user/work && exec env -i "$@"' sh "$@"
"""
ENVIRONMENT = ["HOME=/home/user", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]


class CannotError(Exception):
    """Why such a machine cannot be had here."""


def _load_debian():
    """tests/nix/debian.py, which is not on the path of these tests."""
    spec = importlib.util.spec_from_file_location("debian", REPOSITORY / "tests" / "nix" / "debian.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _kept(name: str, fill) -> Path:
    """A tree that is kept between runs; `fill(tree, unpack)` makes it. Raises CannotError."""
    debian = _load_debian()
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CannotError("needs x86_64 Linux")
    if debian.why_not():
        raise CannotError(debian.why_not())
    kept = KEPT / "bare"
    try:
        return kept_tree(
            kept / name,
            lambda to: fill(to, lambda packages, at: debian.unpack(SUITE, packages, at, kept / "debs")),
        )
    except debian.CannotError as error:
        raise CannotError(str(error)) from error


def debian_tree() -> Path:
    """Debian, without Python, Perl, Nix and bash. Raises CannotError."""
    return _kept("-".join([SUITE, *PACKAGES]), lambda tree, unpack: unpack(PACKAGES, tree))


def musl_tree() -> Path:
    """musl and busybox; zstd is Debian's, with libraries of its own. Raises CannotError."""
    return _kept("musl", _fill_musl)


def _fill_musl(tree: Path, unpack) -> None:
    made = tree / "made"
    made.mkdir()
    unpack(["busybox-static", "musl", "zstd"], made)
    programs, libraries, own = (tree / "usr" / name for name in ("bin", "lib", "libexec/zstd"))
    for directory in (programs, libraries, own):
        directory.mkdir(parents=True)
    shutil.copy(made / "usr/bin/busybox", programs / "busybox")
    names = subprocess.run([programs / "busybox", "--list"], capture_output=True, text=True, check=True)
    for name in set(names.stdout.split()) - {"busybox"}:
        (programs / name).symlink_to("busybox")
    (loader,) = made.rglob("ld-musl-x86_64.so.1")
    shutil.copy(loader.resolve(), libraries / "ld-musl-x86_64.so.1")
    (libraries / "libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    for library in (*made.rglob("lib*.so.*"), *made.rglob("ld-linux-x86-64.so.2")):
        if "musl" not in str(library.relative_to(made)):
            shutil.copy(library.resolve(), own / library.name)
    shutil.copy(made / "usr/bin/zstd", own / "zstd")
    start = "/usr/libexec/zstd/ld-linux-x86-64.so.2 --library-path /usr/libexec/zstd /usr/libexec/zstd/zstd"
    (programs / "zstd").write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    (programs / "zstd").chmod(0o755)
    _musl_libraries(tree, libraries)
    shutil.rmtree(made)


def _musl_libraries(tree: Path, to: Path) -> None:
    """libstdc++ and libgcc for musl, as the wheel of a Python package brings them."""
    wanted = ["--only-binary=:all:", "--platform=musllinux_1_2_x86_64", "--python-version=312", "numpy"]
    words = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(tree),
        *wanted,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tree)
    if done.returncode:
        raise CannotError(f"needs a wheel from PyPI once: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = tree.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            file = Path(name).name
            for short in ("libstdc++", "libgcc_s"):
                if file.startswith(f"{short}-") and ".so" in file:
                    (to / file).write_bytes(archive.read(name))
                    number = file.split(".so.")[1].split(".")[0]
                    (to / f"{short}.so.{number}").symlink_to(file)
    wheel.unlink()


@dataclass
class Machine:
    """A root directory with nothing on it but a tree and a user."""

    root: Path
    tree: Path

    @classmethod
    def at(cls, root: Path, tree: Path) -> Machine:
        """A new one."""
        for name in ("usr", "dev", "proc", "tmp", "etc", "media", "opt", "home/user/work"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        for name in ("tmp", "opt", "media"):
            (root / name).chmod(0o1777)
        users = f"root:x:0:0::/root:/bin/sh\nuser:x:{USER}:{USER}::/home/user:/bin/sh\n"
        (root / "etc/passwd").write_text(users)
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
        for path in (root, *root.parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o055)
        return cls(root, tree)

    @property
    def home(self) -> Path:
        return self.root / "home" / "user"

    def run(self, *command: str, config=None, root: bool = False, timeout: int = 120) -> isolated.Report:
        """Run a command there as the user, or as root, beside a model server on loopback."""
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        number = str(USER if os.geteuid() == 0 else 0)
        enter = ["unshare", *mapped, "--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]
        words = [str(self.root), str(self.tree), "0" if root else number, *ENVIRONMENT, *command]
        env = {"OWNER": f"{number}:{number}"}
        return isolated.run(
            enter[0], [*enter[1:], *words], self.home, config=config, env=env, timeout=timeout
        )

    def sh(self, script: str, **options) -> isolated.Report:
        return self.run("f=/media/opencode.tar.zst", "sh", "-c", script, **options)
