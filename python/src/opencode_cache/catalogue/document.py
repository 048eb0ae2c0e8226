"""The model catalogue: `models.json` as OpenCode reads it (models.dev's `api.json`).

Here: the snapshot compiled into an OpenCode binary, and catalogues that a user gives, be it an `api.json` or
the TOML sources that models.dev makes it from (`models_dev.py`).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model
from opencode_cache.catalogue import generate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Catalogue(Model):
    """Where `models.json` came from: read off the binary, or a file or directory that the user gave."""

    source: Literal["binary", "file", "directory"]
    sha256: str
    providers: int
    models: int


def is_catalogue(document: object) -> bool:
    """Whether a JSON document looks like models.dev's api.json: provider id -> provider, at least one."""
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
        document = json.loads(files.read_text(path, files.DOCUMENT), parse_constant=_no_constant)
        dumps(document).encode()  # a lone surrogate is no text
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"{path}: cannot be read as a model catalogue ({error}); give an api.json of models.dev"
        ) from error
    if not is_catalogue(document):
        raise BadInputError(f"{path}: not a model catalogue; each provider needs a table of models")
    return dict(document)


def given(path: Path) -> tuple[dict[str, Any], Literal["file", "directory"]]:
    """The catalogue of an `api.json`, or of a directory with models.dev's sources; and which it was.

    Raises BadInputError that names the file, and the field where there is one.
    """
    if path.is_dir():
        return generate.generate(path), "directory"
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
