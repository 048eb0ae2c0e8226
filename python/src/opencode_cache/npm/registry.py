"""Where npm's registries are and how to ask them: npm's own configuration, read once.

A mirror, a scope, a proxy, a certificate or a login thus means here what it means to npm.
"""

from __future__ import annotations

import base64
import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests.utils

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    npmrc: str = "your npmrc"
    """The user's file of settings, for sentences."""

    def url(self, name: str) -> str:
        """The registry of a package, which its scope may have set, without a slash at the end."""
        scope = name.partition("/")[0] if name.startswith("@") else ""
        return self.scopes.get(scope, self.default).rstrip("/")

    def tarball(self, name: str, version: str) -> str:
        """The tarball's address by npm's convention (npm-registry-fetch, pacote's registry fetcher)."""
        return f"{self.url(name)}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"

    @property
    def plain_hosts(self) -> frozenset[str]:
        """Hosts of the registries that the settings name with http."""
        parts = [urlsplit(url) for url in (self.default, *self.scopes.values())]
        return frozenset(part.hostname for part in parts if part.scheme == "http" and part.hostname)

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


def from_config(config: Mapping[str, Any]) -> Registry:
    """What `npm config list --json --long` says. Raises BadInputError where that makes no sense."""
    default = _address(config.get("registry"), "registry")
    scopes = {
        key.partition(":")[0]: _address(value, key)
        for key, value in config.items()
        if key.startswith("@") and key.endswith(":registry")
    }
    files = [config.get(key) for key in ("globalconfig", "userconfig")]
    lines = [line for file in files if isinstance(file, str) and file for line in _npmrc(Path(file))]
    cafile = config.get("cafile") or None
    if cafile and not Path(str(cafile)).is_file():
        raise BadInputError(f"npm's cafile setting is {cafile!r}, which is not a file; fix it in your npmrc")
    proxies = {
        scheme: str(config[key])
        for scheme, key in (("http", "proxy"), ("https", "https-proxy"))
        if config.get(key)
    }
    return Registry(
        default,
        scopes,
        _credentials(lines),
        str(cafile) if cafile else None,
        proxies,
        no_proxy=str(config.get("noproxy") or "") or None,
        verify=config.get("strict-ssl") is not False,
        npmrc=str(config.get("userconfig") or "your npmrc"),
    )


def _address(value: object, setting: str) -> str:
    text = str(value or "")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise BadInputError(
            f"npm's {setting} setting is {text!r}, not an http(s) address; fix it in your npmrc"
        )
    return text


def _npmrc(path: Path) -> list[tuple[str, str]]:
    # npm shows credentials to nobody (`npm config get` calls them protected), so its files are read.
    try:
        text = files.read_text(path, files.SETTINGS)
    except OSError as error:
        if error.errno == errno.EILSEQ:
            raise BadInputError(f"{path}: is not UTF-8 text; fix this npmrc") from error
        return []  # npm does without, too
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
            prefix, _, name = key[2:].rpartition(":")
            fields.setdefault(prefix, {})[name] = value
    credentials = {}
    for prefix, given in fields.items():
        if "_authToken" in given:
            credentials[prefix] = f"Bearer {given['_authToken']}"
        elif "_auth" in given:
            credentials[prefix] = f"Basic {given['_auth']}"
        elif "username" in given and "_password" in given:
            try:
                password = base64.b64decode(given["_password"], validate=True).decode()
            except ValueError as error:
                raise BadInputError(
                    f"npmrc: //{prefix}:_password is not base64; fix it, or use _authToken"
                ) from error
            pair = f"{given['username']}:{password}".encode()
            credentials[prefix] = f"Basic {base64.b64encode(pair).decode()}"
    return credentials
