"""The packages with the genuine stdenv, fetchers and lib of nixpkgs' core, evaluated; nothing is built.

OPENCODE_CACHE_TEST_COREPKGS names a checkout of ekala-project/corepkgs. Its lib comes from GitHub, or from a
checkout of ekala-project/nix-lib beside it that has the revision of its flake.lock.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COREPKGS = os.environ.get("OPENCODE_CACHE_TEST_COREPKGS", "")


def with_its_lib(corepkgs: Path) -> None:
    """Let the copy take its lib from beside the checkout, at the revision that its lock names."""
    lib = Path(COREPKGS).resolve().parent / "nix-lib"
    if not lib.is_dir():
        return
    locked = json.loads((corepkgs / "flake.lock").read_text())["nodes"]["lib"]["locked"]
    archive = subprocess.run(["git", "archive", locked["rev"]], cwd=lib, capture_output=True, check=True)
    (corepkgs / "its-lib").mkdir()
    subprocess.run(["tar", "-x"], cwd=corepkgs / "its-lib", input=archive.stdout, check=True)
    (corepkgs / "pins.nix").write_text("{ lib = ./its-lib; }\n")


@pytest.mark.skipif(not COREPKGS, reason="needs a checkout: OPENCODE_CACHE_TEST_COREPKGS=DIR")
def test_every_package_evaluates_with_the_genuine_stdenv(machine, project, tmp_path):
    # Copied, since the machine sees no more of this one than /tmp.
    subprocess.run(["cp", "-r", COREPKGS, tmp_path / "corepkgs"], check=True)
    with_its_lib(tmp_path / "corepkgs")
    call = f"import {HERE}/corepkgs.nix {{ corepkgs = {tmp_path}/corepkgs; project = {project}; }}"
    found = json.loads(machine.nix("eval", "--impure", "--json", "--expr", call).stdout)
    assert {"image", "opencode-release"} <= set(found["derivations"])
    assert all(path.endswith(".drv") for path in found["derivations"].values())
    assert found["derivations"]["composed"] == found["derivations"]["opencode-with-cache"]
    assert found["cross"] == {"builders": ["x86_64-linux"], "system": "aarch64-linux"}
    assert found["names"] == {"renamed": "opencode-with-cache-mine-1.18.33", "again": True}
    assert found["tarball"]["honours"]
    assert found["tarball"]["ours"] == "npm-registry"
    assert found["tarball"]["urls"][0].startswith("mirror://npm/")
    assert found["jsonschema"] == "schema.json"
    assert found["meta"]["changelog"].endswith("/v1.18.33")
    assert len(found["closure"]) == 10
    assert found["not-to-be-passed-on"] == []
    assert found["failed"] == []
    assert found["pairs"] > 100
