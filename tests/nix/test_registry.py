"""One tarball really fetched by its fixed-output derivation, from the registry that npm knows."""

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


@pytest.mark.parametrize("with_npm", ["false", "true"])
def test_a_tarball_comes_from_the_registry_that_npm_knows(flake, machine, default, reachable, with_npm):
    """By curl, and by npm itself: nobody says which registry that is."""
    packages = lock.read(LOCKS / "opencode-cache.lock.json").packages
    scoped = [package for package in packages.values() if package.name.startswith("@") and not package.os]
    package = min(scoped, key=lambda package: package.size or 10**9)
    wanted = f't: t.name == "{package.tarball}"'
    tarballs = f"(c.override {{ withNpm = {with_npm}; }}).tarballs"
    chosen = f"c: (builtins.head (builtins.filter ({wanted}) {tarballs})).path.drvPath"
    derivation = flake.nix("eval", "--raw", "--apply", chosen, at="#opencode-cache").stdout
    machine.nix("build", "--no-link", f"{derivation}^*")
    # It is in the store already: made anew, and compared.
    machine.nix("build", "--rebuild", "--no-link", f"{derivation}^*")
