"""Namespaces, by entering them in child processes; skipped where the kernel does not allow it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.sandbox import confine, netns

LOOK = """
import json, os, socket, sys
def writes(path):
    try:
        open(path, "w").close()
        return True
    except OSError as error:
        return error.strerror
with socket.socket() as outside:
    outside.settimeout(1)
    reached = outside.connect_ex(("192.0.2.1", 80))
with socket.socket() as server, socket.socket() as client:
    server.bind(("127.0.0.1", 0))
    server.listen()
    client.connect(server.getsockname())
print(json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex() if name == "lo" or reached == 0],
    "reached": os.strerror(reached),
    "uid": os.getuid(),
    "resolv": open("/etc/resolv.conf").read() if os.path.exists("/etc/resolv.conf") else None,
    "writes": [writes(path) for path in sys.argv[1:]],
}))
"""


@pytest.fixture
def namespaces():
    can = netns.available()
    if not can.ok:
        pytest.skip(f"needs a network namespace of its own: {can.why}")


def isolated(read_only, *arguments, **options):
    return subprocess.run(
        netns.command(read_only, [sys.executable, *arguments]),
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **options,
    )


def test_only_loopback_and_own_resolver(namespaces, tmp_path):
    fixed, free = tmp_path / "fixed", tmp_path / "free"
    fixed.mkdir()
    free.mkdir()
    done = isolated([fixed], "-c", LOOK, fixed / "file", free / "file")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["interfaces"] == ["lo"]
    assert seen["reached"] == "Network is unreachable"
    assert seen["uid"] == os.getuid()
    assert seen["resolv"] is None or "nameserver 127.0.0.1\n" in seen["resolv"]
    assert seen["writes"] == ["Read-only file system", True]
    assert (free / "file").exists()


def test_the_machine_outside_is_as_before(namespaces, tmp_path):
    resolver = Path("/etc/resolv.conf")
    before = resolver.read_bytes() if resolver.exists() else None
    assert isolated([tmp_path], "-c", "").returncode == 0
    (tmp_path / "still-writable").touch()
    assert (resolver.read_bytes() if resolver.exists() else None) == before


def test_the_exit_status_passes_through(namespaces):
    assert isolated([], "-c", "raise SystemExit(7)").returncode == 7
    assert isolated([], "-c", "import os; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL


def test_a_directory_that_is_not_there_is_bad_input(namespaces, tmp_path):
    done = isolated([tmp_path / "gone"], "-c", "")
    assert done.returncode == BadInputError.exit_status
    assert str(tmp_path / "gone") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_is_not_there_is_bad_input(namespaces, tmp_path):
    done = subprocess.run(
        netns.command([], [tmp_path / "gone"]),
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == BadInputError.exit_status
    assert "cannot be run" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_ends_with_its_parent(namespaces, tmp_path):
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid()) + '.'); time.sleep(60)"
    start = (
        f"import subprocess; subprocess.Popen({netns.command([], [sys.executable, '-c', child])!r}).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", start], env=os.environ | python.path()) as parent:
        limit = time.monotonic() + 15
        while not (pid_file.exists() and pid_file.read_text().endswith(".")) and time.monotonic() < limit:
            time.sleep(0.01)
        pid = int(pid_file.read_text()[:-1])
        parent.kill()
        parent.wait()
    while time.monotonic() < limit and _runs(pid):
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid):
    # A process that ended and that nobody waits for yet is a zombie.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_other_systems_get_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    netns.available.cache_clear()
    try:
        can = netns.available()
        assert not can.ok
        assert "darwin" in can.why
        with pytest.raises(CheckFailedError, match="darwin"):
            netns.enter()
    finally:
        netns.available.cache_clear()


def test_a_kernel_that_refuses_is_quoted(monkeypatch):
    said = subprocess.CompletedProcess(
        [], 1, "", "the kernel refuses it to uid 1 (Operation not permitted)\n"
    )
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    netns.available.cache_clear()
    try:
        assert netns.available() == netns.Capability(ok=False, why=said.stderr.strip())
    finally:
        netns.available.cache_clear()


TRY = """
import json, os, pathlib, subprocess, sys
def tries(act, *given):
    try:
        act(*given)
        return "done"
    except OSError as error:
        return type(error).__name__
def write(path):
    with open(path, "a") as file:
        file.write("x")
def remount():
    if subprocess.run(["mount", "-o", "remount,rw", "/"], capture_output=True).returncode:
        raise PermissionError
home = os.environ["HOME"]
print(json.dumps({
    "home": sorted(os.listdir(home)),
    "kept": [pathlib.Path(path).read_text() for path in sys.argv[2:]],
    "writes": {path: tries(write, path) for path in [*sys.argv[2:], home + "/new", "/etc/new", sys.argv[1]]},
    "own": tries(write, "new"),
    "cwd": os.getcwd(),
    "temporary": sorted(os.listdir("/tmp")),
    "parent": tries(os.listdir, f"/proc/{os.environ['OUTSIDE']}/root"),
    "remount": tries(remount),
    "terminal": tries(os.openpty),
}))
"""


@pytest.mark.parametrize("mounting", ["at once", "one by one"])
def test_confined_there_is_nothing_to_write_and_no_home(namespaces, tmp_path, mounting):
    home = tmp_path / "home"
    for name in ("secret", "deep/kept", "cache/manifest.json", "elsewhere/tool"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name, encoding="utf-8")
    (home / "alias").symlink_to("elsewhere")
    outside = Path.cwd() / f".confined-{os.getpid()}"
    enter = (
        "import os, sys; from pathlib import Path; from opencode_cache.sandbox import mounts, netns\n"
        "if sys.argv[1] == 'one by one': mounts.all_read_only = mounts.one_by_one\n"
        "netns.enter([Path(one) for one in sys.argv[4:]], confined=True)\n"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2], *sys.argv[3:]])\n"
    )
    seen = [home / "cache", home / "deep/kept", home / "alias/tool"]
    read = [home / "cache/manifest.json", home / "deep/kept", home / "alias/tool"]
    program = TRY.replace("sys.argv[2:]", repr([str(path) for path in read]))
    done = subprocess.run(
        [sys.executable, "-c", enter, mounting, program, outside, *seen],
        env=os.environ | python.path() | {"HOME": str(home), "OUTSIDE": str(os.getpid())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "secret" not in said["home"]
    assert said["kept"] == ["cache/manifest.json", "deep/kept", "elsewhere/tool"]
    # Where the HOME lies in /tmp, which is new and empty, another one may be made there.
    if not tmp_path.resolve().is_relative_to(confine.TEMPORARY):
        assert said["writes"].pop(f"{home}/new") == "OSError"
    said["writes"].pop(f"{home}/new", None)
    if outside.is_relative_to(confine.TEMPORARY):  # so may anything there; outside there is none of it
        del said["writes"][str(outside)]
    assert "done" not in said["writes"].values()
    assert said["own"] == said["terminal"] == "done"
    assert said["cwd"] == str(confine.TEMPORARY)
    assert said["parent"] == "PermissionError"
    assert said["remount"] == ("PermissionError" if shutil.which("mount") else "FileNotFoundError")
    assert not (home / "new").exists()
    assert not outside.exists()
    assert (home / "secret").read_text(encoding="utf-8") == "secret"
