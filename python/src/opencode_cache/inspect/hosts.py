"""`hosts`: whom a network has to let OpenCode ask, as data: from the proof, for providers, and for features.

The words of docs/network.md, where each request is explained, and the formats that sandboxes read.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.formats.proof import Proof

_HTTPS = "tcp/443"
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
    source: Literal["proof", "provider", "feature"]


class AllowList(Model):
    """Everything that a network has to let through, each host and port once for each who."""

    opencode: str
    proved: str | None
    """Where and when it was proved that nothing else is asked for; None: it was not."""
    rows: tuple[Row, ...]


def allow_list(
    manifest: Manifest,
    proof: Proof | None,
    proved: str | None,
    catalogue: Mapping[str, Any],
    providers: Sequence[str],
    *,
    features: bool,
) -> AllowList:
    """What the proof saw, what the providers need, and with `features` what somebody may ask OpenCode for.

    Raises BadInputError for a provider that the catalogue lacks, or whose host nobody can tell.
    """
    rows = [*_of_proof(proof), *(row for name in providers for row in _of_provider(name, catalogue))]
    if features:
        rows += [
            Row(host=host, port=_HTTPS, who=what, when=when, source="feature")
            for what, hosts, when in FEATURES
            for host in hosts
        ]
    return AllowList(opencode=manifest.opencode, proved=proved, rows=tuple(dict.fromkeys(rows)))


def _of_proof(proof: Proof | None) -> Iterator[Row]:
    for host in proof.hosts if proof else ():
        for port in host.ports or (_HTTPS,):
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
        yield Row(host=host, port="tcp/80", who=f"provider {name}", when=when, source="provider")


def plain(hosts: AllowList) -> str:
    """One host a line."""
    return "".join(f"{host}\n" for host in _hosts(hosts.rows))


def squid(hosts: AllowList) -> str:
    """Lines for squid.conf: who is asked, and at which ports."""
    names = [host.removeprefix("*") for host in _hosts(hosts.rows) if not _is_address(host)]
    addresses = [host for host in _hosts(hosts.rows) if _is_address(host)]
    ports = sorted({int(row.port[4:]) for row in hosts.rows if row.port.startswith("tcp/")})
    lines = [f"# OpenCode {hosts.opencode}", *(f"acl opencode_ports port {port}" for port in ports)]
    for acl, kind, values in (
        ("opencode_names", "dstdomain", names),
        ("opencode_addresses", "dst", addresses),
    ):
        lines += [f"acl {acl} {kind} {value}" for value in values]
        lines += [f"http_access allow {acl} opencode_ports"] if values else []
    return "\n".join(lines) + "\n"


def network_policy(allowed: AllowList) -> str:
    """A CiliumNetworkPolicy: Kubernetes' own NetworkPolicy knows no names."""
    egress: list[dict[str, Any]] = []
    for port in sorted({row.port for row in allowed.rows}):
        hosts = _hosts(row for row in allowed.rows if row.port == port)
        names = [_matching(host) for host in hosts if not _is_address(host)]
        blocks = [str(ipaddress.ip_network(host)) for host in hosts if _is_address(host)]
        kind, _, number = port.partition("/")
        ports = [{"ports": [{"port": number, "protocol": kind.upper()}]}] if number else []
        egress += [{"toFQDNs": names, **({"toPorts": ports} if ports else {})}] if names else []
        egress += [{"toCIDR": blocks, **({"toPorts": ports} if ports else {})}] if blocks else []
    if any("toFQDNs" in rule for rule in egress):
        dns = {"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}
        selector = {"matchLabels": {"k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}}
        egress.insert(0, {"toEndpoints": [selector], "toPorts": [dns]})
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "opencode"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "opencode"}}, "egress": egress or [{}]},
    }
    # JSON is YAML, and needs no library to be written.
    return json.dumps(policy, indent=2) + "\n"


def _matching(host: str) -> dict[str, str]:
    return {"matchPattern" if "*" in host else "matchName": host}


def _hosts(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.host for row in rows))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
