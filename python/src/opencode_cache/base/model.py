"""The base of every document that is read from a file, and the first thing that is wrong with one."""

from __future__ import annotations

import json
import os
import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

_BRANCH = re.compile(r"(?:list|literal)\[.*\]")
"""What pydantic adds to a place for each of the types that a value may have."""


_DEEPEST = 200
_LONGEST_PATH, _LONGEST_PART = 2048, 255
"""Characters of a path in a document, and bytes of a part of one, which file systems have as their limit."""
_SHOWN = 80
"""Characters of a wrong value in an error."""
_LONGEST = 500
"""Characters of the whole."""


def parsed_json(text: str) -> Any:  # noqa: ANN401 - JSON is anything
    """What JSON says, nested 200 deep at most: Python's own reader takes far more from 3.12 on.

    Raises ValueError where it is no JSON, RecursionError where it is nested deeper.
    """
    document = json.loads(text)
    layer = [document]
    for _ in range(_DEEPEST):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not layer:
            return document
    raise RecursionError


def first_problem(error: ValidationError) -> str:
    """The first thing that pydantic dislikes, on one line: its place in the document and what is wrong."""
    problems = [
        (".".join(str(part) for part in one["loc"] if not _BRANCH.fullmatch(str(part))) or "the file", one)
        for one in error.errors(include_url=False, include_context=False)
    ]
    where, first = problems[0]
    wrong = " or ".join(dict.fromkeys(one["msg"] for place, one in problems if place == where))
    value = first["input"]
    if first["type"] != "value_error" and isinstance(value, str | int | float):
        wrong += f", not {repr(value)[:_SHOWN]}"
    sentence = " ".join(f"{where}: {wrong}".split())
    # Keys of a document can be anything, too.
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence[: _LONGEST + 1])
    return f"{plain[:_LONGEST]}…" if len(plain) > _LONGEST else plain


def safe_relative(value: str) -> str:
    """A path below a tree: relative, in normal form, nothing that climbs out."""
    path = PurePosixPath(value)
    climbs = path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value
    if climbs or not path.parts or str(path) != value:
        raise ValueError(f"{value!r} is not a plain relative path")
    if len(value) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_PART for part in path.parts):
        raise ValueError(f"{value[:_SHOWN]!r}… is too long for a path")
    return value


RelativePath = Annotated[str, AfterValidator(safe_relative)]


class Model(BaseModel):
    """What every document of ours is made of: no unknown keys, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
