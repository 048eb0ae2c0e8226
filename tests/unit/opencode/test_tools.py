"""The table of npm tools, what it refuses, and the node that the tools are run by."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import making
import pytest

from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError, CheckFailedError, TooSlowError
from opencode_cache.formats import contents
from opencode_cache.formats.manifest import Entry
from opencode_cache.layouts.packages import PACKAGES
from opencode_cache.npm import nodejs
from opencode_cache.opencode import tools
from opencode_cache.prove.child.language_server import started
from opencode_cache.prove.child.record import Record, Subject
from opencode_cache.prove.child.tools import diagnostics, prove_tool


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pyrigth", "pyright"),
        ("typescript", "typescript-language-server"),
        ("typescript-langauge-server", "typescript-language-server"),
        ("vue-language-server", "@vue/language-server"),
        ("biome", "@biomejs/biome"),
        ("docker-langserver", "dockerfile-language-server-nodejs"),
        ("yaml-ls", "yaml-language-server"),
        ("php intelephense", "intelephense"),
    ],
)
def test_a_name_that_is_meant_for_another_tool_is_known(name, meant):
    assert tools.meant(name) == meant


@pytest.mark.parametrize("name", [*tools.TOOLS, "a", "some-server", "eslint"])
def test_other_names_are_not(name):
    assert tools.meant(name) is None


def test_what_a_user_should_know_is_noted():
    assert tools.note("pyright") is None
    assert "typescript in its own node_modules" in tools.note("typescript-language-server")
    assert "shellcheck" in tools.note("bash-language-server")
    assert "asks for no such tool" in tools.note("some-server")


def tool_cache(cache, *names):
    """A cache with these tools, their commands in `.bin`, and what the layout adds."""
    packages = {name: making.package(name) for name in names}
    trees = {f"packages/{name}": {f"node_modules/{name}": packages[name].key} for name in names}
    requests = [making.request("tool", name, f"packages/{name}") for name in names]
    for name in names:
        links = cache / "packages" / name / "node_modules" / ".bin"
        links.mkdir(parents=True)
        (links / tools.TOOLS[name].command).touch(mode=0o755)
    PACKAGES.write_metadata(cache, making.lock(list(packages.values()), trees, requests))


def test_servers_that_opencode_looks_for_in_bin_are_linked_there(tmp_path):
    tool_cache(tmp_path, "pyright", "@vue/language-server", "prettier", "typescript-language-server")
    links = {path.name for path in (tmp_path / "bin").iterdir()}
    assert links == {"pyright-langserver", "vue-language-server"}
    for name in links:
        assert (tmp_path / "bin" / name).is_file()
        assert not (tmp_path / "bin" / name).readlink().is_absolute()
    assert set(PACKAGES.links(tmp_path)) >= {"bin/pyright-langserver", "bin/vue-language-server"}


def test_a_server_without_its_command_gets_no_link(tmp_path):
    package = making.package("pyright")
    made = making.lock(
        [package],
        {"packages/pyright": {"node_modules/pyright": package.key}},
        [making.request("tool", "pyright", "packages/pyright")],
    )
    PACKAGES.write_metadata(tmp_path, made)
    assert not (tmp_path / "bin").exists()


def test_only_a_lock_with_tools_needs_node():
    package = making.package("pyright")
    trees = {"packages/pyright": {"node_modules/pyright": package.key}}
    for kind, needed in (("tool", True), ("provider", False)):
        made = making.lock([package], trees, [making.request(kind, "pyright", "packages/pyright")])
        assert contents.needs_node(made) == needed


def test_the_node_on_path_is_linked_alone(tmp_path, monkeypatch):
    own = tmp_path / "own" / "node"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    (own.parent / "other").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(own.parent))
    found = nodejs.directory(store.Store(tmp_path / "store"))
    assert [path.name for path in Path(found).iterdir()] == ["node"]
    assert os.path.realpath(f"{found}/node") == str(own)


def test_the_wheels_node_is_copied_where_path_has_none(tmp_path, monkeypatch):
    wheel = tmp_path / "wheel"
    wheel.write_text("#!/bin/sh\n")
    wheel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "in_wheel", lambda: wheel)
    found = nodejs.directory(store.Store(tmp_path / "store"))
    wheel.unlink()
    assert shutil.which("node", path=found)


def test_without_any_node_the_fix_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "in_wheel", lambda: None)
    with pytest.raises(BadInputError, match=r"no `node` on PATH; install Node\.js"):
        nodejs.directory(store.Store(tmp_path / "store"))


SERVER = """
import json, sys
length = int(sys.stdin.buffer.readline().split(b":")[1])
sys.stdin.buffer.readline()
asked = json.loads(sys.stdin.buffer.read(length))
body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {"capabilities": {}}})
sys.stdout.write(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}")
sys.stdout.flush()
sys.stdin.buffer.read()
"""


@pytest.fixture
def home(tmp_path):
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_server_that_answers_has_started(home):
    with started([sys.executable, "-c", SERVER], home, {}):
        pass


def test_what_it_can_do_may_hold_any_word(home):
    """Vue's server answers with the types of its tokens, and one of those is "method"."""
    tokens = SERVER.replace('{"capabilities": {}}', '{"capabilities": {"tokenTypes": ["method"]}}')
    with started([sys.executable, "-c", tokens], home, {}):
        pass


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit('no such module')", "no such module"), ("", "it says nothing")],
)
def test_a_server_that_ends_has_not(home, program, said):
    with (
        pytest.raises(CheckFailedError, match=said),
        started([sys.executable, "-c", program], home, {}),
    ):
        pass


def test_what_a_server_answers_is_told(home):
    """typescript-language-server 6 says in its answer that it has no TypeScript, and nothing on stderr."""
    refusing = SERVER.replace('"result": {"capabilities": {}}', '"error": {"message": "no TypeScript"}')
    with (
        pytest.raises(CheckFailedError, match='"message": "no TypeScript"'),
        started([sys.executable, "-c", refusing], home, {}),
    ):
        pass


FINDING = """
import json, sys, time

def heard():
    length = int(sys.stdin.buffer.readline().split(b":")[1])
    sys.stdin.buffer.readline()
    return json.loads(sys.stdin.buffer.read(length))

def say(**message):
    body = json.dumps({"jsonrpc": "2.0", **message})
    sys.stdout.write(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}")
    sys.stdout.flush()

heard()
say(id=1, method="client/registerCapability", params={})
assert heard() == {"jsonrpc": "2.0", "id": 1, "result": None}
say(id=1, result={"capabilities": {}})
assert heard()["method"] == "initialized"
document = heard()["params"]["textDocument"]
for found in (FOUND):
    say(method="textDocument/publishDiagnostics", params={"uri": document["uri"], "diagnostics": found})
sys.stdin.buffer.read()
"""


def finding(home, found, limit):
    (home / "work" / "mistake.py").write_text("no")
    program = FINDING.replace("FOUND", found)
    with started([sys.executable, "-c", program], home, {}, limit) as server:
        return server.mistakes("mistake.py", "python")


def test_a_server_that_is_asked_directly_is_waited_for(home):
    """An empty list is what a server says before it has looked."""
    assert finding(home, '[], [{"message": "wrong " + document["text"]}]', 30) == [{"message": "wrong no"}]


def test_where_opencode_does_not_wait_the_server_is_asked(tmp_path, monkeypatch):
    """As on a machine so slow that OpenCode's own limit, three seconds, is over before it answers."""
    cache, programs = tmp_path / "cache", tmp_path / "programs"
    tool_cache(cache, "pyright")
    server = cache / "packages/pyright/node_modules/pyright/server"
    server.parent.mkdir()
    found = FINDING.replace("FOUND", '[{"message": "wrong"}],')
    server.write_text(f"#!{sys.executable}\n{found}")
    command = cache / "packages/pyright/node_modules/.bin/pyright-langserver"
    command.unlink()
    command.symlink_to("../pyright/server")
    programs.mkdir()
    for name, text in (("opencode", "echo {}"), ("node", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
    for path in (server, *programs.iterdir()):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    entry = Entry(
        spec="pyright", kind="tool", name="pyright", requested="1", version="1", tree="packages/pyright"
    )
    record = Record(log=list, say=lambda *_: None)
    program = programs / "opencode"
    prove_tool(Subject(cache, program, program, SimpleNamespace(layout="packages"), {}), record, entry)
    (step,) = record.steps
    assert step.ok, step.detail
    assert step.detail.endswith(
        "shows a mistake in mistake.py, later than OpenCode waits for it on this machine"
    )


def test_a_server_that_finds_nothing_in_time_is_too_slow(home):
    with pytest.raises(TooSlowError, match=r"mistake\.py: it shows no mistake within 2 s"):
        finding(home, "[], []", 2)


def test_diagnostics_are_a_table_of_lists():
    assert diagnostics(json.dumps({"/a": [{"message": "x"}]})) == {"/a": [{"message": "x"}]}
    assert diagnostics("") == {}
    for printed in ("[]", '{"a": 1}', "no"):
        with pytest.raises(ValueError, match=r"."):
            diagnostics(printed)
