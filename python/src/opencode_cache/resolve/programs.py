"""The npm packages that carry OpenCode itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from opencode_cache import layouts
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.npm.client import NotInRegistryError
from opencode_cache.resolve.choose_version import UnavailableError
from opencode_cache.resolve.metadata import package_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opencode_cache.formats.lock import Package

_WORKERS = 4


def binaries(version: str, names: Iterable[str]) -> tuple[dict[str, Package], dict[str, str]]:
    """The npm package of the OpenCode binary for each system, and why there is none for the others."""
    packages: dict[str, Package] = {}
    missing: dict[str, str] = {}

    def look_up(system: platforms.System) -> None:
        for name in asked[system.name]:
            try:
                entries = npm.view(f"{name}@{version}")
                if entries:
                    packages[system.name] = package_from(entries[0], name)
                    return
            except NotInRegistryError:
                continue
            except UnavailableError as error:
                missing[system.name] = str(error)
                return
        missing[system.name] = f"the registry has no {' or '.join(asked[system.name])} {version}"

    systems = [platforms.named(name) for name in names]
    layout = layouts.for_version(version)
    asked = {system.name: layout.binaries(system) for system in systems}
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(look_up, systems))
    return packages, missing
