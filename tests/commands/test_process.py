"""The command as a process of its own: what it loads, and streams and directories that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOCK = Path(__file__).resolve().parents[2] / "nix/locks/opencode-cache.lock.json"


def command(*arguments, **options):
    """The program itself; stderr is a pipe, so no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "opencode_cache", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


@pytest.mark.parametrize("arguments", [["doctor", "--json"], ["doctor"], ["--version"]])
@pytest.mark.parametrize("stream", ["full", "closed"])
def test_an_answer_that_nobody_gets_is_a_failure(arguments, stream, tmp_path):
    environ = os.environ | {"HOME": str(tmp_path)}
    if stream == "full":
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = command(*arguments, stdout=full, env=environ)
    else:
        done = command(*arguments, preexec_fn=lambda: os.close(1), env=environ)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "stdout: cannot be written" in done.stderr


@pytest.mark.parametrize("arguments", [["doctor"], ["wrap", "--cache", "a", "--opencode", "b", "--out", "c"]])
def test_a_directory_that_is_gone_is_one_sentence(arguments, tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    done = command(
        *arguments,
        cwd=place,
        preexec_fn=place.rmdir,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"HOME": "/"},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is gone" in done.stderr


def test_a_command_loads_what_it_needs():
    """`./dev bench` measures what that saves."""
    program = (
        "import sys; sys.argv[1:] = sys.argv[1].split()\n"
        "from opencode_cache.cli.main import main\n"
        "try: main()\n"
        "finally: sys.stderr.write('\\n'.join(sys.modules))"
    )

    def loaded(arguments):
        done = subprocess.run(
            [sys.executable, "-c", program, arguments], capture_output=True, text=True, check=True
        )
        return set(done.stderr.splitlines())

    version = loaded("--version")
    assert not version & {
        "rich",
        "pydantic",
        "requests",
        "opencode_cache.pipeline",
        "opencode_cache.base.console",
    }
    # What asks for nothing loads nothing that asks.
    assert not [name for name in loaded("verify --help") if name.startswith("opencode_cache.update")]


def test_neither_a_bad_lock_nor_a_reader_that_went_away_gives_a_traceback(tmp_path):
    (tmp_path / "bad.json").write_text("[" * 100_000, encoding="utf-8")
    bad = command("fetch", tmp_path / "bad.json", "--to", tmp_path / "t", stdout=subprocess.PIPE)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.count("\n") == 1
    assert bad.stderr.startswith("opencode-cache: ")
    assert "bad.json" in bad.stderr
    assert "restore the file or make it again" in bad.stderr
    reader, writer = os.pipe()
    os.close(reader)
    try:
        unread = command("list", "--lock", LOCK, "--system", "x86_64-linux", "--json", stdout=writer)
    finally:
        os.close(writer)
    assert unread.stderr == ""
