"""One tarball really fetched by its fixed-output derivation: by npm, from the registry that npm knows."""

from __future__ import annotations

import socket
import subprocess
from urllib.parse import urlsplit

import pytest
from flake_lab import LOCKS

from opencode_cache.formats import lock


def registry_of_npm() -> tuple[str, int]:
    found = urlsplit(
        subprocess.run(
            ["npm", "config", "get", "registry"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    return found.hostname or "", found.port or (443 if found.scheme == "https" else 80)


@pytest.fixture
def reachable():
    try:
        address = registry_of_npm()
        socket.create_connection(address, 10).close()
    except OSError as error:
        pytest.skip(f"needs the npm registry: {error}")


def test_npm_fetches_a_tarball_in_its_derivation(flake, machine, default, reachable):
    packages = lock.read(LOCKS / "opencode-cache.lock.json").packages
    scoped = [package for package in packages.values() if package.name.startswith("@") and not package.os]
    package = min(scoped, key=lambda package: package.size or 10**9)
    chosen = (
        f'c: (builtins.head (builtins.filter (t: t.name == "{package.tarball}") c.tarballs)).path.drvPath'
    )
    derivation = flake.nix("eval", "--raw", "--apply", chosen, at="#opencode-cache").stdout
    # It is in the store already: made anew, and compared.
    machine.nix("build", "--rebuild", "--no-link", f"{derivation}^*")
