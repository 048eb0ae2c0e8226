"""`lock --require-signatures` and `--min-age`, and `fetch` after them, at a registry on loopback that signs.

npm verifies with its own code, and with the key that the registry shows. What each step makes of what it is
told is tried in tests/unit/resolve/test_floor.py; here are the commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import signing
from kept import LOCKS, slow
from registry import Registry

from opencode_cache.formats import contents, lock
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms

pytestmark = slow
SPEC = "@saladtechnologies-oss/ai-sdk-provider"
PLAN = f"""
opencode = "1.18.33"
systems = ["{platforms.current().name}"]
providers = ["{SPEC}"]
config = []
"""
OLD = "2024-01-02T03:04:05.000Z"


@pytest.fixture(scope="module")
def packages(tarballs, fetch_packages):
    """One provider's tree, and the program."""
    found = lock.read(LOCKS / "opencode-cache.lock.json")
    keys = set(found.trees[f"packages/{SPEC}"].values())
    wanted = [
        *(found.packages[key] for key in keys),
        contents.binary_package(found, platforms.current()),
    ]
    fetch_packages(wanted)
    return wanted


@pytest.fixture(scope="module")
def signed(packages):
    return signing.sign(packages)


@pytest.fixture
def registry(packages, tarballs, signed):
    """It signs all that it has, and all of that is old."""
    server = Registry(packages, tarballs)
    server.keys = [signed.key]
    server.signatures = {
        key: [{"keyid": signing.NAME, "sig": text}] for key, text in signed.signatures.items()
    }
    server.times = {package.key: OLD for package in packages}
    yield server
    server.close()


@pytest.fixture
def run(tmp_path, tarballs, registry):
    """The command in a home of its own, which has the downloads; status and stderr."""
    kept = tmp_path / "home/.cache/opencode-cache/tarballs"
    kept.mkdir(parents=True)
    for package in registry.packages.values():
        (kept / package.tarball).symlink_to(tarballs / package.tarball)
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    environment = signing.environment(f"{registry.url}/", tmp_path) | {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{Path(npm.command()[0]).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENCODE_CACHE_LOCKS": str(LOCKS),
    }

    def one(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "opencode_cache", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return one


def make(run, *more):
    return run("lock", "--plan", "plan.toml", "-o", "my.lock.json", *more)


def change_signature(registry, how):
    """Of one package: the signature of another one, or none."""
    key, other = sorted(registry.signatures)[:2]
    if how == "wrong":
        registry.signatures[key] = registry.signatures[other]
    else:
        del registry.signatures[key]
    registry.documents.clear()
    return key


def test_what_is_signed_and_old_is_locked_and_fetched(run, registry, tmp_path, packages):
    status, said = make(run, "--require-signatures", "--min-age", "7d")
    assert status == 0, said
    made = lock.read(tmp_path / "my.lock.json")
    assert (made.require_signatures, made.min_age) == (True, "7d")
    assert made.signatures.verified == len(packages)
    assert (made.signatures.missing, made.signatures.unchecked) == ((), None)
    assert list(made.signatures.keys) == [signing.NAME]
    status, said = run("fetch", "my.lock.json", "--to", "t")
    assert status == 0, said
    assert "asking npm again whether the registry signed them" in said
    assert "cannot be here" not in said

    key = change_signature(registry, "missing")
    status, said = run("fetch", "my.lock.json", "--to", "second")
    assert status == 0, said
    assert f"this registry has none of {key}" in said

    registry.signatures[key] = next(iter(registry.signatures.values()))
    registry.documents.clear()
    status, said = run("fetch", "my.lock.json", "--to", "third")
    assert status == 2
    assert f"the registry's signature is wrong for {key}" in said
    assert not list((tmp_path / "third").glob("*.tgz"))


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("missing", 3, "--require-signatures: the registry has no signature of {key}"),
        ("wrong", 2, "the registry's signature is wrong for {key}"),
    ],
)
def test_what_is_not_signed_as_it_should_be_makes_no_lock(run, registry, tmp_path, how, status, said):
    key = change_signature(registry, how)
    ended, told = make(run, "--require-signatures")
    assert ended == status, told
    assert said.format(key=key) in told
    assert not (tmp_path / "my.lock.json").exists()


def test_a_registry_that_shows_no_key_makes_no_lock(run, registry, tmp_path):
    registry.keys = []
    status, said = make(run, "--require-signatures")
    assert status == 3, said
    assert "--require-signatures: no signature could be verified" in said
    assert not (tmp_path / "my.lock.json").exists()


def test_a_key_that_changed_since_the_last_lock_is_an_error(run, registry, tmp_path, packages):
    """The new key has the old one's name, and everything is signed anew: npm finds nothing wrong."""
    status, said = make(run, "--require-signatures")
    assert status == 0, said
    before = (tmp_path / "my.lock.json").read_bytes()
    other = signing.sign(packages)
    registry.keys = [other.key]
    registry.signatures = {
        key: [{"keyid": signing.NAME, "sig": text}] for key, text in other.signatures.items()
    }
    registry.documents.clear()
    status, said = make(run, "--require-signatures")
    assert status == 2, said
    assert "the registry's keys are not those of my.lock.json: one is another key" in said
    assert (tmp_path / "my.lock.json").read_bytes() == before
    status, said = run("fetch", "my.lock.json", "--to", "t")
    assert status == 0, said
    assert "the registry's keys are not those of the lock" in said
    status, said = make(run, "--require-signatures", "--accept-keys")
    assert status == 0, said
    assert (tmp_path / "my.lock.json").read_bytes() != before


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (None, "127.0.0.1 gives dates that cannot be right"),
        ("1985-10-26T08:15:00.000Z", "127.0.0.1 gives dates that cannot be right"),
        ("yesterday", "127.0.0.1 gives dates that cannot be right"),
        (0, "published on "),
    ],
)
def test_ages_are_asked_by_lock_and_again_by_fetch(run, registry, tmp_path, date, said):
    status, told = make(run, "--min-age", "7d")
    assert status == 0, told
    key = min(registry.times)
    if date is None:
        del registry.times[key]
    else:
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        registry.times[key] = date or yesterday.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    registry.documents.clear()
    for arguments in (["fetch", "my.lock.json", "--to", "t"], None):
        status, told = run(*arguments) if arguments else make(run, "--min-age", "7d")
        assert status == 3, told
        if date == "yesterday" and not arguments:
            # npm itself finds no version whose date it can read.
            assert "none whose date npm can read" in told
            continue
        assert "--min-age 7d" in told
        assert said in told
        assert key in told
