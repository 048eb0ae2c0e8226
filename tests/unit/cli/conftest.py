"""The command line in this process, and a small lock and cache for it."""

from __future__ import annotations

import sys

import making
import pytest

from opencode_cache.build import builder
from opencode_cache.cli import main as cli
from opencode_cache.formats import lock
from opencode_cache.npm import platforms


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command in this process: (exit status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("FORCE_COLOR", "NO_COLOR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["opencode-cache", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return main


@pytest.fixture
def some_lock(tmp_path):
    """A lock file with one provider."""
    package, data = making.npm_package("@ai-sdk/x", license="MIT")
    made = making.lock(
        [package],
        {"packages/@ai-sdk/x": {"node_modules/@ai-sdk/x": package.key}},
        [making.request("provider", "@ai-sdk/x", "packages/@ai-sdk/x")],
    )
    path = tmp_path / "some.lock.json"
    path.write_text(lock.dumps(made), encoding="utf-8")
    (tmp_path / "tarballs").mkdir()
    (tmp_path / "tarballs" / package.tarball).write_bytes(data)
    return path


@pytest.fixture
def cache(some_lock, tmp_path):
    """A cache that was built from it."""
    binary = making.opencode_stand_in(tmp_path / "opencode")
    system = platforms.SYSTEMS["x86_64-linux"]
    builder.build(
        builder.Inputs(lock.read(some_lock), tmp_path / "tarballs", binary, system), tmp_path / "cache"
    )
    return tmp_path / "cache"
