"""`install` leaves a link on PATH and says what to do next; another's program is not replaced."""

from __future__ import annotations

import os

import pytest

from opencode_cache import pipeline
from opencode_cache.base import roots, store


@pytest.fixture
def built(tmp_path, monkeypatch):
    """What stands in the store when all is made; and how often that was asked for."""
    asked = []

    def ready_for(*_, **__):
        asked.append(1)
        key = store.key(str(len(asked)))

        def make(out):
            (out / "bin").mkdir(parents=True)
            (out / "bin/opencode").touch()

        entry = store.default().add(key, "opencode-with-cache-1", make)
        return pipeline.Built(entry, entry, entry / "bin" / "opencode")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(pipeline, "ready_for", ready_for)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started"))
    return asked


def test_it_links_and_says_what_to_do_next(run, built, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    status, out, err = run("install", "--plugin", "opencode-gemini-auth")
    link = tmp_path / ".local/bin/opencode"
    assert (status, out) == (0, f"{link}\n")
    assert store.default().entry(link)
    for said in ("on PATH", "opencode-gemini-auth under `plugin`", "to update it", "to remove it"):
        assert said in err
    monkeypatch.setenv("PATH", f"{link.parent}:/bin")
    status, _, err = run("install")
    assert (status, len(built), "on PATH" in err) == (0, 2, False)


def test_what_comes_first_on_path_is_named(run, built, tmp_path, monkeypatch):
    (tmp_path / "first").mkdir()
    (tmp_path / "first/opencode").write_text("")
    (tmp_path / "first/opencode").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/first:{tmp_path}/.local/bin")
    assert f"{tmp_path}/first/opencode comes first" in run("install")[2]
    assert built == [1]


@pytest.mark.parametrize("kind", ["file", "link", "directory", "dangling"])
def test_what_is_not_ours_is_not_replaced_and_nothing_is_made(run, built, tmp_path, kind):
    link = tmp_path / ".local/bin/opencode"
    link.parent.mkdir(parents=True)
    if kind == "file":
        link.write_text("mine")
    elif kind == "directory":
        link.mkdir()
    else:
        link.symlink_to("/bin/sh" if kind == "link" else "/nowhere")
    before = link.lstat()  # but for the time of access, which reading changes
    status, out, err = run("install")
    assert (status, out, built) == (2, "", [])
    assert "give --to" in err
    after = link.lstat()
    assert (after.st_ino, after.st_mode, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_ctime_ns,
    )


def test_another_name_and_both_are_in_use(run, built, tmp_path):
    for name in ("one", "two"):
        assert run("install", "--to", tmp_path / name)[0] == 0
    assert sorted(link.name for link in roots.links(store.default())) == ["one", "two"]
    assert len(built) == 2


def test_run_makes_without_starting_and_leaves_every_link(run, built, tmp_path):
    status, out, err = run("run", "--no-start", "--link", tmp_path / "a", "--link", tmp_path / "b")
    assert (status, err, built) == (0, "", [1])
    assert out == f"{(tmp_path / 'a').readlink()}\n"
    assert (tmp_path / "a").readlink() == (tmp_path / "b").readlink()
