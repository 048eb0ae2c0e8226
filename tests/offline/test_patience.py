"""A machine ten times as slow as this one: a cgroup's quota, of version 2 or 1, whichever can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from kept import KEPT, REPOSITORY, slow

from opencode_cache.formats import shipped

_PERIOD = 100_000
_GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def slowed():
    """The file that makes its writer slow: a tenth of this machine's CPUs for all that it starts."""
    quota = (os.cpu_count() or 1) * _PERIOD // 10
    name = f"opencode-cache-{os.getpid()}"
    for group, files in (
        (_GROUPS / name, {"cpu.max": f"{quota} {_PERIOD}"}),
        (_GROUPS / "cpu" / name, {"cpu.cfs_period_us": f"{_PERIOD}", "cpu.cfs_quota_us": f"{quota}"}),
    ):
        try:
            group.mkdir()
        except OSError:
            continue
        if not all((group / file).exists() for file in files):
            group.rmdir()  # no cpu controller there, or no cgroups: a file system that takes any file
            continue
        for file, text in files.items():
            (group / file).write_text(text)
        yield group / "cgroup.procs"
        limit = time.monotonic() + 60  # what ends there takes its time, too
        while (group / "cgroup.procs").exists() and (group / "cgroup.procs").read_text():
            assert time.monotonic() < limit, "something runs on"
            time.sleep(0.5)
        with suppress(FileNotFoundError):  # some systems remove one that is empty
            group.rmdir()
        return
    pytest.skip("needs a cgroup with a CPU quota, of either version, that can be written")


@slow
def test_run_proves_and_starts_on_a_machine_ten_times_as_slow(isolated, slowed, made_118, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    # Without its proof, so that there is something to prove.
    name = f"opencode-cache{shipped.LOCK}"
    (locks / name).write_bytes((REPOSITORY / "nix" / "locks" / name).read_bytes())
    (tmp_path / "cache" / "opencode-cache").mkdir(parents=True)
    (tmp_path / "cache" / "opencode-cache" / "tarballs").symlink_to(KEPT / "tarballs")
    home = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "OPENCODE_CACHE_LOCKS": str(locks),
    }
    done = subprocess.run(
        [
            *("/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', slowed),
            *(sys.executable, "-m", "opencode_cache", "run", "--", "models"),
        ],
        env=os.environ | home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "verifying" in done.stderr
    assert "opencode/" in done.stdout
