"""The fixtures of the offline tests, and what is built from the lock of these."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parents[1] / "offline"
sys.path += [str(OFFLINE), str(Path(__file__).parent)]
_spec = spec_from_file_location("offline_fixtures", OFFLINE / "conftest.py")
_shared = module_from_spec(_spec)
sys.modules["offline_fixtures"] = _shared
_spec.loader.exec_module(_shared)

tarballs, fetch_packages, make, isolated = (
    _shared.tarballs,
    _shared.fetch_packages,
    _shared.make,
    _shared.isolated,
)


@pytest.fixture(scope="session")
def made_field(make):
    """1.18 with a plugin, an npm tool, commands for npx, and a package for config directories."""
    return make(Path(__file__).parent / "locks" / "field.lock.json")


@pytest.fixture(scope="session")
def opencode_field(made_field):
    return made_field.opencode
