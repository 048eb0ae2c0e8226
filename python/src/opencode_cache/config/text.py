"""The text of a configuration file as OpenCode reads it: references put in, then JSON with comments.

Upstream (anomalyco/opencode `packages/opencode/src/config/variable.ts` and `parse.ts`; read in and tried on
1.18.33): `{env:NAME}` and `{file:PATH}` are put into the text before it is parsed, a file's as the inside of
a JSON string and without the white space around it, and not in a line that is a comment; a file that cannot
be read ends OpenCode. The parser is jsonc-parser's, with trailing commas allowed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from opencode_cache.base import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)|,(?=\s*[}\]])', re.DOTALL)
# The end of the text ends one as well, which then stays as it is: else each of many that nobody closed would
# be read to the end.
_ENV = re.compile(r"\{env:([^}]+)(\}|\Z)")
_FILE = re.compile(r"\{file:([^}]+)(\}|\Z)")
_COMMENT = re.compile(r"[^\S\n]*//")


class TextError(Exception):
    """The text cannot be used; `str()` says why, without a word of the text itself."""


def parse(text: str, directory: Path, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON is anything
    """The document in a text whose references are relative to `directory`. An empty text is an empty one.

    Raises TextError.
    """
    if not text:
        return {}
    try:
        return json.loads(plain(substitute(text, directory, environ)), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise TextError(f"is not JSON at line {error.lineno}") from error
    except (ValueError, RecursionError) as error:
        raise TextError("is not JSON") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def plain(text: str) -> str:
    """JSONC → JSON of as many lines: comments and trailing commas go."""
    stripped = _TOKEN.sub(lambda m: m[0] if m[0][0] == '"' else _lines(m[0]), text)
    # Once more: a comma may have stood before a comment.
    return _TOKEN.sub(lambda m: m[0] if m[0][0] == '"' else "", stripped).removeprefix("\ufeff")


def _lines(token: str) -> str:
    return "\n" * token.count("\n")


def substitute(text: str, directory: Path, environ: Mapping[str, str]) -> str:
    """The text with what it refers to put in. Raises TextError."""
    given = _replaced(_ENV, text, lambda match: environ.get(match[1], ""))
    contents: dict[str, str] = {}
    line, ends, comment = 0, 0, _COMMENT.match(given)

    def content(match: re.Match[str]) -> str:
        nonlocal line, ends, comment
        begins = given.rfind("\n", ends, match.start()) + 1
        if begins > line:
            line, comment = begins, _COMMENT.match(given, begins, match.start())
        ends = match.end()
        if comment and comment.end() <= match.start():
            return match[0]
        if match[1] not in contents:
            read = _read(match[1], directory, environ)
            contents[match[1]] = json.dumps(read, ensure_ascii=False)[1:-1]
        return contents[match[1]]

    return _replaced(_FILE, given, content)


def _replaced(reference: re.Pattern[str], text: str, content: Callable[[re.Match[str]], str]) -> str:
    """The text with each reference replaced by its content. Raises TextError for a text without bound."""
    pieces, end, length = [], 0, len(text)
    for match in reference.finditer(text):
        if match[2]:
            pieces += [text[end : match.start()], content(match)]
            length += len(pieces[-1])
            end = match.end()
        if length > files.DOCUMENT:
            raise TextError(f"has more than {files.DOCUMENT} characters with what it refers to")
    return "".join([*pieces, text[end:]])


def _read(name: str, directory: Path, environ: Mapping[str, str]) -> str:
    path = Path(name)
    if name.startswith("~/"):
        path = Path(environ.get("HOME", "/"), name[2:])
    try:
        return files.read_text(directory / path, files.SETTINGS, errors="replace").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no path"
        raise TextError(f"refers to {{file:{name}}}, which cannot be read ({why})") from error
