"""One configuration with everything in it: one command, and all of it answers without a network.

What stands in for GitHub and for other people's sites is on this machine. OPENCODE_CACHE_TEST_FIELD=1.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial

import isolated
import pytest
from cases import _PACKAGE, _TOOL
from kept import KEPT, field

from opencode_cache.base import python
from opencode_cache.npm import repository

pytestmark = [pytest.mark.usefixtures("isolated"), field]

VERSION = "1.18.33"
REGISTRY = "registry.invalid"
"""Nobody asks it, not for the plugin API of a project's `.opencode` either."""
_PLUGIN = """export const Plugin = async () => ({
  tool: { %s: { description: "answers", args: {}, execute: async () => "%s" } },
})
"""
_SKILL = "---\nname: knots\ndescription: ties knots that hold\n---\nPull.\n"
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"))
} | {"GIT_CONFIG_GLOBAL": os.devnull}


def _publish(top, site, name):
    """A repository `someone/NAME` with a plugin in it, and the archive of its tag v1, then a later commit."""
    top.mkdir(parents=True)
    (top / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "main": "index.js"}))
    (top / "index.js").write_text(_PLUGIN % (f"{name}_tool", "one"))
    git = partial(subprocess.run, cwd=top, env=os.environ | IDENTITY, check=True, capture_output=True)
    git(["git", "init", "--quiet", "--initial-branch=main"])
    git(["git", "add", "."])
    git(["git", "commit", "--quiet", "--message=one"])
    git(["git", "tag", "v1"])
    commit = git(["git", "rev-parse", "HEAD"], text=True).stdout.strip()
    archive = site / "someone" / name / "tar.gz" / commit
    archive.parent.mkdir(parents=True)
    git(["git", "archive", "--format=tar.gz", f"--prefix={name}-{commit}/", f"--output={archive}", commit])
    return commit


@pytest.fixture
def site(tmp_path):
    """What is served on loopback while the lock is made: a directory and its address."""
    directory = tmp_path / "site"
    directory.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield directory, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _configuration(address):
    return {
        "plugin": [
            "opencode-beads",
            ["opencode-lmstudio@latest", {"quiet": True}],
            "opencode-supermemory@2.0.10",
            "tricks@git+https://github.com/someone/tricks.git#v1",
            "github:someone/more",
            "someone/short",
            "./mine.js",
        ],
        "provider": {
            "own": _provider("@ai-sdk/openai-compatible", "own"),
            "else": _provider("@ai-sdk/fireworks", "else"),
        },
        "mcp": {
            "graph": {"type": "local", "command": ["npx", "-y", "@modelcontextprotocol/server-memory"]},
            "steps": {
                "type": "local",
                "command": ["bunx", "@modelcontextprotocol/server-sequential-thinking@latest"],
            },
        },
        "lsp": True,
        "formatter": {"sql": {"command": ["npx", "sql-formatter", "--fix", "$FILE"], "extensions": [".sql"]}},
        "instructions": [f"{address}/house.md"],
        "skills": {"urls": [f"{address}/skills"]},
        "share": "disabled",
    }


def _provider(npm, name):
    options = {"baseURL": f"@MODELS@/{name}/v1", "apiKey": "loopback"}
    return {"npm": npm, "options": options, "models": {"m": {"name": "m"}}}


@pytest.fixture
def laid(tmp_path, site):
    """A home and a project with all of it; the configuration, and the commits behind the git specs."""
    served, address = site
    names = ("tricks", "more", "short")
    commits = [_publish(tmp_path / "hub/someone" / name, served, name) for name in names]
    (served / "house.md").write_text("Say THANK-YOU-KINDLY when you are done.\n")
    (served / "skills/knots").mkdir(parents=True)
    index = {"skills": [{"name": "knots", "files": ["SKILL.md"]}]}
    (served / "skills/index.json").write_text(json.dumps(index))
    (served / "skills/knots/SKILL.md").write_text(_SKILL)
    config, work = tmp_path / "home/.config/opencode", tmp_path / "home/work"
    for directory in (config, work / ".git", work / ".opencode/tool"):
        directory.mkdir(parents=True)
    configuration = _configuration(address)
    (config / "opencode.json").write_text(json.dumps(configuration))
    (config / "mine.js").write_text(_PLUGIN % ("mine_tool", "three"))
    (work / ".opencode/package.json").write_text(json.dumps(_PACKAGE))
    (work / ".opencode/tool/span.ts").write_text(_TOOL)
    (work / "Dockerfile").write_text("FRM debian\n")
    return configuration, commits


@pytest.fixture
def command(tmp_path, site):
    """`opencode-cache WORDS…` in the project; what it says. Its store is its own, its downloads are kept."""
    downloads = tmp_path / "cache/opencode-cache"
    downloads.mkdir(parents=True)
    (KEPT / "tarballs").mkdir(parents=True, exist_ok=True)
    (downloads / "tarballs").symlink_to(KEPT / "tarballs")
    environ = {
        "HOME": str(tmp_path / "home"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        repository.GITHUB: f"file://{tmp_path}/hub",
        repository.ARCHIVES: site[1],
        "COLUMNS": "200",
    }

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "opencode_cache", *words],
            cwd=tmp_path / "home/work",
            env=os.environ | python.path() | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_one_command_and_all_of_a_configuration_answers_without_a_network(tmp_path, laid, command):
    configuration, commits = laid
    program = tmp_path / "opencode"
    # The one command. It proves what it made: a host that OpenCode asks for would end it.
    said = command("run", "--opencode-version", VERSION, "--no-start", "--link", str(program))
    print(said)  # noqa: T201
    assert "not covered" not in said
    cache = str(next(tmp_path.glob("data/opencode-cache/store/*/manifest.json")).parent)
    table = command("plan", "--check", "--cache", cache)
    print(table)  # noqa: T201
    assert "tricks@git+https://github.com/someone/tricks.git#v1" in table
    assert all(f"+{commit[:12]}" in command("list", "--json", "--cache", cache) for commit in commits)
    assert "wrong" not in command("doctor")

    env = {"npm_config_registry": f"http://{REGISTRY}"}
    start = partial(isolated.run, program, home=tmp_path / "home", config=configuration, env=env, timeout=600)
    servers = start(["mcp", "list"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", servers.stdout)
    assert plain.count("connected") == 2, servers.stdout + servers.stderr
    assert servers.hosts == []
    assert "the cache lacks" not in servers.stderr

    prompt = start(["run", "--model", "own/m", "hello"])
    assert prompt.returncode == 0, prompt.stderr
    assert prompt.hosts == []
    print(" ".join(prompt.tools))  # noqa: T201
    assert {"tricks_tool", "more_tool", "short_tool", "mine_tool", "span"} <= set(prompt.tools)
    assert {"graph_read_graph", "steps_sequentialthinking"} <= set(prompt.tools)
    assert any("THANK-YOU-KINDLY" in body and "ties knots that hold" in body for body in prompt.bodies)

    other = start(["run", "--model", "else/m", "hello"])
    assert (other.returncode, other.models) == (0, ["m"]), other.stderr
    assert other.hosts == []
    tool = start(["debug", "agent", "build", "--tool", "span", "--params", '{"span": "2m"}'])
    assert "120000 milliseconds" in tool.stdout, tool.stderr
    for _ in range(4):  # it waits a few seconds for a server, and no longer
        checked = start(["debug", "lsp", "diagnostics", "Dockerfile"])
        assert checked.hosts == []
        if "FRM" in checked.stdout:
            break
    assert "FRM" in checked.stdout, checked.stdout + checked.stderr
