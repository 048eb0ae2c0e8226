"""OpenCode's cache layouts, one module each, and which version of OpenCode has which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import BadInputError
from .bun import BUN
from .packages import PACKAGES

if TYPE_CHECKING:
    from .layout import Layout

SUPPORTED = "1.0 to 1.3 and 1.14 to 1.18"
"""What a user is told. Nothing between 1.3 and 1.14 can be had from npm, 2.x keeps its cache in a new way."""

_VERSION = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:[-+][0-9A-Za-z.+-]+)?")

_ALL: tuple[Layout, ...] = (BUN, PACKAGES)


def for_version(version: str) -> Layout:
    """The layout that this version of OpenCode reads. Raises BadInputError that names the supported range."""
    series = numbers(version)[:2]
    for layout in _ALL:
        if layout.first <= series <= layout.last:
            return layout
    raise BadInputError(f"OpenCode {version} is not supported; the supported versions are {SUPPORTED}")


def numbers(version: str) -> tuple[int, int, int]:
    """The three numbers of an OpenCode version. Raises BadInputError where it is none."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise BadInputError(f"{version!r} is not an OpenCode version; write it like 1.18.33")
    return int(match[1]), int(match[2]), int(match[3])


def named(name: str) -> Layout:
    """The layout of that name, as a lock or a manifest has it."""
    return next(layout for layout in _ALL if layout.name == name)
