"""Mistakes in a user's OpenCode configuration that show without a network and without starting anything.

Upstream (`packages/opencode/src/config/config.ts`; 1.0.61 and 1.18.33): `opencode.json` and `opencode.jsonc`
of the config directory, `OPENCODE_CONFIG`, those from the working directory upwards, those in `.opencode`
directories and `OPENCODE_CONFIG_DIR`, and `OPENCODE_CONFIG_CONTENT`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files
from opencode_cache.npm.spec import split_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opencode_cache.formats.manifest import Manifest

_NAMES = ("opencode.json", "opencode.jsonc")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)|,(?=\s*[}\]])', re.DOTALL)
_SECTIONS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
# Loaders compiled into 1.18.33 (`packages/opencode/src/provider/provider.ts`): the cache need not have them.
_BUNDLED = frozenset(
    [
        "@ai-sdk/alibaba",
        "@ai-sdk/amazon-bedrock",
        "@ai-sdk/amazon-bedrock/mantle",
        "@ai-sdk/anthropic",
        "@ai-sdk/azure",
        "@ai-sdk/cerebras",
        "@ai-sdk/cohere",
        "@ai-sdk/deepinfra",
        "@ai-sdk/gateway",
        "@ai-sdk/github-copilot",
        "@ai-sdk/google",
        "@ai-sdk/google-vertex",
        "@ai-sdk/google-vertex/anthropic",
        "@ai-sdk/groq",
        "@ai-sdk/mistral",
        "@ai-sdk/openai",
        "@ai-sdk/openai-compatible",
        "@ai-sdk/perplexity",
        "@ai-sdk/togetherai",
        "@ai-sdk/vercel",
        "@ai-sdk/xai",
        "@openrouter/ai-sdk-provider",
        "gitlab-ai-provider",
        "venice-ai-sdk-provider",
    ]
)


@dataclass(frozen=True)
class Mistake:
    """`certain`: OpenCode will not find it. Else it may have it in another way."""

    where: str
    text: str
    mend: str
    certain: bool = True


def directory(environ: Mapping[str, str]) -> Path | None:
    """The user's config directory, if it can be known."""
    own, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if own.startswith("/"):
        return Path(own) / "opencode"
    return Path(home) / ".config/opencode" if home.startswith("/") else None


def other_dependencies(config: Path) -> bool:
    """Whether package.json asks for anything but @opencode-ai/plugin."""
    try:
        document = json.loads(files.read_text(config / "package.json", files.SETTINGS))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        return True
    wanted = {name for section in _SECTIONS for name in _table(document, section)}
    return bool(wanted - {"@opencode-ai/plugin"})


def mistakes(
    environ: Mapping[str, str], cwd: Path, cache_directory: Path, caches: Sequence[tuple[Path, Manifest]]
) -> Iterator[Mistake]:
    """Every mistake that can be seen, in the order in which OpenCode reads the files."""
    documents: list[tuple[str, Any]] = []
    for where, text in _texts(environ, cwd):
        try:
            documents.append((where, json.loads(_plain(text))))
        except (ValueError, RecursionError) as error:
            place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            yield Mistake(where, f"is not JSON{place}", "mend it: OpenCode does not start with it")
    own = {name: entry for _, document in documents for name, entry in _table(document, "provider").items()}
    known = _catalogue(cache_directory, caches)
    for where, document in documents:
        for key, value in _models(document):
            yield from _model(where, key, value, known, own)
        if caches:
            yield from _packages(where, document, cache_directory, caches)


def _texts(environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[str, str]]:
    config, extra = directory(environ), environ.get("OPENCODE_CONFIG_DIR")
    above = [*[*cwd.parents][::-1], cwd]
    paths = [config / name for name in _NAMES] if config else []
    paths += [cwd / environ["OPENCODE_CONFIG"]] if environ.get("OPENCODE_CONFIG") else []
    paths += [place / name for place in above for name in _NAMES]
    paths += [place / ".opencode" / name for place in above for name in _NAMES]
    paths += [cwd / extra / name for name in _NAMES] if extra else []
    for path in paths:
        try:
            yield str(path), files.read_text(path, files.SETTINGS, errors="replace")
        except OSError:
            continue
    if environ.get("OPENCODE_CONFIG_CONTENT"):
        yield "OPENCODE_CONFIG_CONTENT", environ["OPENCODE_CONFIG_CONTENT"]


def _plain(text: str) -> str:
    """JSONC → JSON of as many lines: comments and trailing commas go."""
    stripped = _TOKEN.sub(lambda m: m[0] if m[0][0] == '"' else "\n" * m[0].count("\n"), text)
    return _TOKEN.sub(lambda m: m[0] if m[0][0] == '"' else "", stripped).removeprefix("\ufeff")


def _table(document: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 - whatever the user wrote
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _models(document: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    named = (
        [(key, document.get(key)) for key in ("model", "small_model")] if isinstance(document, dict) else []
    )
    for section in ("agent", "mode", "command"):
        for name, entry in _table(document, section).items():
            named.append((f"{section}.{name}.model", entry.get("model") if isinstance(entry, dict) else None))
    # `{env:NAME}` and `{file:PATH}` are known to OpenCode only.
    yield from ((key, value) for key, value in named if isinstance(value, str) and "{" not in value)


def _catalogue(cache_directory: Path, caches: Sequence[tuple[Path, Manifest]]) -> dict[str, Any]:
    """The catalogue that OpenCode will read; empty where it is compiled into the program only."""
    for path in (cache_directory / "models.json", *(cache / "models.json" for cache, _ in caches)):
        try:
            document = json.loads(files.read_text(path, files.DOCUMENT))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    return {}


def _near(name: str, names: Sequence[str]) -> str:
    parts = [one for one in names if name in re.split(r"[-_/.]", one)]
    found = (sorted(parts, key=len) + difflib.get_close_matches(name, names, n=1))[:1]
    return found[0] if found else ""


def _model(where: str, key: str, value: str, known: dict[str, Any], own: dict[str, Any]) -> Iterator[Mistake]:
    provider, slash, model = value.partition("/")
    if not slash or not model:
        yield Mistake(where, f"{key} {value!r} names no provider", "write it as PROVIDER/MODEL")
        return
    if not known:
        # OpenCode's compiled-in catalogue is not read here; these two are the commonest slips.
        better = {"copilot": "github-copilot", "bedrock": "amazon-bedrock"}.get(provider)
        if better and provider not in own:
            yield Mistake(where, f"{key} {value!r}: no provider {provider!r}", f"write {better}/{model}")
        return
    if provider not in known and provider not in own:
        near = _near(provider, [*known, *own])
        mend = f"write {near}/{model}" if near else "see `opencode models` for those that exist"
        yield Mistake(where, f"{key} {value!r}: no provider {provider!r}", mend)
        return
    models = [*_table(known.get(provider), "models"), *_table(own.get(provider), "models")]
    if models and model not in models:
        near = _near(model, models)
        mend = f"write {provider}/{near}" if near else f"see `opencode models {provider}`"
        yield Mistake(
            where, f"{key} {value!r}: {provider} has no such model in the catalogue", mend, certain=False
        )


def _is_file(spec: str) -> bool:
    return spec.startswith(("file:", ".", "/"))


def _public(spec: str) -> str:
    """A specifier without what may be secret in an address: user, password, query."""
    return re.sub(r"//[^/@\s]*@", "//…@", spec).partition("?")[0]


def _packages(
    where: str,
    document: Any,  # noqa: ANN401
    cache_directory: Path,
    caches: Sequence[tuple[Path, Manifest]],
) -> Iterator[Mistake]:
    plugins = document.get("plugin") if isinstance(document, dict) else None
    for entry in plugins if isinstance(plugins, list) else []:
        spec = entry[0] if isinstance(entry, list) and entry else entry
        if (
            isinstance(spec, str)
            and not _is_file(spec)
            and not _there(spec, cache_directory, caches, "latest")
        ):
            mend = "add it to the plan (--plugin), and build the cache again"
            yield Mistake(where, f"plugin {_public(spec)!r} is not in the cache", mend)
    for name, provider in _table(document, "provider").items():
        npm = provider.get("npm") if isinstance(provider, dict) else None
        if isinstance(npm, str) and not _is_file(npm) and not _there(npm, cache_directory, caches, ""):
            mend = (
                "if OpenCode does not bundle it, add it to the plan (--provider), and build the cache again"
            )
            text = f"provider.{name}.npm {_public(npm)!r} is not in the cache"
            yield Mistake(where, text, mend, certain=False)


def _there(spec: str, cache_directory: Path, caches: Sequence[tuple[Path, Manifest]], default: str) -> bool:
    """Whether every cache that is in use has the package, or OpenCode once installed it beside."""
    name, version = split_spec(spec)

    def one(about: Manifest) -> bool:
        if any(entry.spec == spec or (entry.name == name and not version) for entry in about.requests):
            return True
        if about.layout == "bun":
            return False
        if not default and spec in _BUNDLED:
            return True
        full = f"{name}@{version or default}" if version or default else name
        # Not Path.exists, which raises for a name that is too long.
        return os.path.exists(cache_directory / "packages" / full / "node_modules" / name)  # noqa: PTH110

    return all(one(about) for _, about in caches)
