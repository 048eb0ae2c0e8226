"""What popular plugins have to make them stop asking, as it was read in their own code (`opt_outs.json`).

`seen` names the version and the file. A host may have `*` in it: registries are called many things.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from opencode_cache.base.model import Model

FILE = "opt_outs.json"


class OptOut(Model):
    """One switch of one plugin, which goes by any of `plugins`."""

    plugins: tuple[str, ...]
    hosts: tuple[str, ...]
    what: str
    """What the plugin asks for."""
    switch: str
    """What to do so that it does not, as a clause of a sentence."""
    seen: str


@cache
def known() -> tuple[OptOut, ...]:
    """All of them."""
    text = resources.files(__package__).joinpath(FILE).read_bytes()
    return TypeAdapter(tuple[OptOut, ...]).validate_json(text)


def switch(plugin: str, host: str) -> str | None:
    """What stops a plugin, by its npm name, from asking for that host; None where no switch is known."""
    return next(
        (
            f"that is its {one.what}: {one.switch}"
            for one in known()
            if plugin in one.plugins and any(fnmatchcase(host, pattern) for pattern in one.hosts)
        ),
        None,
    )
