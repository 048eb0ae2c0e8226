"""Without a network: what the configuration starts with npx, and its own tools with what they depend on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import isolated
import pytest
from cases import _PACKAGE, _TOOL, CASES
from kept import slow
from test_field import lay

from opencode_cache.config import judge, offer, read
from opencode_cache.formats import manifest
from opencode_cache.wrapper import preload
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

SERVERS = {
    "graph": {"type": "local", "command": ["npx", "-y", "@modelcontextprotocol/server-memory"]},
    "steps": {
        "type": "local",
        "command": ["bunx", "@modelcontextprotocol/server-sequential-thinking@latest"],
    },
}
OWN = {
    "own": {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": "@MODELS@/own/v1", "apiKey": "loopback"},
        "models": {"m": {"name": "m"}},
    }
}
TRIES = 4
node_or_not = pytest.mark.parametrize(
    "node", [pytest.param(True, id="with Node.js", marks=slow), pytest.param(False, id="without")]
)
_PROGRAMS = ["sh", "env", "ls", "cat", "uname", "mkdir", "ln", "mv", "cp", "rm", "rmdir", "chmod", "cksum"]
_PROGRAMS += ["git", "readlink"]


@pytest.fixture(scope="module")
def started(made_field, tmp_path_factory):
    return wrapper.wrap(made_field.cache, made_field.opencode, tmp_path_factory.mktemp("wrapped") / "out")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A PATH without Node.js, npm and Bun."""
    directory = tmp_path_factory.mktemp("path")
    for name in _PROGRAMS:
        (directory / name).symlink_to(shutil.which(name))
    return str(directory)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path


@node_or_not
def test_servers_by_npx_are_connected_from_the_cache(started, home, bare, node):
    path = os.environ["PATH"] if node else bare
    report = isolated.run(
        started, ["mcp", "list"], home, config={"mcp": SERVERS}, env={"PATH": path}, timeout=300
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", report.stdout)
    assert plain.count("connected") == len(SERVERS), report.stdout + report.stderr
    assert report.hosts == []


def test_a_server_that_is_not_in_the_cache_is_left_as_it_is(started, home, bare):
    other = {"type": "local", "command": ["npx", "-y", "@modelcontextprotocol/server-memory@0.0.1"]}
    report = isolated.run(
        started, ["mcp", "list"], home, config={"mcp": {"other": other}}, env={"PATH": bare}, timeout=300
    )
    assert "connected" not in report.stdout
    assert "npx" in report.stdout + report.stderr


def test_texts_with_addresses_are_answered_from_the_cache(started, home):
    """Of `instructions` and `skills`, for each prompt, and when OpenCode has put the skill into its cache."""
    config = {
        "provider": OWN,
        "instructions": ["https://rules.example.org/house.md"],
        "skills": {"urls": ["https://skills.example.org/all"]},
    }
    for _ in range(2):
        report = isolated.run(started, ["run", "--model", "own/m", "hello"], home, config=config, timeout=300)
        assert report.returncode == 0, report.stderr
        prompts = [body for body in report.bodies if "THANK-YOU-KINDLY" in body]
        assert prompts, report.stderr
        assert "ties knots that hold" in prompts[0]
        assert report.hosts == []
    kept = home / ".cache-nix/opencode/skills/knots/more/tips.md"
    assert kept.read_text() == "Wet the rope.\n"


def test_an_address_that_is_not_in_the_cache_is_asked_for(started, home):
    config = {"provider": OWN, "instructions": ["https://rules.example.org/other.md"]}
    report = isolated.run(started, ["run", "--model", "own/m", "hello"], home, config=config, timeout=300)
    assert report.hosts == ["rules.example.org"]


@pytest.mark.parametrize(
    "place", ["work/.opencode", *(pytest.param(at, marks=slow) for at in (".config/opencode", "team"))]
)
def test_a_tool_of_ones_own_finds_its_dependency(made_field, started, home, place):
    """In the project, in the user's own directory, and in OPENCODE_CONFIG_DIR."""
    (home / place / "tool").mkdir(parents=True)
    (home / place / "tool/span.ts").write_text(_TOOL)
    (home / place / "package.json").write_text(json.dumps(_PACKAGE))
    env = {"OPENCODE_CONFIG_DIR": str(home / "team")} if place == "team" else {}
    found = read.read({"HOME": str(home)} | env, [home / "work"])
    offers = offer.of_cache(manifest.read(made_field.cache))
    assert [one.word for one in judge.judge(found, offers)] == ["cached"]
    report = isolated.run(
        started,
        ["debug", "agent", "build", "--tool", "span", "--params", '{"span": "2m"}'],
        home,
        config={},
        env=env,
        timeout=300,
    )
    assert "120000 milliseconds" in report.stdout, report.stdout + report.stderr


KINDS = {"plugin", "provider", "mcp", "command", "package", "url"}


@pytest.fixture(scope="module")
def said(made_field, started):
    """What a start with that environment says of the configuration. OpenCode is Bun here: that is quick."""

    def start(environ, work):
        cache_home = Path(environ["HOME"], ".cache-nix")
        (cache_home / "opencode/.nix").mkdir(parents=True, exist_ok=True)
        preloaded = preload.path_of(started.parent.parent, "opencode")
        own = {"BUN_BE_BUN": "1", "BUN_INSPECT_PRELOAD": str(preloaded), "XDG_CACHE_HOME": str(cache_home)}
        done = subprocess.run(
            [made_field.opencode, "-e", "0"],
            cwd=work,
            env=environ | own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    return start


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_start_says_what_the_cache_lacks_and_the_second_does_not(made_field, said, tmp_path, case):
    """The same as the judge says, of the kinds that a start looks at."""
    environ = lay(case, tmp_path)
    work = tmp_path / "work"
    offers = offer.of_cache(manifest.read(made_field.cache), tmp_path / ".cache-nix/opencode")
    found = read.read(environ, [work])
    lacks = [one for one in judge.lacking(judge.judge(found, offers)) if one.certain and not found.broken]
    expected = {one.shown[:120] for one in lacks if one.entry.kind in KINDS}
    line = said(environ, work)
    named = re.findall(r"\w[\w./@-]* '[^']*'", line)
    more = int((re.search(r"and (\d+) more", line) or ["", "0"])[1])
    assert len(line.splitlines()) == bool(expected), line
    assert set(named) <= expected, line
    assert len(named) + more == len(expected), line
    if line:
        assert said(environ, work) == ""


def test_another_configuration_is_looked_at_anew_and_a_known_one_is_not(said, home):
    environ = {"HOME": str(home)}
    config = home / ".config/opencode/opencode.json"
    config.parent.mkdir(parents=True)
    for plugin, tells in (
        ("one", True),
        ("two", True),
        ("one", False),
        ("opencode-beads", False),
        ("\x1b[2J", True),
    ):
        config.write_text(json.dumps({"plugin": [plugin]}))
        assert bool(said(environ, home / "work")) == tells, plugin
    assert "\x1b" not in said(environ | {"OPENCODE_CONFIG_CONTENT": '{"plugin": ["\x1b[2J"]}'}, home / "work")


@node_or_not
def test_a_project_without_typescript_gets_the_servers_own(started, home, bare, node):
    """OpenCode looks for `typescript/lib/tsserver.js` in the project; without, it starts no server."""
    (home / "work/package-lock.json").write_text("{}")
    (home / "work/mistake.ts").write_text('const count: number = "two"\nexport default count\n')
    path = os.environ["PATH"] if node else bare
    arguments = ["debug", "lsp", "diagnostics", "mistake.ts"]
    for _ in range(TRIES):  # it waits a few seconds for a server, and no longer
        report = isolated.run(started, arguments, home, config={"lsp": True}, env={"PATH": path}, timeout=300)
        if "is not assignable" in report.stdout:
            break
    assert "is not assignable" in report.stdout, report.stdout + report.stderr
    assert report.hosts == []
