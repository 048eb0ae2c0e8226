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


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        (
            "base/store.py",
            "from opencode_cache.npm import spec",
            "opencode_cache.base is not allowed to import",
        ),
        (
            "formats/lock.py",
            "import opencode_cache.pipeline",
            "opencode_cache.formats is not allowed to import",
        ),
        (
            "npm/spec.py",
            "from opencode_cache.npm import client",
            "No cycles are allowed in opencode_cache.npm",
        ),
        ("newcomer/__init__.py", "", "newcomer"),
    ],
)
def test_an_import_upwards_a_circle_and_a_package_without_a_place_are_refused(tmp_path, module, line, said):
    source = tmp_path / "python" / "src"
    shutil.copytree(REPOSITORY / "python" / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    path = source / "opencode_cache" / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    if module == "npm/spec.py":
        with (path.with_name("client.py")).open("a", encoding="utf-8") as file:
            file.write("\nfrom opencode_cache.npm import spec\n")
    done = subprocess.run(
        [PROGRAM, "pyproject.toml", "--no-cache", "--no-logo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in " ".join(done.stdout.split())
