"""The proof, as the child process of `verify`: one JSON object a line, the last one is the result."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Proof
from opencode_cache.prove.child import hosts, serving, steps, tools
from opencode_cache.prove.child.record import Record, Subject
from opencode_cache.sandbox import netns, reap
from opencode_cache.sandbox.dns_logger import DnsLogger
from opencode_cache.sandbox.loopback import TripwireRegistry
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def prove(cache: Path, binary: Path, weaker_because: str | None, say: Callable[[str], None]) -> Proof:
    """The whole proof, in the process's own namespaces unless `weaker_because` says why there are none."""
    made = manifest.read(cache)
    with ExitStack() as stack:
        log: Callable[[], Sequence[str]]
        extra: dict[str, str] = {}
        if weaker_because is None:
            dns = stack.enter_context(DnsLogger())
            log = lambda: [name for name, _ in dns.names]  # noqa: E731 - the two cases side by side
        else:
            proxy = stack.enter_context(TripwireRegistry())
            log = lambda: proxy.hosts  # noqa: E731
            for name, value in (
                ("http_proxy", proxy.url),
                ("https_proxy", proxy.url),
                ("no_proxy", "127.0.0.1,localhost"),
            ):
                extra |= {name: value, name.upper(): value}
        out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opencode-wrapped-")))
        program = wrapper.wrap(cache, binary, out / "wrapped")
        subject = Subject(cache, binary, program, made, extra)
        record = Record(log, say)
        steps.prove_models(subject, record)
        drivable = steps.prove_imports(subject, record)
        tools.prove_tools(subject, record)
        serving.prove_serving(subject, record, drivable)
    asked = [hosts.judged(made, name, step, count) for (name, step), count in sorted(record.hosts.items())]
    ok = all(step.ok for step in record.steps) and all(host.known for host in asked)
    return Proof(
        opencode=made.opencode,
        isolated=weaker_because is None,
        weaker_because=weaker_because,
        steps=tuple(record.steps),
        hosts=tuple(asked),
        ok=ok,
    )


def main() -> int:
    """The child process of `verify`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--opencode", type=Path, required=True)
    parser.add_argument("--read-only", type=Path, action="append", default=[])
    parser.add_argument("--weaker-because")
    options = parser.parse_args()
    # An exception, so that the servers are stopped and the directories removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if options.weaker_because is None:
            netns.enter(options.read_only, confined=True)
        with reap.nothing_left():
            proof = prove(
                options.cache, options.opencode, options.weaker_because, lambda name: _emit({"step": name})
            )
    except (OpencodeCacheError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _emit(proof.model_dump(mode="json"))
    return 0


def _emit(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
