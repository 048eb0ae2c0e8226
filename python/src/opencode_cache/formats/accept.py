"""Hosts that a plan accepts: a plugin's name, or `*` for every plugin, provider and tool -> hosts.

What OpenCode itself asks for is never among them: that is what the cache is for.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from opencode_cache.npm.spec import split_spec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ANYBODY = "*"

_LONGEST = 253
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*")


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    if len(value) > _LONGEST or not _NAME.fullmatch(value.lower()):
        raise ValueError(f"{value!r} is no host: write a name or an address, without https:// and port")
    return value.lower()


def _table(value: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    return {ANYBODY: value} if isinstance(value, list | tuple) else value


Accepted = Annotated[
    dict[str, tuple[Annotated[str, AfterValidator(_host)], ...]],
    BeforeValidator(_table),
]
"""A list of hosts stands for those of anybody."""


def accepts(accept: Mapping[str, tuple[str, ...]], specs: Collection[str], host: str) -> bool:
    """Whether that host is accepted from each of those who ask, named by their specs. False for nobody."""
    return all(
        any(host in accept.get(name, ()) for name in (spec, split_spec(spec)[0], ANYBODY)) for spec in specs
    ) and bool(specs)
