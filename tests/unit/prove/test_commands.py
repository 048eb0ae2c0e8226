"""Commands of the configuration: MCP servers that are asked for their tools, and what becomes of others."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from opencode_cache.base.errors import CheckFailedError, TooSlowError
from opencode_cache.formats import manifest
from opencode_cache.prove.child import commands, offered
from opencode_cache.prove.child.mcp_server import McpServer
from opencode_cache.prove.child.second_start import First

SERVER = """
import json, sys
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
print("hello, I am a server")
print("[1, 2]")
for line in sys.stdin:
    asked = json.loads(line)
    if "method" not in asked: continue
    method, number = asked["method"], asked.get("id")
    if method == "initialize":
        say(id="mine", method="roots/list")
        say(method="notifications/message")
        say(id=number, result={"capabilities": {}})
    elif method == "tools/list":
        @@LIST@@
"""
PAGES = """
        page = asked["params"].get("cursor", "0")
        more = {"nextCursor": "1"} if page == "0" else {}
        say(id=number, result={"tools": [{"name": "tool-" + page}], **more})
"""


def talked(text, seconds=20.0):
    with subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        try:
            return commands._Talk(process, time.monotonic() + seconds).tools()
        finally:
            process.kill()


def serving(text):
    return SERVER.replace("@@LIST@@", text.strip())


def test_the_tools_of_all_pages_are_heard_among_other_words():
    assert talked(serving(PAGES)) == ["tool-0", "tool-1"]


def test_a_server_without_tools_has_none():
    assert talked(serving('say(id=number, error={"code": -32601, "message": "no such method"})')) == []


def test_a_server_that_refuses_is_told():
    with pytest.raises(CheckFailedError, match=r"`tools/list`: .*log in first"):
        talked(serving('say(id=number, error={"code": -32000, "message": "log in first"})'))


@pytest.mark.parametrize("text", ["", "import sys; sys.exit(3)", serving("sys.exit(1)")])
def test_a_server_that_ends_is_no_answer(text):
    with pytest.raises(EOFError):
        talked(text)


def test_a_server_that_says_nothing_is_too_slow():
    with pytest.raises(TooSlowError):
        talked("import time; time.sleep(60)", 0.3)


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (0, "1.0.0", "starts"),
        (1, "Usage: server DIRECTORY", "starts, and wants something of yours: Usage: server DIRECTORY"),
        (1, "BRAVE_API_KEY is required", "starts, and wants something of yours: BRAVE_API_KEY is required"),
        (2, "", "starts, and wants something of yours: it says nothing"),
    ],
)
def test_what_ends_with_a_word_of_its_own_lacks_nothing(status, words, said):
    assert commands._told(commands._Ended(status, words)) == said


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (97, "", "the cache does not answer `npx` with it"),
        (1, "node:internal Error: Cannot find module 'zod' Require stack", "Cannot find module 'zod'"),
        (1, "error: Cannot find package 'zod' from '/x'", "Cannot find package 'zod'"),
        (1, "Error: Could not locate the bindings file", "Could not locate the bindings file"),
        (1, "was compiled against a different Node.js version", "compiled against a different"),
        (1, "Error: ENOENT: no such file or directory, open '/c/node_modules/x/a.wasm'", "ENOENT"),
        (139, "", "ended with 139: it said nothing"),
    ],
)
def test_what_lacks_a_part_fails(status, words, said):
    with pytest.raises(CheckFailedError) as caught:
        commands._told(commands._Ended(status, words))
    assert said in str(caught.value)


def an_entry(name="@scope/server.js"):
    return manifest.Entry(
        spec=f"{name}@1", kind="command", name=name, requested="1", version="1.0.0", tree="packages/x"
    )


@pytest.mark.parametrize(
    ("about", "beside", "server"),
    [
        ({"name": "prettier"}, "other", False),
        ({"name": "prettier"}, "@modelcontextprotocol/sdk", True),
        ({"name": "some-mcp-server"}, "other", True),
        ({"name": "x", "keywords": ["MCP"]}, "other", True),
        ({"name": "x", "description": None}, "other", False),
    ],
)
def test_servers_are_told_from_other_programs(tmp_path, about, beside, server):
    entry = an_entry("x")
    (tmp_path / entry.path).mkdir(parents=True)
    (tmp_path / entry.modules / beside).mkdir(parents=True)
    assert commands._is_server(tmp_path, entry, about) is server


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ("a.js", ["@s/server@1"]),
        ({"server": "a.js", "other": "b.js"}, ["@s/server@1"]),
        ({"x": "a.js", "y": "a.js"}, ["@s/server@1"]),
        ({"x": "a.js", "y": "b.js"}, ["-p", "@s/server@1", "x"]),
        (None, ["@s/server@1"]),
    ],
)
def test_a_command_is_what_npx_can_choose_a_program_for(programs, words):
    assert commands._command(an_entry("@s/server"), {"bin": programs}) == ("npx", "-y", *words)


def test_tools_are_compared_by_the_names_that_opencode_gives_them():
    server = McpServer(an_entry(), (), ("read file", "list"))
    assert server.offered == ["proof-_scope_server_js_1_read_file", "proof-_scope_server_js_1_list"]
    offered._compare(server, ["bash", *server.offered])
    with pytest.raises(CheckFailedError, match=r"is offered @scope/server.js@1 without proof-\S+_list$"):
        offered._compare(server, server.offered[:1])
    with pytest.raises(CheckFailedError, match="with proof-_scope_server_js_1_more"):
        offered._compare(server, [*server.offered, f"{server.name}_more"])


def test_what_plugins_add_is_named_and_what_they_withhold():
    first = First(["x"], ["bash", "mine", "yours"], frozenset({"bash", "mine"}))
    step = offered.of_plugins(["bash"], first)
    assert step.ok
    assert step.detail == "2: mine, yours; the plugins withhold yours from the agent that was asked"
    assert offered.of_plugins(["bash", "mine", "yours"], first).detail == "none"
    assert offered.of_plugins(None, first) is None
    assert offered.of_plugins(["bash"], First()) is None
