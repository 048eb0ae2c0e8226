"""What the model is offered: the tools of OpenCode, of the plugins, and of the MCP servers.

MCP servers say themselves which tools they have, and the model has to be offered just those. That is asked
without plugins, which may withhold tools from an agent; what plugins register is told by the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats.proof import Step
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child import configured
from opencode_cache.sandbox.loopback import ModelServer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from opencode_cache.prove.child.configured import Driven
    from opencode_cache.prove.child.mcp_server import McpServer
    from opencode_cache.prove.child.record import Patience, Record, Subject
    from opencode_cache.prove.child.second_start import First

_LISTEN_TIMEOUT = 60
_PROMPT_TIMEOUT = 90
_SHOWN = 8


def prove_offered(subject: Subject, record: Record, driven: Driven) -> list[str] | None:
    """One step without plugins; the tools that OpenCode has by itself."""
    subject = subject.with_only(["plugin"])
    own: list[str] | None = None

    def offered(patience: Patience) -> str:
        nonlocal own
        with opencode.private_home() as home, ModelServer() as model:
            configured.configure(subject, home, [driven], model)
            listens, answers = patience.limit(_LISTEN_TIMEOUT), patience.limit(_PROMPT_TIMEOUT)
            with opencode.serve(subject.program, home, extra=subject.extra, timeout=listens) as server:
                said = server.prompt(driven.id, driven.id, "hello", answers)
                own = configured.tool_ids(server, answers)
            names = {name for request in model.requests for name in request.tools}
        if not names:
            raise CheckFailedError(f"no model was offered a tool: {said[:200]}")
        parts = [f"{len(names)} without plugins"]
        for one in subject.mcp_servers():
            _compare(one, names)
            parts.append(f"{one.entry.spec} {len(one.tools)}, as it lists them")
        return "; ".join(parts)

    record.step("tools", offered)
    return own


def _compare(server: McpServer, names: Collection[str]) -> None:
    promised = set(server.offered)
    seen = {name for name in names if name.startswith(f"{server.name}_")}
    if seen != promised:
        parts = [
            f"{what} {_some(sorted(those))}"
            for what, those in (("without", promised - seen), ("with", seen - promised))
            if those
        ]
        raise CheckFailedError(f"the model is offered {server.entry.spec} {' and '.join(parts)}")


def of_plugins(own: Sequence[str] | None, first: First) -> Step | None:
    """What the plugins add at the start with all of them, and what of that no model was offered."""
    if own is None or first.tools is None:
        return None
    theirs = sorted({*first.tools} - {*own})
    withheld = sorted({*theirs} - {*first.offered}) if first.offered else []
    detail = f"{len(theirs)}: {_some(theirs)}" if theirs else "none"
    if withheld:
        detail += f"; the plugins withhold {_some(withheld)} from the agent that was asked"
    return Step(name="tools of plugins", ok=True, seconds=0, detail=detail)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
