"""The plan: what a cache is to hold. A TOML file (`plan_example.py`), or the default of a version."""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem, safe_relative
from opencode_cache.formats import ages, plan_example, shipped, urls, user_files
from opencode_cache.formats.accept import ANYBODY, Accepted
from opencode_cache.formats.grammar import Grammar
from opencode_cache.formats.local_plugin import dependencies, is_local
from opencode_cache.npm import platforms, repository
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import versions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

CATALOGUE: Literal["catalogue"] = "catalogue"

_PROVIDERS_OF_1_0 = (
    "@ai-sdk/amazon-bedrock",
    "@ai-sdk/anthropic",
    "@ai-sdk/openai-compatible",
    "@aws-sdk/credential-providers",
)
_FIRST_WITH_BUNDLED_SDKS = (1, 0, 152)


class Plan(BaseModel):
    """What to have. Every list of packages holds npm specs: `name`, or `name@version`."""

    model_config = ConfigDict(extra="forbid")

    opencode: str = Field(default_factory=shipped.default_version)
    """The version; by default that of the main lock that comes with this program."""
    systems: list[str] = Field(default_factory=list)
    """Systems whose OpenCode binary is pinned; empty means all."""
    providers: list[str] | Literal["catalogue"] = CATALOGUE
    """"catalogue": every SDK that the binary's model catalogue names and the binary does not bundle."""
    extra_providers: list[str] = Field(default_factory=list)
    """Provider SDKs beside those."""
    plugins: list[str] = Field(default_factory=list)
    """npm specs, GitHub repositories, and paths of plugins that lie where OpenCode imports them."""
    built_in_plugins: bool = True
    """Also the plugins that the binary itself asks for at every start."""
    tools: list[str] = Field(default_factory=list)
    """Language servers and formatters that OpenCode installs from npm: `tools.py` has the table."""
    commands: list[str] = Field(default_factory=list)
    """Packages that the configuration starts with `npx` and the like, as they are named there."""
    config: list[str] = Field(default_factory=list)
    """Packages for OpenCode's config directories."""
    instructions: list[str] = Field(default_factory=list)
    """Addresses of texts, as `instructions` of an opencode.json has them."""
    skills: list[str] = Field(default_factory=list)
    """Addresses below which skills are, as `skills.urls` has them."""
    resolve: dict[str, str] = Field(default_factory=dict)
    """Package name -> npm version range: which version stands behind a spec, or behind a dependency."""
    warmup: list[str] | None = None
    """OpenCode's arguments, one string for each start of the warm-up; [] for none, None for the usual one."""
    languages: list[str] | Literal["pinned"] = Field(default_factory=list)
    """Languages that the interface shows in colours offline; "pinned": all that there is a pin for."""
    grammars: dict[str, Grammar] = Field(default_factory=dict)
    """Language -> the plan's own pin, which wins; such a language need not be named in `languages` too."""
    require_signatures: bool = False
    """Whether every package must carry a signature of the registry that npm verified."""
    min_age: str | None = None
    """How old each version must be when it is locked: "7d", "2w"."""
    catalogue: str | None = None
    """A model catalogue to build with: an api.json, or a directory with the sources of models.dev."""
    files: dict[str, str] = Field(default_factory=dict)
    """Place below the cache -> a small text file."""
    accept: Accepted = Field(default_factory=dict)
    """Plugin, or `*` -> hosts that it may ask for; the proof calls them accepted."""

    def with_more(self, more: Mapping[str, Sequence[str]], resolve: Mapping[str, str] | None = None) -> Plan:
        """The plan with more in its lists, and with ranges that win over its own. Raises BadInputError."""
        lists = {key: [*getattr(self, key), *specs] for key, specs in more.items()}
        return Plan.model_validate(
            self.model_dump() | lists | {"resolve": self.resolve | dict(resolve or {})}
        )

    @model_validator(mode="after")
    def _check(self) -> Plan:
        """Refuse what can be refused before anything is asked for. Raises BadInputError with the fix."""
        versions.check_experimental(self.opencode)
        for system in self.systems:
            platforms.named(system)
        for command in self.warmup or ():
            words(command)
        self._check_specs()
        try:
            ages.days("1d" if self.min_age is None else self.min_age)
        except ValueError as error:
            raise BadInputError(f"min_age: {error}") from error
        bun = versions.layout_name(self.opencode) == "bun"
        if self.tools and bun:
            raise BadInputError(
                f"tools: OpenCode {self.opencode} keeps npm tools outside its cache directory; "
                f"take {', '.join(self.tools)} out of the plan, or lock OpenCode 1.14 or newer"
            )
        for spec in self.plugins:
            if bun and not is_local(spec) and repository.source(spec):
                raise BadInputError(
                    f"plugins: {spec!r}: from GitHub only for OpenCode 1.14 or newer; publish it on npm"
                )
        for where in self.files:
            try:
                user_files.place(safe_relative(where))
            except ValueError as error:
                raise BadInputError(f"files: {error}") from error
        return self

    def _check_specs(self) -> None:
        providers = [] if self.providers == CATALOGUE else self.providers
        published = [spec for spec in self.plugins if not is_local(spec) and not repository.source(spec)]
        for field, names in (
            ("providers", [*providers, *self.extra_providers]),
            ("plugins", published),
            ("tools", self.tools),
            ("commands", self.commands),
            ("config", self.config),
        ):
            for spec in names:
                npm_spec.check(field, spec)
        for field in ("instructions", "skills"):
            for url in getattr(self, field):
                urls.check(field, url, versions.layout_name(self.opencode))
        for name, wanted in self.resolve.items():
            npm_spec.check_range(name, wanted)
        self._check_accept([*providers, *self.extra_providers, *self.plugins, *self.tools, *self.commands])

    def _check_accept(self, specs: Sequence[str]) -> None:
        known = {name for spec in specs for name in (spec, split_spec(spec)[0])}
        for name in self.accept:
            if name != ANYBODY and name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"or write {ANYBODY!r}, for all of them"
                raise BadInputError(f"accept: the plan names no {name!r} to accept hosts from; {hint}")

    def check_files(self) -> None:
        """Refuse paths that lead to nothing usable. Raises BadInputError."""
        for spec in self.plugins:
            if is_local(spec):
                dependencies(spec)
        user_files.read(self.files)
        if self.catalogue and not Path(self.catalogue).exists():
            raise BadInputError(f"catalogue: {self.catalogue}: no such file or directory; correct the plan")

    def stamp(self) -> str:
        """A digest of the plan and of what it reads from files: equal where the lock would be."""
        digest = hashlib.sha256(self.model_dump_json().encode())
        named = [*self.files.values(), *([self.catalogue] if self.catalogue else [])]
        named += [f"{spec}/package.json" for spec in self.plugins if is_local(spec)]
        for path in user_files.sources(named):
            try:
                content = files.read_bytes(path, files.DOCUMENT)
            except OSError as error:
                raise BadInputError(f"{path}: cannot be read ({error.strerror}); correct the plan") from error
            digest.update(os.fsencode(path) + b"\0" + content)
        return digest.hexdigest()


def default(opencode: str) -> Plan:
    """The default plan of that OpenCode version. Raises BadInputError for unsupported versions."""
    layout = versions.layout_name(opencode)
    if layout == "packages":
        return Plan(opencode=opencode, config=["@opencode-ai/plugin"])
    if layout == "generations":  # what it makes of the catalogue's npm fields is not known
        return Plan(opencode=opencode, providers=[])
    if versions.numbers(opencode) < _FIRST_WITH_BUNDLED_SDKS:
        # These bundle no SDK at all; the catalogue would mean twenty trees that hardly anybody uses.
        # zod 4.4 takes `z.unknown()` for required: amazon-bedrock 3 would refuse every streamed tool call.
        resolve = {"zod": ">=4.1.8 <4.4"}
        return Plan(opencode=opencode, providers=list(_PROVIDERS_OF_1_0), resolve=resolve)
    return Plan(opencode=opencode)


def read(path: Path, opencode: str | None = None) -> Plan:
    """Read a plan file, for that version of OpenCode if one is given.

    Raises BadInputError that names the file, the key and the nearest known one.
    """
    try:
        data = tomllib.loads(files.read_text(path, files.SETTINGS))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
        raise BadInputError(f"{path}: not TOML: {error}; fix it") from error
    known = set(Plan.model_fields)
    for key in data:
        if key not in known:
            raise BadInputError(f"{path}: {_unknown(key, known)}")
    if opencode and data.setdefault("opencode", opencode) != opencode:
        raise BadInputError(
            f"{path}: is for OpenCode {data['opencode']}, --opencode-version says {opencode}; take one away"
        )
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        raise BadInputError(f"{path}: {_problem(error)}") from error
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    try:
        base = default(plan.opencode)
    except BadInputError as error:
        raise BadInputError(f"{path}: opencode: {error}") from error
    plan = _placed(plan, path.absolute().parent)
    # What the file does not speak of is the version's default.
    unsaid = {name: getattr(base, name) for name in known if name not in plan.model_fields_set}
    return plan.model_copy(update=unsaid | {"resolve": base.resolve | plan.resolve})


def _unknown(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown key {key!r}; {hint}"


def _problem(error: ValidationError) -> str:
    for one in error.errors(include_url=False, include_context=False):
        if one["type"] == "extra_forbidden":
            # The plan's own keys were looked at before: only the tables of `grammars` have others.
            *where, key = map(str, one["loc"])
            return f"{'.'.join(where)}: {_unknown(key, Grammar.model_fields)}"
    key = str(error.errors()[0]["loc"][0])
    return f"{first_problem(error)}; write it as in: {plan_example.of(key)}"


def _placed(plan: Plan, beside: Path) -> Plan:
    """The plan with the paths in it made absolute: they are relative to the file that they stand in."""

    def absolute(name: str) -> str:
        return str(beside / user_files.expanded(name))

    def plugin(spec: str) -> str:
        return absolute(spec) if is_local(spec) and not spec.startswith("file:") else spec

    changed = {
        "plugins": [plugin(spec) for spec in plan.plugins],
        "catalogue": plan.catalogue and absolute(plan.catalogue),
        "files": {place: absolute(source) for place, source in plan.files.items()},
    }
    return plan.model_copy(update={name: value for name, value in changed.items() if value})


def words(command: str) -> list[str]:
    """A command as a shell splits it. Raises BadInputError for a quote without an end, and for lines."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise BadInputError(f"warmup: {command!r} is not a command ({error}); fix it") from error
    if any(ord(char) < ord(" ") for char in command):
        raise BadInputError(f"warmup: {command!r} has a control character; take it out")
    return parts
