"""What is different since an older lock or cache."""

from __future__ import annotations

import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import contents, lock, manifest
from opencode_cache.formats.lock import Signatures, Unavailable
from opencode_cache.inspect import difference
from opencode_cache.inspect.difference import Change
from opencode_cache.npm import platforms

SYSTEM = platforms.named("x86_64-linux")
SDK, DEP = making.package("sdk", license="MIT"), making.package("dep", license="MIT")
MAC = making.package("mac", os=("darwin",))


def a_lock(*packages, **fields):
    nodes = {f"node_modules/{package.name}": package.key for package in packages}
    found = making.lock(
        list(packages), {"packages/sdk": nodes}, [making.request("provider", "sdk", "packages/sdk")]
    )
    return found.model_copy(update=fields)


def a_manifest(found):
    """What a build of a lock writes, as far as it is compared."""
    return manifest.Manifest(
        builder="1",
        opencode=found.opencode.version,
        layout="packages",
        system=SYSTEM.name,
        links=(),
        requests=contents.entries(found),
        packages=contents.cached(found, contents.selected(found, SYSTEM)),
        unavailable=found.unavailable,
        signatures=found.signatures,
        files=1,
        bytes=1,
    )


@pytest.fixture
def since(tmp_path):
    def compare(old, new):
        path = tmp_path / "old.lock.json"
        path.write_text(lock.dumps(old), encoding="utf-8")
        return difference.take(a_manifest(new), path)

    return compare


def test_a_lock_and_its_own_cache_do_not_differ(since):
    """Not even where the lock has parts of other systems."""
    found = since(a_lock(SDK, DEP, MAC), a_lock(SDK, DEP, MAC))
    assert (found.since, found.changes) == ("old.lock.json", ())


def test_every_kind_of_change_has_its_row(since):
    old = a_lock(
        SDK,
        DEP,
        making.package("gone"),
        signatures=Signatures(verified=1, keys={"a": "1"}),
        unavailable=(Unavailable(kind="plugin", spec="p", reason="no"),),
    )
    other = making.package("dep", license="GPL-3.0-only", content=b"other bytes")
    new = a_lock(SDK, other, making.package("new"), signatures=Signatures(verified=1, keys={"a": "2"}))
    found = since(old, new)
    assert found.changes == (
        Change("package", "gone", "1.0.0", None),
        Change("package", "new", None, "1.0.0"),
        Change("licence", "dep", "MIT", "GPL-3.0-only"),
        Change("content", "dep@1.0.0", DEP.integrity, other.integrity),
        Change("signature key", "a", "1", "2"),
        Change("unavailable", "plugin p", "no", None),
    )
    assert [one.name for one in found.replaced] == ["dep@1.0.0"]


def test_versions_of_opencode_and_of_requests(since):
    newer = making.package("sdk", "2.0.0", license="MIT")
    new = making.lock(
        [newer],
        {"packages/sdk": {"node_modules/sdk": newer.key}},
        [making.request("provider", "sdk", "packages/sdk", "2.0.0")],
        version="1.18.40",
    )
    assert since(a_lock(SDK), new).changes == (
        Change("OpenCode", "OpenCode", "1.18.33", "1.18.40"),
        Change("request", "provider sdk", "1.0.0", "2.0.0"),
        Change("package", "sdk", "1.0.0", "2.0.0"),
    )


def test_another_cache_is_compared_as_well(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / manifest.FILE).write_text(manifest.dumps(a_manifest(a_lock(SDK))))
    found = difference.take(a_manifest(a_lock(SDK, DEP)), tmp_path / "old")
    assert found.changes == (Change("package", "dep", None, "1.0.0"),)


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read as a lock file"):
        difference.take(a_manifest(a_lock(SDK)), tmp_path / "none")
    with pytest.raises(BadInputError, match="not a cache"):
        difference.take(a_manifest(a_lock(SDK)), tmp_path)
