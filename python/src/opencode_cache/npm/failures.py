"""What to do when a registry, or what stands before it, does not give what is asked for: a sentence each.

The same words for npm's errors (by their codes, npm 10 and 11) and for our own downloads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from opencode_cache.base import http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.npm.registry import Registry

Kind = Literal[
    "certificate", "login", "forbidden", "proxy login", "proxy", "name", "connection", "no versions", "absent"
]

_CODES: dict[str, Kind] = {
    "SELF_SIGNED_CERT_IN_CHAIN": "certificate",
    "DEPTH_ZERO_SELF_SIGNED_CERT": "certificate",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": "certificate",
    "UNABLE_TO_GET_ISSUER_CERT": "certificate",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY": "certificate",
    "CERT_HAS_EXPIRED": "certificate",
    "CERT_NOT_YET_VALID": "certificate",
    "ERR_TLS_CERT_ALTNAME_INVALID": "certificate",
    "E401": "login",
    "EOTP": "login",
    "ENEEDAUTH": "login",
    "E403": "forbidden",
    "E407": "proxy login",
    "ENOTFOUND": "name",
    "EAI_AGAIN": "name",
    "ECONNREFUSED": "connection",
    "ECONNRESET": "connection",
    "EHOSTUNREACH": "connection",
    "ENETUNREACH": "connection",
    "ETIMEDOUT": "connection",
    "ERR_SOCKET_TIMEOUT": "connection",
    "E404": "absent",
    "ETARGET": "absent",
    "ENOVERSIONS": "no versions",
}
_STATUS: dict[int, Kind] = {401: "login", 403: "forbidden", 407: "proxy login"}


def of_npm(code: str, output: str, names: Sequence[str], registry: Registry) -> str:
    """The fix for an error of npm, "" where nothing better is known than npm's own words.

    `names`: the packages that npm was asked for.
    """
    kind = _CODES.get(code)
    if kind is None:
        return ""
    if kind in ("connection", "name") and re.search(r"\bproxy\b.*\b407\b", output, re.IGNORECASE | re.DOTALL):
        kind = "proxy login"
    address = re.search(r"https?://[^\s'\"]+", output)
    name = next((name for name in names if registry.url(name) != registry.default.rstrip("/")), "")
    url = registry.url(name)
    return _fix(kind, url, http.host(address[0] if address else url), name or " ".join(names[:1]), registry)


def of_download(error: Exception, url: str, name: str, registry: Registry) -> str:
    """What went wrong with the download of that package's tarball, and the fix."""
    where, host = registry.url(name), http.host(url)
    if isinstance(error, http.RefusedError):
        fix = _fix(_STATUS.get(error.status, "login"), where, host, name, registry)
        return f"the registry answers {error.status}: {fix}"
    if isinstance(error, http.AbsentError):
        return f"{error}: {_fix('absent', where, host, name, registry)}"
    if isinstance(error, http.UnreachableError):
        detail = f" ({error.detail})" if error.detail else ""
        fix = _fix(error.why, where, host, name, registry)
        return f"the registry cannot be reached: {fix}{detail}"
    return str(error).replace("try again later", "run the same command again to resume")


def _fix(kind: Kind, url: str, host: str, name: str, registry: Registry) -> str:
    shown, npmrc = http.without_login(url).rstrip("/"), registry.npmrc
    proxy = ", ".join(dict.fromkeys(http.host(one) for one in registry.proxies.values()))
    whose = f"the proxy {proxy}" if proxy else "the proxy of the environment"
    scope = name.partition("/")[0] if name.startswith("@") else ""
    what = f"packages of {scope}" if scope else "its packages"
    has = "the one in" if registry.headers(f"{url}/x") else "there is none in"
    now = f" (now {registry.cafile})" if registry.cafile else ""
    return {
        "certificate": (
            f"the certificate of {host} is not one that this machine trusts; if your company signs its own, "
            f"`npm config set cafile /path/to/its/ca.pem`{now}"
        ),
        "login": (
            f"{shown} wants a login for {what}, which is read from {npmrc}; {has} that file"
            f"{' is refused' if has == 'the one in' else ''}; write "
            f"`{shown.partition(':')[2]}/:_authToken=TOKEN` there, or `npm login --registry={shown}`"
        ),
        "forbidden": (
            f"{shown} does not give {name or 'this'} to the login in {npmrc}; ask for the right to read "
            f"{what}, or whether a rule of that registry blocks it"
        ),
        "proxy login": (
            f"{whose} wants a login; write it as http://USER:PASSWORD@HOST:PORT in `proxy` and `https-proxy` "
            f"of {npmrc}, or in HTTPS_PROXY"
        ),
        "proxy": f"{whose} does not answer; check `proxy` and `https-proxy` in {npmrc}, and HTTPS_PROXY",
        "name": (
            f"no address is known for {host}; check `registry` in {npmrc}, the DNS of this machine, and "
            "whether it needs a proxy (`https-proxy`)"
        ),
        "connection": f"nobody answers at {host}; check `registry` in {npmrc} and the proxy settings",
        "no versions": (
            f"{shown} has none of it, or, with --before or --min-age, none whose date npm can read and that "
            "is old enough; use another registry, or an earlier limit"
        ),
        "absent": (
            f"{shown} does not have it; if that is a mirror, let it take this version over, "
            "or ask for another one"
        ),
    }[kind]
