"""A machine with Nix on it: Debian's Nix and a store of its own, made of Debian packages and wheels alone.

`Machine.nix("build", …)` runs a command there; `trees.prepare` makes what it consists of.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import debian
from trees import HERE, KEPT, LIBRARIES, LOADER, REPOSITORY, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_KILOBYTES = 10_000_000

# A single user's store, a real sandbox, and no cache to take anything from. What the sandbox has from outside
# the store is glibc, where the stand-in's loader looks for it, and a shell; no /lib64 and /lib, as on NixOS.
# In a user namespace nobody can drop groups.
NIX_CONF = """\
experimental-features = nix-command flakes
build-users-group =
builders =
substituters =
flake-registry =
sandbox = true
sandbox-fallback = false
require-drop-supplementary-groups = false
sandbox-paths = /bin/sh=/usr/bin/busybox @LIBC@
warn-dirty = false
accept-flake-config = false
max-jobs = 2
""".replace(
    "@LIBC@", f"{LOADER}=/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 {LIBRARIES}=/usr/lib/x86_64-linux-gnu"
)


def why_not() -> str:
    """Why there can be no such machine here; empty where there can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return f"needs x86_64 Linux, and this is {os.uname().machine} {sys.platform}"
    for program in ("git", "unshare", "pivot_root", "mount"):
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            return f"needs {program}, which is not on PATH"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *user, "--mount", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"needs root or user namespaces: {done.stderr.strip()}"
    return debian.why_not()


@dataclass
class Machine:
    """One store, and the Nix of one Debian suite. `store` is its name below KEPT."""

    suite: str
    store: str

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        offline: bool = False,
        environment: Mapping[str, str] | None = None,
        timeout: float = 300,
        only_nix: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root, with a minimal environment; `offline`: with no network.

        `only_nix`: on a machine with no programs and libraries but those of the store.
        """
        home = KEPT / self.store / "home"
        home.mkdir(parents=True, exist_ok=True)
        known = {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NIX_CONF_DIR": str(_conf()),
            "NIX_SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
            "PATH": _PATH,
        }
        # No more of the user's environment than what npm needs to reach its registry.
        for name, value in os.environ.items():
            if name.lower().startswith("npm_config_") or name.lower().endswith("_proxy"):
                known.setdefault(name, value)
        known |= environment or {}
        if only_nix:
            known["ONLY_NIX"] = (environment or {}).get("PATH", "/run/current-system/sw/bin")
            known["PATH"] = _PATH
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        outside = ["unshare", *user, "--net"] if offline else []
        done = subprocess.run(
            [*outside, HERE / "enter.sh", KEPT / "debian", KEPT / self.store, REPOSITORY, *command],
            env=known,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr[-6000:]}")
        return done

    def nix(self, *arguments: str | Path, program: str = "nix", **how) -> subprocess.CompletedProcess[str]:
        return self.run(KEPT / f"nix-{self.suite}" / "bin" / program, *arguments, **how)

    def out(self, *arguments: str | Path, program: str = "nix") -> str:
        return self.nix(*arguments, program=program).stdout.strip()

    def has(self, path: str) -> bool:
        """Whether a store path is in the store, as a file system sees it."""
        return os.path.lexists(f"{KEPT / self.store}{path}")

    def remembered(self, key: str, make: Callable[[], list[str]]) -> list[str]:
        """What `make` says of paths that it puts into the store: asked once, while the store has them all."""
        note = KEPT / self.store / "notes" / hashlib.sha256(key.encode()).hexdigest()
        if note.exists() and all(map(self.has, known := json.loads(note.read_text()))):
            return known
        made = make()
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_name(f"{note.name}.{os.getpid()}")
        beside.write_text(json.dumps(made))
        beside.replace(note)
        return made

    def add_files(self, files: dict[str, Path]) -> list[str]:
        """Put files into the store, name -> file, where derivations with their sha512 expect them."""
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            named = [Path(directory) / name for name in files]
            for link, path in zip(named, files.values(), strict=True):
                shutil.copyfile(path, link)
            return self.out("--add-fixed", "sha512", *named, program="nix-store").split()

    def add_directory(self, path: Path, name: str) -> str:
        return self.out("store", "add", "--name", name, path)

    def links_to(self, other: Machine, paths: list[str]) -> None:
        """Have paths of another machine's store, without telling Nix: enough to run them."""
        to = KEPT / self.store / "nix" / "store"
        to.mkdir(parents=True, exist_ok=True)
        sources = [f"{KEPT / other.store}{path}" for path in paths]
        subprocess.run(["cp", "--archive", "--link", *sources, to], cwd=KEPT, check=True)

    def empty(self) -> None:
        """Forget the store."""
        remove(KEPT / self.store)


class Host(Machine):
    """This machine as it is, with the Nix that it has."""

    def run(self, *command, check=True, offline=False, environment=None, timeout=1800):
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        # Builds are the daemon's, and it has a network; of the programs, OpenCode is to have none.
        alone = offline and command[0] != "nix" and sys.platform == "linux"
        done = subprocess.run(
            [*(["unshare", *user, "--net"] if alone else []), *command],
            env=os.environ
            | {"NIX_CONFIG": "experimental-features = nix-command flakes"}
            | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr[-6000:]}")
        return done

    def nix(self, *arguments, program="nix", **how):
        return self.run(program, *arguments, **how)

    def has(self, path):
        return os.path.lexists(path)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Of several test processes, one at a time prepares."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _conf() -> Path:
    path = KEPT / "conf" / "nix.conf"
    if not path.exists() or path.read_text() != NIX_CONF:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"nix.conf.{os.getpid()}")
        beside.write_text(NIX_CONF)
        beside.replace(path)
    return path.parent


def bound(store: str) -> None:
    """Forget a store that has become too big: every change of the sources leaves its builds there."""
    place = KEPT / store
    if not place.exists():
        return
    used = subprocess.run(["du", "-sk", place], capture_output=True, text=True, check=False).stdout.split()
    if used and int(used[0]) > _MOST_KILOBYTES:
        remove(place)


def stand_in(machine: Machine, opencode: dict[str, str], place: Path) -> Path:
    """Write the stand-in nixpkgs for a machine, with its tools in the store.

    `opencode`: version and integrity of the npm package of the program.
    """
    shutil.copytree(HERE / "nixpkgs", place)
    pins = {
        "debian": {
            "name": "debian",
            "hash": _hash_of_tree("debian", machine),
            "versions": {
                name: version.split(":")[-1].split("-")[0]
                for name, version in json.loads((KEPT / "debian/usr/versions.json").read_text()).items()
            },
        },
        "nodejs": {
            "name": "nodejs",
            "hash": _hash_of_tree("nodejs", machine),
        },
        "opencode": {
            "name": "opencode.tgz",
            "hash": opencode["integrity"],
            "version": opencode["version"],
            "flat": True,
        },
    }
    (place / "pins.json").write_text(json.dumps(pins, indent=2))
    return place


def _hash_of_tree(name: str, machine: Machine) -> str:
    """The NAR hash of a tree of KEPT, which is in the store then."""
    made = (KEPT / f"{name}.made").stat().st_mtime_ns
    (path,) = machine.remembered(f"{name} {made}", lambda: [machine.add_directory(KEPT / name, name)])
    return machine.out("--query", "--hash", path, program="nix-store")
