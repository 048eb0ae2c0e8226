"""What an OpenCode binary says of itself when it is asked: by running it, or by reading its program text.

Tables of versions age; the binary that is to be locked is at hand, so it is asked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CheckFailedError, OpencodeCacheError
from opencode_cache.catalogue import document as catalogue
from opencode_cache.opencode import embedded, standalone, versions
from opencode_cache.opencode import run as opencode
from opencode_cache.sandbox import netns, reap
from opencode_cache.sandbox.loopback import ModelServer, TripwireRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SDK_CHECK = re.compile(
    rb"""specificationVersion\s*!==\s*"v\d+"(?:\s*&&\s*[\w$.]+\.specificationVersion\s*!==\s*"v\d+")*"""
    rb"""(?=.{0,120}throw)""",
    re.DOTALL,
)
_SDK_NAME = re.compile(rb'"(@ai-sdk/[a-z0-9-]+(?:/[a-z0-9-]+)?)"')
_SDK_VERSION = re.compile(rb'"v(\d+)"')
_NOT_INSTALLED = re.compile(r"\bpkg=(\S+) version=(\S+) (?:name|error)=BunInstallFailedError")
_NOBODYS = "opencode-cache-no-such-sdk"
"""No binary bundles it, so that one which does not ask for it did not get as far as asking."""
_MOST_BUILT_IN = 8
_PROMPT_TIMEOUT = 600
"""Seconds: what has not been asked for by then counts as bundled, so a slow machine is waited for."""
_SESSIONS = 8


def sdk_major(binary: Path) -> int | None:
    """The newest major of `@ai-sdk/provider` that the binary speaks, or None where its text does not tell.

    Upstream (vercel/ai `packages/ai/src/model/resolve-model.ts`): a model whose `specificationVersion` is
    not one of the known ones is thrown out. Version vN belongs to major N of `@ai-sdk/provider`. Read in
    1.0.61 (v2) and 1.18.33 (v3, and v2 through an adapter).
    """
    majors = [
        int(number)
        for check in _SDK_CHECK.finditer(opencode.image(binary).read_bytes())
        for number in _SDK_VERSION.findall(check[0])
    ]
    return max(majors, default=None)


@dataclass(frozen=True)
class BunFacts:
    """What a binary of the bun layout does at its first start."""

    cache_version: str
    built_in_plugins: tuple[str, ...]
    """Specs `name@version`, in the order in which it asks for them."""


def bun_facts(binary: Path, models: Mapping[str, Any]) -> BunFacts:
    """Start a bun-layout binary until it asks for nothing more, giving it an empty package each time.

    `models` is the catalogue that it finds: 1.1.27 does nothing without one. Raises BadInputError where it
    writes no `version` file.
    """
    answer = _without_a_network({"what": "start", "binary": str(binary.absolute()), "models": models})
    return BunFacts(answer["cache_version"], tuple(answer["built_in_plugins"]))


def _start(binary: Path, models: Mapping[str, Any]) -> BunFacts:
    plugins: list[str] = []
    with opencode.private_home() as home, TripwireRegistry() as registry:
        extra = opencode.registry_settings(registry.url) | opencode.QUIET
        cache = home / ".cache" / "opencode"
        opencode.run(binary, ["models"], home, extra=extra)
        written = cache / "version"
        if not written.is_file():
            raise BadInputError(
                f"{binary}: wrote no cache version at its first start; is this OpenCode 1.0-1.3?"
            )
        # Not before: a cache without a version is emptied.
        (cache / "models.json").write_text(catalogue.dumps(models), encoding="utf-8")
        for _ in range(_MOST_BUILT_IN):
            done = opencode.run(binary, ["models", "--print-logs"], home, extra=extra)
            asked = [
                f"{name}@{version}" for name, version in not_installed(done.stdout + done.stderr).items()
            ]
            fresh = [spec for spec in asked if spec not in plugins]
            if not fresh:
                break
            plugins += fresh
            _pretend(cache, plugins)
        return BunFacts(written.read_text(encoding="utf-8"), tuple(plugins))


def not_installed(log: str) -> dict[str, str]:
    """Package name -> version that a bun-layout OpenCode wanted and could not install, from its log.

    With a cache that cannot be written it gives up before it asks the registry, so only the log tells.
    """
    return dict(_NOT_INSTALLED.findall(log))


def _pretend(cache: Path, specs: Iterable[str]) -> None:
    """Empty packages that pass for installed, so that the next one is asked for."""
    lines = []
    for spec in specs:
        name, _, version = spec.rpartition("@")
        package = cache / "node_modules" / name
        package.mkdir(parents=True, exist_ok=True)
        (package / "package.json").write_text(
            f'{{"name":"{name}","version":"{version}","main":"index.js","type":"module"}}', encoding="utf-8"
        )
        (package / "index.js").write_text("export {}\n", encoding="utf-8")
        lines.append(f'"{name}":"{version}"')
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "package.json").write_text(f'{{"dependencies":{{{",".join(lines)}}}}}', encoding="utf-8")


def bundled(binary: Path, models: Mapping[str, Any], facts: BunFacts | None) -> set[str]:
    """The provider SDKs that are compiled into the binary: those of a catalogue, and others of the AI SDK.

    Raises BadInputError where it asks the registry for none at all, so that nothing can be told.
    """
    named = {name.decode() for name in _SDK_NAME.findall(opencode.image(binary).read_bytes())}
    names = sorted(named | catalogue.packages(models).keys())
    return set(names) - _asking(binary, names, models, facts)


def bundles(binary: Path, name: str) -> bool:
    """Whether the binary has that SDK compiled in. Raises BadInputError where it cannot be asked."""
    models = embedded.catalogue(binary)
    bun = versions.layout_name(opencode.version(binary)) == "bun"
    return name not in _asking(binary, [name], models, bun_facts(binary, models) if bun else None)


def _asking(
    binary: Path, names: Sequence[str], models: Mapping[str, Any], facts: BunFacts | None
) -> set[str]:
    asked = _asked_for(binary, [*names, _NOBODYS], models, facts)
    if _NOBODYS not in asked:
        raise BadInputError(
            f"{binary}: does not ask for SDKs that it lacks, so it cannot be asked for {', '.join(names)}"
        )
    return asked - {_NOBODYS}


def _asked_for(
    binary: Path, ordered: Sequence[str], models: Mapping[str, Any], facts: BunFacts | None
) -> set[str]:
    """Those of the names that the binary asks the registry for as providers' SDKs."""
    order = {
        "what": "sdks",
        "binary": str(binary.absolute()),
        "names": list(ordered),
        "models": models if facts else {},
        "facts": asdict(facts) if facts else None,
    }
    return set(_without_a_network(order))


def _ask_for_all(
    binary: Path, ordered: Sequence[str], models: Mapping[str, Any], facts: BunFacts | None
) -> set[str]:
    """One server, one custom provider for each name, one prompt each.

    The registry has nothing to give and remembers who asked. `models` is the catalogue that a binary of the
    bun layout finds.
    """
    if versions.layout_name(opencode.version(binary)) == versions.EXPERIMENTAL:
        return _ask_second(binary, ordered)
    with opencode.private_home() as home, TripwireRegistry() as registry, ModelServer() as model:
        options = {"baseURL": f"{model.url}/v1", "apiKey": "loopback"}
        providers = {
            f"p{index}": {"npm": name, "name": name, "options": options, "models": {"m": {"name": "m"}}}
            for index, name in enumerate(ordered)
        }
        opencode.write_config(home, {"provider": providers, "share": "disabled"})
        extra = opencode.registry_settings(registry.url) | opencode.QUIET
        if facts is not None:
            cache = home / ".cache" / "opencode"
            _pretend(cache, facts.built_in_plugins)
            (cache / "version").write_text(facts.cache_version, encoding="utf-8")
            (cache / "models.json").write_text(catalogue.dumps(models), encoding="utf-8")
        with (
            opencode.serve(binary, home, extra=extra) as server,
            ThreadPoolExecutor(_SESSIONS) as pool,
        ):
            # The answers do not matter: an SDK that is bundled may dislike these options.
            list(pool.map(lambda p: server.prompt(p, "m", "hello", _PROMPT_TIMEOUT), providers))
        # `a/b/c` is a file of the package `a/b`.
        return {name for name in ordered if _package(name) in registry.asked}


def _ask_second(binary: Path, ordered: Sequence[str]) -> set[str]:
    """The same of OpenCode 2.x, by its own command: it takes some seconds for each."""
    with opencode.private_home() as home, TripwireRegistry() as registry, ModelServer() as model:
        providers = {f"p{index}": (name, f"{model.url}/v1") for index, name in enumerate(ordered)}
        opencode.write_config(home, standalone.configuration(providers, []))
        extra = opencode.registry_settings(registry.url) | opencode.QUIET

        def prompt(name: str) -> None:
            with suppress(subprocess.TimeoutExpired):
                up.run("run", "--model", f"{name}/{name}", "hello", timeout=_PROMPT_TIMEOUT)

        with (
            standalone.serve(binary, home, extra, _PROMPT_TIMEOUT) as up,
            ThreadPoolExecutor(_SESSIONS) as pool,
        ):
            list(pool.map(prompt, providers))
        return {name for name in ordered if _package(name) in registry.asked}


def _package(name: str) -> str:
    return "/".join(name.split("/")[: 2 if name.startswith("@") else 1])


def _without_a_network(order: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """What the binary does when it is asked so; in a network namespace where the kernel allows one.

    Nothing is asked of anybody but the servers here, whatever the binary would like to ask. Raises what
    asking raises.
    """
    if not netns.available().ok:
        return _answer(order)
    with python.empty() as empty:
        done = subprocess.run(
            netns.command(
                opencode.reads(Path(order["binary"])), python.command("-m", __name__), confined=True
            ),
            cwd=empty,
            env=os.environ | python.path(),
            input=json.dumps(order),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"asking it ended with {done.returncode}"]
        kind = CheckFailedError if done.returncode == CheckFailedError.exit_status else BadInputError
        raise kind(lines[-1])
    return json.loads(done.stdout)


def _answer(order: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    binary = Path(order["binary"])
    if order["what"] == "start":
        return asdict(_start(binary, order["models"]))
    facts = order["facts"] and BunFacts(
        order["facts"]["cache_version"], tuple(order["facts"]["built_in_plugins"])
    )
    return sorted(_ask_for_all(binary, order["names"], order["models"], facts))


def main() -> int:
    """The child, already isolated: an order as JSON on stdin, the answer on stdout. The exit status."""
    try:
        with reap.nothing_left():
            answer = _answer(json.load(sys.stdin))
    except OpencodeCacheError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
