"""A child of ours imports nothing from the directory that the user is in, and obeys nothing there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import making
import pytest

import opencode_cache
from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest
from opencode_cache.opencode import embedded
from opencode_cache.opencode import run as opencode
from opencode_cache.prove import verify, warm_up
from opencode_cache.sandbox import netns

SOURCES = Path(opencode_cache.__file__).parent
# Of other makers, and given paths that are relative to the user's directory; neither runs what lies there.
ELSEWHERE = {"ship/signing.py"}


@pytest.fixture(params=["as it is", "as before Python 3.11"])
def hostile(request, tmp_path, monkeypatch):
    """The user's directory: a module for each of Python's own, which leaves a mark when it is imported."""
    if request.param != "as it is":
        monkeypatch.setattr(python, "_SAFE", ())
    directory, marks = tmp_path / "repository", tmp_path / "marks"
    directory.mkdir()
    marks.mkdir()
    for name in (*sys.stdlib_module_names, "sitecustomize", "usercustomize", "pydantic", "opencode_cache"):
        text = f"open({str(marks / name)!r}, 'w').close()\nraise SystemExit(7)\n"
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [*sys.path])
    netns.available.cache_clear()
    yield marks
    netns.available.cache_clear()
    assert [mark.name for mark in marks.iterdir()] == []


def test_the_modules_there_would_be_imported(hostile, tmp_path):
    """What the other tests rest on."""
    subprocess.run([sys.executable, "-m", "opencode_cache.sandbox.netns"], capture_output=True, check=False)
    imported = list(hostile.iterdir())
    assert imported != []
    for mark in imported:
        mark.unlink()


def test_the_namespace_is_tried_elsewhere(hostile):
    assert netns.available().why == "" or sys.platform != "linux" or "refuses" in netns.available().why


def test_the_warm_up_runs_elsewhere(hostile, tmp_path):
    (tmp_path / "no-cache").mkdir()
    with pytest.raises(BadInputError, match="manifest"):
        warm_up.warm_up(tmp_path / "no-cache", tmp_path / "opencode")


def test_the_proof_runs_elsewhere(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(
        manifest, "read", lambda _: manifest.Manifest.model_construct(requests=(), opencode="1.18.33")
    )
    program = making.opencode_stand_in(tmp_path / "opencode")
    (tmp_path / "no-cache").mkdir()
    with pytest.raises(BadInputError, match=r"no-cache.*manifest"):
        verify.verify(tmp_path / "no-cache", program)


def test_a_path_of_modules_with_the_users_directory_is_not_handed_on(hostile, monkeypatch):
    here = str(Path.cwd())
    monkeypatch.setattr(sys, "path", ["", here, ".", "lib", *sys.path])
    entries = python.path()["PYTHONPATH"].split(":")
    assert here not in entries
    assert all(Path(entry).is_absolute() for entry in entries)
    assert str(SOURCES.parent) in entries


def test_bun_finds_no_settings_where_the_catalogue_is_asked_for(tmp_path, monkeypatch):
    """Bun runs what the bunfig.toml of its directory preloads."""
    program = tmp_path / "opencode"
    program.write_text(f"#!/bin/sh\nls -A >>{tmp_path}/seen\necho '{{}}'\n", encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "bunfig.toml").write_text('preload = ["./evil.ts"]', encoding="utf-8")
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setattr(opencode, "image", lambda _: program)
    monkeypatch.setattr(embedded, "_strings", lambda _: [b"{}"])
    with pytest.raises(BadInputError, match="no model catalogue"):
        embedded.catalogue(program)
    assert (tmp_path / "seen").read_text(encoding="utf-8") == ""


def _calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen"):
            yield node


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCES)))
def test_whoever_starts_a_child_says_where(path):
    for call in _calls(path):
        if path.relative_to(SOURCES).as_posix() not in ELSEWHERE:
            assert "cwd" in [keyword.arg for keyword in call.keywords], f"{path}:{call.lineno}"
    if path.name != "python.py":
        assert "[sys.executable, " not in path.read_text(encoding="utf-8")
