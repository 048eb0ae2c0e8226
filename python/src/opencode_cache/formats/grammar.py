"""Where the grammar and the queries of a language come from: files of pinned npm packages."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from opencode_cache.base.model import Model
from opencode_cache.npm.spec import EXACT, NAME

if TYPE_CHECKING:
    from collections.abc import Iterable


DIRECTORY = "tree-sitter"
"""Of the cache: what OpenTUI's own `tree-sitter` directory would hold."""


INDEX = "files.json"


PINNED: Literal["pinned"] = "pinned"


_FILE = re.compile(rf"(?P<package>{NAME}@{EXACT})/(?P<path>[^/\s]\S*)")


def _file(value: str) -> str:
    match = _FILE.fullmatch(value)
    path = PurePosixPath(match["path"]) if match else None
    if match is None or path is None or ".." in path.parts or str(path) != match["path"]:
        raise ValueError(f"{value!r} is not `package@version/path`, with an exact version")
    return value


File = Annotated[str, AfterValidator(_file)]
"""A file in an npm package: `tree-sitter-python@0.23.6/queries/highlights.scm`."""


class Grammar(Model):
    """Where one language comes from: its grammar, and its queries in the order in which they are joined."""

    wasm: File
    queries: Annotated[tuple[File, ...], Field(min_length=1)]

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that hold the files, as exact npm specs (which are a lock's keys)."""
        return tuple(dict.fromkeys(split(file)[0] for file in (self.wasm, *self.queries)))


def split(file: str) -> tuple[str, str]:
    """`package@version/path`, which was checked as a `File`, as its package and its path."""
    match = _FILE.fullmatch(file)
    assert match  # noqa: S101 - a `File` was checked
    return match["package"], match["path"]


def packages(pins: Iterable[Grammar]) -> list[str]:
    """The packages of several pins, as exact npm specs, sorted."""
    return sorted({package for pin in pins for package in pin.packages})
