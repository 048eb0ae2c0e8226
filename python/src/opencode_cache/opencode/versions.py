"""Which versions of OpenCode are supported, and which layout each has for its cache."""

from __future__ import annotations

import os
import re
from typing import Literal

from opencode_cache.base.errors import BadInputError

LayoutName = Literal["bun", "packages", "generations"]

SUPPORTED = "1.0 to 1.3 and 1.14 to 1.18"
"""What a user is told. Nothing between 1.3 and 1.14 can be had from npm; of 2.x see `check_experimental`."""

LAYOUTS: tuple[tuple[LayoutName, tuple[int, int], tuple[int, int]], ...] = (
    ("bun", (1, 0), (1, 3)),
    ("packages", (1, 14), (1, 18)),
    ("generations", (2, 0), (2, 999_999)),
)
"""Layout, and the first and last series that has it."""

EXPERIMENTAL = "generations"
"""The layout that was tried with one version of the real program on one system, 2.0.15 on x86_64-linux."""
KNOWN = (
    "known is what 2.0.15 for x86_64-linux makes of a cache, the one 2.x program that could be had to try, "
    "and unknown is all of other versions and systems"
)
CONSENT = "OPENCODE_CACHE_EXPERIMENTAL"
"""Environment: 1 is the same as `--experimental`, for Nix and for child processes."""

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


def check_experimental(version: str) -> None:
    """Raises BadInputError for a version that is an experiment, unless `--experimental` was given."""
    if layout_name(version) != EXPERIMENTAL or os.environ.get(CONSENT) == "1":
        return
    raise BadInputError(
        f"OpenCode {version} is an experiment here: {KNOWN}. Add --experimental (or set {CONSENT}=1) and let "
        "`opencode-cache verify` decide, or take OpenCode 1.14 to 1.18"
    )
