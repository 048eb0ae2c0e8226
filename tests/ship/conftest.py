"""Keys that the tests of bundles sign with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.append(str(Path(__file__).parents[1] / "unit"))
settings.register_profile(
    "ship",
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("ship")


@pytest.fixture(autouse=True)
def no_sync(monkeypatch, tmp_path_factory):
    """Writing out everything that the whole machine holds back takes its time, and shows nothing here."""
    directory = tmp_path_factory.getbasetemp() / "no-sync"
    directory.mkdir(exist_ok=True)
    (directory / "sync").unlink(missing_ok=True)
    (directory / "sync").symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A key, another one, and two files that trust the first, by two names."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen on PATH: install OpenSSH's client")
    directory = tmp_path_factory.mktemp("keys")
    for name in ("key", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", directory / name]
        subprocess.run(command, check=True)
    public = (directory / "key.pub").read_text()
    (directory / "trusted").write_text(f"me@example {public}")
    (directory / "site").write_text(f"site {public}")
    return directory


@pytest.fixture(scope="session")
def minisigns(tmp_path_factory):
    """A key of minisign's without a password, another one, and their public halves."""
    if shutil.which("minisign") is None:
        pytest.skip("needs minisign on PATH: install it, as Debian and nixpkgs have it")
    directory = tmp_path_factory.mktemp("minisign")
    for name in ("key", "other"):
        command = ["minisign", "-G", "-W", "-s", directory / name, "-p", directory / f"{name}.pub"]
        subprocess.run(command, check=True, capture_output=True)
    return directory
