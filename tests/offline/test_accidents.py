"""What goes wrong in real life: one sentence, the right exit status, and nothing half-made left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from opencode_cache.base import python
from opencode_cache.formats import lock as locks
from opencode_cache.sandbox import netns

LEFT_OUT = "--no-warmup"


def command(made, tarballs, out, *more):
    lock = out.parent / "test.lock.json"
    lock.write_text(locks.dumps(made.lock), encoding="utf-8")
    return [
        *(sys.executable, "-m", "opencode_cache", "build"),
        *("--lock", lock, "--tarballs", tarballs, "--opencode", made.opencode, "--out", out),
        *more,
    ]


def beside(out):
    return sorted(path.name for path in out.parent.iterdir() if path.name != "test.lock.json")


@pytest.mark.parametrize("delay", [0.3, 0.8, 1.2, 1.6, 2.0, 2.6, 3.5])
def test_interrupted_at_any_moment(made_extra, tarballs, tmp_path, delay):
    """Ctrl-C goes to the whole foreground process group, as from a terminal."""
    out = tmp_path / "out"
    with subprocess.Popen(
        command(made_extra, tarballs, out),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert "Traceback" not in said
    if process.returncode == 0:
        assert beside(out) == ["out"]
    else:
        assert process.returncode == 130, said
        assert said.strip().splitlines()[-1].endswith("nothing half-made was left behind")
        assert beside(out) == []


def test_killed_in_the_middle_leaves_nothing_under_the_name(made_extra, tarballs, tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(
        command(made_extra, tarballs, out), stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 30
        while not beside(out) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert "out" not in beside(out)


def test_a_full_disk(made_118, tarballs, tmp_path, isolated):
    """On a disk of 20 MB, of which the cache needs four times as much."""
    disk = tmp_path / "disk"
    disk.mkdir()
    build = [str(word) for word in command(made_118, tarballs, disk / "out", LEFT_OUT)]
    script = (
        'mount -t tmpfs -o size=20m none "$1" && cd "$1" && shift && mv ../saved.json test.lock.json && "$@"'
    )
    (disk / "test.lock.json").rename(tmp_path / "saved.json")
    done = subprocess.run(
        netns.command(
            [], ["sh", "-c", f'{script} && "$@"; status=$?; ls -A "$PWD"; exit $status', "sh", disk, *build]
        ),
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "no space left" in done.stderr.lower()
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout.split() == ["test.lock.json"]


def test_a_cache_that_lacks_a_plugin_is_a_failed_build(made_10, tarballs, tmp_path, isolated):
    """The warm-up names what the real OpenCode asked the registry for."""
    gone = next(r for r in made_10.lock.requests if r.name == "opencode-copilot-auth")
    document = made_10.lock.model_dump(mode="json")
    document["requests"] = [r for r in document["requests"] if r["spec"] != gone.spec]
    del document["trees"]["."]["node_modules/opencode-copilot-auth"]
    path = tmp_path / "short.lock.json"
    path.write_text(locks.dumps(locks.Lock.model_validate(document)), encoding="utf-8")
    out = tmp_path / "out"
    words = command(made_10, tarballs, out)
    words[words.index("--lock") + 1] = path
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "opencode-copilot-auth" in done.stderr
    assert "--plugin" in done.stderr
    assert not out.exists()
