"""The machine with Nix, the project as a flake on it, and a store that needs no network any more."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import machine as machines
from consumer_lab import CONSUMER, own_lock, with_another_hash, without_the_config_directory
from flake_lab import (
    EXTRA_LOCK,
    FIELD_LOCK,
    SUITE,
    TOOLS_LOCK,
    TWO_LOCK,
    Flake,
    Registry,
    commit,
    copy_of_the_project,
    flake_on,
    get,
    machine_of,
)
from machine import Machine
from modules_lab import USERS
from trees import KEPT, remove

from opencode_cache.formats import lock


@pytest.fixture(scope="session")
def machine() -> Machine:
    return machine_of(SUITE)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def flake(machine, project, tmp_path_factory) -> Flake:
    """The project's flake; the stand-in nixpkgs, the release archive and every tarball are in the store."""
    return flake_on(machine, project, tmp_path_factory.mktemp("flake"))


@pytest.fixture
def second(machine):
    """Another machine, whose store is empty."""
    if isinstance(machine, machines.Host):
        pytest.skip("a second machine is made with Debian's Nix only; leave out --nix host")
    for left in KEPT.glob("second-*"):
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            remove(left)
    made = Machine(machine.suite, f"second-{os.getpid()}")
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


@pytest.fixture(scope="session")
def consumer(flake, registry, tmp_path_factory) -> Flake:
    place = tmp_path_factory.mktemp("consumer")
    (place / "flake.nix").write_text(flake.consumed(CONSUMER).replace("@MIRROR@", registry.url))
    shutil.copyfile(TOOLS_LOCK, place / "tools.lock.json")
    shutil.copyfile(TWO_LOCK, place / "two.lock.json")
    shutil.copyfile(FIELD_LOCK, place / "field.lock.json")
    lock_text = EXTRA_LOCK.read_text()
    (place / "own.lock.json").write_text(own_lock())
    (place / "mirrored.lock.json").write_text(lock_text)
    (place / "lacking.lock.json").write_text(json.dumps(without_the_config_directory(lock_text)))
    (place / "tampered.lock.json").write_text(json.dumps(with_another_hash(lock_text, registry.package.key)))
    commit(place)
    return Flake(flake.machine, f"git+file://{place}", {})


@pytest.fixture(scope="session")
def users(flake, tmp_path_factory) -> Flake:
    """A flake that uses the modules."""
    place = tmp_path_factory.mktemp("modules")
    (place / "flake.nix").write_text(flake.consumed(USERS))
    (place / "own.lock.json").write_text(own_lock())
    commit(place)
    return Flake(flake.machine, f"git+file://{place}", {})
