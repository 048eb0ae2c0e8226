"""An allow-list in the formats that proxies and sandboxes read."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from opencode_cache.inspect.hosts import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opencode_cache.inspect.hosts import AllowList, Row

_ECHO = {4: {"family": "IPv4", "type": 8}, 6: {"family": "IPv6", "type": 128}}
"""ICMP's messages of ping."""


def plain(allowed: AllowList) -> str:
    """One host a line."""
    return "".join(f"{host}\n" for host in _hosts(allowed.rows))


def squid(allowed: AllowList) -> str:
    """Lines for squid.conf: who is asked at each port. squid passes on TCP alone."""
    lines = [f"# OpenCode {allowed.opencode}"]
    for port in sorted({int(row.port[4:]) for row in allowed.rows if row.port.startswith("tcp/")}):
        hosts = _hosts(row for row in allowed.rows if row.port == f"tcp/{port}")
        lines.append(f"acl opencode_port_{port} port {port}")
        for kind, of, values in (
            ("names", "dstdomain", _without_covered([host for host in hosts if not is_address(host)])),
            ("addresses", "dst", [host for host in hosts if is_address(host)]),
        ):
            lines += [f"acl opencode_{kind}_{port} {of} {value}" for value in values]
            if values:
                lines.append(f"http_access allow opencode_{kind}_{port} opencode_port_{port}")
    return "\n".join(lines) + "\n"


def _without_covered(names: list[str]) -> list[str]:
    """As squid writes them; it warns of a name that a wildcard of the same list covers."""
    domains = list(dict.fromkeys(name.removeprefix("*") for name in names))
    wild = [domain for domain in domains if domain.startswith(".")]
    return [
        domain
        for domain in domains
        if not any(domain != other and f".{domain.lstrip('.')}".endswith(other) for other in wild)
    ]


def network_policy(allowed: AllowList) -> str:
    """A CiliumNetworkPolicy: Kubernetes' own NetworkPolicy knows no names."""
    egress = [rule for port in sorted({row.port for row in allowed.rows}) for rule in _egress(allowed, port)]
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


def _egress(allowed: AllowList, port: str) -> list[dict[str, Any]]:
    """The rules for one port. A rule without a port would let through all of them."""
    hosts = _hosts(row for row in allowed.rows if row.port == port)
    names = [_matching(host) for host in hosts if not is_address(host)]
    networks = [ipaddress.ip_network(host) for host in hosts if is_address(host)]
    kind, _, number = port.partition("/")
    if not number:
        return [
            {
                "toCIDR": [str(one) for one in networks if one.version == version],
                "icmps": [{"fields": [fields]}],
            }
            for version, fields in _ECHO.items()
            if any(one.version == version for one in networks)
        ]
    ports = [{"ports": [{"port": number, "protocol": kind.upper()}]}]
    rules: list[dict[str, Any]] = [{"toFQDNs": names, "toPorts": ports}] if names else []
    return rules + ([{"toCIDR": [str(one) for one in networks], "toPorts": ports}] if networks else [])


def _matching(host: str) -> dict[str, str]:
    return {"matchPattern" if "*" in host else "matchName": host}


def _hosts(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.host for row in rows))
