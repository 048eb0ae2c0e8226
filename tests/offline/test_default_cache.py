"""The default cache of 1.18, as the shipped lock has it: reproducible, small, and all of it imports."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from kept import REPOSITORY

from opencode_cache.build import builder
from opencode_cache.formats import lock, manifest, proof, shipped
from opencode_cache.npm import platforms
from opencode_cache.opencode import run as opencode
from opencode_cache.prove import on_file

LOCKS = REPOSITORY / "nix" / "locks"
MOST_MEGABYTES = 80


def snapshot(root):
    """Path → (kind and mode, mtime, content or link target) of everything below."""
    found = {}
    for directory, directories, names in os.walk(root):
        for name in [".", *directories, *names]:
            path = Path(directory) / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = ""
            found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("which", ["made_118", "made_10"])
def test_two_builds_on_two_paths_are_identical(which, request, tarballs, tmp_path):
    made = request.getfixturevalue(which)
    other = tmp_path / "quite" / "another place"
    before = os.umask(0o077)
    try:
        builder.build(builder.Inputs(made.lock, tarballs, made.opencode, platforms.current()), other)
    finally:
        os.umask(before)
    assert snapshot(made.cache) == snapshot(other)


@pytest.mark.parametrize("path", sorted(LOCKS.glob(f"*{shipped.LOCK}")), ids=lambda path: path.name)
def test_the_shipped_proof_is_of_what_this_machine_builds(path, make):
    system = platforms.current().name
    place = shipped.proof_path(path, system)
    if not place.exists() and system != "x86_64-linux":
        pytest.skip(f"nobody has proved it on {system} yet; there: ./dev tool update --proofs")
    made = make(path)
    found = proof.read(place)
    wanted = on_file.identity(made.cache, manifest.read(made.cache), made.opencode)
    # Where this fails, the way that caches are built has changed: ./dev tool update --proofs
    proof.check(found, place, made.lock.opencode.version, wanted)
    assert (found.ok, found.isolated, found.unseen) == (True, True, ())
    public = ("/usr/", "/bin", "$XDG_DATA_HOME", "~/.local")
    assert [name for name in found.path if not name.startswith(public)] == []


def test_the_default_cache_is_small(made_118):
    files = [p for p in made_118.cache.rglob("*") if p.is_file() and not p.is_symlink()]
    assert sum(p.stat().st_size for p in files) <= MOST_MEGABYTES * 1_000_000


def test_the_bun_layout_has_all_that_was_promised(made_10):
    for name in ("bun.lock", "package.json", "version", "node_modules", "models.json", "tui/tui-1.0.61"):
        assert (made_10.cache / name).exists(), name
    text = (made_10.cache / "bun.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "127.0.0.1" not in text


def test_the_bun_of_the_binary_finds_our_lock_file_in_order(made_10, tmp_path):
    """The oracle for bun.lock: Bun itself, told to accept no change, with nothing to ask."""
    for name in ("bun.lock", "package.json"):
        (tmp_path / name).write_bytes((made_10.cache / name).read_bytes())
    done = subprocess.run(
        [made_10.opencode, "install", "--frozen-lockfile", "--dry-run", "--ignore-scripts"],
        cwd=tmp_path,
        env=opencode.environment(tmp_path, {"BUN_BE_BUN": "1", "BUN_CONFIG_REGISTRY": "http://127.0.0.1:9"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "lockfile had changes" not in done.stderr
    assert "error: Failed to parse" not in done.stderr
    assert "Invalid" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_every_sdk_imports(made_118, tmp_path):
    requests = [r for r in manifest.read(made_118.cache).requests if r.kind in ("provider", "config")]
    assert {r.name for r in requests} >= {"ai-gateway-provider", "@opencode-ai/plugin"}
    for request in requests:
        base = made_118.cache / request.path
        script = f"const m = await import({request.name!r}); if (!Object.keys(m).length) throw 'empty'"
        entry = base.parents[len(request.name.split("/"))] / "probe.mjs"
        done = subprocess.run(
            [made_118.opencode, "-e", script],
            cwd=entry.parent,
            env=opencode.environment(tmp_path, {"BUN_BE_BUN": "1"}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{request.name}: {done.stderr}"


def test_locks_name_no_host(request):
    for path in (request.config.rootpath / "nix" / "locks").glob("*.lock.json"):
        assert "://" not in path.read_text(encoding="utf-8")
        assert lock.dumps(lock.read(path)) == path.read_text(encoding="utf-8")
