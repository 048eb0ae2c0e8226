"""The wrapper around the real OpenCode: whose environment the agent sees, and projects with a `.opencode`."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from pathlib import Path

import isolated
import pytest
from kept import slow

from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

MOCK = {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
    "models": {"mock-model": {"name": "mock-model"}},
}
CONFIG = {"provider": {"extra": MOCK}}
ENV_CALL = ["run", "-m", "extra/mock-model", "RUN:env -0 | tr '\\n\\0' '~\\n':END"]
HELLO = ["run", "-m", "extra/mock-model", "hello"]
# A number that is new for every process.
OPENCODES_OWN = {"OPENCODE_PID"}

PLUGIN = """import { tool } from "@opencode-ai/plugin"
import { writeFileSync } from "node:fs"
writeFileSync(process.env.HOME + "/NAME", typeof tool.schema.string)
"""
PLUGIN_ENDS = {
    "plugin": "export const P = async () => ({})\n",
    "tool": 'export default tool({ description: "d", args: {}, async execute() { return "" } })\n',
}


def wrapped(made, directory):
    return wrapper.wrap(made.cache, made.opencode, directory, shell=shutil.which("dash"))


@pytest.fixture(scope="module", autouse=True)
def ripgrep_on_path():
    if shutil.which("rg") is None:
        pytest.skip("needs ripgrep on PATH (1.0.x downloads it otherwise): install Debian's ripgrep")


@pytest.fixture(scope="module")
def program_118(made_extra, tmp_path_factory):
    return wrapped(made_extra, tmp_path_factory.mktemp("wrapped"))


@pytest.fixture(scope="module")
def program_10(made_10, tmp_path_factory):
    return wrapped(made_10, tmp_path_factory.mktemp("wrapped"))


def agents_environment(program, home, **options):
    """What `env` prints in a bash tool call."""
    done = isolated.run(program, ENV_CALL, home, config=CONFIG, **options)
    assert done.returncode == 0, done.stderr
    (said,) = done.tool_results
    pairs = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    assert "HOME" in pairs, said
    return {name: value for name, value in pairs.items() if name not in OPENCODES_OWN}


USERS = {
    "plain": {},
    "unusable": {
        "XDG_CACHE_HOME": "",
        "HTTP_PROXY": "",
        "NODE_EXTRA_CA_CERTS": "/ca",
        "npm_config_loglevel": "silent",
    },
    "own": {
        "XDG_CACHE_HOME": "@HOME@/own",
        "OPENCODE_DISABLE_AUTOUPDATE": "false",
        "BUN_INSPECT_PRELOAD": "@OWN@",
    },
}


@pytest.mark.parametrize(
    ("version", "user"),
    [
        ("1.18", "own"),
        ("1.0", "plain"),
        pytest.param("1.18", "plain", marks=slow),
        pytest.param("1.18", "unusable", marks=slow),
        pytest.param("1.0", "unusable", marks=slow),
        pytest.param("1.0", "own", marks=slow),
    ],
)
def test_agent_sees_the_users_environment(version, user, request, tmp_path):
    program = request.getfixturevalue("program_118" if version == "1.18" else "program_10")
    made = request.getfixturevalue("made_extra" if version == "1.18" else "made_10")
    own = tmp_path / "own.js"
    own.write_text("")
    user = {
        name: value.replace("@HOME@", str(tmp_path)).replace("@OWN@", str(own))
        for name, value in USERS[user].items()
    }
    ours = agents_environment(program, tmp_path, env=user, read_only=[made.cache])
    # The bare program, started from the same home: without its cache 1.0 does not get as far as a tool call.
    root = user.get("XDG_CACHE_HOME") or tmp_path / ".cache-nix"
    if not user.get("XDG_CACHE_HOME"):
        shutil.copytree(root, tmp_path / ".cache", symlinks=True)
    bare = agents_environment(made.opencode, tmp_path, env=user, read_only=[made.cache])
    assert ours == bare


SERVER = {"OPENCODE_SERVER_PASSWORD": "the-secret", "OPENCODE_SERVER_USERNAME": "somebody"}
# What the process was started with, as the kernel shows it to the same user, belongs to it.
SEES = "env -0 | tr '\\n\\0' '~\\n'; tr '\\n\\0' '~\\n' </proc/$PPID/environ"


def test_servers_password_is_for_the_server_alone(program_118, made_extra, tmp_path):
    """Neither a bash tool call nor the web terminal has it, and the server goes on to want it."""
    driver = Path(__file__).with_name("drive_server.py")
    file = tmp_path / "terminal"
    config = CONFIG | {"permission": {"bash": "allow", "external_directory": "allow"}}
    done = isolated.run(
        sys.executable,
        [str(driver), str(program_118), SEES, str(file)],
        tmp_path,
        config=config,
        env=SERVER,
        read_only=[made_extra.cache],
    )
    assert done.returncode == 0, done.stderr
    assert {key: json.loads(done.stdout)[key] for key in ("nobody", "user", "terminal")} == {
        "nobody": 401,
        "user": 200,
        "terminal": 200,
    }
    (tool,) = done.tool_results
    assert "HOME=" in tool
    terminal = file.read_text()
    assert "OPENCODE_TERMINAL=1" in terminal
    for seen in (tool, terminal):
        assert not [value for value in SERVER.values() if value in seen]
    own = ("XDG_CACHE_HOME", "OPENCODE_CACHE_", "BUN_INSPECT_PRELOAD", "OPENCODE_DISABLE_AUTOUPDATE")
    assert not [line for line in terminal.split("\0") if line.startswith((*own, *SERVER))]


BACKSLASH, NOT_UTF_8 = "back\\slash", os.fsdecode(b"not-utf-8-\xff")
QUICK = {("1.18", "home", NOT_UTF_8), ("1.18", "movable", BACKSLASH), ("1.0", "program", BACKSLASH)}


@pytest.mark.parametrize(
    ("version", "where", "name"),
    [
        pytest.param(*case, marks=[] if case in QUICK else slow, id="-".join(map(ascii, case)))
        for case in itertools.product(("1.18", "1.0"), ("home", "program", "movable"), (BACKSLASH, NOT_UTF_8))
    ],
)
def test_paths_that_bun_reads_otherwise(version, where, name, request, tmp_path):
    """A home, or a place of the program, with a backslash or a byte that is not UTF-8: OpenCode starts."""
    made = request.getfixturevalue("made_extra" if version == "1.18" else "made_10")
    odd = tmp_path / name
    home = odd if where == "home" else tmp_path / "home"
    home.mkdir()
    out = odd if where != "home" else tmp_path / "wrapped"
    program = wrapper.wrap(
        made.cache, made.opencode, out, shell=shutil.which("dash"), relocatable=where == "movable"
    )
    bare = isolated.run(made.opencode, ["--version"], home, read_only=[made.cache])
    for _ in range(2):
        done = isolated.run(program, ["--version"], home, read_only=[made.cache])
        assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout), done.stderr
        assert done.stderr == bare.stderr


def test_users_preload_goes_on_to_work(program_118, made_extra, tmp_path):
    own = tmp_path / "own.js"
    own.write_text('require("node:fs").writeFileSync(process.env.HOME + "/preloaded", "")')
    env = {"BUN_INSPECT_PRELOAD": str(own)}
    done = isolated.run(program_118, HELLO, tmp_path, config=CONFIG, env=env, read_only=[made_extra.cache])
    assert "LOOPBACK-OK" in done.stdout
    assert (tmp_path / "preloaded").exists()


STARTS_NPM = """
const said = (words) => Bun.spawnSync(["npm", ...words]).stdout.toString()
const words = [["exec", "server"], ["list", "-g"], ["config", "get", "registry"]]
await Bun.write(process.env.HOME + "/said.json", JSON.stringify(words.map(said)))
export const P = async () => ({})
"""


def test_npm_as_a_server_of_the_users_has_the_users_registry(program_10, made_10, tmp_path):
    """`npm exec` may be an MCP server; `npm list` and `npm config` are OpenCode's look for updates."""
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text('#!/bin/sh\nprintf %s "${npm_config_registry-none}"\n')
    npm.chmod(0o755)
    plugin = tmp_path / ".config/opencode/plugin/starts-npm.js"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(STARTS_NPM)
    env = {"PATH": f"{npm.parent}:{os.environ['PATH']}"}
    isolated.run(program_10, ["models"], tmp_path, env=env, read_only=[made_10.cache])
    nobody = "http://127.0.0.1:9"
    assert json.loads((tmp_path / "said.json").read_text()) == ["none", nobody, nobody]


def project(home):
    """A project whose own plugin and tool import @opencode-ai/plugin."""
    for kind, end in PLUGIN_ENDS.items():
        path = home / "work/.opencode" / kind / f"{kind}.ts"
        path.parent.mkdir(parents=True)
        path.write_text(PLUGIN.replace("NAME", f"loaded-{kind}") + end)


def test_project_with_its_own_plugins_starts_and_asks_nobody(program_118, made_extra, tmp_path):
    """`./dev bench` measures it against the bare program without plugins."""
    project(tmp_path)
    config = CONFIG | {"plugin": ["opencode-gemini-auth"]}
    done = isolated.run(program_118, HELLO, tmp_path, config=config, read_only=[made_extra.cache])
    assert "LOOPBACK-OK" in done.stdout, done.stderr
    assert done.hosts == []
    for kind in PLUGIN_ENDS:
        assert (tmp_path / f"loaded-{kind}").read_text() == "function"
    assert sorted(path.name for path in (tmp_path / "work/.opencode").iterdir()) == [
        ".gitignore",
        "plugin",
        "tool",
    ]


def test_project_that_names_what_the_cache_lacks_costs_one_try_and_no_retries(
    program_118, made_extra, tmp_path
):
    project(tmp_path)
    (tmp_path / "work/.opencode/package.json").write_text('{"dependencies": {"nobody-has-this": "1.0.0"}}')
    config = CONFIG | {"plugin": ["opencode-gemini-auth"]}
    env = {"npm_config_registry": "http://registry.invalid"}
    done = isolated.run(program_118, HELLO, tmp_path, config=config, env=env, read_only=[made_extra.cache])
    assert "LOOPBACK-OK" in done.stdout, done.stderr
    assert done.hosts == ["registry.invalid"]
    assert done.seconds < 30  # npm's retries take over 70


@pytest.mark.parametrize(
    ("directory", "has_gitignore"),
    [
        ("project", False),
        pytest.param("user", True, marks=slow),
        pytest.param("user", False, marks=slow),
        pytest.param("project", True, marks=slow),
    ],
)
def test_read_only_config_directory_works(program_118, made_extra, tmp_path, directory, has_gitignore):
    """On a mount that is read-only; the bare OpenCode ends there where it has no .gitignore."""
    project(tmp_path)
    path = tmp_path / ("work/.opencode" if directory == "project" else ".config/opencode")
    path.mkdir(parents=True, exist_ok=True)
    if has_gitignore:
        (path / ".gitignore").write_text("node_modules\n")
    (tmp_path / ".config/opencode").mkdir(parents=True, exist_ok=True)
    config = CONFIG | {"plugin": ["opencode-gemini-auth"]}
    if directory == "user":
        # isolated.run writes the file inside the namespace: a first run leaves it for the second.
        isolated.run(program_118, ["--version"], tmp_path, config=config)
        shutil.rmtree(path / "node_modules")
        (path / "package-lock.json").unlink()
        assert (path / ".gitignore").exists() == has_gitignore
        done = isolated.run(program_118, ["models"], tmp_path, read_only=[made_extra.cache, path])
    else:
        done = isolated.run(program_118, HELLO, tmp_path, config=config, read_only=[made_extra.cache, path])
        assert "LOOPBACK-OK" in done.stdout, done.stderr
        assert (tmp_path / "loaded-plugin").read_text() == "function"
    assert done.returncode == 0, done.stderr
    assert done.seconds < 30  # npm's retries take over 70


def test_a_run_leaves_no_native_part_in_the_directory_for_temporary_files(program_118, made_extra, tmp_path):
    """Bare OpenCode leaves some megabytes each time."""
    left = {}
    for name, program in (("bare", made_extra.opencode), ("wrapped", program_118)):
        temporary = tmp_path / name
        temporary.mkdir()
        done = isolated.run(
            program, HELLO, tmp_path / f"home-{name}", config=CONFIG, env={"TMPDIR": str(temporary)}
        )
        assert done.returncode == 0, done.stderr
        assert "LOOPBACK-OK" in done.stdout
        left[name] = list(temporary.glob(".*.so"))
    assert left["bare"]
    assert left["wrapped"] == []


PLACES = {
    "lib/opencode-cache/generations/0123": ("install.sh NEW.tar.zst @", "install.sh --remove @"),
    "store": ("opencode-cache install", "opencode-cache remove --user"),
}


@pytest.mark.parametrize("place", PLACES)
def test_upgrade_and_uninstall_say_how_this_installation_is_updated_and_removed(place, made_118, tmp_path):
    """And do neither: OpenCode's own would ask the network for another OpenCode."""
    program = wrapped(made_118, tmp_path / place)
    home = tmp_path / "home"
    for words, says in zip(
        (["upgrade"], ["--log-level", "INFO", "uninstall", "--force"]), PLACES[place], strict=False
    ):
        done = isolated.run(program, words, home, read_only=[made_118.cache])
        assert (done.returncode, done.stdout, done.hosts) == (1, "", [])
        assert says.replace("@", str(tmp_path)) in done.stderr
        assert done.stderr.count("\n") == 1
    helped = isolated.run(program, ["upgrade", "--help"], home, read_only=[made_118.cache])
    assert (helped.returncode, helped.hosts) == (0, [])
