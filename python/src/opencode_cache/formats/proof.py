"""The proof of a cache: what was tried, which hosts were asked for, and whether it holds."""

from __future__ import annotations

from opencode_cache.base.model import Model


class Step(Model):
    """One thing that was tried. `detail` is a sentence or a figure; `seconds` is wall time."""

    name: str
    ok: bool
    seconds: float
    detail: str


class Host(Model):
    """A host that OpenCode asked for in a step. `count` is the number of questions (A and AAAA are two)."""

    name: str
    count: int
    step: str
    known: str | None = None
    """Why this version asks and what it costs, where nobody can stop it."""
    mend: str | None = None
    """What would stop it, where that is known."""


class Proof(Model):
    """The result. It is `ok` when every step is, and every host asked for is a known one."""

    opencode: str
    isolated: bool
    """Whether it ran in a network namespace, with the cache mounted read-only."""
    weaker_because: str | None = None
    steps: tuple[Step, ...]
    hosts: tuple[Host, ...]
    ok: bool


def verdict(proof: Proof) -> str:
    """The result in one line: proved, or what failed and which hosts were asked for."""
    if proof.ok:
        asked = "only for hosts that are known" if proof.hosts else "for no host"
        return f"proved: OpenCode {proof.opencode} asked {asked}"
    unknown = sorted({host.name for host in proof.hosts if not host.known})
    failed = [step.name for step in proof.steps if not step.ok]
    reasons = [f"failed: {', '.join(failed)}" if failed else "", _asked(unknown)]
    return "not proved: " + "; ".join(filter(None, reasons))


def _asked(names: list[str]) -> str:
    return f"asked for: {', '.join(names)}" if names else ""
