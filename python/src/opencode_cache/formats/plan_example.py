"""A plan with every key in it: what errors show of it."""

from __future__ import annotations

import re

TEXT = """\
opencode = "1.18.33"
systems = ["x86_64-linux"]          # whose OpenCode binary is pinned
providers = ["@ai-sdk/fireworks"]   # or "catalogue": all that the model catalogue names
extra_providers = ["@ai-sdk/cohere"]
plugins = ["opencode-gemini-auth", "github:owner/repo#COMMIT", "./my-plugin"]
built_in_plugins = true
tools = ["pyright", "typescript-language-server"]
commands = ["@modelcontextprotocol/server-memory"]   # what `npx` starts
config = ["@opencode-ai/plugin"]
instructions = ["https://example.org/house-rules.md"]
skills = ["https://example.org/skills"]   # with an index.json below it
warmup = ["models"]                 # what must work without asking the registry
languages = ["python", "rust"]      # or "pinned": all that there is a pin for
require_signatures = false
min_age = "7d"
catalogue = "api.json"              # or a directory with the sources of models.dev

[resolve]
"@ai-sdk/fireworks" = "^2"

[grammars.nix]
wasm = "my-grammars@1.0.0/tree-sitter-nix.wasm"
queries = ["my-grammars@1.0.0/nix/highlights.scm"]

[files]
"skills/house-style.md" = "notes/house-style.md"   # place below the cache = file beside the plan

[accept]                            # or accept = ["api.example.org"], from anybody but OpenCode itself
"opencode-gemini-auth" = ["github.com"]
"""


def of(key: str) -> str:
    """What the example has for a key, on one line."""
    line = re.search(rf"^{re.escape(key)} = [^#\n]*", TEXT, re.MULTILINE)
    table = re.search(rf"^(\[{re.escape(key)}[^#\n]*).*\n([^#\n]*)", TEXT, re.MULTILINE)
    return (
        line[0].strip()
        if line
        else " ".join(map(str.strip, table.groups()))
        if table
        else TEXT.partition("\n")[0]
    )
