"""The npm tools that OpenCode knows: language servers and formatters, their packages and commands.

Upstream (anomalyco/opencode `packages/opencode/src/lsp/server.ts` and `src/format/formatter.ts`, each
`Npm.which(package[, command])`; read in the program text of 1.14.34, 1.17.0 and 1.18.33, where they are the
same). What makes OpenCode take one for installed (`packages/opencode/src/npm/index.ts`, `Npm.which`):
`<cache>/packages/<package>/node_modules/.bin` has the command named in the call, else its only entry, else
the one that the package's own `bin` names. The spec is always the bare name: a version in it would be
another directory, where OpenCode never looks.

Most servers are looked up on PATH and in `<cache>/bin` first (`which.ts`), and only then, unless
OPENCODE_DISABLE_LSP_DOWNLOAD is set, with `Npm.which`. Hence the links in `<cache>/bin`: with them a
server is found whatever that switch says. Biome's server is found in no other way, because OpenCode asks
npm for `biome`, which is somebody else's program.

All of them start with `#!/usr/bin/env node`: Node.js has to be on PATH.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

_NEAR = 0.75


@dataclass(frozen=True)
class Sample:
    """A file with a mistake in it that the server finds without any setting."""

    name: str
    text: str
    language: str
    """What OpenCode calls the language (`src/lsp/language.ts`)."""


@dataclass(frozen=True)
class Tool:
    """One npm tool. `server` and `formatter` are OpenCode's names for it, where it is one."""

    package: str
    command: str
    server: str | None = None
    formatter: str | None = None
    start: tuple[str, ...] = ("--stdio",)
    """Arguments with which the server speaks on its standard streams."""
    linked: bool = True
    """Whether OpenCode looks for the server's command in `<cache>/bin`."""
    brings: str | None = None
    """A package that it cannot do without, as an npm spec, and does not depend on: it gets that beside it."""
    project: str | None = None
    """A package that the user's project must have for OpenCode to start the server."""
    files: tuple[str, ...] = ()
    """Ends of the names of the files for which OpenCode starts the server."""
    sample: Sample | None = None
    """None: a server that starts, but from which OpenCode gets no diagnostics by itself."""
    remark: str = ""
    """Why there is no sample."""


_ALL = (
    Tool(
        "typescript-language-server",
        "typescript-language-server",
        files=(".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts"),
        server="typescript",
        linked=False,
        # 7 has no tsserver.js. The server takes the project's own, where there is one.
        brings="typescript@>=4.7 <7",
        project="typescript",
        sample=Sample("mistake.ts", 'const x: number = "no"\nexport default x\n', "typescript"),
    ),
    Tool(
        "pyright",
        "pyright-langserver",
        files=(".py", ".pyi"),
        server="pyright",
        sample=Sample("mistake.py", 'number: int = "no"\n', "python"),
    ),
    Tool(
        "@vue/language-server",
        "vue-language-server",
        files=(".vue",),
        server="vue",
        remark="version 3 wants the editor to ask a TypeScript server for it, which OpenCode does not do",
    ),
    Tool(
        "svelte-language-server",
        "svelteserver",
        files=(".svelte",),
        server="svelte",
        sample=Sample("mistake.svelte", "{#if true}\n", "svelte"),
    ),
    Tool(
        "@astrojs/language-server",
        "astro-ls",
        files=(".astro",),
        server="astro",
        project="typescript",
        sample=Sample("mistake.astro", "---\nconst = 1\n---\n<p></p>\n", "astro"),
    ),
    Tool(
        "yaml-language-server",
        "yaml-language-server",
        files=(".yaml", ".yml"),
        server="yaml-ls",
        sample=Sample("mistake.yaml", "a: [1\nb: 2\n", "yaml"),
    ),
    Tool(
        "bash-language-server",
        "bash-language-server",
        files=(".sh", ".bash", ".zsh", ".ksh"),
        server="bash",
        start=("start",),
        remark="its diagnostics come from `shellcheck`, where that is on PATH",
    ),
    Tool(
        "dockerfile-language-server-nodejs",
        "docker-langserver",
        files=(".dockerfile", "Dockerfile"),
        server="dockerfile",
        sample=Sample("Dockerfile", "FRMO scratch\n", "dockerfile"),
    ),
    Tool(
        "intelephense",
        "intelephense",
        files=(".php",),
        server="php intelephense",
        sample=Sample("mistake.php", "<?php\nfunction f( {\n", "php"),
    ),
    Tool(
        "@biomejs/biome",
        "biome",
        server="biome",
        formatter="biome",
        start=("lsp-proxy", "--stdio"),
        sample=Sample("mistake.json", '{"a": 1,,}\n', "json"),
    ),
    Tool("prettier", "prettier", formatter="prettier"),
    Tool("oxfmt", "oxfmt", formatter="oxfmt"),
)

TOOLS = {tool.package: tool for tool in _ALL}
"""Package name -> tool."""


def meant(name: str) -> str | None:
    """The tool that is plainly meant: by a near miss, its command, or OpenCode's own name for it.

    None for a tool's name, and for one that is like no other: that is the user's own business.
    """
    if name in TOOLS:
        return None
    by_word = {
        word: tool.package for tool in _ALL for word in (tool.command, tool.server, tool.formatter) if word
    }
    near = difflib.get_close_matches(name, TOOLS, 1, _NEAR)
    return by_word.get(name) or (near[0] if near else None)


def brings(name: str) -> str:
    """The npm spec that a tool cannot do without, or an empty text."""
    tool = TOOLS.get(name)
    return (tool.brings or "") if tool else ""


def note(name: str) -> str | None:
    """What a user should know of a tool, or None."""
    tool = TOOLS.get(name)
    if tool is None:
        return "OpenCode asks for no such tool by itself; name its command under `lsp` or `formatter`"
    if tool.project:
        if tool.brings:
            return f"a project without {tool.project} in its own node_modules gets the cache's"
        return f"OpenCode starts it only in a project that has {tool.project} in its own node_modules"
    return tool.remark or None
