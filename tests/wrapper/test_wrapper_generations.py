"""The wrapper over OpenCode 2.x's layout: generation 1 of each key, beside what OpenCode installs."""

from __future__ import annotations

import pytest
from wrapper_lab import GENERATIONS, Lab, holds, shell, state

from opencode_cache.layouts.generations import GENERATIONS as LAYOUT

KEY = "npm/plug@latest"
OTHER = ("models.json", "npm/plug@latest/1", "npm/new@1.0.0/1", "npm/git-r-b67ef97abbdb/1")


@pytest.fixture(params=["dash", "bash", "busybox"])
def lab(request, tmp_path):
    return Lab(tmp_path / "lab", shell(request.param))


@pytest.fixture
def one(tmp_path):
    return Lab(tmp_path / "lab", shell("dash"))


def installed(lab: Lab, generation: str) -> None:
    """As OpenCode's own `update` leaves a newer generation beside ours."""
    (lab.cache_dir / KEY / generation / "node_modules/plug").mkdir(parents=True)


def newest(lab: Lab) -> str:
    names = [path.name for path in (lab.cache_dir / KEY).iterdir() if path.name.isdigit()]
    return max(names, key=int)


def test_from_a_to_b_and_back_with_an_update_of_the_users_between(lab):
    first, second = lab.cache("a", "generations"), lab.cache("b", "generations", links=OTHER)
    starts = {cache: lab.wrap(cache) for cache in (first, second)}
    assert lab.start(starts[first]).status == 0
    holds(lab, first)
    assert str((lab.cache_dir / KEY / "1").readlink()) == f"../../.nix/generations/{KEY}/1"
    assert not any((lab.cache_dir / path).is_symlink() for path in ("npm", "npm/@s", KEY))
    assert lab.start(starts[second]).status == 0
    holds(lab, second)
    # What only A had is gone, its empty keys and scopes too.
    assert {path.name for path in (lab.cache_dir / "npm").iterdir()} == {
        "plug@latest",
        "new@1.0.0",
        "git-r-b67ef97abbdb",
    }
    installed(lab, "1790000000000")
    before = state(lab.cache_dir / KEY / "1790000000000")
    assert lab.start(starts[first]).status == 0
    holds(lab, first)
    assert newest(lab) == "1790000000000"
    assert state(lab.cache_dir / KEY / "1790000000000") == before
    assert LAYOUT.newer(lab.cache_dir, GENERATIONS) == [f"{KEY}/1790000000000"]


def test_what_opencode_collects_is_linked_again(lab):
    wrapper = lab.wrap(lab.cache("a", "generations"))
    lab.start(wrapper)
    installed(lab, "1790000000000")
    installed(lab, "1790000000001")
    (lab.cache_dir / KEY / ".staging-1-x").mkdir()
    (lab.cache_dir / KEY / "1").unlink()  # OpenCode keeps the newest two
    assert lab.start(wrapper).status == 0
    assert (lab.cache_dir / KEY / "1").exists()
    assert {path.name for path in (lab.cache_dir / KEY).iterdir()} == {
        "1",
        "1790000000000",
        "1790000000001",
        ".staging-1-x",
    }


def test_a_1_of_the_users_own_is_kept_aside(one):
    installed(one, "1")
    start = one.start(one.wrap(one.cache("a", "generations")))
    assert start.status == 0
    assert f"{KEY}/1 was in the way" in start.stderr
    assert (one.cache_dir / KEY / "1.before-nix-1/node_modules/plug").is_dir()  # no number: no generation


def test_the_settings_of_a_start_without_a_network(lab):
    start = lab.start(lab.wrap(lab.cache("a", "generations")))
    ours = {
        "npm_config_offline": "true",
        "OPENCODE_MODELS_PATH": f"{lab.cache_dir}/models.json",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }
    assert {name: start.env.get(name) for name in ours} == ours
    assert set(ours) <= set(start.env["OPENCODE_CACHE_SET"].split())
    assert "npm_config_fetch_retries" not in start.env


def test_the_users_settings_win(lab):
    wrapper = lab.wrap(lab.cache("a", "generations"))
    own = {"NPM_CONFIG_OFFLINE": "false", "OPENCODE_MODELS_PATH": "/mine.json"}
    env = lab.start(wrapper, env=own).env
    assert "npm_config_offline" not in env
    assert env["OPENCODE_MODELS_PATH"] == "/mine.json"
    (lab.home / ".npmrc").write_text("offline=false\n")
    assert "npm_config_offline" not in lab.start(wrapper).env
    (lab.home / ".npmrc").write_text("prefer-offline=true\n")
    assert lab.start(wrapper).env["npm_config_offline"] == "true"


def test_online_leaves_the_network_to_opencode(one):
    env = one.start(one.wrap(one.cache("a", "generations"), offline=False)).env
    assert not {"npm_config_offline", "OPENCODE_MODELS_PATH", "OPENCODE_DISABLE_MODELS_FETCH"} & set(env)
    assert env["OPENCODE_DISABLE_AUTOUPDATE"] == "1"


def test_nothing_is_written_into_config_directories(lab):
    lab.config_dir.mkdir(parents=True)
    assert lab.start(lab.wrap(lab.cache("a", "generations"))).status == 0
    assert state(lab.config_dir) == {}
