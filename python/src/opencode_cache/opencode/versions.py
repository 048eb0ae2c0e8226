"""Which versions of OpenCode are supported, and which layout each has for its cache."""

from __future__ import annotations

import re
from typing import Literal

from opencode_cache.base.errors import BadInputError

LayoutName = Literal["bun", "packages"]

SUPPORTED = "1.0 to 1.3 and 1.14 to 1.18"
"""What a user is told. Nothing between 1.3 and 1.14 can be had from npm, 2.x keeps its cache in a new way."""

LAYOUTS: tuple[tuple[LayoutName, tuple[int, int], tuple[int, int]], ...] = (
    ("bun", (1, 0), (1, 3)),
    ("packages", (1, 14), (1, 18)),
)
"""Layout, and the first and last series that has it."""

RELEASE = r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}"
"""A version without anything behind its three numbers, as a regular expression."""

_VERSION = re.compile(rf"({RELEASE})(?:[-+][0-9A-Za-z.+-]+)?")


def numbers(version: str) -> tuple[int, int, int]:
    """The three numbers of an OpenCode version. Raises BadInputError where it is none."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise BadInputError(f"{version!r} is not an OpenCode version; write it like 1.18.33")
    first, second, third = map(int, match[1].split("."))
    return first, second, third


def release(version: str) -> str:
    """That version, which is one of a release. Raises BadInputError where it is none."""
    if not re.fullmatch(RELEASE, version):
        raise BadInputError(f"{version!r} is not an OpenCode version; write it like 1.18.33")
    return version


def layout_name(version: str) -> LayoutName:
    """The layout of a version of OpenCode. Raises BadInputError that names the supported range."""
    series = numbers(version)[:2]
    for name, first, last in LAYOUTS:
        if first <= series <= last:
            return name
    raise BadInputError(f"OpenCode {version} is not supported; the supported versions are {SUPPORTED}")
