"""The source archive and the wheel: made of a directory without git, with the pinned build backend."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore", "python", "nix")
BUILD = [sys.executable, "-m", "build", "--no-isolation"]

pytest.importorskip("build", reason="needs PyPI's build and hatchling")
pytest.importorskip("hatchling", reason="needs PyPI's build and hatchling")


def run(*command, at, **environment):
    done = subprocess.run(
        command, cwd=at, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """What `python -m build` leaves: an archive of the sources, and a wheel made of that archive."""
    root = tmp_path_factory.mktemp("package")
    for name in PROJECT:
        source = REPOSITORY / name
        if not source.exists():
            pytest.skip(f"needs {name} of the repository beside the tests")
        run("cp", "-R", source, root / name, at=root)
    (root / ".venv").mkdir()
    (root / ".venv" / "not-ours").write_text("x")
    run(*BUILD, at=root)
    run(*BUILD, "--wheel", "--outdir", root / "direct", at=root)
    return root


def names(dist):
    (archive,) = (dist / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        return {name.partition("/")[2] for name in tar.getnames()}


def test_the_archive_has_the_sources_the_locks_and_what_to_read(dist):
    found = names(dist)
    sources = {str(path.relative_to(dist)) for path in (dist / "nix/locks").iterdir()}
    sources |= {
        str(path.relative_to(dist))
        for path in (dist / "python/src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= found
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= found
    assert not [name for name in found if name.startswith((".venv", "nix/")) and name not in sources]


def test_the_wheel_of_the_archive_is_the_wheel_of_the_directory(dist):
    (of_the_archive,) = (dist / "dist").glob("*.whl")
    (of_the_directory,) = (dist / "direct").glob("*.whl")
    assert of_the_archive.read_bytes() == of_the_directory.read_bytes()


def test_the_wheel_runs_by_itself_and_brings_the_locks(dist, tmp_path):
    (wheel,) = (dist / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")  # noqa: S202 - made above
    program = (
        "import opencode_cache.__main__ as m, sys\n"
        "from pathlib import Path\n"
        "assert Path(m.__file__).is_relative_to(sys.argv.pop(1))\n"
        "m.main()\n"
    )
    path = {"PYTHONPATH": str(tmp_path / "installed"), "HOME": str(tmp_path), "OPENCODE_CACHE_LOCKS": ""}
    said = run(sys.executable, "-c", program, tmp_path / "installed", "--version", at=tmp_path, **path)
    assert said.startswith("opencode-cache ")
    locks = {path.name for path in (REPOSITORY / "nix" / "locks").iterdir()}
    assert {".lock.json", ".proof.json"} == {"." + ".".join(name.rsplit(".", 2)[1:]) for name in locks}
    assert {path.name for path in (tmp_path / "installed/opencode_cache/locks").iterdir()} == locks
