"""A private registry that is filled from a lock: Verdaccio itself, which npm installs from without a network.

The one with Verdaccio is tried where OPENCODE_CACHE_TEST_EVERY is set: npm needs a minute to install it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from kept import KEPT, TEST_LOCKS, slow

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import contents, lock
from opencode_cache.npm import platforms
from opencode_cache.ship import registry

if TYPE_CHECKING:
    from pathlib import Path

VERDACCIO = "6.8.0"
CONFIG = """
storage: {storage}
packages: {{"**": {{access: $all, publish: nobody}}}}
web: {{enable: false}}
log: {{type: stdout, level: warn}}
"""
# $1: Verdaccio's program, $2: its configuration, $3: the project. Nothing but loopback is there.
SERVED = """
set -eu
ip link set lo up 2>/dev/null || ifconfig lo up
"$1" --config "$2" --listen 127.0.0.1:4873 &
server=$!
trap 'kill $server' EXIT
cd "$3"
n=0
export npm_config_registry=http://127.0.0.1:4873
until npm ping >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 60 ]; sleep 0.5; done
npm ci --ignore-scripts --no-audit --no-fund
npm view opencode-gemini-auth dist-tags.latest
"""


@pytest.fixture(scope="module")
def locked(fetch_packages) -> lock.Lock:
    """With a plugin and an SDK; its tarballs are there."""
    found = lock.read(TEST_LOCKS / "extra-1.18.lock.json")
    fetch_packages(contents.packages(found, platforms.current()).values())
    return found


@pytest.fixture(scope="module")
def packages(locked) -> list[lock.Package]:
    return list(contents.packages(locked, platforms.current()).values())


@pytest.fixture(scope="module")
def storage(packages, tarballs, tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("storage")
    assert registry.write(packages, tarballs, to) == len(packages)
    return to


def test_what_npm_asks_a_registry_about_each_package(storage, packages, tarballs):
    for package in packages:
        document = json.loads((storage / package.name / "package.json").read_text())
        about = document["versions"][package.version]
        assert (about["name"], about["dist"]["integrity"]) == (package.name, package.integrity)
        file = storage / package.name / about["dist"]["tarball"].rpartition("/")[2]
        assert file.read_bytes() == (tarballs / package.tarball).read_bytes()
        assert document["dist-tags"]["latest"] in document["versions"]
        assert file.name in document["_attachments"]


def test_what_is_there_stays_and_the_same_twice_is_the_same(packages, tarballs, tmp_path):
    one = packages[0]
    registry.write([one], tarballs, tmp_path)
    path = tmp_path / one.name / "package.json"
    document = json.loads(path.read_text())
    document["versions"]["0.0.1"] = {"dist": {"integrity": "sha512-other"}}
    document["_rev"] = "7-own"
    path.write_text(json.dumps(document))
    registry.write([one], tarballs, tmp_path)
    again = json.loads(path.read_text())
    assert (again["_rev"], sorted(again["versions"])) == ("7-own", sorted(["0.0.1", one.version]))
    assert again["dist-tags"]["latest"] == one.version
    before = path.read_bytes()
    registry.write([one], tarballs, tmp_path)
    assert path.read_bytes() == before
    for text, says in (
        (json.dumps(again).replace(one.integrity, "sha512-x"), "has another"),
        ("[]", "is not a document of a registry"),
    ):
        path.write_text(text)
        with pytest.raises(BadInputError, match=says):
            registry.write([one], tarballs, tmp_path)
        assert path.read_text() == text


def package_lock(locked: lock.Lock, tree: str, storage: Path) -> dict:
    """npm's lock of one of our trees; who needs whom is said by the storage."""
    entries = {}
    for path, package in contents.selected(locked, platforms.current())[tree].items():
        said = json.loads((storage / package.name / "package.json").read_text())["versions"][package.version]
        needs = {key: said[key] for key in ("dependencies", "peerDependencies") if key in said}
        entries[path] = {"version": package.version, "integrity": package.integrity, **needs}
    wanted = {one.name: one.version for one in locked.requests if one.tree == tree}
    root = {"name": "x", "version": "1.0.0", "dependencies": wanted}
    return {"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **entries}}


@pytest.fixture(scope="module")
def verdaccio() -> Path:
    if not shutil.which("npm") or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs npm, util-linux's unshare and root")
    place = KEPT / f"verdaccio-{VERDACCIO}"
    program = place / "node_modules/.bin/verdaccio"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        # A dependency of it asks for a tag that a mirror need not have.
        project = {
            "private": True,
            "dependencies": {"verdaccio": VERDACCIO},
            "overrides": {"node-fetch": "2"},
        }
        (place / "package.json").write_text(json.dumps(project))
        words = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional"]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs Verdaccio from the npm registry: {done.stderr[-300:]}")
    return program


@slow
def test_npm_ci_from_verdaccio_without_a_network(verdaccio, locked, storage, tmp_path):
    """Of a plugin's tree, by the hashes of the lock; Verdaccio knows of no other registry."""
    config = tmp_path / "verdaccio.yaml"
    config.write_text(CONFIG.format(storage=storage))
    (request,) = [one for one in locked.requests if one.name == "opencode-gemini-auth"]
    project = tmp_path / "project"
    project.mkdir()
    document = package_lock(locked, request.tree, storage)
    (project / "package-lock.json").write_text(json.dumps(document))
    (project / "package.json").write_text(json.dumps(document["packages"][""]))
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", SERVED, "served", verdaccio, config, project],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path, entry in document["packages"].items():
        if path:
            assert json.loads((project / path / "package.json").read_text())["version"] == entry["version"]
    assert done.stdout.rstrip().endswith(request.version)
