"""A provider that is asked to answer without a network: what its own SDK asks for on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child.record import ended

if TYPE_CHECKING:
    from opencode_cache.prove.child.record import Patience, Record, Subject

_OPTIONS = {
    "amazon-bedrock": {"region": "us-east-1", "profile": "default"},
    "google-vertex": {"project": "proof", "location": "us-central1"},
    "google-vertex-anthropic": {"project": "proof", "location": "us-central1"},
}
"""What these need before they ask anybody; the rest are given a key that is none."""


def prove_ask(subject: Subject, record: Record, model: str) -> None:
    """One prompt to `provider/model`: it cannot be answered, and shows who is asked."""
    provider = model.partition("/")[0]

    def asked(patience: Patience) -> str:
        options = _OPTIONS.get(provider, {"apiKey": "none"})
        with opencode.private_home() as home:
            opencode.write_config(home, {"provider": {provider: {"options": options}}, "share": "disabled"})
            done = subject.run(patience, home, "run", *subject.alone, "--model", model, "hello")
            return f"without a network it {ended(done)}"

    record.step(f"ask {model}", asked)
