"""Configurations as people have them, in our own words: what becomes of each entry, and what is said.

`files`: place below HOME → text (JSON for a dict). A project is `work`, with a `.git`. `words`: what
an entry shows → its word. `plan`: key → specs of the plan. `said`: parts of what a person is told. `ends`:
OpenCode itself ends with it (exit status 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GLOBAL = ".config/opencode/opencode.jsonc"


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, Any]
    words: dict[str, str]
    plan: dict[str, list[str]] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    ends: bool = False
    environ: dict[str, str] = field(default_factory=dict)


def _config(name: str, config: Any, words: dict[str, str], **rest: Any) -> Case:
    return Case(name, {GLOBAL: config}, words, **rest)


_TOOL = """import { tool } from "@opencode-ai/plugin"
import ms from "ms"

export default tool({
  description: "the milliseconds in a span of time",
  args: { span: tool.schema.string() },
  async execute({ span }) {
    return `${ms(span)} milliseconds`
  },
})
"""
_PACKAGE = {"dependencies": {"@opencode-ai/plugin": "*", "ms": "^2.1.3"}}
_BUILT_IN = "OpenCode has this built in; take it out"

CASES = (
    _config(
        "popular plugins",
        {"plugin": ["opencode-wakatime", "oh-my-opencode-slim", "@tarquinen/opencode-dcp@latest"]},
        dict.fromkeys(
            (
                "plugin 'opencode-wakatime'",
                "plugin 'oh-my-opencode-slim'",
                "plugin '@tarquinen/opencode-dcp@latest'",
            ),
            "cached",
        ),
        plan={"plugins": ["opencode-wakatime", "oh-my-opencode-slim", "@tarquinen/opencode-dcp@latest"]},
    ),
    _config(
        "a plugin that renames itself",
        {"plugin": ["oh-my-opencode"]},
        {"plugin 'oh-my-opencode'": "cached"},
        plan={"plugins": ["oh-my-opencode", "oh-my-openagent"]},
        said=("write oh-my-openagent: at its first start it changes your configuration",),
    ),
    _config(
        "slips of the pen",
        {"plugin": ["opencode-wakatim"], "provider": {"mine": {"npm": "@ai-sdk/firework"}}},
        {"plugin 'opencode-wakatim'": "cached", "provider.mine.npm '@ai-sdk/firework'": "cached"},
        plan={"plugins": ["opencode-wakatim"], "extra_providers": ["@ai-sdk/firework"]},
    ),
    _config(
        "plugins that OpenCode passes over",
        {"plugin": ["opencode-copilot-auth", "opencode-openai-codex-auth@4.0.0"]},
        {
            "plugin 'opencode-copilot-auth'": "bundled",
            "plugin 'opencode-openai-codex-auth@4.0.0'": "bundled",
        },
        said=(_BUILT_IN,),
    ),
    _config(
        "servers by npx and the like",
        """{
          // what I use every day
          "mcp": {
            "graph": { "type": "local", "command": ["npx", "-y", "@modelcontextprotocol/server-memory"] },
            "steps": {
              "type": "local",
              "command": ["bunx", "@modelcontextprotocol/server-sequential-thinking@latest"]
            },
            "git": { "type": "local", "command": ["uvx", "mcp-server-git", "--repository", "."] },
            "web": { "type": "remote", "url": "https://mcp.example.org/sse" },
          },
        }""",
        {
            "mcp.graph 'npx -y @modelcontextprotocol/server-memory'": "cached",
            "mcp.steps 'bunx @modelcontextprotocol/server-sequential-thinking@latest'": "cached",
            "mcp.git 'uvx mcp-server-git --repository'": "not covered",
            "mcp.web 'https://mcp.example.org/sse'": "not needed",
        },
        plan={
            "commands": [
                "@modelcontextprotocol/server-memory",
                "@modelcontextprotocol/server-sequential-thinking@latest",
            ]
        },
        said=("pip download -d wheels mcp-server-git", "the machine must reach mcp.example.org"),
    ),
    Case(
        "a tool of the project with a dependency",
        {"work/.opencode/tool/span.ts": _TOOL, "work/.opencode/package.json": _PACKAGE},
        {"dependencies 'ms@^2.1.3'": "cached"},
        plan={"config": ["@opencode-ai/plugin", "ms@^2.1.3"]},
    ),
    Case(
        "a tool of the user with a dependency",
        {".config/opencode/tool/span.ts": _TOOL, ".config/opencode/package.json": _PACKAGE},
        {"dependencies 'ms@^2.1.3'": "cached"},
        plan={"config": ["@opencode-ai/plugin", "ms@^2.1.3"]},
    ),
    Case(
        "a tool in OPENCODE_CONFIG_DIR with a dependency",
        {"team/tool/span.ts": _TOOL, "team/package.json": _PACKAGE},
        {"dependencies 'ms@^2.1.3'": "cached"},
        plan={"config": ["@opencode-ai/plugin", "ms@^2.1.3"]},
        environ={"OPENCODE_CONFIG_DIR": "@HOME@/team"},
    ),
    _config(
        "plugins out of repositories",
        {
            "plugin": [
                "tricks@git+https://github.com/someone/tricks.git",
                "github:someone/more#v2",
                "someone/short",
            ]
        },
        {
            "plugin 'someone/short'": "cached",
            "plugin 'tricks@git+https://github.com/someone/tricks.git'": "cached",
            "plugin 'github:someone/more#v2'": "cached",
        },
        plan={
            "plugins": [
                "tricks@git+https://github.com/someone/tricks.git",
                "github:someone/more#v2",
                "someone/short",
            ]
        },
    ),
    _config(
        "a repository elsewhere",
        {"plugin": ["tricks@git+https://git.example.org/tricks.git"]},
        {"plugin 'tricks@git+https://git.example.org/tricks.git'": "not covered"},
        said=("cannot be locked; write 'github:OWNER/REPO#COMMIT' or an npm name",),
    ),
    _config(
        "addresses",
        {
            "instructions": ["notes.md", "https://example.org/house-rules.md"],
            "skills": {"paths": ["./skills"], "urls": ["https://example.org/skills"]},
            "references": {"tools": {"repository": "someone/tools"}, "docs": {"path": "../docs"}},
        },
        {
            "instructions 'https://example.org/house-rules.md'": "cached",
            "skills 'https://example.org/skills'": "cached",
            "references.tools 'someone/tools'": "not covered",
        },
        plan={
            "instructions": ["https://example.org/house-rules.md"],
            "skills": ["https://example.org/skills"],
        },
        said=("clone it",),
    ),
    _config(
        "addresses that no lock may hold",
        {
            "instructions": ["https://me:secret@example.org/rules.md", "http://example.org/rules.md"],
            "skills": {"urls": ["https://example.org/skills/index.json"]},
        },
        {
            "instructions 'https://…@example.org/rules.md'": "not covered",
            "instructions 'http://example.org/rules.md'": "not covered",
            "skills 'https://example.org/skills/index.json'": "not covered",
        },
        said=(
            "has a login or a query, which no lock may hold; save the text as a file and name that",
            "http://example.org/rules.md is not https",
            "write 'https://example.org/skills/'",
        ),
    ),
    Case(
        "plugins of the interface",
        {".config/opencode/tui.json": {"plugin": ["opencode-looks@1.0.0"], "theme": "system"}},
        {"plugin 'opencode-looks@1.0.0'": "cached"},
        plan={"plugins": ["opencode-looks@1.0.0"]},
    ),
    _config(
        "permissions of version 2",
        {"permissions": [{"tool": "edit", "action": "ask"}]},
        {},
        said=("permissions is a key of OpenCode 2; OpenCode does not start with it",),
        ends=True,
    ),
    _config(
        "permissions of version 2 in an agent",
        {"agent": {"careful": {"permissions": []}}},
        {},
        said=("agent.careful.permissions is a key of OpenCode 2",),
        ends=True,
    ),
    _config(
        "providers of version 2",
        {"providers": {"mine": {"package": "@ai-sdk/openai-compatible"}}},
        {},
        said=("providers is a key of OpenCode 2, and OpenCode 1 passes over it",),
    ),
    _config(
        "servers of version 2",
        {"mcp": {"servers": {"graph": {"type": "local", "command": ["npx", "server"], "disabled": True}}}},
        {"mcp.graph 'npx server'": "not needed"},
    ),
    Case(
        "one plugin in two spellings",
        {GLOBAL: {"plugin": ["opencode-beads@latest"]}, "work/opencode.json": {"plugin": ["opencode-beads"]}},
        {"plugin 'opencode-beads@latest'": "not needed", "plugin 'opencode-beads'": "cached"},
        plan={"plugins": ["opencode-beads"]},
    ),
    _config(
        "a server without its command",
        {"lsp": {"pyright": {}}},
        {"lsp": "not covered"},
        said=("lsp.pyright has no command; OpenCode does not start with it", '"lsp": true'),
        ends=True,
    ),
    _config(
        "a model of nobody",
        {"model": "anthropc/claude-sonnet-4-5", "small_model": "opencode"},
        {},
        said=("no provider 'anthropc'", "write anthropic/claude-sonnet-4-5", "names no provider"),
    ),
    _config(
        "a provider that is bundled and one that is not",
        {
            "provider": {
                "here": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": "http://127.0.0.1:1/v1"}},
                "else": {"npm": "@ai-sdk/fireworks", "options": {"apiKey": "{env:NOBODYS_KEY}"}},
            }
        },
        {
            "provider.here.npm '@ai-sdk/openai-compatible'": "bundled",
            "provider.else.npm '@ai-sdk/fireworks'": "cached",
        },
        plan={"extra_providers": ["@ai-sdk/fireworks"]},
    ),
    Case(
        "servers and formatters of a project's languages",
        {
            GLOBAL: {"lsp": True, "formatter": {"biome": {"disabled": True}}},
            "work/main.py": "",
            "work/ui/page.svelte": "",
            "work/package.json": {"devDependencies": {"prettier": "^3"}},
            "work/biome.json": "{}",
        },
        {
            "lsp 'pyright'": "cached",
            "lsp 'svelte-language-server'": "cached",
            "lsp '@biomejs/biome'": "cached",
            "formatter 'prettier'": "cached",
        },
        plan={"tools": ["pyright", "svelte-language-server", "@biomejs/biome", "prettier"]},
    ),
    _config(
        "a formatter by npx",
        {
            "formatter": {
                "sql": {"command": ["npx", "sql-formatter", "--fix", "$FILE"], "extensions": [".sql"]}
            }
        },
        {"formatter.sql 'npx sql-formatter --fix'": "cached"},
        plan={"commands": ["sql-formatter"]},
    ),
    _config(
        "a shell around npx",
        {"mcp": {"odd": {"type": "local", "command": ["sh", "-c", "cd /srv && npx -y some-server"]}}},
        {"mcp.odd 'sh -c cd /srv && npx -y some-server'": "not covered"},
        said=("write the command itself, without a shell around it",),
    ),
    _config(
        "a container",
        {"mcp": {"time": {"type": "local", "command": ["docker", "run", "-i", "--rm", "mcp/time"]}}},
        {"mcp.time 'docker run -i'": "not covered"},
        said=("docker pulls mcp/time if it is not there",),
    ),
    Case(
        "names out of the environment and files",
        {
            GLOBAL: '{"plugin": ["{env:MY_PLUGIN}", "{file:./plugin.txt}"]}',
            ".config/opencode/plugin.txt": "b@1.0.0\n",
        },
        {"plugin 'a@2.0.0'": "cached", "plugin 'b@1.0.0'": "cached"},
        plan={"plugins": ["a@2.0.0", "b@1.0.0"]},
        environ={"MY_PLUGIN": "a@2.0.0"},
    ),
    _config(
        "a file that is not there",
        '{"provider": {"mine": {"options": {"apiKey": "{file:~/no-such-key}"}}}}',
        {},
        said=("refers to {file:~/no-such-key}, which cannot be read",),
        ends=True,
    ),
    _config(
        "options beside a plugin, and plugins of one's own",
        {"plugin": [["opencode-beads", {"quiet": True}], "./mine.ts"]},
        {"plugin 'opencode-beads'": "cached", "plugin '@HOME@/.config/opencode/mine.ts'": "not needed"},
        plan={"plugins": ["opencode-beads"]},
    ),
    _config(
        "a list that is none", {"plugin": "opencode-beads"}, {}, said=("plugin is not a list",), ends=True
    ),
    _config(
        "a reference without a place",
        {"references": {"lib": {"git": "https://github.com/someone/lib"}}},
        {},
        said=("references.lib has neither repository nor path",),
        ends=True,
    ),
    Case(
        "a server that a project switches off",
        {
            GLOBAL: {"mcp": {"graph": {"type": "local", "command": ["npx", "-y", "some-server"]}}},
            "work/opencode.json": {"mcp": {"graph": {"enabled": False}}},
        },
        {"mcp.graph 'npx -y some-server'": "not needed"},
    ),
)
