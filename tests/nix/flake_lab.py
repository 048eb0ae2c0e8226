"""The project as a flake on a machine with Nix: what fixtures and tests share."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING

import debian
import machine as machines
import pytest
import trees
from kept import EVERY
from machine import Machine
from trees import REPOSITORY

from opencode_cache.base.errors import NetworkError
from opencode_cache.build import release_binary
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import contents, lock
from opencode_cache.npm import platforms

if TYPE_CHECKING:
    from pathlib import Path

SUITE = os.environ.get("OPENCODE_CACHE_NIX", "trixie")
"""Debian suite whose Nix is used, or `host`: the Nix of this machine."""
LOCKED = os.environ.get("OPENCODE_CACHE_NIXPKGS", "stand-in") == "locked"
"""Whether nixpkgs is the locked, real one."""
TARBALLS = trees.KEPT.parent / "tarballs"
LOCKS = REPOSITORY / "nix" / "locks"
EXTRA_LOCK = REPOSITORY / "tests" / "offline" / "locks" / "extra-1.18.lock.json"
TOOLS_LOCK = REPOSITORY / "tests" / "offline" / "locks" / "tools-1.18.lock.json"
TWO_LOCK = REPOSITORY / "tests" / "offline" / "locks" / "two-2.0.lock.json"
FIELD_LOCK = REPOSITORY / "tests" / "field" / "locks" / "field.lock.json"


class Flake:
    """A flake on a machine: `nix` commands with the inputs that are there instead of the locked ones."""

    def __init__(self, machine: Machine, url: str, inputs: dict[str, str]) -> None:
        self.machine = machine
        self.url = url
        self.inputs = inputs

    def nix(
        self,
        *command: str,
        at: str = "",
        rest=(),
        check: bool = True,
        offline: bool = True,
        suite: str = "",
        timeout: float = 600,
    ):
        """`nix COMMAND … URL[at] … -- REST`, with no network unless told otherwise."""
        overrides = [word for name, url in self.inputs.items() for word in ("--override-input", name, url)]
        machine = Machine(suite, self.machine.store) if suite else self.machine
        done = machine.nix(
            *(command[:2] if command[0] in ("flake", "profile") else command[:1]),
            *overrides,
            *("--no-write-lock-file", "--quiet"),
            *(command[2:] if command[0] in ("flake", "profile") else command[1:]),
            f"{self.url}{at}",
            *(("--", *rest) if rest else ()),
            check=check,
            offline=offline,
            timeout=timeout,
        )
        # Nix says at each command which inputs are overridden; what is said besides is of interest.
        done.stderr = done.stderr[-20_000:]
        return done

    def build(self, attribute: str, *options: str, **how) -> str:
        """Build one package; its path."""
        how.setdefault("check", True)
        return self.nix(
            "build", "--no-link", "--print-out-paths", *options, at=f"#{attribute}", **how
        ).stdout.strip()

    def value(self, attribute: str, apply: str, **how):
        return json.loads(self.nix("eval", "--json", "--apply", apply, at=f"#{attribute}", **how).stdout)

    def consumed(self, text: str) -> str:
        """The text of a flake that uses this one, with the inputs that are there."""
        nixpkgs = self.inputs.get("nixpkgs", "github:NixOS/nixpkgs/nixpkgs-unstable")
        models = self.inputs.get("models-dev", "github:anomalyco/models.dev")
        for name, url in (("NIXPKGS", nixpkgs), ("MODELS", models), ("PROJECT", self.url)):
            text = text.replace(f"@{name}@", url)
        return text


def copy_of_the_project(to: Path) -> Path:
    """What git knows of the checkout, and new files that it does not ignore, as one commit."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, to / name)
    commit(to)
    return to


def flake_on(machine: Machine, project: Path, directory: Path) -> Flake:
    """The project's flake; the stand-in nixpkgs, the release archive and every tarball are in the store."""
    if LOCKED:
        return Flake(machine, f"git+file://{project}", {})
    default, release = LOCKS / "opencode-cache.lock.json", LOCKS / "opencode-cache-1.18.21.lock.json"
    programs = [binary_of(default), binary_of(release)]
    wanted = {}
    for path in (default, release, EXTRA_LOCK, TOOLS_LOCK, *([FIELD_LOCK] if EVERY else [])):
        wanted |= packages_of(path)

    def added(packages, name) -> list[str]:
        get(packages)
        return machine.add_files({name(package): TARBALLS / package.tarball for package in packages})

    with machines.alone():
        integrities = " ".join(sorted(package.integrity for package in wanted.values()))
        machine.remembered(
            f"release {programs[1].integrity}", lambda: unpacked(machine, programs[1], directory)
        )
        machine.remembered(
            f"program {programs[0].integrity}", lambda: added(programs[:1], lambda _: "opencode.tgz")
        )
        machine.remembered(f"tarballs {integrities}", lambda: added(list(wanted.values()), store_name))
        nixpkgs = machines.stand_in(
            machine,
            {"integrity": programs[0].integrity, "version": programs[0].version},
            directory / "nixpkgs",
        )
    inputs = {
        "nixpkgs": f"path:{nixpkgs}",
        # One old model: what the flake does with a catalogue that the binary's own outdates.
        "models-dev": f"path:{project / 'tests' / 'nix' / 'models-dev'}",
    }
    return Flake(machine, f"git+file://{project}", inputs)


def unpacked(machine: Machine, program, directory: Path) -> list[str]:
    """The release archive, which flake.lock names by its hash: the bits that GitHub's has, unpacked."""
    get([program])
    archive = directory / "archive"
    archive.mkdir()
    release_binary._unpack_binary(program, TARBALLS, directory / "npm")
    (directory / "npm" / "bin" / "opencode").rename(archive / "opencode")
    return [machine.add_directory(archive, "source")]


def commit(directory: Path) -> None:
    """Make a directory a repository with one commit."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "test"]):
        subprocess.run(
            [*git, *command], cwd=directory, check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null"}
        )


def get(packages) -> None:
    """Have tarballs in TARBALLS; skip where they are not and the registry cannot be reached."""
    try:
        tarball.fetch(packages, TARBALLS)
    except NetworkError as error:
        pytest.skip(f"needs the npm registry once: {error}")


def machine_of(suite: str) -> Machine:
    if suite == "host":
        if not shutil.which("nix"):
            pytest.skip("needs Nix on PATH")
        return machines.Host("host", "")
    why = machines.why_not()
    if why:
        pytest.skip(f"real Nix builds: {why}")
    try:
        with machines.alone():
            trees.prepare(suite)
            if not os.environ.get("PYTEST_XDIST_WORKER"):
                machines.bound("store")
    except debian.CannotError as error:
        pytest.skip(f"real Nix builds: {error}")
    return Machine(suite, "store")


def packages_of(path: Path):
    return contents.packages(lock.read(path), platforms.named("x86_64-linux"))


def binary_of(path: Path):
    return contents.binary_package(lock.read(path), platforms.named("x86_64-linux"))


def store_name(package) -> str:
    """As nix/npm-tarball.nix has it, for names without characters that Nix does not allow."""
    return f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"


def described(package) -> dict:
    """Its package.json, as far as a client resolves by it."""
    with tarfile.open(TARBALLS / package.tarball) as archive:
        (path,) = [name for name in archive.getnames() if re.fullmatch(r"[^/]+/package\.json", name)]
        found = json.load(archive.extractfile(path))
    wanted = ("name", "version", "dependencies", "optionalDependencies", "os", "cpu", "libc")
    return {name: found[name] for name in wanted if name in found}


class Registry:
    """A registry on loopback, as npm and curl ask for its packages; `login`: what a request must carry."""

    def __init__(self, *packages, login: str = "") -> None:
        self.package = packages[0]
        self.asked: list[str] = []
        self.agents: set[str] = set()
        files, documents = {}, {}
        for package in packages:
            base = package.name.rpartition("/")[2]
            path = f"/{package.name}/-/{base}-{package.version}.tgz"
            files[path] = TARBALLS / package.tarball
            documents.setdefault(f"/{package.name}", []).append((package, path))
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append(self.path)
                registry.agents.add(self.headers["User-Agent"].partition("/")[0])
                if login and self.headers.get("Authorization") != login:
                    self.answer(401, b"")
                elif self.path in files:
                    self.answer(200, files[self.path].read_bytes())
                elif (name := self.path.replace("%2f", "/")) in documents:
                    self.answer(200, json.dumps(self.packument(documents[name])).encode())
                else:
                    self.answer(404, b"")

            def packument(self, known):
                versions = {
                    package.version: described(package)
                    | {"dist": {"tarball": f"{registry.url}{path}", "integrity": package.integrity}}
                    for package, path in known
                }
                return {
                    "name": known[0][0].name,
                    "dist-tags": {"latest": known[-1][0].version},
                    "versions": versions,
                }

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
