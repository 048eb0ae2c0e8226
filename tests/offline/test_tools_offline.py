"""npm tools without a network: the real OpenCode gets diagnostics and formats with what is in the cache."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path

import isolated
import pytest
from kept import slow

from opencode_cache.base import python, store
from opencode_cache.base.errors import CheckFailedError
from opencode_cache.build import builder
from opencode_cache.formats import contents, lock
from opencode_cache.npm import nodejs, platforms
from opencode_cache.opencode import tools
from opencode_cache.prove.child.language_server import started
from opencode_cache.prove.child.tools import diagnostics
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

LOCK = Path(__file__).parent / "locks" / "tools-1.18.lock.json"
SERVERS = [tool for tool in tools.TOOLS.values() if tool.server]
DIAGNOSING = [tool for tool in SERVERS if tool.sample]
TRIES = 3
OF_A_KIND = ("pyright", "typescript-language-server", "@biomejs/biome")
"""JavaScript alone, one that looks for the project's own files, and a program; the others are like these."""
NO_DOWNLOAD = {"OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}

# A model that calls the write tool, and OpenCode beside it: argv is the program, the file and its text.
_EDIT = """
import json, subprocess, sys
from pathlib import Path
from opencode_cache.sandbox import ask, dialects
from opencode_cache.sandbox.loopback import ModelServer
program, file, text = sys.argv[1:]
ask._SHELLS = ("write",)
dialects._arguments = lambda command: {"filePath": file, "content": text}
with ModelServer() as models:
    path = Path.home() / ".config" / "opencode" / "opencode.json"
    path.write_text(path.read_text().replace("@OWN@", models.url))
    command = [program, "run", "-m", "extra/mock-model", "RUN:write:END"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    json.dump({"said": done.stdout + done.stderr, "results": models.tool_results}, sys.stdout)
"""

MODEL = {
    "extra": {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": "@OWN@/v1", "apiKey": "loopback"},
        "models": {"mock-model": {"name": "mock-model"}},
    }
}


@pytest.fixture(scope="module")
def made(make):
    if shutil.which("node") is None:
        pytest.skip("needs node on PATH, which runs the tools")
    return make(LOCK)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH without node: the wrapper is the only one to bring it."""
    directory = tmp_path_factory.mktemp("path")
    for name in (
        "sh",
        "env",
        "ls",
        "cat",
        "uname",
        "mkdir",
        "ln",
        "mv",
        "rm",
        "rmdir",
        "readlink",
        "cp",
        "find",
    ):
        found = shutil.which(name)
        if found:
            (directory / name).symlink_to(found)
    return directory


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A short one: Biome's socket lies below the home, and the path of a socket has at most 107 bytes."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture(scope="module")
def program(made, tmp_path_factory):
    place = store.Store(tmp_path_factory.mktemp("store"))
    return wrapper.wrap(
        made.cache, made.opencode, tmp_path_factory.mktemp("wrapped"), extra_path=[nodejs.directory(place)]
    )


def command(made, tool):
    return made.cache / "packages" / tool.package / "node_modules" / ".bin" / tool.command


def project(home, made, tool):
    """A project with the tool's mistake in it, and with TypeScript, where OpenCode wants that."""
    work = home / "work"
    work.mkdir()
    (work / tool.sample.name).write_text(tool.sample.text)
    if tool.project:
        typescript = made.cache / "packages" / "svelte-language-server" / "node_modules" / tool.project
        shutil.copytree(typescript, work / "node_modules" / tool.project)
    return work / tool.sample.name


def ask(made, program, home, file, tool, path, env):
    """What OpenCode shows for a file with that server alone, and the hosts that were asked for."""
    others = {one.server: {"disabled": True} for one in SERVERS if one is not tool}
    done = isolated.run(
        program,
        ["debug", "lsp", "diagnostics", file.name],
        home,
        config={"lsp": others},
        env={"PATH": str(path), **env},
        read_only=[made.cache],
    )
    assert done.returncode == 0, done.stderr
    return diagnostics(done.stdout).get(str(file), []), done.hosts


def diagnose(made, program, home, tool, path, env=None):
    file = project(home, made, tool)
    found = []
    # OpenCode waits a few seconds for a server: on a busy machine the first start may take longer.
    for _ in range(TRIES):
        found, hosts = ask(made, program, home, file, tool, path, env or {})
        assert hosts == []
        if found:
            break
    return found


@pytest.mark.parametrize("tool", tools.TOOLS.values(), ids=tools.TOOLS)
def test_every_tool_is_where_opencode_looks_for_it(made, tool):
    assert command(made, tool).resolve().is_file()
    linked = made.cache / "bin" / tool.command
    assert linked.exists() == bool(tool.server and tool.linked)


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(tool, id=tool.package, marks=[] if tool.package in OF_A_KIND else slow)
        for tool in DIAGNOSING
    ],
)
def test_opencode_gets_diagnostics_from_the_cached_server(made, program, path, tmp_path, tool):
    assert diagnose(made, program, tmp_path, tool, path)


@pytest.mark.parametrize("package", ["pyright", pytest.param("typescript-language-server", marks=slow)])
def test_also_where_lsp_downloads_are_switched_off(made, program, path, tmp_path, package):
    found = diagnose(made, program, tmp_path, tools.TOOLS[package], path, NO_DOWNLOAD)
    assert any("assignable" in one["message"] for one in found)


def test_without_the_cache_there_are_none(made, path, tmp_path):
    """What the cache is for; with downloads switched off, so that npm's retries are not waited for."""
    tool = tools.TOOLS["pyright"]
    file = project(tmp_path, made, tool)
    found, _ = ask(made, made.opencode, tmp_path, file, tool, path, NO_DOWNLOAD)
    assert found == []


def test_without_node_a_server_does_not_start(made, path, tmp_path):
    """What the end of the wrapper's PATH is for."""
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    pyright = [str(command(made, tools.TOOLS["pyright"])), "--stdio"]
    with pytest.raises(CheckFailedError, match="node"), started(pyright, tmp_path, {"PATH": str(path)}):
        pass


@pytest.mark.parametrize("tool", [tool for tool in SERVERS if not tool.sample], ids=lambda tool: tool.package)
def test_a_server_that_gives_none_starts_all_the_same(made, tmp_path, path, tool):
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {"PATH": f"{path}:{Path(shutil.which('node')).parent}", "HOME": str(tmp_path)}
    with started([str(command(made, tool)), *tool.start], tmp_path, environment):
        pass


def edit(made, program, home, path, name, text, env=None, **config):
    """An agent writes a file; what its tool call gave back, and what then stands in the file."""
    file = home / "work" / name
    done = isolated.run(
        sys.executable,
        ["-c", _EDIT, str(program), str(file), text],
        home,
        config={"provider": MODEL, "permission": {"edit": "allow"}, **config},
        env={"PATH": str(path), **python.path(), **(env or {})},
        read_only=[made.cache],
    )
    assert (done.returncode, done.hosts) == (0, []), done.stderr
    report = json.loads(done.stdout)
    assert file.exists(), report["said"]
    return "\n".join(map(str, report["results"])), file.read_text()


@pytest.mark.parametrize("package", ["pyright", pytest.param("typescript-language-server", marks=slow)])
def test_an_agents_edit_comes_back_with_diagnostics(made, program, path, tmp_path, package):
    tool = tools.TOOLS[package]
    file = project(tmp_path, made, tool)
    results = ""
    for _ in range(TRIES):  # as in `diagnose`
        file.unlink()
        results, _ = edit(made, program, tmp_path, path, file.name, tool.sample.text, lsp=True)
        if "assignable" in results:
            break
    assert "assignable" in results


@pytest.mark.parametrize(
    ("package", "name", "beside", "env"),
    [
        ("prettier", "package.json", '{"devDependencies": {"prettier": "*"}}', {}),
        pytest.param(
            "oxfmt",
            "package.json",
            '{"devDependencies": {"oxfmt": "*"}}',
            {"OPENCODE_EXPERIMENTAL_OXFMT": "1"},
            marks=slow,
        ),
        pytest.param("@biomejs/biome", "biome.json", "{}", {}, marks=slow),
    ],
)
def test_an_agents_edit_is_formatted(made, program, path, tmp_path, package, name, beside, env):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / name).write_text(beside)
    _, text = edit(made, program, tmp_path, path, "ugly.ts", "const  a   =  1", env, formatter=True)
    assert text == "const a = 1;\n"


# Plugins out of repositories

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PLUGIN = """
import { writeFileSync } from "node:fs"
export const Plugin = async () => {
  writeFileSync(process.env.HOME + "/loaded", import.meta.url)
  return {}
}
"""


def repository_lock(made, tarballs, spec, name):
    """A lock for one plugin of a repository, with an archive as GitHub makes them."""
    document = {"name": name, "version": "1.0.0", "type": "module", "main": "index.js"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", pax_headers={"comment": COMMIT}) as archive:
        for file, text in (("package.json", json.dumps(document)), ("index.js", _PLUGIN)):
            member = tarfile.TarInfo(f"repo-{COMMIT}/{file}")
            member.size, member.mode = len(text), 0o664
            archive.addfile(member, io.BytesIO(text.encode()))
    digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    package = lock.Package(
        name=name,
        version=f"1.0.0+{COMMIT[:12]}",
        integrity=f"sha512-{digest}",
        github=f"owner/repo#{COMMIT}",
    )
    tarballs.mkdir()
    (tarballs / package.tarball).write_bytes(packed.getvalue())
    tree = f"packages/{spec}"
    request = lock.Request(
        spec=spec, kind="plugin", name=name, requested=spec, version=package.version, tree=tree
    )
    config = next(request for request in made.lock.requests if request.kind == "config")
    return made.lock.model_copy(
        update={
            "requests": (request, config),
            "trees": {tree: {f"node_modules/{name}": package.key}, "config": made.lock.trees["config"]},
            "packages": {**made.lock.packages, package.key: package},
        }
    )


@pytest.mark.parametrize(
    ("start", "command"),
    [
        ("mine@", ["models"]),
        pytest.param("", ["models"], marks=slow),
        pytest.param("", ["run", "-m", "extra/mock-model", "hello"], marks=slow),
        pytest.param("mine@", ["run", "-m", "extra/mock-model", "hello"], marks=slow),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_opencode_loads_a_plugin_out_of_a_repository(made, tarballs, tmp_path, start, command):
    spec = f"{start}github:owner/repo#{COMMIT}"
    found = repository_lock(made, tmp_path / "own", spec, "mine")
    for package in contents.packages(found, platforms.current()).values():
        if not package.github:
            (tmp_path / "own" / package.tarball).symlink_to(tarballs / package.tarball)
    cache = tmp_path / "cache"
    builder.build(
        builder.Inputs(found, tmp_path / "own", made.opencode, platforms.current()),
        cache,
        prove=lambda _: None,
    )
    home = tmp_path / "home"
    home.mkdir()
    model = MODEL["extra"] | {"options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"}}
    done = isolated.run(
        wrapper.wrap(cache, made.opencode, tmp_path / "wrapped"),
        command,
        home,
        config={"plugin": [spec], "provider": {"extra": model}},
        read_only=[cache],
    )
    assert (done.returncode, done.hosts) == (0, []), done.stderr
    assert (home / "loaded").read_text().endswith("/node_modules/mine/index.js")
