"""The plan: what a cache is to hold. A TOML file, or the default of the OpenCode version's era.

opencode = "1.18.33"
providers = ["@ai-sdk/fireworks"]   # or "catalogue": all that the model catalogue names
plugins = ["opencode-gemini-auth"]
tools = ["pyright"]
config = ["@opencode-ai/plugin"]

[resolve]
"@ai-sdk/fireworks" = "^2"
"""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import eras
from .errors import BadInputError
from .lock import first_problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_OPENCODE = "1.18.33"

CATALOGUE: Literal["catalogue"] = "catalogue"
BUILT_IN: Literal["built-in"] = "built-in"

_FIRST_ERA_PROVIDERS = (
    "@ai-sdk/amazon-bedrock",
    "@ai-sdk/anthropic",
    "@ai-sdk/openai-compatible",
    "@aws-sdk/credential-providers",
)


_FIRST_WITH_BUNDLED_SDKS = (1, 0, 152)


class Plan(BaseModel):
    """What to have. Every list holds npm specs: `name`, or `name@version`."""

    model_config = ConfigDict(extra="forbid")

    opencode: str = DEFAULT_OPENCODE
    systems: list[str] = Field(default_factory=list)
    """Systems whose OpenCode binary is pinned; empty means all."""
    providers: list[str] | Literal["catalogue"] = CATALOGUE
    """"catalogue": every SDK that the binary's model catalogue names and the binary does not bundle."""
    extra_providers: list[str] = Field(default_factory=list)
    """Provider SDKs beside those."""
    plugins: list[str] = Field(default_factory=list)
    built_in_plugins: bool = True
    """Also the plugins that the binary itself asks for at every start."""
    tools: list[str] = Field(default_factory=list)
    config: list[str] = Field(default_factory=list)
    """Packages for OpenCode's config directories."""
    resolve: dict[str, str] = Field(default_factory=dict)
    """Package name -> npm version range: which version stands behind a spec, or behind a dependency."""

    def with_more(
        self,
        *,
        providers: Sequence[str] = (),
        plugins: Sequence[str] = (),
        tools: Sequence[str] = (),
        resolve: Mapping[str, str] | None = None,
    ) -> Plan:
        """The plan with more specs, and with ranges that win over its own."""
        return self.model_copy(
            update={
                "extra_providers": [*self.extra_providers, *providers],
                "plugins": [*self.plugins, *plugins],
                "tools": [*self.tools, *tools],
                "resolve": self.resolve | dict(resolve or {}),
            }
        )


def default(opencode: str) -> Plan:
    """The default plan of that OpenCode version's era. Raises BadInputError for unsupported versions."""
    if eras.layout_name(opencode) == "packages":
        return Plan(opencode=opencode, config=["@opencode-ai/plugin"])
    if eras.numbers(opencode) < _FIRST_WITH_BUNDLED_SDKS:
        # These bundle no SDK at all; the catalogue would mean twenty trees that hardly anybody uses.
        # zod 4.4 takes `z.unknown()` for required: amazon-bedrock 3 would refuse every streamed tool call.
        resolve = {"zod": ">=4.1.8 <4.4"}
        return Plan(opencode=opencode, providers=list(_FIRST_ERA_PROVIDERS), resolve=resolve)
    return Plan(opencode=opencode)


def read(path: Path, opencode: str | None = None) -> Plan:
    """Read a plan file, for that version of OpenCode if one is given.

    Raises BadInputError that names the file, the key and the nearest known one.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read ({error})") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInputError(f"{path}: not TOML: {error}") from error
    known = set(Plan.model_fields)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise BadInputError(f"{path}: unknown key {key!r}; {hint}")
    if opencode and data.setdefault("opencode", opencode) != opencode:
        raise BadInputError(
            f"{path}: is for OpenCode {data['opencode']}, --opencode-version says {opencode}; take one away"
        )
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from error
    try:
        base = default(plan.opencode)
    except BadInputError as error:
        raise BadInputError(f"{path}: opencode: {error}") from error
    # What the file does not speak of is the era's default.
    unsaid = {name: getattr(base, name) for name in known if name not in plan.model_fields_set}
    return plan.model_copy(update=unsaid | {"resolve": base.resolve | plan.resolve})
