"""An MCP server of the plan, as the proof meets it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import Entry

_NO_TOOL_NAME = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True)
class McpServer:
    """An MCP server out of the cache, the command that it answered to, and the tools that it lists."""

    entry: Entry
    command: tuple[str, ...]
    tools: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in the private opencode.json."""
        return _NO_TOOL_NAME.sub("_", f"proof-{self.entry.spec}")

    @property
    def offered(self) -> list[str]:
        """The names under which OpenCode offers its tools (`packages/opencode/src/mcp/index.ts`)."""
        return [f"{self.name}_{_NO_TOOL_NAME.sub('_', tool)}" for tool in self.tools]
