"""OpenCode 1.18.18 of four systems, really run: build, warm-up, wrapper, proof, and a bundle as it ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import systems
import zstandard
from kept import KEPT, TEST_LOCKS

from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import release_binary
from opencode_cache.formats import contents, lock
from opencode_cache.formats.proof import Proof
from opencode_cache.npm import platforms
from opencode_cache.ship import unbundle

if TYPE_CHECKING:
    from pathlib import Path

LOCK = TEST_LOCKS / "systems-1.18.18.lock.json"
EVERY = bool(os.environ.get("OPENCODE_CACHE_TEST_EVERY"))
LIMIT = 7200
NAMES = ("x86_64-linux", "x86_64-linux-musl", "aarch64-linux", "aarch64-linux-musl")
every = pytest.mark.skipif(
    not EVERY, reason="proofs under an emulator take many minutes; OPENCODE_CACHE_TEST_EVERY=1 makes them"
)


@dataclass(frozen=True)
class Machine:
    """A system, its OpenCode, and a cache that was built and warmed up with it."""

    foreign: systems.Foreign
    opencode: Path
    cache: Path
    data: Path

    def run(self, command: str, *words) -> subprocess.CompletedProcess[str]:
        return cli(self.data, command, *words, *self.foreign.options)

    @property
    def made(self) -> list[str]:
        return ["--cache", str(self.cache), "--opencode", str(self.opencode)]


def cli(data: Path, *words) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opencode_cache", *map(str, words)],
        env=os.environ | {"XDG_DATA_HOME": str(data), "SOURCE_DATE_EPOCH": "1790000000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.fixture(scope="module")
def machine(request, isolated, fetch_packages, tarballs, tmp_path_factory) -> Machine:
    foreign = systems.foreign(request.param)
    found, system = lock.read(LOCK), platforms.named(foreign.system)
    package = contents.binary_package(found, system)
    fetch_packages([*contents.packages(found, system).values(), package])
    opencode = release_binary.in_store(package, tarballs, store.Store(KEPT / "store"))
    directory = tmp_path_factory.mktemp(foreign.system)
    one = Machine(foreign, opencode, directory / "cache", directory / "data")
    words = ["--lock", LOCK, "--tarballs", tarballs, "--system", system.name, "--opencode", opencode]
    done = one.run("build", *words, "--out", one.cache)
    assert done.returncode == 0, done.stderr
    assert "warming up" in done.stderr
    return one


def of(*names: str):
    return pytest.mark.parametrize("machine", names, indirect=True, scope="module")


WRAPPED = """
import os, sys
from pathlib import Path
from opencode_cache.sandbox import foreign
system, emulator, sysroot, *command = sys.argv[1:]
if emulator or sysroot:
    foreign.enter(system, Path(emulator) if emulator else None, Path(sysroot) if sysroot else None)
os.execv(command[0], command)
"""


@of(*(NAMES if EVERY else ("x86_64-linux-musl",)))
def test_built_warmed_up_and_wrapped(machine, tmp_path):
    assert cli(machine.data, "wrap", *machine.made, "--out", tmp_path / "wrapped").returncode == 0
    how = [machine.foreign.system, str(machine.foreign.emulator or ""), str(machine.foreign.sysroot or "")]
    done = subprocess.run(
        [sys.executable, "-c", WRAPPED, *how, str(tmp_path / "wrapped/bin/opencode"), "models"],
        env=os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "opencode/" in done.stdout
    assert (tmp_path / ".cache-nix/opencode/packages").is_dir()


@every
@of(*NAMES)
def test_verified(machine, capsys):
    done = machine.run("verify", *machine.made, "--json")
    proof = Proof.model_validate_json(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\n{machine.foreign.system}, {proof.machine}:\n")
        for step in proof.steps:
            ok = "ok" if step.ok else "NO"
            sys.stdout.write(f"  {ok} {step.seconds:7.1f}  {step.name}: {step.detail[:100]}\n")
    assert done.returncode == 0, done.stderr
    assert proof.complete
    assert {"models", "serve", "run", "tui", "second start"} <= {step.name for step in proof.steps}


@every
@of(*NAMES)
def test_a_bundle_is_proved_as_it_ships(machine, tmp_path, monkeypatch):
    file = tmp_path / "bundle.tar.zst"
    done = machine.run("bundle", *machine.made, "-o", file)
    assert done.returncode == 0, done.stderr
    assert "verifying what ships" in done.stderr
    proof = shipped_proof(file)
    assert proof.complete
    assert proof.installation_sha256
    assert proof.path == ("/usr/bin", "/bin", "/opt/opencode/libexec/path")
    # The same again is the same file: its proof is on file.
    again = machine.run("bundle", *machine.made, "-o", tmp_path / "again")
    assert "verifying" not in again.stderr
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    assert unbundle.unbundle(file, tmp_path / "to", system=machine.foreign.system).changed
    other = next(name for name in NAMES if name != machine.foreign.system)
    monkeypatch.setattr(platforms, "current", lambda: platforms.named(other))
    with pytest.raises(
        BadInputError, match=f"the bundle is for {machine.foreign.system}, this machine is {other}"
    ):
        unbundle.unbundle(file, tmp_path / "elsewhere")


def shipped_proof(file: Path) -> Proof:
    with (
        file.open("rb") as raw,
        tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(raw), mode="r|") as archive,
    ):
        for member in archive:
            if member.name == "proof.json":
                return Proof.model_validate(json.load(archive.extractfile(member)))
    raise AssertionError("no proof in it")


def test_the_lock_has_the_native_parts_of_each_system():
    found = lock.read(LOCK)
    assert set(NAMES) <= set(found.opencode.binaries)
    assert {contents.binary_package(found, platforms.named(name)).version for name in NAMES} == {"1.18.18"}
    native = {
        name: {
            package.name
            for package in contents.packages(found, platforms.named(name)).values()
            if package.cpu
        }
        for name in ("x86_64-linux", "aarch64-linux", "aarch64-darwin")
    }
    for name, cpu in (
        ("x86_64-linux", "linux-x64"),
        ("aarch64-linux", "linux-arm64"),
        ("aarch64-darwin", "darwin-arm64"),
    ):
        assert f"@msgpackr-extract/msgpackr-extract-{cpu}" in native[name]
