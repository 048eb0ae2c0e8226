"""The machine with Nix, the project as a flake on it, and a store that needs no network any more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import machine as machines
from flake_lab import (
    EXTRA_LOCK,
    LOCKED,
    LOCKS,
    SUITE,
    TARBALLS,
    TOOLS_LOCK,
    Flake,
    Registry,
    binary_of,
    copy_of_the_project,
    get,
    machine_of,
    store_name,
)
from machine import Machine

from opencode_cache import builder, lock, pipeline, systems


@pytest.fixture(scope="session")
def machine() -> Machine:
    return machine_of(SUITE)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def flake(machine, project, tmp_path_factory) -> Flake:
    """The project's flake; the stand-in nixpkgs, the release archive and every tarball are in the store."""
    if LOCKED:
        return Flake(machine, f"git+file://{project}", {})
    default, release = LOCKS / "opencode-cache.lock.json", LOCKS / "opencode-cache-1.18.21.lock.json"
    programs = [binary_of(default), binary_of(release)]
    wanted = {}
    for path in (default, release, EXTRA_LOCK, TOOLS_LOCK):
        wanted |= builder.packages(lock.read(path), systems.named("x86_64-linux"))
    # flake.lock names this path by its hash: the same bits as the archive that GitHub has, unpacked.
    archive = tmp_path_factory.mktemp("release") / "archive"
    with machines.alone():
        get([*programs, *wanted.values()])
        pipeline._unpack_binary(programs[1], TARBALLS, archive.with_name("npm"))
        archive.mkdir()
        (archive.with_name("npm") / "bin" / "opencode").rename(archive / "opencode")
        machine.add_directory(archive, "source")
        machine.add_files({"opencode.tgz": TARBALLS / programs[0].tarball})
        machine.add_files({store_name(package): TARBALLS / package.tarball for package in wanted.values()})
        nixpkgs = machines.stand_in(
            machine,
            {"integrity": programs[0].integrity, "version": programs[0].version},
            tmp_path_factory.mktemp("stand-in") / "nixpkgs",
        )
    inputs = {
        "nixpkgs": f"path:{nixpkgs}",
        # One old model: what the flake does with a catalogue that the binary's own outdates.
        "models-dev": f"path:{project / 'tests' / 'nix' / 'models-dev'}",
    }
    return Flake(machine, f"git+file://{project}", inputs)


@pytest.fixture
def second(machine):
    """Another machine, whose store is empty."""
    if isinstance(machine, machines.Host):
        pytest.skip("a second machine is made with Debian's Nix only; leave out --nix host")
    made = Machine(machine.suite, "second")
    made.empty()
    yield made
    made.empty()


@pytest.fixture(scope="session")
def default(flake) -> str:
    """The path of the default package."""
    return flake.build("default")


@pytest.fixture(scope="session")
def registry(flake):
    """A mirror that has the smallest tarball of the extra lock."""
    package = min(lock.read(EXTRA_LOCK).packages.values(), key=lambda package: package.size or 10**9)
    get([package])
    with Registry(package) as made:
        yield made
