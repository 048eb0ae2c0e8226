"""What may stand for a package in a plan. All else is refused before npm, or a path, is made of it.

npm takes a word for many things: with a dash in front for an option, with a slash in it for a directory or a
repository, with a colon for an address. Of those a plan has its own forms (`github.py`, paths of plugins).
"""

from __future__ import annotations

import re

from opencode_cache.base.errors import BadInputError

NAME = r"(?!node_modules(?:[@/]|$))(?:@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~_-][A-Za-z0-9~._-]*"
"""A package's name, as a regular expression: the one grammar of names."""
EXACT = r"[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?"
"""One version, not a range or a tag."""

_NAME = rf"(?!-){NAME}"
"""npm would take a word with a dash in front for an option."""
_RANGE = r"[0-9A-Za-z^~<>=*][0-9A-Za-z.^~<>=*|+_ -]*"
_SPEC = re.compile(rf"{_NAME}(?:@(?:npm:{_NAME}(?:@{_RANGE})?|{_RANGE}))?")


def is_name(name: str) -> bool:
    """Whether it is a package's name, that npm may be given."""
    return len(name) <= LONGEST_NAME and re.fullmatch(_NAME, name) is not None


LONGEST_NAME = 214
"""npm's own limit."""
LONGEST_PART = 240
"""Of a file name made of a name and a version: file systems end at 255, and `.tgz.part` is added."""


def is_spec(spec: str) -> bool:
    """Whether it is `name` or `name@range`, of which a directory can be made."""
    return _SPEC.fullmatch(spec) is not None and all(len(part) <= LONGEST_PART for part in spec.split("/"))


def is_exact(version: str) -> bool:
    """Whether it is one version, not a range or a tag."""
    return re.fullmatch(EXACT, version) is not None


def check(field: str, spec: str) -> None:
    """Raises BadInputError, about that key of the plan, for what is neither `name` nor `name@version`."""
    if not is_spec(spec):
        raise BadInputError(
            f"{field}: {spec!r} is not an npm spec; write 'name' or 'name@version', as in your opencode.json"
        )


def check_range(name: str, wanted: str) -> None:
    """The same for a line of `resolve`: a package's name and an npm range."""
    if not is_name(name):
        raise BadInputError(
            f"resolve: {name!r} is not an npm package name; give one, such as '@ai-sdk/anthropic'"
        )
    if not re.fullmatch(_RANGE, wanted):
        raise BadInputError(f"resolve: {name}: {wanted!r} is not an npm range; write one such as '^2'")


_PARTS = re.compile(r"^(?P<name>(?:@[^/@]+/)?[^@/]+)(?:@(?P<version>.+))?$")


def split_spec(spec: str) -> tuple[str, str]:
    """An npm spec as (name, version or tag or ""): `@scope/name@1.2` → (`@scope/name`, `1.2`)."""
    match = _PARTS.match(spec)
    if match is None:
        return spec, ""
    return match["name"], match["version"] or ""


def public(spec: str) -> str:
    """A specifier without what may be secret in an address: user, password, query."""
    return re.sub(r"//[^/@\s]*@", "//…@", spec).partition("?")[0]
