"""The floor under a lock: what its packages have to have (a signature, an age), and the registry's keys."""

from __future__ import annotations

import datetime as dt
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import parsed_json
from opencode_cache.fetch import tarballs
from opencode_cache.formats import ages
from opencode_cache.npm import client as npm
from opencode_cache.resolve import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from opencode_cache.formats.lock import Lock, Package, Signatures

_WORKERS = 4
_NAMED = 5
_FIRST = dt.datetime(2010, 1, 1, tzinfo=dt.timezone.utc)
"""npm's registry has nothing that is older."""
_CLOCKS = dt.timedelta(days=1)
"""How far two clocks may be apart."""


def require_signed(signed: Signatures | None, packages: Iterable[Package]) -> None:
    """Raises NetworkError for what no registry vouches for."""
    archives = [package.key for package in packages if package.github]
    if archives:
        raise BadInputError(
            f"--require-signatures: {_list(archives)} comes from GitHub, which signs no archive; "
            "take it out of the plan"
        )
    if signed is None or signed.unchecked:
        why = signed.unchecked if signed else "nobody looked"
        raise NetworkError(
            f"--require-signatures: no signature could be verified ({why}); use a registry that signs"
        )
    if signed.missing:
        raise NetworkError(
            f"--require-signatures: the registry has no signature of {_list(signed.missing)}; "
            "choose other versions, or another registry"
        )


def require_age(age: str, packages: Collection[Package], now: dt.datetime | None = None) -> None:
    """Raises NetworkError that names what is too young, and a registry whose dates cannot be right."""
    now = now or dt.datetime.now(dt.timezone.utc)
    archives = [package.key for package in packages if package.github]
    if archives:
        raise BadInputError(
            f"--min-age: {_list(archives)} comes from GitHub, where no day of publication is known; "
            "take it out of the plan"
        )
    limit = ages.first_day_too_young(age, now.date())
    with ThreadPoolExecutor(_WORKERS) as pool:
        dates = list(zip(packages, pool.map(_date, packages), strict=True))
    wrong = [(package, why) for package, text in dates if (why := _wrong(text, now))]
    if wrong:
        shown = _list(f"{package.key} ({why})" for package, why in wrong)
        raise NetworkError(
            f"--min-age {age}: {_host(wrong[0][0])} gives dates that cannot be right: {shown}; "
            "use another registry, or leave --min-age out"
        )
    young = [f"{package.key} ({text[:10]})" for package, text in dates if text[:10] >= str(limit)]
    if young:
        raise NetworkError(
            f"--min-age {age}: published on {limit} or later: {_list(young)}; choose older versions"
        )


def check_again(lock: Lock, packages: Collection[Package], on_step: Callable[[str], None]) -> None:
    """What `fetch` asks of a lock with a floor. What the registry cannot tell any more is said, no error.

    Raises BadInputError for a wrong signature, NetworkError for what is too young.
    """
    packages = [package for package in packages if not package.github]
    if lock.require_signatures:
        on_step("asking npm again whether the registry signed them")
        signed = signatures.check(packages)
        if signed.unchecked or signed.missing:
            why = signed.unchecked or f"this registry has none of {_list(signed.missing)}"
            on_step(f"signatures were verified when the lock was made, and cannot be here: {why}")
        elif lock.signatures and (changes := _changes(lock.signatures.keys, keys())):
            on_step(
                f"the registry's keys are not those of the lock, whose hashes hold all the same: {changes}"
            )
    if lock.min_age:
        on_step(f"asking the registry whether they are {lock.min_age} old")
        require_age(lock.min_age, packages)


def keys() -> dict[str, str]:
    """The registry's own list of keys: name -> sha256 of the key. Empty where it has none to show."""
    registry = npm.registry()
    url = f"{registry.default.rstrip('/')}/-/npm/v1/keys"
    try:
        answer = parsed_json(tarballs.client().read(url, registry.headers(url)).decode())
        return dict(sorted(_key(one) for one in answer["keys"]))
    except (NetworkError, ValueError, RecursionError, KeyError, TypeError):
        return {}  # a mirror: `unchecked` or npm's own root of trust tells the rest


def same_keys(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Raises BadInputError where both lists are known and differ."""
    if changes := _changes(before, now):
        raise BadInputError(
            f"the registry's keys are not those of {where}: {changes}; "
            "ask whoever runs the registry why, and then lock with --accept-keys"
        )


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In words; empty where one of the lists is not known."""
    if not before or not now:
        return ""
    changes = [f"{name} is gone" for name in before.keys() - now.keys()]
    changes += [f"{name} is new" for name in now.keys() - before.keys()]
    changes += [f"{name} is another key" for name in before.keys() & now.keys() if before[name] != now[name]]
    return ", ".join(sorted(changes))


def _key(one: Any) -> tuple[str, str]:  # noqa: ANN401 - the registry's JSON
    name, key = one["keyid"], one["key"]
    if not (isinstance(name, str) and isinstance(key, str) and name.isprintable() and len(name) <= 200):  # noqa: PLR2004
        raise ValueError(name)
    return name, hashlib.sha256(key.encode()).hexdigest()


def _date(package: Package) -> str:
    """When the registry says that a version was published; empty where it does not say.

    Asked without npm, which would be a process for each package.
    """
    registry = npm.registry()
    url = f"{registry.url(package.name)}/{quote(package.name, safe='@')}"
    client = replace(tarballs.client(), most=files.DOCUMENT)
    try:
        answer = parsed_json(client.read(url, registry.headers(url)).decode())
    except (ValueError, RecursionError):
        return ""
    times = answer.get("time") if isinstance(answer, dict) else None
    said = times.get(package.version) if isinstance(times, dict) else None
    return said if isinstance(said, str) and said.isprintable() else ""


def _wrong(text: str, now: dt.datetime) -> str:
    """Why that is no day of publication; empty where it can be one."""
    if not text:
        return "none"
    try:
        day = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text[:40]
    if day.tzinfo is None:
        day = day.replace(tzinfo=dt.timezone.utc)
    return "" if _FIRST <= day <= now + _CLOCKS else text[:40]


def _host(package: Package) -> str:
    return f"the registry at {urlsplit(npm.registry().url(package.name)).hostname}"


def _list(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
