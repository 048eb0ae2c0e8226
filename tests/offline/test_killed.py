"""SIGKILL in whole commands, as the kernel sends it when memory is short: the next run has the same result.

Each command is run once undisturbed, then killed at fractions of the time that this took, then run to its
end: what comes out is the same, and nothing of the killed ones is left. OPENCODE_CACHE_TEST_EVERY=1 tries
more moments, with a whole run after each of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kept import EVERY, LOCKS, TEST_LOCKS, slow
from registry import Registry

from opencode_cache.formats import lock
from opencode_cache.npm import client as npm

MOMENTS = [n / 12 for n in range(1, 12)] if EVERY else [0.5]
LOCK = LOCKS / "opencode-cache.lock.json"
LEFT = re.compile(
    r"^\.?making-opencode-|\.part$|^journal$|^staging|^opencode-(home|wrapped|cache)-[a-z0-9_]{8}$"
)
LIMIT = 300
PLAN = 'opencode = "1.18.33"\nsystems = ["x86_64-linux"]\n'


@pytest.fixture(scope="module")
def registry(tarballs, fetch_packages, made_118):
    """The packages of the default lock and of one with a plugin, for this machine's binaries."""
    packages = {}
    for path in (LOCK, TEST_LOCKS / "extra-1.18.lock.json"):
        one = lock.read(path)
        packages |= one.packages | {package.key: package for package in one.opencode.binaries.values()}
    there = [package for package in packages.values() if (tarballs / package.tarball).exists()]
    server = Registry(there, tarballs)
    yield server
    server.close()


class Machine:
    """A user's own HOME and TMPDIR, and commands in them."""

    def __init__(self, root: Path, registry: str) -> None:
        self.root, self.home, self.tmp = root, root / "home", root / "tmp"
        for directory in (self.home, self.tmp, root / "work"):
            directory.mkdir(parents=True)
        self.environ = {
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "PATH": f"{Path(npm.command()[0]).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENCODE_CACHE_LOCKS": str(LOCKS),
            "SOURCE_DATE_EPOCH": "1700000000",
            "npm_config_registry": registry,
            "npm_config_fetch_retries": "0",
        }

    def with_downloads(self, tarballs: Path) -> None:
        """Links to the tarballs that are kept; the directory is the machine's own."""
        directory = self.home / ".cache" / "opencode-cache" / "tarballs"
        directory.mkdir(parents=True)
        for path in tarballs.glob("*.tgz"):
            (directory / path.name).symlink_to(path)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "opencode_cache", *map(str, arguments)],
            cwd=self.root / "work",
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: object) -> str:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        return out

    def killed(self, after: float, *arguments: object, alone: bool = False) -> bool:
        """Whether the command was still at work when it was killed; `alone`: without its children."""
        with self.start(*arguments) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            at_work = process.poll() is None
            if at_work and alone:
                process.kill()
                process.wait(LIMIT)
                time.sleep(0.3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return at_work

    def left(self) -> list[str]:
        """What a killed command may have left, and the next one not removed."""
        ours = [path for path in self.root.rglob("*") if LEFT.search(path.name)]
        # `opencode` is where the OpenCode that `run` becomes keeps its native parts.
        others = [path for path in self.tmp.iterdir() if path.name != "opencode"]
        return sorted({str(path.relative_to(self.root)) for path in (*ours, *others)})


@pytest.fixture
def machine(tmp_path, registry):
    made = []

    def one(name: str) -> Machine:
        made.append(Machine(tmp_path / name, registry.url))
        return made[-1]

    yield one
    for each in made:
        for path in each.root.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def disturbed(machine: Machine, seconds: float, arguments, result):
    """Kill the command at each moment; the whole run after that has `result`, and leaves nothing."""
    hit = 0
    for number, moment in enumerate(MOMENTS):
        hit += machine.killed(moment * seconds, *arguments, alone=number % 2 == 1)
        if EVERY or number == len(MOMENTS) - 1:
            machine.run(*arguments)
            assert result(machine) == result.expected, moment
            assert machine.left() == []
    assert hit


class Result:
    """What a command makes, as something to compare."""

    def __init__(self, read) -> None:
        self.read, self.expected = read, None

    def __call__(self, machine: Machine) -> object:
        return self.read(machine)


def measured(machine: Machine, arguments, result: Result) -> float:
    began = time.monotonic()
    machine.run(*arguments)
    seconds = time.monotonic() - began
    result.expected = result(machine)
    assert machine.left() == []
    return seconds


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@slow
def test_lock(machine):
    arguments = ["lock", "--plan", "plan.toml", "-o", "the.lock.json"]
    result = Result(lambda one: files_of(one.root / "work"))
    machines = [machine("whole"), machine("killed")]
    for one in machines:
        (one.root / "work" / "plan.toml").write_text(PLAN, encoding="utf-8")
    seconds = measured(machines[0], arguments, result)
    disturbed(machines[1], seconds, arguments, result)


def test_fetch(machine):
    arguments = ["fetch", LOCK, "--to", "tarballs"]
    result = Result(lambda one: sorted(files_of(one.root / "work" / "tarballs").items()))
    seconds = measured(machine("whole"), arguments, result)
    disturbed(machine("killed"), seconds, arguments, result)


def store_of(machine: Machine) -> list[str]:
    """Names and lengths in the store; of the links in its wrapper the home is another."""
    root = machine.home / ".local" / "share" / "opencode-cache" / "store"
    return sorted(
        re.sub(r"^[0-9a-f]{32}-(?=opencode-with-cache)", "", str(path.relative_to(root)))
        for path in root.rglob("*")
        if ".records" not in path.parts
    )


@slow
def test_run(machine, tarballs):
    arguments = ["run", "--", "--version"]
    result = Result(store_of)
    whole, killed = machine("whole"), machine("killed")
    for one in (whole, killed):
        one.with_downloads(tarballs)
    seconds = measured(whole, arguments, result)
    disturbed(killed, seconds, arguments, result)
    assert killed.run(*arguments).strip() == lock.read(LOCK).opencode.version


@slow
@pytest.mark.parametrize("victim", ["run", "bundle"])
def test_run_beside_bundle_and_one_of_them_killed(machine, tarballs, victim):
    commands = {"run": ["run", "--", "--version"], "bundle": ["bundle", "--no-prove", "-o", "one.tar.zst"]}
    other = "bundle" if victim == "run" else "run"
    one = machine("one")
    one.with_downloads(tarballs)
    with one.start(*commands[other]) as survivor:
        for moment in (3.0,) if not EVERY else (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8):
            one.killed(moment, *commands[victim])
        _, err = survivor.communicate(timeout=LIMIT)
        assert survivor.returncode == 0, err
    assert one.run(*commands["run"]).strip() == lock.read(LOCK).opencode.version
    if victim == "bundle":
        one.run(*commands["bundle"])
    bundle = (one.root / "work" / "one.tar.zst").read_bytes()
    one.run(*commands["bundle"])
    assert (one.root / "work" / "one.tar.zst").read_bytes() == bundle
    assert [path.name for path in (one.root / "work").iterdir()] == ["one.tar.zst"]
    assert one.left() == []


@slow
def test_an_emptied_lock_of_a_plan_is_made_again(machine, tarballs):
    """The lock that `run` has kept for a plan, as a power cut may leave it."""
    one = machine("one")
    one.with_downloads(tarballs)
    (one.root / "work" / "plan.toml").write_text(PLAN, encoding="utf-8")
    arguments = ["run", "--plan", "plan.toml", "--before", "2099-01-01", "--", "--version"]
    version = one.run(*arguments)
    (kept,) = (one.home / ".local" / "share" / "opencode-cache" / "locks").iterdir()
    text = kept.read_bytes()
    kept.write_bytes(b"")
    assert one.run(*arguments) == version
    assert kept.read_bytes() == text
    assert one.left() == []
