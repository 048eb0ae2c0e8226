"""The hosts and addresses that are asked for: which are known, why, and what would stop the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opencode_cache.formats.accept import accepts
from opencode_cache.formats.manifest import Entry
from opencode_cache.formats.proof import OPENCODE, Host
from opencode_cache.prove import opt_outs
from opencode_cache.prove.child.record import Wanted, version

if TYPE_CHECKING:
    from collections.abc import Sequence

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


_WHO = {"import": "provider", "tool": "tool", "command": "command", "ask": "provider"}
"""First word of a step's name -> what it is that was tried in it and nowhere else."""

_WITHOUT_PLUGINS = ("models", "tui")
"""Steps without plugins and commands."""


Askers = Mapping[str, tuple[Entry, ...]]
"""Host -> the plugins and commands without which it is not asked for; none: OpenCode asks by itself."""


def why_known(manifest: Manifest, name: str, step: str) -> str | None:
    """Why that version asks for a host in a step and nobody can stop it, if so."""
    for host, first, last, why in _KNOWN:
        if host == name and first <= version(manifest.opencode) <= last:
            return why
    if step.startswith("ask "):
        return "that provider was asked for an answer, and this is whom it asks"
    return None


def judged(
    manifest: Manifest,
    wanted: Wanted,
    step: str,
    count: int,
    ports: Sequence[str] = (),
    askers: Askers | None = None,
) -> Host:
    """A host or address that was asked for `count` times in a step, with what is known of it."""
    known = why_known(manifest, wanted.name, step)
    told = (askers or {}).get(wanted.name)
    who, specs = _who(step, told)
    return Host(
        name=wanted.name,
        count=count,
        step=step,
        ports=tuple(ports),
        who=who,
        known=known,
        fix=None if known else _fix(wanted.name, who, told or ()),
        accepted=not known and accepts(manifest.accept or {}, specs, wanted.name),
    )


def _who(step: str, told: tuple[Entry, ...] | None) -> tuple[str | None, list[str]]:
    """Who asked, in words and as specs: by the step where that tries one thing alone, else as told."""
    kind, _, spec = step.partition(" ")
    if spec and kind in _WHO:
        return f"{_WHO[kind]} {spec}", [spec]
    if told is None:
        return None, []
    names = ", ".join(f"{entry.kind} {entry.spec}" for entry in told)
    return names or OPENCODE, [entry.spec for entry in told]


def _fix(host: str, who: str | None, askers: tuple[Entry, ...]) -> str | None:
    fix = _FIXES.get(host)
    if who in (None, OPENCODE) or fix == _METADATA:
        return fix
    switches = [(entry.name, opt_outs.switch(entry.name, host)) for entry in askers]
    named = len(askers) > 1
    return "; ".join(f"{name}: {text}" if named else text for name, text in switches if text) or None


def all_of(
    manifest: Manifest, asked: Mapping[tuple[str, Wanted], int], askers: Askers | None = None
) -> tuple[Host, ...]:
    """Everybody that was asked, by name and step; an address once, with all its ports.

    `askers` is of the steps with plugins or commands; in the others there are none to ask.
    """
    counts: Counter[tuple[str, str]] = Counter()
    ports: dict[tuple[str, str], set[str]] = {}
    for (step, wanted), count in asked.items():
        key = (wanted.name, step)
        counts[key] += count
        ports.setdefault(key, set()).update([wanted.port] if wanted.port else [])
    return tuple(
        judged(
            manifest,
            Wanted(name),
            step,
            count,
            sorted(ports[name, step]),
            {name: ()} if step in _WITHOUT_PLUGINS else askers,
        )
        for (name, step), count in sorted(counts.items())
    )
