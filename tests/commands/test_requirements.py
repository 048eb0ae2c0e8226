"""python/requirements: what `./dev` installs, pinned by hash, and no more than pyproject.toml asks for."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = REPOSITORY / "python" / "requirements"

if not FILES.is_dir():
    pytest.skip("needs python/requirements of the repository beside the tests", allow_module_level=True)

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SYSTEMS = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
ENVIRONMENTS = [
    default_environment()
    | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": machine,
    }
    for python in PYTHONS
    for platform, system, machine in SYSTEMS
]


def group(name):
    for one in PROJECT["dependency-groups"][name]:
        if isinstance(one, dict):
            yield from group(one["include-group"])
        else:
            yield one


RUN = PROJECT["project"]["dependencies"]
ASKED = {
    "run": RUN,
    "node": [*RUN, *PROJECT["project"]["optional-dependencies"]["node"]],
    "build": [*PROJECT["build-system"]["requires"], *group("build")],
    "dev": [*RUN, *PROJECT["build-system"]["requires"], *group("dev")],
}


def entries(name):
    """[(requirement, its hashes)] of a file."""
    text = (FILES / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(Requirement(line.partition("--hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def pins(name, environment):
    """package -> version in that environment."""
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one, _ in entries(name)
        if not one.marker or one.marker.evaluate(environment)
    }


@pytest.mark.parametrize("name", ASKED)
def test_every_line_is_one_version_with_its_hashes(name):
    for requirement, hashes in entries(name):
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
        assert not requirement.url
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


@pytest.mark.parametrize("name", ASKED)
def test_no_index_is_named(name):
    text = (FILES / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("name", ASKED)
def test_what_pyproject_asks_for_is_there_for_every_python_and_system(name):
    for environment in ENVIRONMENTS:
        pinned = pins(name, environment)
        for text in ASKED[name]:
            one = Requirement(text)
            if not one.marker or one.marker.evaluate(environment):
                assert one.specifier.contains(pinned[canonicalize_name(one.name)]), (text, environment)


@pytest.mark.parametrize("name", ["node", "build", "dev"])
def test_a_package_has_one_version_in_all_files(name):
    for environment in ENVIRONMENTS:
        run, other = pins("run", environment), pins(name, environment)
        assert {package: run[package] for package in run & other.keys()} == {
            package: other[package] for package in run & other.keys()
        }


def needed(requirements, seen=None):
    """The names of all that these need here, by what is installed."""
    seen = {} if seen is None else seen
    for one in requirements:
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen or (one.marker and not one.marker.evaluate()):
            continue
        seen[key] = True
        for text in metadata.requires(one.name) or ():
            child = Requirement(text)
            if not child.marker or any(
                child.marker.evaluate({"extra": extra}) for extra in ("", *sorted(one.extras))
            ):
                child.marker = None
                needed([child], seen)
    return {name for name, _ in seen}


def test_run_installs_what_it_runs_with_and_nothing_else():
    assert set(pins("run", default_environment())) == needed(map(Requirement, RUN))
