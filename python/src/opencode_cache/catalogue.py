"""The model catalogue: `models.json` as OpenCode reads it (models.dev's `api.json`).

Here: the snapshot compiled into an OpenCode binary, and catalogues that a user gives, be it an `api.json` or
the TOML sources that models.dev makes it from (`models_dev.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any, Literal

from . import models_dev, opencode
from .errors import BadInputError
from .manifest import Catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_STRING_SNAPSHOT = re.compile(rb"""await '(\{"(?:[^'\\\n]|\\.){100000,}\})'""")
_OBJECT_SNAPSHOT = re.compile(rb"""[=(]\s?(\{\s?(?:"[\w.-]+"|[\w$]+):\s?\{\s?id:\s?"[\w.-]+",\s?env:\s?\[)""")
_EVALUATE = "process.stdout.write(JSON.stringify((0,eval)('('+await Bun.stdin.text()+')')))"
_TIMEOUT = 60


def embedded(binary: Path) -> dict[str, Any]:
    """The catalogue compiled into an OpenCode binary: provider id -> provider, as in `api.json`.

    Upstream (`packages/opencode/src/provider/models.ts`, `models-macro.ts`): a build macro puts the
    `api.json` of the day into the program, up to 1.0.x as a JSON string, later as an object literal.
    Found in 1.0.61 and 1.18.33. Raises BadInputError where the binary has none.
    """
    image = opencode.image(binary).read_bytes()
    for candidate in (*_strings(image), *_objects(image)):
        done = subprocess.run(
            [binary.absolute(), "-e", _EVALUATE],
            input=candidate,
            env={"BUN_BE_BUN": "1", "PATH": os.defpath},
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
        if done.returncode == 0 and done.stdout:
            document = json.loads(done.stdout)
            if _is_catalogue(document):
                return dict(document)
    raise BadInputError(f"{binary}: no model catalogue found in this binary; give one with --models FILE")


def _strings(image: bytes) -> list[bytes]:
    # The quotes stay: what is between them is a JavaScript string, whose value is the JSON text.
    return [b"JSON.parse('" + match[1] + b"')" for match in _STRING_SNAPSHOT.finditer(image)][:1]


def _objects(image: bytes) -> list[bytes]:
    found = []
    for match in _OBJECT_SNAPSHOT.finditer(image):
        literal = _balanced(image, match.start(1))
        if literal is not None:
            found.append(literal)
    return sorted(found, key=len, reverse=True)[:2]


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


def _is_catalogue(document: object) -> bool:
    return (
        isinstance(document, dict)
        and bool(document)
        and all(isinstance(p, dict) and _is_provider(p) for p in document.values())
    )


def _is_provider(provider: Mapping[str, Any]) -> bool:
    models = provider.get("models")
    return (
        isinstance(models, dict)
        and isinstance(provider.get("npm", ""), str)
        and all(isinstance(model, dict) and _is_model(model) for model in models.values())
    )


def _is_model(model: Mapping[str, Any]) -> bool:
    own = model.get("provider") or {}
    return isinstance(own, dict) and isinstance(own.get("npm") or "", str)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read(path: Path) -> dict[str, Any]:
    """An `api.json` from a file. Raises BadInputError where it is not one."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        dumps(document).encode()  # a lone surrogate is no text
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: cannot be read as a model catalogue ({error})") from error
    if not _is_catalogue(document):
        raise BadInputError(f"{path}: not a model catalogue; each provider needs a table of models")
    return dict(document)


def given(path: Path) -> tuple[dict[str, Any], Literal["file", "directory"]]:
    """The catalogue of an `api.json`, or of a directory with models.dev's sources; and which it was.

    Raises BadInputError that names the file, and the field where there is one.
    """
    if path.is_dir():
        return models_dev.generate(path), "directory"
    return read(path), "file"


def dumps(catalogue: Mapping[str, Any]) -> str:
    """The text of `models.json`."""
    return json.dumps(catalogue, ensure_ascii=False, separators=(",", ":"))


def describe(catalogue: Mapping[str, Any], source: str) -> Catalogue:
    """What the manifest says of a catalogue."""
    return Catalogue.model_validate(
        {
            "source": source,
            "sha256": hashlib.sha256(dumps(catalogue).encode()).hexdigest(),
            "providers": len(catalogue),
            "models": sum(len(provider["models"]) for provider in catalogue.values()),
        }
    )


def packages(catalogue: Mapping[str, Any]) -> dict[str, int]:
    """npm package of a provider SDK -> how many models need it.

    Upstream rule (`packages/opencode/src/provider/provider.ts`, 1.0.61 and 1.18.33): the model's
    `provider.npm`, else the provider's `npm`, else the provider's id.
    """
    counts: dict[str, int] = {}
    for identifier, provider in catalogue.items():
        for model in provider["models"].values():
            name = (model.get("provider") or {}).get("npm") or provider.get("npm") or identifier
            counts[name] = counts.get(name, 0) + 1
    return counts
