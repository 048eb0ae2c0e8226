"""Real OpenCode binaries and real caches for the offline tests; downloads are kept between runs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from kept import KEPT, LOCKS, TEST_LOCKS

from opencode_cache.base import store
from opencode_cache.base.errors import NetworkError
from opencode_cache.build import builder, release_binary
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import contents, lock
from opencode_cache.npm import platforms
from opencode_cache.sandbox import netns

sys.path.append(str(Path(__file__).parents[1] / "unit"))


@dataclass(frozen=True)
class Made:
    """A lock's OpenCode binary and a cache built from it."""

    lock: lock.Lock
    opencode: Path
    cache: Path


@pytest.fixture(scope="session")
def tarballs() -> Path:
    """Where tarballs are kept between runs."""
    directory = KEPT / "tarballs"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def fetch_packages(tarballs):
    def fetch(packages):
        try:
            tarball.fetch(packages, tarballs)
        except NetworkError as error:
            pytest.skip(f"needs the npm registry once: {error}")

    return fetch


@pytest.fixture(scope="session")
def make(tarballs, fetch_packages, tmp_path_factory):
    """Lock file → Made: fetched, and built anew with this checkout's code, once for all workers."""
    system = platforms.current()
    place = store.Store(KEPT / "store")
    done: dict[Path, Made] = {}
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def one(path: Path, **options: object) -> Made:
        if path not in done or options:
            found = lock.read(path)
            package = contents.binary_package(found, system)
            fetch_packages([*contents.packages(found, system).values(), package])
            opencode = release_binary.in_store(package, tarballs, place)
            inputs = builder.Inputs(found, tarballs, opencode, system, **options)
            if options:
                cache = tmp_path_factory.mktemp("cache") / "cache"
                builder.build(inputs, cache)
                return Made(found, opencode, cache)
            cache = shared / f"cache-{path.stem}"
            with (shared / f"cache-{path.stem}.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not cache.exists():
                    builder.build(inputs, cache)
            done[path] = Made(found, opencode, cache)
        return done[path]

    return one


@pytest.fixture(scope="session")
def made_118(make):
    return make(LOCKS / "opencode-cache.lock.json")


@pytest.fixture(scope="session")
def made_extra(make):
    """1.18 with a plugin and a provider SDK that it does not bundle."""
    return make(TEST_LOCKS / "extra-1.18.lock.json")


@pytest.fixture(scope="session")
def made_10(make):
    return make(LOCKS / "opencode-cache-1.0.lock.json")


@pytest.fixture(scope="session")
def cache_118(made_extra):
    return made_extra.cache


@pytest.fixture(scope="session")
def opencode_118(made_extra):
    return made_extra.opencode


@pytest.fixture(scope="session")
def cache_10(made_10):
    return made_10.cache


@pytest.fixture(scope="session")
def opencode_10(made_10):
    return made_10.opencode


@pytest.fixture(scope="session")
def isolated():
    """Skip where no network namespace can be had."""
    can = netns.available()
    if not can.ok:
        pytest.skip(f"needs a network namespace of its own: {can.why}")


@pytest.fixture(scope="session")
def bun() -> Path:
    """The Bun of OpenCode 2.x, as a program of its own."""
    name = f"@oven/bun-linux-{'x64-baseline' if platforms.current().cpu == 'x64' else 'aarch64'}"
    prefix = KEPT / "bun"
    program = prefix / "node_modules" / name / "bin" / "bun"
    if not program.exists():
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save")
        command = ["npm", "install", "--prefix", str(prefix), *options, f"{name}@1.4.5"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if not program.exists():
            pytest.skip(f"needs Bun, from the npm registry once: {done.stderr[-300:]}")
    return program
