"""The schema of models.dev's TOML sources, as far as its generator enforces it.

Upstream: anomalyco/models.dev, `packages/core/src/schema.ts`, read at the revision that flake.lock pins
and in two later ones. `generate.py` adds the rules that need more than one file. Two things
follow upstream closely:

* Most tables are strict upstream: a field that its schema does not know is an error. So a field that is
  unknown here is one that came later, and is read through.
* `cost`, `provider` and `experimental` of a model are not strict: upstream drops what its schema does not
  know (the sources have `cost.cached_input`, `cost.image` and such, the output never). So do we.

`family` is a list of names upstream that grows every week: any text is accepted here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(min_length=1)]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$")]
"""`YYYY-MM` or `YYYY-MM-DD`; the month 16 is in the sources of 2025."""
Url = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$")]
Number = int | float
Amount = Annotated[Number, Field(ge=0)]
Modality = Literal["text", "audio", "image", "video", "pdf"]

# For these npm packages upstream wants an address in any version.
_API_REQUIRED = frozenset({"@ai-sdk/openai-compatible", "@openrouter/ai-sdk-provider"})
# Upstream forbids the address for all others but a list that grows by one name now and then, never by one of
# the AI SDK's own packages.
_API_ALLOWED = frozenset({"@ai-sdk/anthropic", "@ai-sdk/openai"})
_OWN_SDKS = "@ai-sdk/"


class _Open(BaseModel):
    """A table that is strict upstream: what is unknown here came later, and is kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Closed(BaseModel):
    """A table that is strict upstream in every version, and cannot have grown unnoticed."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Loose(BaseModel):
    """A table from which upstream drops what it does not know."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Modalities(_Open):
    input: list[Modality]
    output: list[Modality]


class MetadataLimit(_Open):
    """In tokens."""

    context: Amount
    input: Amount | None = None
    output: Amount | None = None


class Limit(_Open):
    """In tokens."""

    context: Amount
    input: Amount | None = None
    output: Amount


class Cost(_Loose):
    """US dollars for a million tokens."""

    input: Amount
    output: Amount
    reasoning: Amount | None = None
    cache_read: Amount | None = None
    cache_write: Amount | None = None
    input_audio: Amount | None = None
    output_audio: Amount | None = None


class TierBound(_Closed):
    type: Literal["context"] = "context"
    size: Annotated[int, Field(ge=0)]
    """Tokens of context from which on the tier's prices hold."""


class CostTier(Cost):
    model_config = ConfigDict(extra="allow", strict=True)

    tier: TierBound


class ModelCost(Cost):
    tiers: list[CostTier] | None = None

    @model_validator(mode="after")
    def _bounds_differ(self) -> ModelCost:
        sizes = [tier.tier.size for tier in self.tiers or ()]
        if len(set(sizes)) != len(sizes):
            raise ValueError("two tiers have the same size")
        return self


def _null(value: object) -> object:
    # TOML has no null.
    return None if value == "null" else value


Effort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "default"] | None,
    BeforeValidator(_null),
]


class Toggle(_Closed):
    type: Literal["toggle"]


class EffortOption(_Closed):
    type: Literal["effort"]
    values: list[Effort]


class BudgetOption(_Closed):
    """In tokens; a minimum of -1 means that there is none."""

    type: Literal["budget_tokens"]
    min: Annotated[Number, Field(ge=-1)] | None = None
    max: Amount | None = None

    @model_validator(mode="after")
    def _in_order(self) -> BudgetOption:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


ReasoningOption = Annotated[Toggle | EffortOption | BudgetOption, Field(discriminator="type")]


class Interleaved(_Closed):
    field: Literal["reasoning_content", "reasoning_details"]


class ModeProvider(_Loose):
    body: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


class Mode(_Loose):
    cost: Cost | None = None
    provider: ModeProvider | None = None


class Experimental(_Loose):
    modes: dict[str, Mode] | None = None


class ModelProvider(_Loose):
    """What differs from the provider for one model."""

    npm: str | None = None
    api: str | None = None
    shape: Literal["responses", "completions"] | None = None
    body: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


class Link(_Open):
    label: Text | None = None
    url: Url
    type: str | None = None


class Weights(_Open):
    label: Text | None = None
    url: Url
    format: Text | None = None
    quantization: Text | None = None


class Benchmark(_Open):
    name: Text
    score: Number | Text
    source: Url | None = None
    date: Date | None = None


class Metadata(_Open):
    """`models/<lab>/<model>.toml`: what is true of a model at every provider."""

    id: str
    type: str | None = None
    name: Text
    description: Text | None = None
    family: str | None = None
    attachment: bool | None = None
    reasoning: bool | None = None
    tool_call: bool | None = None
    structured_output: bool | None = None
    temperature: bool | None = None
    knowledge: Date | None = None
    release_date: Date | None = None
    last_updated: Date | None = None
    modalities: Modalities | None = None
    open_weights: bool | None = None
    limit: MetadataLimit | None = None
    license: Text | None = None
    links: list[Link] | None = None
    weights: list[Weights] | None = None
    benchmarks: list[Benchmark] | None = None


class Model(_Open):
    """A model as `api.json` has it; the order of the fields is the order there."""

    id: str
    type: str | None = None
    name: Text
    description: Text | None = None
    family: str | None = None
    attachment: bool
    reasoning: bool
    reasoning_options: list[ReasoningOption] | None = None
    tool_call: bool
    interleaved: Literal[True] | Interleaved | None = None
    structured_output: bool | None = None
    temperature: bool | None = None
    knowledge: Date | None = None
    release_date: Date
    last_updated: Date
    modalities: Modalities
    open_weights: bool
    limit: Limit
    status: Literal["alpha", "beta", "deprecated"] | None = None
    experimental: Experimental | None = None
    provider: ModelProvider | None = None
    cost: ModelCost | None = None

    @model_validator(mode="after")
    def _reasoning_has_a_price_only_if_there_is_any(self) -> Model:
        if not self.reasoning and self.cost is not None and self.cost.reasoning is not None:
            raise ValueError("cost.reasoning is set but reasoning is false")
        return self


class Provider(_Open):
    """`providers/<id>/provider.toml`; `models` is filled by the generator."""

    id: str
    env: Annotated[list[str], Field(min_length=1)]
    npm: Text
    api: str | None = None
    name: Text
    doc: Text

    @model_validator(mode="after")
    def _api_where_it_belongs(self) -> Provider:
        if self.npm in _API_REQUIRED and self.api is None:
            raise ValueError(f"api is missing, which {self.npm} needs")
        known = self.npm in _API_REQUIRED | _API_ALLOWED or not self.npm.startswith(_OWN_SDKS)
        if self.api is not None and not known:
            raise ValueError(f"api is set, which {self.npm} does not take")
        return self
