"""What `run`, `bundle` and `image` say of a cache that is complete and not quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opencode_cache.formats.proof import Proof


def lines(proof: Proof) -> Iterator[str]:
    """A line for each host that somebody asks for, not OpenCode: who, what stops it, how to accept it."""
    for name in dict.fromkeys(host.name for host in proof.hosts if not host.is_quiet):
        rows = [host for host in proof.hosts if host.name == name and not host.is_quiet]
        who = " and ".join(dict.fromkeys(row.who or "OpenCode or a plugin" for row in rows))
        fixes = list(dict.fromkeys(row.fix for row in rows if row.fix)) or ["no switch for it is known"]
        asks = "ask" if ", " in who or " and " in who else "asks"
        if any(row.is_opencodes for row in rows):
            yield f"{name}: {who} {asks} for it; {'; '.join(fixes)}"
        else:
            yield f"{name}: {who} {asks} for it, not OpenCode; {'; '.join(fixes)}; or `accept` it in the plan"
