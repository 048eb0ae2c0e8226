"""Syntax highlighting in OpenCode's interface: which grammars it fetches, and where it looks for them first.

Upstream (anomalyco/opentui `packages/core/src/lib/tree-sitter/download-utils.ts` and `parser.worker.ts`,
anomalyco/opencode `packages/opencode/parsers-config.ts`; read in the program text of 1.0.61 and 1.18.33,
where the rules are the same): a language is a grammar (`.wasm`) and one or more queries (`.scm`), each with
its URL. A file that is there and not empty is not fetched:

* `<data>/tree-sitter/languages/<last part of the URL>` for the grammar, whatever its version,
* `<data>/tree-sitter/queries/<language>-<hash of the URL>.scm` for each query,

`<data>` being `$XDG_DATA_HOME/opentui`, or `~/.local/share/opentui`. No variable and no setting names another
directory. Links to read-only files do. `locals` queries are in the table, and nothing ever reads them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

LANGUAGES = "languages"
QUERIES = "queries"

_PARSER = re.compile(
    rb'filetype:\s*"(?P<name>[^"]+)",\s*(?:aliases:\s*\[(?P<aliases>[^\]]*)\],\s*)?'
    rb'wasm:\s*"(?P<wasm>https?://[^"]+)",\s*queries:\s*\{(?P<queries>[^}]*)\}'
)
_LIST = re.compile(rb"(\w+):\s*\[([^\]]*)\]")
_STRING = re.compile(rb'"([^"]*)"')
_EMBEDDED = re.compile(rb'filetype:\s*"([^"]+)",(?:\s*aliases:\s*\[[^\]]*\],)?\s*queries:\s*\{')


@dataclass(frozen=True)
class Remote:
    """One language that the interface fetches. Every address is a URL."""

    name: str
    """OpenTUI's name of the language (`filetype`): what stands behind the three backticks."""
    aliases: tuple[str, ...]
    wasm: str
    highlights: tuple[str, ...]
    injections: tuple[str, ...] = ()

    @property
    def language_file(self) -> str:
        """Where OpenTUI looks for the grammar, below its `tree-sitter` directory."""
        return f"{LANGUAGES}/{self.wasm.rpartition('/')[2]}"

    @property
    def query_files(self) -> dict[str, str]:
        """Each query's URL -> where OpenTUI looks for it, below its `tree-sitter` directory."""
        return {
            url: f"{QUERIES}/{self.name}-{url_hash(url)}.scm" for url in (*self.highlights, *self.injections)
        }

    @property
    def files(self) -> dict[str, str]:
        """Every URL that is asked for -> where OpenTUI looks first."""
        return {self.wasm: self.language_file} | self.query_files


def url_hash(url: str) -> str:
    """OpenTUI's `hashUrl`: the 32-bit hash of Java's strings, its magnitude in hexadecimal digits."""
    value = 0
    for char in url:
        value = (value * 31 + ord(char)) & 0xFFFFFFFF
    return format(2**32 - value if value & 0x80000000 else value, "x")


def remote(binary: Path) -> dict[str, Remote]:
    """The languages that an OpenCode binary fetches, by name, in its own order.

    Only reads the program text, so the binary may be another system's. Raises BadInputError where it has no
    such table.
    """
    languages = {}
    for match in _PARSER.finditer(_image(binary)):
        queries = {key: _strings(value) for key, value in _LIST.findall(match["queries"])}
        name = match["name"].decode()
        languages[name] = Remote(
            name,
            _strings(match["aliases"] or b""),
            match["wasm"].decode(),
            queries.get(b"highlights", ()),
            queries.get(b"injections", ()),
        )
    if not languages:
        raise BadInputError(
            f"{binary}: no table of languages found in this binary; take `languages` out of the plan"
        )
    return languages


def embedded(binary: Path) -> set[str]:
    """The languages whose grammars are in the binary itself: nothing is ever fetched for them."""
    return {match[1].decode() for match in _EMBEDDED.finditer(_image(binary))}


def _image(binary: Path) -> bytes:
    try:
        return opencode.image(binary).read_bytes()
    except OSError as error:
        raise BadInputError(
            f"{binary}: cannot be read ({error.strerror}); give the OpenCode program"
        ) from error


def _strings(text: bytes) -> tuple[str, ...]:
    return tuple(match.decode() for match in _STRING.findall(text))


def why_not(name: str, known: Mapping[str, Remote], embedded: Collection[str]) -> str:
    """Why a plan's language cannot be locked, with the fix: known to the binary, or misspelt."""
    if name in embedded:
        return f"{name!r} is in the OpenCode binary itself; take it out of the plan"
    meant = next((one.name for one in known.values() if name in one.aliases), None)
    near = [meant] if meant else difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"write {near[0]!r}" if near else f"it fetches {', '.join(sorted(known))}"
    return f"this OpenCode fetches no grammar for {name!r}; {hint}"
