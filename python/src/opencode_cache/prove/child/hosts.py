"""The hosts and addresses that are asked for: which are known, why, and what would stop the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opencode_cache.formats.proof import Host
from opencode_cache.prove.child.record import Wanted, version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

_METADATA = (
    "a cloud's metadata service, where the SDKs of google-vertex and amazon-bedrock look for a login when "
    "they have none: give them one, or set AWS_EC2_METADATA_DISABLED=true and METADATA_SERVER_DETECTION=none"
)

_FIXES = {
    "github.com": "OpenCode looks for ripgrep there when no `rg` is on PATH: install ripgrep",
    "api.github.com": "OpenCode looks for its newest release there: set OPENCODE_DISABLE_AUTOUPDATE=1",
    "169.254.169.254": _METADATA,
    "fd00:ec2::254": _METADATA,
    "169.254.170.2": _METADATA,
    "metadata.google.internal": _METADATA,
}


_WHO = {"import": "provider", "tool": "tool", "ask": "provider"}
"""First word of a step's name -> what it is that was tried in it and nowhere else."""


def judged(manifest: Manifest, wanted: Wanted, step: str, count: int, ports: Sequence[str] = ()) -> Host:
    """A host or address that was asked for `count` times in a step, with what is known of it."""
    known = next(
        (
            why
            for host, first, last, why in _KNOWN
            if host == wanted.name and first <= version(manifest.opencode) <= last
        ),
        None,
    )
    if known is None and step.startswith("ask "):
        known = "that provider was asked for an answer, and this is whom it asks"
    return Host(
        name=wanted.name,
        count=count,
        step=step,
        ports=tuple(ports),
        who=_who(step),
        known=known,
        fix=None if known else _FIXES.get(wanted.name),
    )


def _who(step: str) -> str | None:
    """Who asked, where the step tries one thing alone. Several answer at once, so those do not tell."""
    kind, _, spec = step.partition(" ")
    return f"{_WHO[kind]} {spec}" if spec and kind in _WHO else None


def all_of(manifest: Manifest, asked: Mapping[tuple[str, Wanted], int]) -> tuple[Host, ...]:
    """Everybody that was asked, by name and step; an address once, with all its ports."""
    counts: Counter[tuple[str, str]] = Counter()
    ports: dict[tuple[str, str], set[str]] = {}
    for (step, wanted), count in asked.items():
        key = (wanted.name, step)
        counts[key] += count
        ports.setdefault(key, set()).update([wanted.port] if wanted.port else [])
    return tuple(
        judged(manifest, Wanted(name), step, count, sorted(ports[name, step]))
        for (name, step), count in sorted(counts.items())
    )
