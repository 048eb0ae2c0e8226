"""`verify` with real caches and the real OpenCode."""

from __future__ import annotations

import os
import shutil
import stat

import making
import own_plugins
import pytest
from kept import slow

from opencode_cache.build import builder
from opencode_cache.formats import manifest
from opencode_cache.npm import platforms
from opencode_cache.prove import on_file, verify
from opencode_cache.sandbox import netns


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """What is proved is filed there."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def ripgrep(tmp_path, monkeypatch):
    """1.0.x wants ripgrep at every start, which a user has on PATH; one that does nothing will do here."""
    if shutil.which("rg") is None:
        program = tmp_path / "bin" / "rg"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{program.parent}")


def failed(proof):
    return [(step.name, step.detail) for step in proof.steps if not step.ok]


def unknown(proof):
    return [(host.name, host.step) for host in proof.hosts if not host.known]


def names(proof):
    return {step.name for step in proof.steps}


def kinds(cache, kind):
    return [entry.spec for entry in manifest.read(cache).requests if entry.kind == kind]


def copy(cache, to):
    """A cache that may be damaged."""
    shutil.copytree(cache, to, symlinks=True)
    for directory in [to, *to.rglob("*")]:
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(directory.stat().st_mode | stat.S_IWUSR)
    return to


def test_1_18_asks_for_no_host(isolated, cache_118, opencode_118):
    steps = []
    proof = verify.verify(cache_118, opencode_118, on_step=steps.append)
    assert failed(proof) == []
    assert proof.hosts == ()
    assert proof.ok
    assert proof.isolated
    assert proof.weaker_because is None
    assert {"models", "serve", "run", "tui", "answer @ai-sdk/anthropic (bundled)"} <= names(proof)
    assert {f"plugin {spec}" for spec in kinds(cache_118, "plugin")} <= names(proof)
    assert {f"import {spec}" for spec in kinds(cache_118, "provider")} <= names(proof)
    assert {f"tool {spec}" for spec in kinds(cache_118, "tool")} <= names(proof)
    assert {f"config {spec}" for spec in kinds(cache_118, "config")} <= names(proof)
    assert "models" in steps
    # What it is of, and that `run` finds it.
    identity = on_file.identity(cache_118, manifest.read(cache_118))
    assert (proof.manifest_sha256, proof.binary_sha256) == tuple(identity.model_dump().values())
    assert on_file.find(identity) == on_file.Found(proof, here=True)
    assert proof.unseen == ()


@slow
def test_1_0_asks_for_its_catalogue_only(isolated, ripgrep, cache_10, opencode_10):
    proof = verify.verify(cache_10, opencode_10)
    assert failed(proof) == []
    assert {host.name for host in proof.hosts} == {"models.dev"}
    assert all(host.known for host in proof.hosts)
    assert proof.ok
    assert {f"plugin {spec}" for spec in kinds(cache_10, "plugin")} <= names(proof)
    assert any(name.startswith("answer ") for name in names(proof))


@slow
def test_a_plugin_that_is_not_loaded_is_found(isolated, tmp_path, cache_118, opencode_118):
    plugins = [entry for entry in manifest.read(cache_118).requests if entry.kind == "plugin"]
    if not plugins:
        pytest.skip("needs a cache with a plugin")
    damaged = copy(cache_118, tmp_path / "cache")
    package = damaged / plugins[0].path / "package.json"
    package.unlink()
    package.write_text('{"name": "empty", "main": "nothing.js"}')
    proof = verify.verify(damaged, opencode_118)
    assert not proof.ok
    assert f"plugin {plugins[0].spec}" in dict(failed(proof))


@slow
def test_a_provider_sdk_that_lacks_a_dependency_is_found(isolated, tmp_path, ripgrep, cache_10, opencode_10):
    damaged = copy(cache_10, tmp_path / "cache")
    shutil.rmtree(damaged / "node_modules" / "@ai-sdk" / "provider-utils")
    proof = verify.verify(damaged, opencode_10)
    assert not proof.ok
    assert any(name.startswith("import ") and "provider-utils" in detail for name, detail in failed(proof))


@slow
def test_the_metadata_service_of_a_cloud_stands_in_the_proof(isolated, cache_118, opencode_118):
    """Whom DNS does not tell: Bedrock asks an address alone, Vertex a name and the address."""
    bedrock, vertex = (
        "amazon-bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "google-vertex/gemini-2.5-pro",
    )
    proof = verify.verify(cache_118, opencode_118, ask=[bedrock, vertex])
    asked = {(host.name, host.ports, host.who) for host in proof.hosts}
    assert asked == {
        ("169.254.169.254", ("tcp/80",), f"provider {bedrock}"),
        ("169.254.169.254", ("tcp/80",), f"provider {vertex}"),
        ("metadata.google.internal", (), f"provider {vertex}"),
    }
    assert failed(proof) == []


def test_without_a_namespace_the_proof_says_that_it_is_weaker(monkeypatch, ripgrep, cache_10, opencode_10):
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=False, why="the kernel says no"))
    proof = verify.verify(cache_10, opencode_10)
    assert failed(proof) == []
    assert unknown(proof) == []
    assert not proof.isolated
    assert "the kernel says no" in proof.weaker_because


RENAMES = """
import { readFileSync, writeFileSync } from "node:fs"
export const Renames = async () => {
  const file = process.env.HOME + "/.config/opencode/opencode.json"
  writeFileSync(file, readFileSync(file, "utf8").replaceAll("renames-itself", "another-name"))
  return {}
}
"""


@pytest.fixture
def with_plugins(tmp_path, tarballs, made_extra):
    """A cache of plugins and commands that are written here (name -> text), and of @opencode-ai/plugin."""

    def make(texts, *, config=True, accept=None, commands=()):
        found = made_extra.lock
        nodes = found.trees["config"] if config else {}
        packages = [found.packages[key] for key in dict.fromkeys(nodes.values())]
        trees = {"config": nodes} if config else {}
        requests = [one.model_dump() for one in found.requests if config and one.kind == "config"]
        own = tmp_path / "tarballs"
        own.mkdir()
        for package in packages:
            (own / package.tarball).symlink_to(tarballs / package.tarball)
        for name, text in {**texts, **dict(commands)}.items():
            package = own_plugins.add_tarball(
                own, name, text, **({"bin": "index.js"} if name in commands else {})
            )
            packages.append(package)
            trees[f"packages/{name}@latest"] = {f"node_modules/{name}": package.key}
            kind = "command" if name in commands else "plugin"
            requests.append(making.request(kind, f"{name}@latest", f"packages/{name}@latest"))
        lock = making.lock(packages, trees, requests, bundled=["@ai-sdk/openai-compatible"])
        lock = lock.model_copy(update={"accept": accept or {}})
        inputs = builder.Inputs(lock, own, made_extra.opencode, platforms.current())
        builder.build(inputs, tmp_path / "cache")
        return tmp_path / "cache"

    return make


@slow
def test_a_host_is_put_to_the_plugin_that_asks(isolated, ripgrep, with_plugins, opencode_118):
    proof = verify.verify(
        with_plugins({**own_plugins.ASKERS, "silent": own_plugins.SILENT}, accept=own_plugins.ACCEPTED),
        opencode_118,
    )
    assert failed(proof) == []
    assert {(host.name, host.who, host.accepted) for host in proof.hosts} == own_plugins.ASKED
    assert (proof.complete, proof.quiet, proof.ok) == (True, False, False)
    assert "second start" in names(proof)


def test_a_host_is_put_to_the_plugin_that_asks_by_1_0(isolated, ripgrep, tarballs, tmp_path, made_10):
    """Beside its built-in plugins, which ask for nothing. A start of 1.0 takes a third of one of 1.18."""
    own, found = tmp_path / "tarballs", made_10.lock
    own.mkdir()
    for package in found.packages.values():
        (own / package.tarball).symlink_to(tarballs / package.tarball)
    packages, nodes = dict(found.packages), dict(found.trees["."])
    kept = [one for one in found.requests if one.kind == "plugin" or one.spec == "@ai-sdk/openai-compatible"]
    requests = [one.model_dump() for one in kept]
    for name, text in own_plugins.ASKERS.items():
        package = own_plugins.add_tarball(own, name, text)
        packages[package.key] = package
        nodes[f"node_modules/{name}"] = package.key
        requests.append(making.request("plugin", f"{name}@latest", "."))
    change = {
        "packages": packages,
        "trees": {".": nodes},
        "requests": requests,
        "accept": own_plugins.ACCEPTED,
    }
    changed = type(found).model_validate(found.model_dump() | change)
    builder.build(builder.Inputs(changed, own, made_10.opencode, platforms.current()), tmp_path / "cache")
    proof = verify.verify(tmp_path / "cache", made_10.opencode)
    assert failed(proof) == []
    assert {
        (host.name, host.who, host.accepted) for host in proof.hosts if not host.known
    } == own_plugins.ASKED
    assert {host.name for host in proof.hosts if host.known} == {"models.dev"}
    assert (proof.complete, proof.quiet, proof.ok) == (True, False, False)
    assert "second start" in names(proof)


@slow
def test_what_the_cache_lacks_is_asked_for_by_opencode_and_not_by_the_plugin(
    isolated, ripgrep, with_plugins, opencode_118
):
    """Without @opencode-ai/plugin, OpenCode asks the registry for it, whatever plugins there are."""
    proof = verify.verify(with_plugins({"asks-a-service": own_plugins.ASKS}, config=False), opencode_118)
    asked = {host.name: host.who for host in proof.hosts}
    assert asked.pop("service.example") == "plugin asks-a-service@latest"
    assert set(asked.values()) == {"OpenCode"}
    assert not proof.complete


@slow
def test_a_plugin_that_renames_itself_is_found_at_the_second_start(
    isolated, ripgrep, with_plugins, opencode_118
):
    proof = verify.verify(with_plugins({"renames-itself": RENAMES}), opencode_118)
    assert not proof.complete
    detail = dict(failed(proof))["second start"]
    assert "plugin renames-itself@latest writes itself" in detail
    assert "name it another-name@latest in the plan" in detail


# A server of modelcontextprotocol.io, on standard streams, without a library.
MCP = """#!/usr/bin/env node
import { createInterface } from "node:readline"
@@FIRST@@
const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }))
const serverInfo = { name: "s", version: "1" }
const inputSchema = { type: "object", properties: {} }
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line)
  if (method === "initialize")
    say(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo })
  if (method === "ping") say(id, {})
  if (method === "tools/list") say(id, { tools: ["one", "two"].map((name) => ({ name, inputSchema })) })
})
"""
COMMANDS = {
    "mcp-asks": MCP.replace("@@FIRST@@", 'fetch("https://service.example/").catch(() => {})'),
    "mcp-of-a-directory": MCP.replace(
        "@@FIRST@@", "if (!process.argv[2]) { console.error('Usage: DIRECTORY'); process.exit(1) }"
    ),
    "mcp-with-a-key": MCP.replace("@@FIRST@@", "console.error('A_KEY is required'); process.exit(1)"),
    "mcp-lacks": MCP.replace("@@FIRST@@", 'await import("not-there")'),
    "formats": '#!/usr/bin/env node\nconsole.log("1.0.0")\n',
}


@slow
def test_commands_start_from_the_cache_and_their_tools_are_offered(
    isolated, ripgrep, with_plugins, opencode_118
):
    cache = with_plugins({}, commands=COMMANDS)
    proof = verify.verify(cache, opencode_118)
    steps = {step.name: step.detail for step in proof.steps}
    assert [name for name, _ in failed(proof)] == ["command mcp-lacks@latest"]
    assert "not-there" in steps["command mcp-lacks@latest"]
    assert steps["command mcp-asks@latest"] == "1.0.0: an MCP server with 2 tools"
    assert steps["command mcp-of-a-directory@latest"] == "1.0.0: an MCP server with 2 tools, started with `.`"
    assert steps["command mcp-with-a-key@latest"] == (
        "1.0.0: starts, and wants something of yours: A_KEY is required"
    )
    assert steps["command formats@latest"] == "1.0.0: starts"
    assert steps["mcp"] == "OpenCode is connected to mcp-asks@latest, mcp-of-a-directory@latest"
    assert "mcp-asks@latest 2, as it lists them; mcp-of-a-directory@latest 2, as it" in steps["tools"]
    asked = {(host.name, host.who) for host in proof.hosts}
    assert asked == {("service.example", "command mcp-asks@latest")}
    assert proof.quiet is False
