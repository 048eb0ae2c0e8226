"""The model catalogue that is compiled into an OpenCode binary."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue.document import is_catalogue
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from pathlib import Path


_STRING_SNAPSHOT = re.compile(rb"""await '(\{"(?:[^'\\\n]|\\.){100000,}\})'""")


_OBJECT_SNAPSHOT = re.compile(rb"""[=(]\s?(\{\s?(?:"[\w.-]+"|[\w$]+):\s?\{\s?id:\s?"[\w.-]+",\s?env:\s?\[)""")


_FIRST_PROVIDER = re.compile(rb"""id:\s?"[\w.-]+",\s?env:\s?\[""")
_LONGEST_KEY = 200


_EVALUATE = "process.stdout.write(JSON.stringify((0,eval)('('+await Bun.stdin.text()+')')))"


_TIMEOUT = 60


def catalogue(binary: Path, by: Path | None = None) -> dict[str, Any]:
    """The catalogue compiled into an OpenCode binary: provider id -> provider, as in `api.json`.

    Upstream (`packages/opencode/src/provider/models.ts`, `models-macro.ts`): a build macro puts the
    `api.json` of the day into the program, up to 1.0.x as a JSON string, later as an object literal.
    Found in 1.0.61 and 1.18.33. `by` is an OpenCode that runs here, where `binary` is another system's.
    Raises BadInputError where the binary has none.
    """
    image = opencode.image(binary).read_bytes()
    for candidate in (*_strings(image), *_objects(image)):
        try:
            with python.empty() as empty:  # Bun obeys the bunfig.toml of the directory that it is started in
                done = subprocess.run(
                    [(by or binary).absolute(), "-e", _EVALUATE],
                    cwd=empty,
                    input=candidate,
                    env={"BUN_BE_BUN": "1", "PATH": os.defpath},
                    capture_output=True,
                    timeout=_TIMEOUT,
                    check=False,
                )
        except OSError:  # another machine's
            break
        if done.returncode == 0 and done.stdout:
            document = json.loads(done.stdout)
            if is_catalogue(document):
                return dict(document)
    raise BadInputError(f"{binary}: no model catalogue found in this binary; give one with --models FILE")


def _strings(image: bytes) -> list[bytes]:
    # The quotes stay: what is between them is a JavaScript string, whose value is the JSON text.
    return [b"JSON.parse('" + match[1] + b"')" for match in _STRING_SNAPSHOT.finditer(image)][:1]


def _objects(image: bytes) -> list[bytes]:
    literals = []
    position = 0
    # A pattern that begins with a plain word is looked for ten times as fast as one that does not.
    while first := _FIRST_PROVIDER.search(image, position):
        begin = _OBJECT_SNAPSHOT.search(image, max(position, first.start() - _LONGEST_KEY), first.end())
        position = first.end()
        literal = _balanced(image, begin.start(1)) if begin else None
        if begin and literal is not None:
            literals.append(literal)
            position = max(position, begin.start(1) + len(literal))
    return sorted(literals, key=len, reverse=True)[:2]


_TOKEN = re.compile(rb"""["'`{}\[\]\\]""")


def _balanced(image: bytes, start: int) -> bytes | None:
    """The object literal that begins at `start`: up to its closing brace, strings skipped."""
    depth, position, quote = 0, start, b""
    while match := _TOKEN.search(image, position):
        token, position = match[0], match.end()
        if token == b"\\":
            position += 1
        elif quote:
            quote = b"" if token == quote else quote
        elif token in (b'"', b"'", b"`"):
            quote = token
        elif token in (b"{", b"["):
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return image[start:position]
    return None
