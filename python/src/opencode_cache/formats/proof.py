"""The proof of a cache: of what, by what, where and when; what was tried, who was asked, whether it holds.

A proof belongs to the cache and the program whose digests it has, and to nothing else. Builds are
reproducible, so one that was made elsewhere speaks for the same digests here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    computed_field,
    model_validator,
)

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model, first_problem
from opencode_cache.formats import manifest as manifests

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_SHOWN_DIGITS = 12
_SHOWN_FAILURES = 3
_BLOCK = 1 << 20

OPENCODE = "OpenCode"
"""Who asks where no plugin has to be there for it."""

FILE = "proof.json"
"""Its name in bundles and images: beside the directory with the cache."""

MAKE_ONE = "make it with `opencode-cache verify --json`"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _whole_seconds(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a time zone")
    return value.astimezone(dt.timezone.utc).replace(microsecond=0)


class Step(Model):
    """One thing that was tried. `detail` is a sentence or a figure; `seconds` is wall time."""

    name: str
    ok: bool
    seconds: float
    detail: str
    too_slow: bool = False
    """It is not `ok` only because it came to no end in time, twice."""


class Host(Model):
    """A host or an address outside that was asked for in a step.

    `count` is the number of questions to DNS (A and AAAA are two), or of connections and datagrams.
    """

    name: str
    """A DNS name, or an IPv4 or IPv6 address."""
    count: int
    step: str
    ports: tuple[str, ...] = ()
    """Of an address: `tcp/443`, `udp/53`, `icmp`."""
    who: str | None = None
    """Who asked: `provider @ai-sdk/x`, `plugin x`, OPENCODE itself; None where that could not be told."""
    known: str | None = None
    """Why this version asks and what it costs, where nobody can stop it."""
    fix: str | None = None
    """What would stop it, where that is known."""
    accepted: bool = False
    """Whether the plan says that those who ask for it may."""

    @property
    def is_quiet(self) -> bool:
        """Whether it is known or accepted, so that nobody has to be told."""
        return self.accepted or self.known is not None

    @property
    def is_opencodes(self) -> bool:
        """Whether OpenCode asks, or may be the one who does."""
        return self.who in (None, OPENCODE)


class Proof(Model):
    """The result, with two verdicts that are never mixed: `complete`, and `quiet`. `ok` is both."""

    proof_version: Literal[2] = 2
    manifest_sha256: Sha256
    """Of the cache's manifest.json, which names all that is in the cache by its hash."""
    binary_sha256: Sha256
    """Of the file with OpenCode's own code."""
    installation_sha256: Sha256 | None = None
    """Of the list of all that ships, where that was proved: in a root without other files."""
    tool: str
    """Version of this program."""
    opencode: str
    """What the binary said to `--version`."""
    time: Annotated[dt.datetime, AfterValidator(_whole_seconds)]
    """When it was made, in UTC."""
    machine: str
    """`x86_64, 2 CPUs`, `x86_64, 2 CPUs, emulating aarch64`: no name by which it could be found."""
    kernel: str
    """`Linux 6.1.0`."""
    start_seconds: float
    """How long `opencode --version` took: what the limits of the steps are measured by."""
    path: tuple[str, ...]
    """PATH as the steps had it; `~` and `$XDG_DATA_HOME` stand for those of who made the proof."""
    isolated: bool
    """Whether it ran in a network namespace, with the cache mounted read-only."""
    weaker_because: str | None = None
    unseen: tuple[str, ...] = ()
    """What this machine did not let it see, each a sentence."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    hosts: tuple[Host, ...]
    ok: bool
    """Complete and quiet."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def complete(self) -> bool:
        """Every step went well, and OpenCode itself asked for nothing that is not known."""
        return is_complete(self.steps, self.hosts)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def quiet(self) -> bool:
        """Nobody asked for anything but what is known or accepted."""
        return is_quiet(self.hosts)

    @model_validator(mode="wrap")
    @classmethod
    def _verdicts_are_what_the_rest_says(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - whatever a file holds
        names = ("complete", "quiet")  # which proofs of before there were two do not have
        is_table = isinstance(data, dict)
        rest = {key: value for key, value in data.items() if key not in names} if is_table else data
        proof = handler(rest)
        said = {name: data[name] for name in names if is_table and name in data}
        for name, value in {"ok": proof.ok, **said}.items():
            if value != (holds(proof.steps, proof.hosts) if name == "ok" else getattr(proof, name)):
                raise ValueError(f"`{name}` contradicts the steps and hosts")
        return proof

    @property
    def too_slow(self) -> bool:
        """Whether nothing speaks against the cache but that the machine was too slow."""
        failed = [step for step in self.steps if not step.ok]
        return bool(failed) and all(step.too_slow for step in failed) and _has_all(self.hosts)


def holds(steps: tuple[Step, ...], hosts: tuple[Host, ...]) -> bool:
    """Whether every step went well, and every host is known or accepted."""
    return is_complete(steps, hosts) and is_quiet(hosts)


def is_complete(steps: tuple[Step, ...], hosts: tuple[Host, ...]) -> bool:
    """Whether every step went well, and what OpenCode itself asked for is known."""
    return all(step.ok for step in steps) and _has_all(hosts)


def _has_all(hosts: tuple[Host, ...]) -> bool:
    """Whether OpenCode itself asked for nothing that is not known."""
    return all(host.known or not host.is_opencodes for host in hosts)


def is_quiet(hosts: tuple[Host, ...]) -> bool:
    """Whether every host is known or accepted."""
    return all(host.is_quiet for host in hosts)


def verdict(proof: Proof) -> str:
    """The result in one line: proved, or what failed with its reason, and which hosts were asked for."""
    if proof.ok:
        accepted = " or accepted" if any(host.accepted for host in proof.hosts) else ""
        asked = f"only for hosts that are known{accepted}" if proof.hosts else "for no host"
        return f"proved: OpenCode {proof.opencode} asked {asked}"
    failed = [step for step in proof.steps if not step.ok]
    if proof.too_slow:
        return f"too slow: {_named(failed)}; be more patient with `opencode-cache verify --patience N`"
    asking = [host for host in proof.hosts if not host.is_quiet]
    own, others = [h for h in asking if h.is_opencodes], [h for h in asking if not h.is_opencodes]
    asked_by = _part(f"asked for by {', '.join(sorted({host.who or '' for host in others}))}", _names(others))
    if proof.complete:
        return f"complete, not quiet: {asked_by}"
    slow = [step for step in failed if step.too_slow]
    reasons = [
        _part("failed", _named([step for step in failed if not step.too_slow])),
        _part("too slow", _named(slow)),
        _part("asked for", _names(own)),
        asked_by,
    ]
    return "not proved: " + "; ".join(filter(None, reasons))


def _part(what: str, which: str) -> str:
    return f"{what}: {which}" if which else ""


def _names(hosts: list[Host]) -> str:
    return ", ".join(sorted({host.name for host in hosts}))


def _named(steps: list[Step]) -> str:
    shown = [f"{step.name} ({step.detail})" for step in steps[:_SHOWN_FAILURES]]
    return ", ".join([*shown, *(step.name for step in steps[_SHOWN_FAILURES:])])


def where_and_when(proof: Proof) -> str:
    """`x86_64, 2 CPUs, Linux 6.1.0, 2026-11-26 01:02 UTC, by opencode-cache 0.1.0`."""
    return f"{proof.machine}, {proof.kernel}, {proof.time:%Y-%m-%d %H:%M} UTC, by opencode-cache {proof.tool}"


class Identity(Model):
    """What a proof is of: a cache and a program, by their digests."""

    manifest_sha256: Sha256
    binary_sha256: Sha256

    def file_name(self, installation_sha256: str | None = None) -> str:
        """The name of its proof in the local store's `proofs/`, or of the proof of what ships with it."""
        parts = (self.manifest_sha256, self.binary_sha256, *filter(None, [installation_sha256]))
        return "-".join(part[:32] for part in parts) + ".json"

    def is_of(self, proof: Proof) -> bool:
        """Whether the proof speaks for the same cache and binary, by their sha256."""
        return (self.manifest_sha256, self.binary_sha256) == (proof.manifest_sha256, proof.binary_sha256)


def of(cache: Path, binary_sha256: str) -> Identity:
    """What a proof of that cache with that program has to name. Raises BadInputError for no cache."""
    return Identity(manifest_sha256=sha256(cache / manifests.FILE), binary_sha256=binary_sha256)


def sha256(path: Path) -> str:
    """Of a file, as 64 hex digits. Raises BadInputError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); {MAKE_ONE}") from error
    return digest.hexdigest()


def read(path: Path) -> Proof:
    """What `verify --json` wrote. Raises BadInputError for what is none, and for one without steps."""
    try:
        return Proof.model_validate_json(files.read_bytes(path, files.DOCUMENT))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read as a proof ({error.strerror}); {MAKE_ONE}") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {_problem(error)}; {MAKE_ONE}") from error


def _problem(error: ValidationError) -> str:
    wrong = {(one["loc"], one["type"]) for one in error.errors(include_url=False)}
    if {((name,), "missing") for name in Identity.model_fields} & wrong:
        return "does not say which cache and which program it is a proof of"
    if (("steps",), "too_short") in wrong:
        return "has no steps, and proves nothing"
    return first_problem(error)


def check(proof: Proof, path: Path, opencode: str, wanted: Identity) -> None:
    """Raises BadInputError unless the proof at `path` is of that version, cache and program."""
    if proof.opencode != opencode:
        problem = f"is a proof with OpenCode {proof.opencode}, and this is {opencode}"
    elif proof.manifest_sha256 != wanted.manifest_sha256:
        problem = (
            f"is the proof of another cache (manifest {_short(proof.manifest_sha256)}…, "
            f"and this one's is {_short(wanted.manifest_sha256)}…)"
        )
    elif proof.binary_sha256 != wanted.binary_sha256:
        problem = (
            f"is a proof with another OpenCode program (sha256 {_short(proof.binary_sha256)}…, "
            f"and this one's is {_short(wanted.binary_sha256)}…)"
        )
    else:
        return
    raise BadInputError(f"{path}: {problem}; {MAKE_ONE}")


def _short(digest: str) -> str:
    return digest[:_SHOWN_DIGITS]
