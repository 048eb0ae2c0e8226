"""What nobody uses of the store goes; what is in use stays, with all that it needs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from opencode_cache.base import files, roots, store
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest
from opencode_cache.prove import on_file
from opencode_cache.ship import gc


@dataclass(frozen=True)
class Made:
    opencode: Path
    cache: Path
    wrapped: Path

    @property
    def program(self) -> Path:
        return self.wrapped / "bin/opencode"

    @property
    def all(self) -> set[Path]:
        return {self.opencode, self.cache, self.wrapped}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def proof_of(cache: Path) -> str:
    return on_file.identity(cache, manifest.read(cache)).file_name()


def make(version: str, *, plugin: str = "") -> Made:
    """A program, a cache of the bun layout and a wrapper that names both."""
    place = store.default()

    def program(out: Path) -> None:
        (out / "bin").mkdir(parents=True)
        (out / "bin/opencode").write_text(version)

    def cache(out: Path) -> None:
        (out / "tui").mkdir(parents=True)
        (out / "tui/tui-1").symlink_to(opencode / "bin/opencode")
        package = manifest.CachedPackage(name="@s/p", version=version, integrity="sha512-x", specs=("p",))
        made = manifest.Manifest(
            builder="1",
            opencode=version,
            opencode_sha256=hashlib.sha256(version.encode()).hexdigest(),
            layout="bun",
            cache_version="14",
            system="x86_64-linux",
            links=(),
            requests=(),
            packages=(package,),
            files=1,
            bytes=1,
        )
        (out / manifest.FILE).write_text(manifest.dumps(made))

    def wrapper(out: Path) -> None:
        (out / "bin").mkdir(parents=True)
        (out / "bin/opencode").write_text(f"#!/bin/sh\ncache={made_cache}\nexec '{opencode}'/bin/opencode\n")

    opencode = place.add(store.key("o", version), f"opencode-x-{version}", program)
    made_cache = place.add(store.key("c", version, plugin), f"opencode-cache-{version}", cache)
    key = store.key("w", version, plugin)
    wrapped = place.add(key, f"opencode-with-cache-{version}", wrapper)
    files.write_atomically(store.data_home() / "proofs" / proof_of(made_cache), "{}")
    for name in (f"@s+p@{version}.tgz", f"opencode-x@{version}.tgz"):
        files.write_atomically(store.downloads() / name, "data")
    time.sleep(0.01)  # the clock of a file system is coarse
    return Made(opencode, made_cache, wrapped)


def swept(keep: int = 0) -> set[Path]:
    """What is left in the store."""
    gc.remove(gc.unused(keep, os.environ))
    assert not list(store.default().root.glob(".making-*"))
    return set(store.default().entries())


def kept_files() -> set[str]:
    places = [store.downloads(), store.data_home() / "proofs"]
    return {path.name for place in places for path in place.iterdir()}


@pytest.mark.usefixtures("home")
def test_the_newest_stay_with_all_that_they_need():
    old, middle, new = make("1.0.61"), make("1.18.33"), make("1.18.34")
    assert gc.unused(3, os.environ).paths == ()
    assert swept(2) == middle.all | new.all
    assert swept(1) == new.all
    assert kept_files() == {"@s+p@1.18.34.tgz", "opencode-x@1.18.34.tgz", proof_of(new.cache)}
    assert swept(0) == set()
    assert not old.cache.exists()


@pytest.mark.usefixtures("home")
def test_a_wrapper_goes_before_what_it_needs():
    made = make("1.0.61")
    assert gc.unused(0, os.environ).entries[0] == made.wrapped


def test_what_a_link_leads_to_stays(home):
    old, _ = make("1.0.61"), make("1.18.33")
    roots.leave(old.program, home / "bin/opencode")
    assert swept() == old.all
    (home / "bin/opencode").unlink()
    assert swept() == set()


def test_a_link_that_was_turned_is_forgotten(home):
    old, new = make("1.0.61"), make("1.18.33")
    roots.leave(old.program, home / "bin/opencode")
    roots.leave(new.program, home / "bin/opencode")
    assert swept() == new.all
    (home / "bin/opencode").unlink()
    (home / "bin/opencode").symlink_to("/bin/sh")
    assert swept() == set()
    assert roots.links(store.default()) == []


@pytest.mark.parametrize("cache_home", [None, "elsewhere"])
def test_what_the_users_pointer_leads_to_stays_with_its_program(home, cache_home, monkeypatch):
    one, two = make("1.18.33"), make("1.18.33", plugin="other")
    root = home / (cache_home or ".cache-nix")
    if cache_home:
        monkeypatch.setenv("XDG_CACHE_HOME", str(root))
    pointer = root / "opencode/.nix/bun"
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(one.cache)
    assert swept() == one.all
    assert not two.cache.exists()


@pytest.mark.usefixtures("home")
def test_what_a_process_was_started_with_stays():
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc")
    old, _ = make("1.0.61"), make("1.18.33")
    preload = {"BUN_INSPECT_PRELOAD": f"{old.wrapped}/libexec/opencode-preload.js"}
    with subprocess.Popen(["sleep", "60"], env=os.environ | preload) as process:
        left = swept()
        process.kill()
    assert left == old.all


@pytest.mark.usefixtures("home")
def test_two_wrappers_of_one_cache_do_not_keep_each_other(home):
    made = make("1.18.33")
    text = made.program.read_text()

    def other(out: Path) -> None:
        (out / "bin").mkdir(parents=True)
        (out / "bin/opencode").write_text(text)

    second = store.default().add(store.key("second"), "opencode-with-cache-1.18.33", other)
    roots.leave(second / "bin/opencode", home / "link")
    assert swept() == made.all - {made.wrapped} | {second}


@pytest.mark.usefixtures("home")
def test_locks_that_nobody_uses_go_and_damaged_ones_stay():
    locks = store.data_home() / "locks"
    files.write_atomically(locks / "1.18.33-x.lock.json", "{")
    assert swept() == set()
    assert (locks / "1.18.33-x.lock.json").exists()


@pytest.mark.usefixtures("home")
def test_an_empty_machine_has_nothing_to_remove():
    assert gc.unused(0, os.environ).paths == ()
    with pytest.raises(BadInputError, match="--keep -1"):
        gc.unused(-1, os.environ)
