"""The project as a flake on a machine with Nix: what fixtures and tests share."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import debian
import machine as machines
import pytest
import trees
from machine import Machine
from trees import REPOSITORY

from opencode_cache import builder, lock, systems, tarball
from opencode_cache.errors import NetworkError

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


class Flake:
    """A flake on a machine: `nix` commands with the inputs that are there instead of the locked ones."""

    def __init__(self, machine: Machine, url: str, inputs: dict[str, str]) -> None:
        self.machine = machine
        self.url = url
        self.inputs = inputs

    def nix(
        self, *command: str, at: str = "", rest=(), check: bool = True, offline: bool = True, suite: str = ""
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


def binary_of(path: Path):
    return builder.binary_package(lock.read(path), systems.named("x86_64-linux"))


def store_name(package) -> str:
    """As nix/npm-tarball.nix has it, for names without characters that Nix does not allow."""
    return f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"


class Registry:
    """A registry on loopback with one package, as npm and curl ask for it; `login`: what a request must carry."""

    def __init__(self, package, login: str = "") -> None:
        self.package = package
        self.asked: list[str] = []
        self.agents: set[str] = set()
        base = package.name.rpartition("/")[2]
        path = f"/{package.name}/-/{base}-{package.version}.tgz"
        content = (TARBALLS / package.tarball).read_bytes()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append(self.path)
                registry.agents.add(self.headers["User-Agent"].partition("/")[0])
                if login and self.headers.get("Authorization") != login:
                    self.answer(401, b"")
                elif self.path == path:
                    self.answer(200, content)
                elif self.path.replace("%2f", "/") == f"/{package.name}":
                    self.answer(200, json.dumps(self.packument()).encode())
                else:
                    self.answer(404, b"")

            def packument(self):
                dist = {"tarball": f"{registry.url}{path}", "integrity": package.integrity}
                version = {"name": package.name, "version": package.version, "dist": dist}
                return {
                    "name": package.name,
                    "dist-tags": {"latest": package.version},
                    "versions": {package.version: version},
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
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
