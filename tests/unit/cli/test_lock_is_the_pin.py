"""`--lock`: what a lock says is taken as it stands, by every command that would make one otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import sys

import making
import pytest

from opencode_cache import pipeline
from opencode_cache.base import store
from opencode_cache.formats import contents, lock
from opencode_cache.npm import platforms
from opencode_cache.ship import unbundle


@pytest.fixture
def whole_lock(tmp_path, monkeypatch):
    """A lock whose packages are a stand-in for OpenCode and one provider; nothing is proved or resolved."""
    if sys.platform != "linux":
        pytest.skip("needs Linux: the stand-in is locked for it alone")
    files = {"package.json": '{"name": "opencode-test", "version": "1.18.33"}'}
    data = making.tarball(files | {"bin/opencode": "#!/bin/sh\necho 1.18.33\n"}, {"bin/opencode": 0o755})
    binary = making.package("opencode-test", "1.18.33", data, size=len(data))
    provider, theirs = making.npm_package("@ai-sdk/x", license="MIT")
    made = making.lock(
        [provider],
        {"packages/@ai-sdk/x": {"node_modules/@ai-sdk/x": provider.key}},
        [making.request("provider", "@ai-sdk/x", "packages/@ai-sdk/x")],
        binaries={platforms.current().name: binary},
    )
    path = tmp_path / "whole.lock.json"
    path.write_text(lock.dumps(made), encoding="utf-8")
    tarballs = {binary.tarball: data, provider.tarball: theirs}

    def keep(found, _system, to, **_):
        assert found == lock.read(path)
        to.mkdir(parents=True, exist_ok=True)
        for name, content in tarballs.items():
            (to / name).write_bytes(content)

    monkeypatch.setattr(pipeline, "fetch", keep)
    monkeypatch.setattr(pipeline, "_prove", lambda *_, **__: None)
    monkeypatch.setattr(pipeline.warm_up, "warm_up", lambda *_: None)
    for name in ("make_lock", "locked"):
        monkeypatch.setattr(pipeline, name, lambda *_, **__: pytest.fail("resolved anew"))
    return path


def builder_at(directory, monkeypatch):
    """From now on, somebody else: directories, umask and time of their own."""
    directory.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(directory / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))


def test_two_builders_with_one_lock_make_the_same_bundle_byte_for_byte(
    run, whole_lock, tmp_path, monkeypatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    sums = set()
    for name, mask, zone in (("one", 0o022, "UTC"), ("two", 0o077, "Pacific/Kiritimati")):
        builder_at(tmp_path / name, monkeypatch)
        monkeypatch.setenv("TZ", zone)
        before = os.umask(mask)
        try:
            words = ["--no-prove", "--lock", whole_lock, "-o", tmp_path / name / "b.tar.zst"]
            status, out, err = run("bundle", *words)
        finally:
            os.umask(before)
        assert status == 0, err
        assert out == f"{tmp_path / name / 'b.tar.zst'}\n"
        sums.add(hashlib.sha256((tmp_path / name / "b.tar.zst").read_bytes()).hexdigest())
    assert len(sums) == 1
    done = unbundle.unbundle(tmp_path / "one/b.tar.zst", tmp_path / "prefix")
    assert done.info.opencode == "1.18.33"


def test_run_starts_what_the_lock_says(run, whole_lock, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    started = []
    monkeypatch.setattr(os, "execv", lambda *given: started.append(given))
    status, _, err = run("run", "--lock", whole_lock, "--", "models")
    assert status == 0, err
    ((program, words),) = started
    assert words[1:] == ["models"]
    assert program.is_relative_to(store.default().root)


@pytest.mark.parametrize("command", ["run", "bundle"])
@pytest.mark.parametrize(
    ("option", "value"), [("--plan", "my.toml"), ("--plugin", "g"), ("--opencode-version", "1.18.33")]
)
def test_a_lock_and_what_would_make_another_are_refused(run, whole_lock, tmp_path, command, option, value):
    more = ["-o", tmp_path / "b"] if command == "bundle" else []
    if command == "bundle" and option != "--plan":
        return
    status, out, err = run(command, "--lock", whole_lock, option, value, *more)
    assert (status, out) == (2, "")
    assert option in err
    assert "nothing is resolved anew" in err


def test_a_lock_beside_a_cache_is_refused(run, whole_lock, tmp_path):
    words = ["--cache", tmp_path, "--opencode", tmp_path / "opencode", "-o", tmp_path / "b"]
    status, _, err = run("bundle", "--lock", whole_lock, *words)
    assert status == 2
    assert "--cache and --opencode, or --plan, or --lock" in err


def test_a_catalogue_without_a_lock_is_refused(run, tmp_path):
    status, _, err = run("run", "--models", tmp_path / "api.json")
    assert status == 2
    assert "--lock" in err


def test_list_tells_what_is_in_a_lock_for_a_system_without_making_anything(run, some_lock, tmp_path):
    status, out, err = run("list", "--lock", some_lock, "--system", "x86_64-linux")
    assert (status, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("provider")]
    assert line.split() == ["provider", "@ai-sdk/x", "1.0.0", "1", "0.0", "MB", "MIT"]
    status, out, _ = run("list", "--lock", some_lock, "--system", "aarch64-linux", "--json")
    found = json.loads(out)
    assert (status, found["system"]) == (0, "aarch64-linux")
    locked = contents.entries(lock.read(some_lock))
    assert [one["spec"] for one in found["requests"]] == [entry.spec for entry in locked]
    assert found["packages"][0]["packed"] > 0
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--cache, or --lock"),
        (["--lock", "{lock}", "--html", "x.html"], "give --cache"),
        (["--lock", "{lock}", "--format", "spdx"], "give --cache"),
        (["--lock", "{lock}", "--system", "sparc"], "sparc"),
        (["--lock", "{lock}", "--cache", "c"], "--cache, or --lock"),
    ],
)
def test_list_without_one_subject_is_refused(run, some_lock, options, says):
    status, out, err = run("list", *(word.replace("{lock}", str(some_lock)) for word in options))
    assert (status, out) == (2, "")
    assert says in err
