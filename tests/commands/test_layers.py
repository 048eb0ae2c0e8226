"""The order of the packages: `./dev check` refuses an import that runs upwards, and a circle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("lint-imports")

if not PROGRAM.exists() or not (REPOSITORY / "pyproject.toml").exists():
    pytest.skip("needs PyPI's import-linter, and pyproject.toml beside the tests", allow_module_level=True)


PLANTED = {
    "base/store.py": "from opencode_cache.npm import spec",
    "formats/lock.py": "import opencode_cache.pipeline",
    "npm/spec.py": "from opencode_cache.npm import client",
    "npm/client.py": "from opencode_cache.npm import spec",
}


def checked(tmp_path, planted):
    """What import-linter says of a copy with these lines: (exit status, its words)."""
    source = tmp_path / "python" / "src"
    shutil.copytree(REPOSITORY / "python" / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for module, line in planted.items():
        path = source / "opencode_cache" / module
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    done = subprocess.run(
        [PROGRAM, "pyproject.toml", "--no-cache", "--no-logo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join(done.stdout.split())


def test_imports_upwards_and_a_circle_are_refused(tmp_path):
    status, said = checked(tmp_path, PLANTED)
    assert status == 1
    assert "opencode_cache.base is not allowed to import opencode_cache.npm" in said
    assert "opencode_cache.formats is not allowed to import opencode_cache.pipeline" in said
    assert "No cycles are allowed in opencode_cache.npm" in said


def test_a_package_without_a_place_in_the_order_is_refused(tmp_path):
    status, said = checked(tmp_path, {"newcomer/__init__.py": ""})
    assert (status, "newcomer" in said) == (1, True)


PACKAGE = REPOSITORY / "python" / "src" / "opencode_cache"


def test_a_module_is_small_enough_to_be_read():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path.relative_to(PACKAGE)): count for path, count in lines.items() if count > 300} == {}


def test_the_top_of_the_package_can_be_seen_at_once():
    names = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert len(names) <= 22, sorted(names)
