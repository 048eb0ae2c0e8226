"""models.dev's TOML sources -> the `api.json` that OpenCode reads.

Upstream: anomalyco/models.dev, `packages/core/src/generate.ts`, at the revision that flake.lock pins;
compared with its own output there. Sources older than 2026-06-27 have other rules, and are refused where
those differ. Layout of the sources:

* `providers/<id>/provider.toml`, and `providers/<id>/models/**/<model>.toml`, whose path is the model's id;
* `models/<lab>/<model>.toml`: what a model is at every provider.

Rules of upstream that the sources do not show:

* `base_model = "lab/model"`: the model begins with that metadata, except benchmarks, licence, links and
  weights; its own tables are merged in deeply, lists replace; then each dotted path of `base_model_omit` is
  taken out, with the tables that this leaves empty. A path that leads nowhere is passed over.
* A single cost tier from 200,000 tokens on is repeated as `cost.context_over_200k`, for older readers.
* A link to a file is read as that file, and one that leads nowhere is passed over (the sources have some).
  A link that leaves the sources is refused here, where upstream follows it.
* Two providers of one name, whatever the case, are refused, and so is a model that reasons and does not
  say how to steer that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue.schema import Metadata, Model, Provider
from opencode_cache.catalogue.sources import Tree, listed, load

Table = dict[str, Any]
Key = tuple[str, str]
"""Provider id and model id."""

_LEGACY_FROM = 200_000
"""Tokens of context."""
_NOT_INHERITED = frozenset({"id", "benchmarks", "license", "links", "weights"})


def generate(source: Path) -> dict[str, Any]:
    """The catalogue: provider id -> provider with its `models`, both in the order of their ids.

    `source` is a checkout of models.dev, or a directory with the `providers/` (and `models/`) of one. Raises
    BadInputError that names the file and the field.
    """
    if not (source / "providers").is_dir():
        raise BadInputError(f"{source}: has no providers/; give a directory with models.dev's sources")
    return _Generator(source).catalogue()


class _Generator:
    def __init__(self, source: Path) -> None:
        self.source = source
        self.tree = Tree(str(source))
        self.metadata: dict[str, Table] = {}
        self.providers: dict[str, Table] = {}
        self.files: dict[Key, str] = {}

    def catalogue(self) -> dict[str, Any]:
        shared = self.source / "models"
        for model, path in self.tree.toml_files(str(shared)) if shared.is_dir() else ():
            known = _checked(Metadata, load(path) | {"id": model}, path)
            self.metadata[model] = {k: v for k, v in known.items() if k not in _NOT_INHERITED}
        for entry in listed(str(self.source / "providers")):
            described = Path(entry.path) / "provider.toml"
            # Upstream's pattern enters no directory that is a link.
            if entry.is_dir(follow_symlinks=False) and described.is_file():
                self._add_provider(entry.name, described)
        if not self.providers:
            raise BadInputError(
                f"{self.source}: has no providers/*/provider.toml; give a directory with models.dev's sources"
            )
        for provider in self.providers.values():
            provider["models"] = dict(sorted(provider["models"].items()))
        self._check_names()
        self._check_reasoning()
        return self.providers

    def _add_provider(self, identifier: str, path: Path) -> None:
        self.tree.inside(str(path))
        table = load(str(path))
        table.pop("models", None)
        provider = _checked(Provider, table | {"id": identifier}, str(path))
        self.providers[identifier] = provider | {"models": {}}
        directory = path.parent / "models"
        if not directory.is_dir():
            raise BadInputError(f"{path}: has no models/ beside it; add it, or take the provider out")
        for model, file in self.tree.toml_files(str(directory)):
            self.files[identifier, model] = file
            self.providers[identifier]["models"][model] = self._model(load(file) | {"id": model}, file)

    def _model(self, table: Table, path: str) -> Table:
        if "extends" in table:
            raise BadInputError(f"{path}: extends: is of older sources; use base_model")
        base, omit = table.pop("base_model", None), table.pop("base_model_omit", None)
        if base is None and omit is not None:
            raise BadInputError(f"{path}: base_model_omit: there is no base_model to omit from; remove it")
        cost = table.get("cost")
        if isinstance(cost, dict) and "context_over_200k" in cost:
            raise BadInputError(f"{path}: cost.context_over_200k: is made from cost.tiers; write a tier")
        if base is not None:
            known = self.metadata.get(base) if isinstance(base, str) else None
            if known is None:
                raise BadInputError(f"{path}: base_model: {base!r} is not in models/; correct it or add it")
            table = _merged(known, table)
            _omit(table, _paths(omit, path, "base_model_omit"))
        return _with_legacy_cost(_checked(Model, table, path))

    def _check_names(self) -> None:
        names: dict[str, str] = {}
        for identifier, provider in self.providers.items():
            first = names.setdefault(provider["name"].lower(), identifier)
            if first != identifier:
                path = self.source / "providers" / identifier / "provider.toml"
                raise BadInputError(
                    f"{path}: name: {provider['name']!r} is the name of {first!r} as well; change one of them"
                )

    def _check_reasoning(self) -> None:
        for identifier, provider in self.providers.items():
            for model, table in provider["models"].items():
                options = "reasoning_options" in table
                if table["reasoning"] != options:
                    what = (
                        "set, though reasoning is false" if options else "missing, though reasoning is true"
                    )
                    raise BadInputError(f"{self.files[identifier, model]}: reasoning_options: {what}")


def _checked(schema: type[BaseModel], table: Table, path: str) -> Table:
    """The table as upstream's schema lets it through, its fields in upstream's order."""
    try:
        return schema.model_validate(table).model_dump(exclude_none=True)
    except ValidationError as error:
        # The deepest: where a field may be one of two kinds, that is the kind which was meant.
        first = max(error.errors(include_url=False), key=lambda problem: len(problem["loc"]))
        where = _field(first["loc"], table, named=first["type"] in ("missing", "extra_forbidden"))
        what = first["msg"].removeprefix("Value error, ")
        told = "" if first["type"] in ("missing", "value_error") else f", got {str(first['input'])[:60]!r}"
        raise BadInputError(f"{path}: {' '.join(f'{where}{what}{told}'.split())}") from error


def _field(location: tuple[int | str, ...], table: object, *, named: bool) -> str:
    """The dotted path of a field and a colon, without what pydantic adds for the kinds of a union.

    `named`: its last part is a field, be it in the table or not.
    """
    parts: list[str] = []
    for number, part in enumerate(location):
        known = (
            part in table if isinstance(table, dict) else isinstance(table, list) and isinstance(part, int)
        )
        if known:
            table = table[part]  # type: ignore[index]
        if known or (named and number + 1 == len(location)):
            parts.append(str(part))
    return f"{'.'.join(parts)}: " if parts else ""


def _paths(omit: object, path: str, field: str) -> list[str]:
    if omit is None:
        return []
    if not isinstance(omit, list) or not all(isinstance(item, str) for item in omit):
        raise BadInputError(f"{path}: {field}: must be a list of dotted paths, got {str(omit)[:60]!r}")
    return omit


def _merged(below: Table, above: Table) -> Table:
    """Both tables as one: `above` wins, and what is a table in both is merged as well. Shares no table."""
    merged = {key: _merged(value, {}) if isinstance(value, dict) else value for key, value in below.items()}
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(value, dict):
            merged[key] = _merged(lower if isinstance(lower, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _omit(table: Table, paths: list[str]) -> None:
    for path in paths:
        *parents, last = path.split(".")
        chain = [table]
        for part in parents:
            below = chain[-1].get(part)
            if not isinstance(below, dict):
                break
            chain.append(below)
        else:
            if last not in chain[-1]:
                continue
            del chain[-1][last]
            for holder, part in zip(chain[-2::-1], reversed(parents), strict=True):
                if holder[part]:
                    break
                del holder[part]


def _with_legacy_cost(model: Table) -> Table:
    tiers = model.get("cost", {}).get("tiers")
    if tiers and len(tiers) == 1 and tiers[0]["tier"]["size"] >= _LEGACY_FROM:
        legacy = {key: value for key, value in tiers[0].items() if key != "tier"}
        model["cost"] = model["cost"] | {"context_over_200k": legacy}
    return model
