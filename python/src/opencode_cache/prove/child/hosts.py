"""The hosts that OpenCode asks for: which are known, why, and what would stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats.proof import Host
from opencode_cache.prove.child.record import version

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import Manifest

_KNOWN = (
    (
        "models.dev",
        (1, 0, 0),
        (1, 0, 184),
        "OpenCode before 1.0.185 asks for its catalogue at every start, has no switch, and does not wait",
    ),
    (
        "api.github.com",
        (1, 1, 11),
        (1, 3, 2),
        "the interface of these versions asks for the newest release before it looks at the switch for that",
    ),
)
"""Host, first and last version, why: requests that were seen and that no setting stops."""

_MENDS = {
    "github.com": "OpenCode looks for ripgrep there when no `rg` is on PATH: install ripgrep",
    "api.github.com": "OpenCode looks for its newest release there: set OPENCODE_DISABLE_AUTOUPDATE=1",
}


def judged(made: Manifest, name: str, step: str, count: int) -> Host:
    """A host that was asked for `count` times in a step, with what is known of it."""
    known = next(
        (
            why
            for host, first, last, why in _KNOWN
            if host == name and first <= version(made.opencode) <= last
        ),
        None,
    )
    return Host(name=name, count=count, step=step, known=known, mend=None if known else _MENDS.get(name))
