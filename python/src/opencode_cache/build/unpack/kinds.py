"""What a file of a package is, by its name: what is left out at once, and what may be if nothing needs it."""

from __future__ import annotations

import re

_MAP = re.compile(r"\.(?:[cm]?[jt]sx?|css|s[ac]ss|less|vue|svelte)\.map$")
DECLARATION = re.compile(r"\.d(?:\.[^./]+)?\.[cm]?ts$")
SOURCE = re.compile(r"\.[cm]?tsx?$")
LEGAL = re.compile(
    r"^(?:un)?(?:licen[cs]e|copying|copyright|notice|third.?party|patents|authors)", re.IGNORECASE
)
TEXT = re.compile(r"\.mdx?$|\.markdown$", re.IGNORECASE)
_TALK = re.compile(
    r"^(?:readme|changes|changelog|history|contributing|security|code.of.conduct|migrat\w+|upgrad\w+|releases?"
    r"|todo)"
    r"[\w.-]*\.(?:mdx?|markdown)$|^changelog$",
    re.IGNORECASE,
)
_DOC_FOLDER = re.compile(r"^(?:docs?|examples?)/")
_TEST_FOLDER = re.compile(r"(?:^|/)(?:__tests__|__mocks__|__fixtures__|__snapshots__|tests?)/")
TEST_FILE = re.compile(r"\.(?:test|spec|test-d|bench)\.[cm]?[jt]sx?$|\.snap$")


class Kind:
    """What may be left out."""

    DECLARATION = "declaration"
    DOCUMENT = "document"
    SOURCE = "source"
    TEST = "test"


def useless(path: str) -> bool:
    """Whether a file is left out before anything is known about its package."""
    return is_source_map(path) or path.endswith(".tsbuildinfo")


def is_source_map(path: str) -> bool:
    """Whether the name is that of a source map: `x.js.map`, `x.d.ts.map`, not any `x.map`."""
    return _MAP.search(path) is not None


def held(path: str) -> bool:
    """Whether `prune.keep` may leave the file out."""
    return kind(path) is not None


def kind(path: str) -> str | None:
    """One of `Kind`, or None for what always stays."""
    folder, _, name = path.rpartition("/")
    if "node_modules" in path.split("/") or name == "package.json" or LEGAL.match(name):
        return None
    if _DOC_FOLDER.match(path):
        return Kind.DOCUMENT
    if _TEST_FOLDER.search(path) or TEST_FILE.search(name):
        return Kind.TEST
    if DECLARATION.search(name):
        return Kind.DECLARATION
    if SOURCE.search(name):
        return Kind.SOURCE
    return Kind.DOCUMENT if _TALK.match(name) or (not folder and TEXT.search(name)) else None
