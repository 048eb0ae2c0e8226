"""What becomes of each entry of a configuration: one of four words."""

from __future__ import annotations

import pytest

from opencode_cache.config import judge
from opencode_cache.config.commands import fetched
from opencode_cache.config.mistakes import mistakes
from opencode_cache.config.offer import Have, Offer

OPENCODE = "1.18.33"
ALL = Offer(OPENCODE)
NOTHING = Offer(OPENCODE, ())


def words(home, offer=ALL):
    return {one.shown: one.word for one in judge.judge(home.read(), offer)}


def plan(home, offer=ALL):
    return [one.plan for one in judge.judge(home.read(), offer) if one.plan]


def test_every_kind_of_entry_gets_a_word(home):
    home.config(
        {
            "plugin": [
                "a",
                ["b@1.2.3", {"x": 1}],
                "./mine.ts",
                "opencode-openai-codex-auth@latest",
                "a b",
            ],
            "provider": {
                "one": {
                    "npm": "@ai-sdk/fireworks",
                    "models": {"m": {"provider": {"npm": "other-sdk"}}},
                },
                "two": {"npm": "@ai-sdk/openai-compatible"},
                "three": {"npm": "file:///x.js"},
            },
            "mcp": {
                "memory": {"type": "local", "command": ["npx", "-y", "server-memory"]},
                "clock": {"type": "local", "command": ["uvx", "mcp-server-time"]},
                "off": {"type": "local", "command": ["npx", "x"], "enabled": False},
                "docs": {
                    "type": "remote",
                    "url": "https://mcp.example.com/mcp?key=secret",
                },
                "own": {"type": "local", "command": ["/usr/bin/server", "--x"]},
            },
            "formatter": {"mine": {"command": ["npx", "prettier", "$FILE"], "extensions": [".x"]}},
            "lsp": {
                "typescript": {"disabled": True},
                "mine": {"command": ["gopls"], "extensions": [".go"]},
            },
            "instructions": ["https://rules.example.com/house.md", "AGENTS.md"],
            "skills": {"urls": ["https://skills.example.com/index.json"]},
            "references": {"lib": {"repository": "example/lib"}, "near": "../near"},
        }
    )
    home.write(".config/opencode/tui.json", {"plugin": ["looks"]})
    home.write(
        "work/.opencode/package.json",
        {"dependencies": {"ms": "^2", "mine": "file:../x"}},
    )
    mine = home.home / ".config/opencode/mine.ts"
    assert words(home) == {
        "plugin 'a'": "cached",
        "plugin 'b@1.2.3'": "cached",
        f"plugin '{mine}'": "not needed",
        "plugin 'opencode-openai-codex-auth@latest'": "bundled",
        "plugin 'a b'": "not covered",
        "plugin 'looks'": "cached",
        "provider.one.npm '@ai-sdk/fireworks'": "cached",
        "provider.one.models.m.provider.npm 'other-sdk'": "cached",
        "provider.two.npm '@ai-sdk/openai-compatible'": "bundled",
        "provider.three.npm 'file:///x.js'": "not needed",
        "mcp.memory 'npx -y server-memory'": "cached",
        "mcp.clock 'uvx mcp-server-time'": "not covered",
        "mcp.off 'npx x'": "not needed",
        "mcp.docs 'https://mcp.example.com/mcp'": "not needed",
        "mcp.own '/usr/bin/server --x'": "not needed",
        "formatter.mine 'npx prettier $FILE'": "cached",
        "lsp.mine 'gopls'": "not needed",
        "lsp": "not covered",
        "instructions 'https://rules.example.com/house.md'": "cached",
        "skills 'https://skills.example.com/index.json'": "not covered",
        "references.lib 'example/lib'": "not covered",
        "dependencies 'ms@^2'": "cached",
        "dependencies 'mine@file:../x'": "not covered",
    }
    for one in judge.judge(home.read(), ALL):
        assert bool(one.fix) >= (one.word == "not covered"), one
        assert "secret" not in one.shown + one.reason + one.fix


@pytest.mark.parametrize(
    ("spec", "cached", "word"),
    [
        ("x", "x", "cached"),
        ("x", "x@latest", "cached"),
        ("x@latest", "x", "cached"),
        ("x@1.0.0", "x@1.0.0", "cached"),
        ("x@1.0.0", "x", "not covered"),
        ("x", "x@1.0.0", "not covered"),
        ("@s/x@latest", "@s/x", "cached"),
        (
            "x@git+https://github.com/o/x.git",
            "x@git+https://github.com/o/x.git",
            "cached",
        ),
        ("x@git+https://github.com/o/x.git", "x", "not covered"),
    ],
)
def test_specs_are_compared_as_opencode_compares_them(home, spec, cached, word):
    home.config({"plugin": [spec]})
    offer = Offer(OPENCODE, (Have("plugin", cached.rpartition("@")[0] or cached, cached),))
    assert list(words(home, offer).values()) == [word]


def test_a_providers_spec_is_compared_as_it_is(home):
    home.config({"provider": {"a": {"npm": "sdk@latest"}}})
    assert list(words(home, Offer(OPENCODE, (Have("provider", "sdk", "sdk"),))).values()) == ["not covered"]
    assert list(words(home, Offer(OPENCODE, (Have("provider", "sdk", "sdk@latest"),))).values()) == ["cached"]


def test_what_opencode_installed_by_itself_is_there(home, tmp_path):
    home.config({"plugin": ["x"]})
    (tmp_path / "packages/x@latest/node_modules/x").mkdir(parents=True)
    assert list(words(home, Offer(OPENCODE, (), tmp_path)).values()) == ["cached"]


def test_the_last_of_two_entries_for_one_plugin_counts(home):
    home.config({"plugin": ["x@1.0.0", "y"]})
    home.write("work/opencode.json", {"plugin": ["x", "y"]})
    assert words(home) == {
        "plugin 'x@1.0.0'": "not needed",
        "plugin 'x'": "cached",
        "plugin 'y'": "cached",
    }
    assert plan(home) == [("plugins", ("x",)), ("plugins", ("y",))]


def test_a_project_can_switch_a_server_of_the_users_off(home):
    home.config({"mcp": {"a": {"type": "local", "command": ["npx", "-y", "a"]}}})
    home.write("work/opencode.json", {"mcp": {"a": {"enabled": False}}})
    assert words(home) == {"mcp.a 'npx -y a'": "not needed"}


def test_a_plugin_that_renames_itself_is_planned_under_both_names(home):
    home.config({"plugin": ["oh-my-opencode@latest"]})
    (found,) = judge.judge(home.read(), ALL)
    assert found.plan == (
        "plugins",
        ("oh-my-opencode@latest", "oh-my-openagent@latest"),
    )
    assert "write oh-my-openagent@latest" in found.fix
    (found,) = judge.judge(
        home.read(),
        Offer(OPENCODE, (Have("plugin", "oh-my-opencode", "oh-my-opencode"),)),
    )
    assert found.word == "not covered"


@pytest.mark.parametrize("switch", [True, {"pyright": {"disabled": True}}])
def test_servers_are_those_of_the_projects_languages(home, switch):
    home.config({"lsp": switch, "formatter": True})
    home.write("work/src/x.py", "")
    home.write("work/node_modules/y/x.php", "")
    home.write("work/x.ts", "")
    home.write("work/package.json", {"devDependencies": {"typescript": "5", "prettier": "3"}})
    names = {package for key, specs in plan(home) if key == "tools" for package in specs}
    assert names == {"typescript-language-server", "prettier"} | ({"pyright"} if switch is True else set())


def test_typescript_needs_typescript_in_the_project(home):
    home.config({"lsp": True})
    home.write("work/x.ts", "")
    assert list(words(home).values()) == ["not covered"]
    assert (
        judge.judge(home.read(), Offer(OPENCODE, (Have("tool", "pyright", "pyright"),)))[0].word == "cached"
    )


def test_the_users_own_node_modules_are_left_alone(home):
    home.write(".config/opencode/package.json", {"dependencies": {"ms": "^2"}})
    assert list(words(home).values()) == ["cached"]
    assert list(words(home, NOTHING).values()) == ["not covered"]
    home.write(".config/opencode/node_modules/ms/package.json", "{}")
    assert list(words(home, NOTHING).values()) == ["not needed"]


def test_dependencies_of_a_local_plugin_are_planned(home):
    home.config({"plugin": ["./mine"]})
    mine = home.write(".config/opencode/mine/package.json", {"dependencies": {"ms": "^2"}}).parent
    assert plan(home) == [("plugins", (str(mine),))]


@pytest.mark.parametrize("opencode", ["1.0.61", "1.3.2"])
def test_older_versions_have_their_own_rules(home, opencode):
    home.config({"plugin": ["opencode-copilot-auth", "github:o/r"], "lsp": True})
    home.write("work/x.py", "")
    found = [one.word for one in judge.judge(home.read(), Offer(opencode))]
    first = "cached" if opencode == "1.0.61" else "bundled"
    assert found == [first, "not covered", "not covered"]


@pytest.mark.parametrize(
    ("command", "by", "spec", "arguments"),
    [
        ("npx -y server", "npm", "server", ""),
        ("npx --yes @s/server@1.2 --port 1", "npm", "@s/server@1.2", "--port 1"),
        ("/usr/bin/npx server", "npm", "server", ""),
        ("npx -p @s/server serve --x", "npm", "@s/server", "--x"),
        ("npx --package=@s/server -- serve --x", "npm", "@s/server", "--x"),
        ("bunx server@latest", "npm", "server@latest", ""),
        ("bun x server a", "npm", "server", "a"),
        ("npm exec -y -- server a", "npm", "server", "a"),
        ("npm exec server -- a", "npm", "server", "a"),
        ("npm x server", "npm", "server", ""),
        ("pnpm dlx server a", "npm", "server", "a"),
        ("uvx mcp-server-time", "python", "mcp-server-time", ""),
        ("uvx --from git+https://x/y serve", "python", "git+https://x/y", ""),
        ("docker run -i --rm mcp/time", "container", "mcp/time", ""),
        ("npx", "npm", "", ""),
    ],
)
def test_commands_that_fetch(command, by, spec, arguments):
    found = fetched(command.split())
    assert (found.by, found.spec, " ".join(found.arguments)) == (by, spec, arguments)


def test_commands_that_fetch_nothing_or_hide_it():
    assert fetched(["node", "server.js"]) is None
    assert fetched(["npm", "run", "serve"]) is None
    assert fetched([]) is None
    assert fetched(["sh", "-c", "cd x && npx server"]).by == "shell"
    assert fetched(["sh", "-c", "server"]) is None


ENDS = "OpenCode does not start with it"


@pytest.mark.parametrize(
    ("config", "said", "certain"),
    [
        ({"permissions": []}, f"permissions is a key of OpenCode 2; {ENDS}", True),
        (
            {"agent": {"a": {"permissions": []}}},
            "agent.a.permissions is a key of OpenCode 2",
            True,
        ),
        (
            {"providers": {}},
            "providers is a key of OpenCode 2, and OpenCode 1 passes over it",
            True,
        ),
        ({"lsp": {"typescript": {}}}, f"lsp.typescript has no command; {ENDS}", True),
        ({"plugin": "x"}, "plugin is not a list", True),
        ({"mcp": {"a": {"command": ["x"]}}}, f"mcp.a is not an MCP server; {ENDS}", True),
        (
            {"mcp": {"a": {"type": "local", "command": "npx x"}}},
            "mcp.a is not an MCP server",
            True,
        ),
        (
            {"formatter": {"x": {"command": "y"}}},
            "formatter.x has a command that is not a list",
            True,
        ),
        (
            {"references": {"lib": {"git": "https://x"}}},
            "references.lib has neither repository nor path",
            True,
        ),
        (
            {"model": "antropic/claude"},
            "model 'antropic/claude': no provider 'antropic'",
            True,
        ),
        ({"model": "anthropic/clod"}, "anthropic has no such model", False),
        ({"model": "claude"}, "names no provider", True),
    ],
)
def test_mistakes_are_named(home, config, said, certain):
    home.config(config)
    catalogue = {"anthropic": {"models": {"claude": {}}}}
    (found,) = mistakes(home.read(), lambda: catalogue, opencode="1.18.33")
    assert said in found.text
    assert found.certain == certain
    assert found.fix


@pytest.mark.parametrize(
    "config",
    [
        {
            "lsp": {"x": {"disabled": True}, "y": {"command": ["y"]}},
            "formatter": {"prettier": {}},
        },
        {
            "mcp": {
                "a": {"enabled": False},
                "servers": {"b": {"type": "local", "command": ["x"]}},
                "timeout": {},
            }
        },
        {
            "references": {"a": "o/r", "b": {"path": "../x"}},
            "model": "anthropic/claude#high",
        },
        {"model": "mine/x", "provider": {"mine": {"models": {"x": {}}}}},
        {"model": "{env:NONE}", "instructions": None},
    ],
)
def test_what_opencode_takes_is_no_mistake(home, config):
    home.config(config)
    assert (
        list(mistakes(home.read(), lambda: {"anthropic": {"models": {"claude": {}}}}, opencode="1.18.33"))
        == []
    )


def test_the_catalogue_is_asked_for_only_where_a_model_is_named(home):
    home.config({"plugin": ["x"]})
    assert list(mistakes(home.read(), lambda: pytest.fail("asked"), opencode="1.18.33")) == []


@pytest.mark.parametrize(
    ("command", "spec"),
    [("npx -y server", "server"), ("bunx @s/server@1.2.3 --port 1", "@s/server@1.2.3"), ("npx -p a b", "a")],
)
def test_commands_are_planned_under_their_own_text(home, command, spec):
    home.config({"mcp": {"a": {"type": "local", "command": command.split()}}})
    assert plan(home) == [("commands", (spec,))]
    assert list(words(home, NOTHING).values()) == ["not covered"]
    name = spec.removesuffix("@1.2.3")
    assert list(words(home, Offer(OPENCODE, (Have("command", name, spec),))).values()) == ["cached"]
    assert list(words(home, Offer(OPENCODE, (Have("command", name, f"{spec}x"),))).values()) == [
        "not covered"
    ]


@pytest.mark.parametrize("command", ["npx", "npx -y github:o/r", "npx ./local"])
def test_commands_that_name_no_package_of_the_registry(home, command):
    home.config({"mcp": {"a": {"type": "local", "command": command.split()}}})
    assert list(words(home).values()) == ["not covered"]


def test_servers_in_the_table_of_version_2_are_looked_at(home):
    home.config({"mcp": {"servers": {"a": {"type": "local", "command": ["npx", "a"], "disabled": True}}}})
    assert words(home) == {"mcp.a 'npx a'": "not needed"}


SECOND = {
    "plugins": ["one", {"package": "@s/two@^1", "options": {}}, "three", "-three", "-*", "./local.js"],
    "plugin": ["old", ["tuple@1", {}]],
    "providers": {
        "a": {"package": "aisdk:@ai-sdk/fireworks"},
        "b": {"package": "@own/native@2"},
        "c": {"settings": {}},
    },
    "permissions": {},
}


def test_the_keys_of_opencode_2_are_read_for_it_alone(home):
    home.config(SECOND)
    found = judge.judge(home.read(), Offer("2.0.15"))
    planned = {spec: one.plan[0] for one in found if one.plan for spec in one.plan[1]}
    assert planned == {
        "one": "plugins",
        "@s/two@^1": "plugins",
        "old": "plugins",
        "tuple@1": "plugins",
        "@ai-sdk/fireworks": "extra_providers",
        "@own/native@2": "extra_providers",
    }
    first = judge.judge(home.read(), Offer("1.18.33"))
    assert {spec for one in first if one.plan for spec in one.plan[1]} == {"old", "tuple@1"}


def test_what_opencode_1_refuses_is_no_mistake_for_2(home):
    home.config(SECOND)
    assert list(mistakes(home.read(), lambda: pytest.fail("asked"), opencode="2.0.15")) == []
    assert any(
        "is a key of OpenCode 2" in one.text for one in mistakes(home.read(), dict, opencode="1.18.33")
    )


def test_opencode_2_installs_nothing_beside_a_package_json(home):
    home.config({})
    home.write(".config/opencode/package.json", {"dependencies": {"x": "1"}})
    (found,) = (one for one in judge.judge(home.read(), Offer("2.0.15")) if one.entry.kind == "package")
    assert (found.word, found.reason) == ("not covered", "OpenCode 2.0.15 installs nothing there")
