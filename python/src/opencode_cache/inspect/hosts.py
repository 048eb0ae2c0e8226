"""`hosts`: whom a network has to let OpenCode ask, as data.

From the proof, the user's configuration, for providers, of plugins and for features; in the words of
docs/network.md, where each request is explained.
"""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model
from opencode_cache.config import commands
from opencode_cache.config import services as configured
from opencode_cache.config.entries import entries
from opencode_cache.config.offer import of_cache
from opencode_cache.npm.spec import public, split_spec
from opencode_cache.prove import opt_outs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opencode_cache.config.offer import Offer
    from opencode_cache.config.read import Configuration
    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.formats.proof import Proof

_HTTP, _HTTPS = "tcp/80", "tcp/443"
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ssh": 22, "git": 9418}
_NAME = re.compile(r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", re.IGNORECASE)
METADATA = ("metadata.google.internal", "169.254.169.254")

SDK_HOSTS: dict[str, tuple[str, ...]] = {
    "@ai-sdk/amazon-bedrock": ("*.amazonaws.com",),
    "@ai-sdk/anthropic": ("api.anthropic.com",),
    "@ai-sdk/azure": ("*.openai.azure.com",),
    "@ai-sdk/cerebras": ("api.cerebras.ai",),
    "@ai-sdk/cohere": ("api.cohere.com",),
    "@ai-sdk/deepinfra": ("api.deepinfra.com",),
    "@ai-sdk/gateway": ("ai-gateway.vercel.sh",),
    "@ai-sdk/google": ("generativelanguage.googleapis.com",),
    "@ai-sdk/google-vertex": ("*.googleapis.com",),
    "@ai-sdk/google-vertex/anthropic": ("*.googleapis.com",),
    "@ai-sdk/groq": ("api.groq.com",),
    "@ai-sdk/mistral": ("api.mistral.ai",),
    "@ai-sdk/openai": ("api.openai.com",),
    "@ai-sdk/perplexity": ("api.perplexity.ai",),
    "@ai-sdk/togetherai": ("api.together.xyz",),
    "@ai-sdk/vercel": ("api.v0.dev",),
    "@ai-sdk/xai": ("api.x.ai",),
    "venice-ai-sdk-provider": ("api.venice.ai",),
}
"""Hosts that an SDK asks unless `baseURL` names another, for providers of which the catalogue names none.

Read in the program text of 1.18.33.
"""

_LOGINS = {
    "@ai-sdk/amazon-bedrock": METADATA[1:],
    "@ai-sdk/google-vertex": METADATA,
    "@ai-sdk/google-vertex/anthropic": METADATA,
}
"""Where SDKs look for a login when they have none: a cloud's metadata service (tried with 1.18.33)."""

FEATURES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("updates", ("api.github.com",), "unless OPENCODE_DISABLE_AUTOUPDATE is set"),
    ("model catalogue", ("models.dev", "models.opencode.ai"), "unless OPENCODE_DISABLE_MODELS_FETCH is set"),
    ("sharing", ("opncd.ai", "api.opencode.ai"), "when a session is shared"),
    ("web search", ("mcp.exa.ai", "search.parallel.ai"), "when such a tool is used"),
    ("OpenCode's own models", ("opencode.ai",), "when they are used"),
    ("ripgrep, language servers", ("github.com",), "when they are on no PATH"),
    ("highlighting", ("github.com", "raw.githubusercontent.com"), "for languages that the cache lacks"),
    ("GitLab's models", ("gitlab.com",), "when that provider is used"),
)
"""What, hosts, when: rows of docs/network.md that somebody may want."""


class Row(Model):
    """One host, or address, that may be asked."""

    host: str
    """A name, `*.` before one for all below it, or an IPv4 or IPv6 address."""
    port: str
    """`tcp/443`."""
    who: str
    when: str
    source: Literal["proof", "configuration", "provider", "plugin", "feature"]


class AllowList(Model):
    """Everything that a network has to let through, each host and port once for each who."""

    opencode: str
    proved: str | None
    """Where and when it was proved that nothing else is asked for; None: it was not."""
    rows: tuple[Row, ...]
    untold: tuple[str, ...] = ()
    """What asks somebody whose name nobody can tell beforehand, each a sentence."""


def allow_list(
    manifest: Manifest,
    proof: Proof | None,
    proved: str | None,
    catalogue: Callable[[], Mapping[str, Any]],
    providers: Sequence[str],
    configuration: Configuration | None = None,
    *,
    features: bool,
) -> AllowList:
    """What the proof saw, what the configuration names, what providers need and plugins are known to ask.

    With `features`, also what somebody may ask OpenCode for. `catalogue` is asked for once a provider needs
    it. Raises BadInputError for one of `providers` that the catalogue lacks, or whose host nobody can tell.
    """
    rows = [*_of_proof(proof), *(row for name in providers for row in _of_provider(name, catalogue()))]
    untold: list[str] = []
    if configuration:
        rows += _of_configuration(configuration, of_cache(manifest), catalogue, providers, untold)
    rows += _of_plugins(_plugins(manifest, configuration), rows, untold)
    if features:
        rows += [
            Row(host=host, port=_HTTPS, who=what, when=when, source="feature")
            for what, hosts, when in FEATURES
            for host in hosts
        ]
    return AllowList(
        opencode=manifest.opencode,
        proved=proved,
        rows=tuple(dict.fromkeys(rows)),
        untold=tuple(dict.fromkeys(untold)),
    )


def _of_configuration(
    configuration: Configuration,
    offer: Offer,
    catalogue: Callable[[], Mapping[str, Any]],
    given: Sequence[str],
    untold: list[str],
) -> Iterator[Row]:
    for service in configured.services(configuration, offer):
        host_and_port = _place(service.address)
        if host_and_port is None:
            untold.append(f"{service.who}: {public(service.address)!r} names no host ({service.where})")
        elif not _is_loopback(host_and_port[0]):
            host, port = host_and_port
            yield Row(host=host, port=port, who=service.who, when=service.when, source="configuration")
    for name, where in configured.providers(configuration).items():
        if name in given:
            continue
        try:
            yield from _of_provider(name, catalogue())
        except BadInputError as error:
            untold.append(f"{str(error).removeprefix('--')} ({where})")
    for entry in entries(configuration):
        fetched = None if entry.off else commands.fetched(entry.words)
        if fetched and fetched.by != "npm":
            untold.append(f"{entry.key}: {fetched.runner} chooses where it fetches from ({entry.where})")


def _place(address: str) -> tuple[str, str] | None:
    """Host and port of an URL; None where it has none that can be told."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not (_NAME.match(host) or is_address(host)):
        return None
    return host, f"tcp/{port}"


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    """Whether it is this machine, which nobody has to let through."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _plugins(manifest: Manifest, configuration: Configuration | None) -> list[str]:
    """npm names of the plugins that the cache or the configuration has."""
    named = [entry.name for entry in manifest.requests if entry.kind == "plugin"]
    asked = entries(configuration) if configuration else ()
    named += [split_spec(entry.value)[0] for entry in asked if entry.kind == "plugin" and not entry.off]
    return list(dict.fromkeys(named))


def _of_plugins(plugins: Sequence[str], rows: Sequence[Row], untold: list[str]) -> Iterator[Row]:
    """What was read in the code of plugins, but for what the proof saw of the same plugin."""
    for plugin in plugins:
        seen = [row.host for row in rows if row.source == "proof" and plugin in _names(row.who)]
        for one in opt_outs.known():
            for host in one.hosts if plugin in one.plugins else ():
                if any(fnmatchcase(other, host) for other in seen):
                    continue
                when = f"its {one.what}; to stop it: {one.switch}"
                if _NAME.match(host):
                    yield Row(host=host, port=_HTTPS, who=f"plugin {plugin}", when=when, source="plugin")
                else:
                    untold.append(f"plugin {plugin}: {when}; it asks the npm registry")


def _names(who: str) -> set[str]:
    """The packages in `plugin a@latest, plugin b`."""
    return {split_spec(word)[0] for word in who.replace(",", " ").split()}


def _of_proof(proof: Proof | None) -> Iterator[Row]:
    for host in proof.hosts if proof else ():
        for port in host.ports or (_HTTP if host.name in METADATA else _HTTPS,):
            yield Row(
                host=host.name,
                port=port,
                who=host.who or "OpenCode, or a plugin",
                when=f"seen in the proof, in step {host.step}",
                source="proof",
            )


def _of_provider(name: str, catalogue: Mapping[str, Any]) -> Iterator[Row]:
    provider = catalogue.get(name)
    if provider is None:
        raise BadInputError(
            f"--provider {name!r}: the model catalogue has none of that name; see `opencode models`"
        )
    npm, address = str(provider.get("npm", "")), str(provider.get("api") or "")
    hosts = (urlsplit(address).hostname or "",) if address else SDK_HOSTS.get(npm, ())
    if not hosts or not all(_NAME.match(host) for host in hosts):
        raise BadInputError(
            f"--provider {name!r}: its host is not known beforehand "
            f"({address or f'{npm} chooses it'}); allow the one in your configuration"
        )
    for host in hosts:
        yield Row(host=host, port=_HTTPS, who=f"provider {name}", when="when used", source="provider")
    for host in _LOGINS.get(npm, ()):
        when = "for a login, when it has none of its own"
        yield Row(host=host, port=_HTTP, who=f"provider {name}", when=when, source="provider")
