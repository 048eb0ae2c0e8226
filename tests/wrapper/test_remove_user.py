"""`remove --user`: what the wrapper put into a home goes, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import wrapper_lab
from wrapper_lab import BUN, OTHER, PACKAGES, PLUGIN, Lab, state

from opencode_cache.base import roots, store
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.ship import remove

if TYPE_CHECKING:
    from pathlib import Path

OUR_LOCK = json.dumps({"name": "opencode-config", "packages": {"": {"name": "opencode-config"}}})


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Lab:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Lab(tmp_path / "lab")


def packages_cache(lab: Lab, name: str = "cache", links: tuple[str, ...] = PACKAGES) -> Path:
    modules = ["@opencode-ai/plugin", "zod"]
    cache = lab.cache(name, modules=modules, links=links, copies=("models.json",))
    (cache / "config/package-lock.json").write_text(OUR_LOCK)
    return cache


def started(lab: Lab, cache: Path) -> None:
    done = lab.start(lab.wrap(cache))
    assert done.status == 0, done.stderr
    wrapper_lab.holds(lab, cache)


def removed(lab: Lab) -> remove.Removal:
    removal = remove.of_user(lab.environment())
    removal.do()
    return removal


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_a_home_is_as_it_was(lab, layout):
    before = state(lab.home)
    if layout == "bun":
        started(lab, lab.cache("cache", "bun", links=BUN, copies=("version",), cache_version="14"))
    else:
        started(lab, packages_cache(lab))
        assert (lab.config_dir / PLUGIN).exists()
    removed(lab)
    left = {name for name in state(lab.home) if name not in before}
    # Without the right `version`, OpenCode would empty the directory; `.config` may have been there.
    kept = {".cache-nix", ".cache-nix/opencode", ".cache-nix/opencode/version"} if layout == "bun" else set()
    assert left - {".config", ".config/opencode"} == kept


def test_what_is_not_ours_stays_byte_for_byte(lab):
    own = lab.cache_dir / "packages/own/node_modules/own"
    own.mkdir(parents=True)
    (own / "index.js").write_text("mine")
    (lab.cache_dir / "packages/@scope").mkdir()
    (lab.cache_dir / "packages/@scope/mine").symlink_to("../own")
    (lab.cache_dir / "bin").mkdir()
    (lab.cache_dir / "bin/rg").write_text("theirs")
    before = state(lab.home)
    started(lab, packages_cache(lab))
    started(lab, packages_cache(lab, "newer", OTHER))  # a second generation, which has other links
    (lab.cache_dir / "models.json").write_text("the user's own")
    (lab.config_dir / "opencode.json").write_text("{}")
    removed(lab)
    assert state(lab.home) == before | {
        ".cache-nix/opencode/models.json": "the user's own",
        ".config": "/",
        ".config/opencode": "/",
        ".config/opencode/opencode.json": "{}",
    }


def test_what_was_in_the_way_gets_its_name_back(lab):
    (lab.cache_dir / "packages/foo").mkdir(parents=True)
    (lab.cache_dir / "packages/foo/mine").write_text("mine")
    (lab.cache_dir / "packages/@scope").write_text("a file where a directory is needed")
    before = state(lab.home)
    started(lab, packages_cache(lab))
    assert (lab.cache_dir / "packages/foo.before-nix-1/mine").exists()
    removal = removed(lab)
    assert {name for name in state(lab.home) if ".config" not in name} == before.keys()
    assert (lab.cache_dir / "packages/@scope").read_text().startswith("a file")
    assert len(removal.restored) == 2


def test_a_node_modules_that_the_user_added_to_keeps_what_is_theirs(lab):
    started(lab, packages_cache(lab))
    (lab.config_dir / "node_modules/mine").mkdir()
    (lab.config_dir / "node_modules/linked").symlink_to("/somewhere")
    (lab.config_dir / "package-lock.json").unlink()
    (lab.config_dir / "package-lock.json").write_text('{"name": "opencode", "packages": {"": {}, "a": {}}}')
    removed(lab)
    assert sorted(path.name for path in lab.config_dir.iterdir()) == ["node_modules", "package-lock.json"]
    assert sorted(path.name for path in (lab.config_dir / "node_modules").iterdir()) == ["linked", "mine"]


def test_a_dry_run_says_just_what_is_done_and_changes_nothing(lab):
    started(lab, packages_cache(lab))
    before = state(lab.home)
    said = list(remove.of_user(lab.environment()).lines())
    assert state(lab.home) == before
    gone = {f"remove {lab.home / name}" for name, what in before.items() if what != "/"}
    assert set(said) == gone
    assert len(said) == len(set(said))
    removed(lab)
    assert list(remove.of_user(lab.environment()).lines()) == []


def test_without_the_cache_and_the_lists_the_links_still_go(lab):
    cache = packages_cache(lab)
    started(lab, cache)
    for path in lab.cache_dir.glob(".nix/*.links.*"):
        path.unlink()
    cache.rename(cache.with_name("gone"))
    removed(lab)
    assert not lab.cache_dir.exists()
    assert not (lab.config_dir / "node_modules").exists()


def test_the_next_start_sets_all_up_again(lab):
    cache = packages_cache(lab)
    started(lab, cache)
    before = state(lab.home)
    removed(lab)
    started(lab, cache)
    assert state(lab.home) == before


def test_while_a_start_is_at_work_nothing_goes(lab):
    started(lab, packages_cache(lab))
    (lab.cache_dir / f".nix/stage.{os.getpid()}").mkdir()
    before = state(lab.home)
    with pytest.raises(CheckFailedError, match="is starting"):
        removed(lab)
    assert state(lab.home) == before


def test_links_that_install_left_go_and_others_stay(lab, tmp_path):
    entry = store.default().add(store.key("w"), "opencode-with-cache-1", lambda out: out.mkdir())
    for name in ("ours", "turned"):
        (tmp_path / name).symlink_to(entry)
        roots.remember(tmp_path / name)
    (tmp_path / "turned").unlink()
    (tmp_path / "turned").symlink_to("/bin/sh")
    removed(lab)
    assert not (tmp_path / "ours").is_symlink()
    assert (tmp_path / "turned").is_symlink()


def test_hostile_lists_lead_nowhere(lab, tmp_path):
    started(lab, packages_cache(lab))
    (tmp_path / "mine").symlink_to(".nix/packages/../../../../mine")
    (lab.cache_dir / ".nix/packages.links.0").write_text(
        "../../../../mine\n/etc/passwd\n\n\udc80\n", errors="replace"
    )
    removed(lab)
    assert (tmp_path / "mine").is_symlink()


def test_a_directory_of_somebody_else_is_one_sentence(lab):
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory away")
    started(lab, packages_cache(lab))
    os.chown(lab.cache_dir, 12345, 12345)
    with pytest.raises(BadInputError, match="belongs to another user"):
        removed(lab)


def test_what_cannot_be_removed_is_one_sentence(lab):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    started(lab, packages_cache(lab))
    code = (
        "import os\nfrom opencode_cache.ship import remove\n"
        "from opencode_cache.base.errors import BadInputError\n"
        "removal = remove.of_user(dict(os.environ))\nos.setuid(12345)\n"
        "try: removal.do()\nexcept BadInputError as error: print(error)\n"
    )
    done = subprocess.run(
        [os.sys.executable, "-c", code],
        env=lab.environment({"PYTHONPATH": os.pathsep.join(os.sys.path)}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be removed" in done.stdout
    assert done.stdout.count("\n") == 1
