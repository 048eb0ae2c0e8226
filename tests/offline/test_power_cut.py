"""After a power cut: each kind of file in the store emptied, one at a time, and processes killed half-way."""

from __future__ import annotations

import datetime as dt
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from kept import EVERY, TEST_LOCKS, slow

from opencode_cache import pipeline
from opencode_cache.formats import lock, manifest
from opencode_cache.formats.proof import Proof, Step
from opencode_cache.prove import on_file

LOCK = TEST_LOCKS / "extra-1.18.lock.json"
"""Has a package of each kind, and is built in half the time of the one that ships."""


@pytest.fixture(scope="module")
def home(tarballs, tmp_path_factory):
    """A data directory of its own, with the tarballs that are kept."""
    top = tmp_path_factory.mktemp("power")
    (top / "cache" / "opencode-cache").mkdir(parents=True)
    (top / "cache" / "opencode-cache" / "tarballs").symlink_to(tarballs)
    return top


@pytest.fixture
def ready(home, monkeypatch, made_extra):
    """What `run` does before it starts OpenCode, but for the proof, which other tests are for."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    # None has come along.
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(home))
    proved = []

    def verify(cache, opencode, **_):
        proved.append(1)
        proof = Proof(
            **on_file.identity(cache, manifest.read(cache), opencode).model_dump(),
            tool="0",
            opencode="1.18.33",
            time=dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
            machine="x86_64, 2 CPUs",
            kernel="Linux 6.1.0",
            start_seconds=1,
            path=(),
            isolated=True,
            steps=(Step(name="models", ok=True, seconds=1, detail=""),),
            hosts=(),
            ok=True,
        )
        on_file.put(proof)
        return proof

    monkeypatch.setattr(pipeline, "verify", verify)
    return lambda: (pipeline.ready(LOCK), len(proved))


def files_of_each_kind(built):
    """The program, the wrapper, and of the cache a file of a package and its list."""
    modules = built.cache / "packages" / "opencode-gemini-auth@latest" / "node_modules"
    yield built.opencode
    yield built.program
    yield modules / "opencode-gemini-auth" / "package.json"
    if EVERY:  # each costs another build
        yield built.cache / "manifest.json"


def test_whatever_file_is_emptied_the_next_run_has_it_again(ready, home):
    built, _ = ready()
    for path in files_of_each_kind(built):
        content = path.read_bytes()
        assert content, path
        path.chmod(0o644)
        path.write_bytes(b"")
        again, _ = ready()
        assert again == built
        assert path.read_bytes() == content, path
    environ = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [built.program, "--version"], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == lock.read(LOCK).opencode.version


def test_an_emptied_proof_is_made_again(ready, home):
    ready()
    (proof,) = (home / "data" / "opencode-cache" / "proofs").glob("*.json")
    proof.write_text("", encoding="utf-8")
    assert ready()[1] == 1
    assert ready()[1] == 1


def test_a_killed_build_is_swept_by_the_next_one(made_extra, tarballs, tmp_path):
    """Killed at several moments; the next build leaves nothing beside itself."""
    path = tmp_path / "the.lock.json"
    path.write_text(lock.dumps(made_extra.lock), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "opencode_cache", "build", "--no-warmup", "--lock", path),
        *("--tarballs", tarballs, "--opencode", made_extra.opencode, "--out", tmp_path / "out"),
    ]
    left = False
    for _ in range(3):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            limit = time.monotonic() + 60
            while not list(tmp_path.glob(".making-*/out/*")) and time.monotonic() < limit:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
        left = left or bool(list(tmp_path.glob(".making-*")))
        assert not (tmp_path / "out").exists()
    assert left
    subprocess.run(command, check=True, capture_output=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "the.lock.json"]


@pytest.mark.parametrize("umask", [pytest.param(0o000, marks=slow), 0o077, pytest.param(0o777, marks=slow)])
def test_whatever_the_umask_what_is_built_and_wrapped_is_for_all_to_read(
    made_extra, tarballs, tmp_path, umask
):
    path = tmp_path / "the.lock.json"
    path.write_text(lock.dumps(made_extra.lock), encoding="utf-8")
    out, prefix = tmp_path / "new" / "cache", tmp_path / "other" / "wrapped"
    program = [sys.executable, "-m", "opencode_cache"]
    given = ["--opencode", made_extra.opencode]
    for command in (
        ["build", "--no-warmup", "--lock", path, "--tarballs", tarballs, *given, "--out", out],
        ["wrap", "--cache", out, *given, "--out", prefix],
    ):
        subprocess.run(
            [*program, *command], check=True, capture_output=True, preexec_fn=lambda: os.umask(umask)
        )
    found = [out.parent, prefix.parent, *out.parent.rglob("*"), *prefix.parent.rglob("*")]
    for one in found:
        if not one.is_symlink():
            mode = stat.S_IMODE(one.stat().st_mode)
            assert mode & 0o022 == 0, one
            assert mode & 0o444 == 0o444, one
            # What is preloaded is for nobody to write.
            assert mode & 0o200 or one.parent.name == "libexec", one


def test_the_program_that_run_starts_has_the_callers_umask(tmp_path):
    script = (
        "import os, sys; from opencode_cache.cli import main, make, process; from pathlib import Path\n"
        "from opencode_cache import pipeline\n"
        f"made = pipeline.Built(Path('x'), Path('x'), Path({str(tmp_path / 'program')!r}))\n"
        "pipeline.ready_for = lambda *_, **__: made\n"
        "sys.argv = ['opencode-cache', 'run']; main.main()\n"
    )
    (tmp_path / "program").write_text("#!/bin/sh\numask\n", encoding="utf-8")
    (tmp_path / "program").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.umask(0o027),
        check=True,
    )
    assert done.stdout.strip() == "0027"
