"""`engines.node` of a package against a version of Node.js, by npm's ranges (node-semver 7, `range.js`).

What is understood is what packages write: comparators, `^`, `~`, `x`, hyphen ranges and `||`. All else admits
every version: npm itself only warns of it.
"""

from __future__ import annotations

import re

_VERSION = r"v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][0-9A-Za-z.+-]+)?"
_COMPARATOR = re.compile(rf"(\^|~|>=|<=|>|<|=)?\s*{_VERSION}")
_HYPHEN = re.compile(rf"({_VERSION})\s+-\s+({_VERSION})")

Triple = tuple[int, int, int]


def numbers(version: str) -> Triple | None:
    """`v20.1.2` → (20, 1, 2); None where it is no version."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def admits(wanted: str, version: Triple) -> bool:
    """Whether a range of npm's has that version in it."""
    return any(_all(part.strip(), version) for part in wanted.split("||"))


def _all(part: str, version: Triple) -> bool:
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen:
        part = f">={hyphen[1]} <={hyphen[5]}"
    rest = _COMPARATOR.sub("", part)
    if rest.strip():
        return True  # not understood
    return all(_one(match, version) for match in _COMPARATOR.finditer(part))


def _one(match: re.Match[str], version: Triple) -> bool:
    operator = match[1] or "="
    given = [int(part) for part in match.groups()[1:4] if part is not None and part.isdigit()]
    if not given:
        return True
    low = (*given, 0, 0, 0)[:3]
    # The first version that is past what is named: 1.2 is 1.2.x.
    past = _next(given)
    if operator == "^":
        last = next((index for index, number in enumerate(given) if number), len(given) - 1)
        return low <= version < _next(given[: last + 1])
    if operator == "~":
        return low <= version < _next(given[:2])
    return {
        "=": low <= version < past,
        ">=": version >= low,
        "<": version < low,
        ">": version >= past,
        "<=": version < past,
    }[operator]


def _next(given: list[int]) -> Triple:
    raised = [*given[:-1], given[-1] + 1, 0, 0]
    return raised[0], raised[1], raised[2]
