"""Steps side by side, each lane with a network of its own, so that what each asks for can be told apart."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from opencode_cache.prove.child.record import Record, Wanted
from opencode_cache.sandbox import own_network
from opencode_cache.sandbox.address_logger import AddressLogger
from opencode_cache.sandbox.dns_logger import DnsLogger
from opencode_cache.sandbox.loopback import TripwireRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from opencode_cache.prove.child.record import Patience, Subject

_MOST = 4
T = TypeVar("T")


def at_once() -> int:
    """How many lanes this machine has: as many as CPUs, two at least, so that one may wait."""
    return max(2, min(_MOST, os.cpu_count() or 1))


@dataclass(frozen=True)
class Lanes:
    """Starts lanes, each with a record of its own."""

    pool: ThreadPoolExecutor
    subject: Subject
    isolated: bool
    patience: Patience
    say: Callable[[str, float], None]

    def start(self, steps: Callable[[Subject, Record], T]) -> Future[tuple[Record, list[str], T]]:
        """Do steps in a lane; their record, what could not be seen, and what they return."""
        return self.pool.submit(self._do, steps)

    def _do(self, steps: Callable[[Subject, Record], T]) -> tuple[Record, list[str], T]:
        with self._own_network() if self.isolated else self._own_proxy() as (log, extra, unseen):
            record = Record(log, self.say, self.patience)
            subject = replace(self.subject, extra=self.subject.extra | extra)
            result = steps(subject, record)
            return record, unseen, result

    @contextmanager
    def _own_network(self) -> Iterator[tuple[Callable[[], list[Wanted]], dict[str, str], list[str]]]:
        own_network.enter()
        with ExitStack() as stack:
            dns = stack.enter_context(DnsLogger())
            addresses = stack.enter_context(AddressLogger())

            # Two logs, and a record that counts on: what is new in either comes after what was there.
            seen: list[Wanted] = []
            taken = [0, 0]

            def log() -> list[Wanted]:
                names, asked = dns.names[taken[0] :], addresses.asked[taken[1] :]
                taken[0] += len(names)
                taken[1] += len(asked)
                seen.extend(Wanted(name) for name, _ in names)
                seen.extend(Wanted(one.address, one.port) for one in asked)
                return seen

            yield log, {}, list(addresses.unseen)

    @contextmanager
    def _own_proxy(self) -> Iterator[tuple[Callable[[], list[Wanted]], dict[str, str], list[str]]]:
        with TripwireRegistry() as proxy:
            settings = {
                "http_proxy": proxy.url,
                "https_proxy": proxy.url,
                "no_proxy": "127.0.0.1,localhost",
            }
            extra = settings | {name.upper(): value for name, value in settings.items()}
            yield lambda: [Wanted(host) for host in proxy.hosts], extra, []
