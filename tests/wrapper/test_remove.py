"""Leaving: after any number of starts, a person's directories are again as they were before the first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from wrapper_lab import OTHER, Lab, state

from opencode_cache.base import roots, store
from opencode_cache.base.errors import CheckFailedError
from opencode_cache.ship import remove

MODULES = ("@opencode-ai/plugin", "zod")


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path / "lab")


def places(lab: Lab) -> remove.Places:
    return remove.places(lab.environment())


def verbs(steps) -> set[str]:
    return {step.verb for step in steps}


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_all_that_was_put_there_goes(lab, layout):
    before = state(lab.home)
    modules = MODULES if layout == "packages" else ()
    lab.start(lab.wrap(lab.cache("first", layout, modules)))
    if layout == "packages":
        lab.start(lab.wrap(lab.cache("second", layout, modules, links=OTHER)))
        lab.config_dir.joinpath("package-lock.json").write_text(
            lab.top.joinpath("second/config/package-lock.json").read_text()
        )
    assert state(lab.home) != before
    steps = remove.remove(places(lab))
    assert verbs(steps) == {"remove"}
    left = state(lab.home)
    # The configuration directory is OpenCode's as well, and stays; so does the bun layout's `version`.
    assert {name for name in left if name not in before} <= {
        ".config",
        ".config/opencode",
        ".cache-nix",
        ".cache-nix/opencode",
        ".cache-nix/opencode/version",
    }
    assert not any(text.startswith("->") for text in left.values())


def test_what_is_the_persons_own_stays(lab):
    wrapper = lab.wrap(lab.cache("first", modules=MODULES))
    lab.start(wrapper)
    own = {
        lab.cache_dir / "packages/mine/node_modules/mine/index.js": "mine",
        lab.cache_dir / "models.json": "a newer catalogue",
        lab.config_dir / "node_modules/left-pad/index.js": "mine",
        lab.config_dir / "opencode.json": "{}",
        lab.config_dir / "package-lock.json": json.dumps(
            {"name": "opencode-config", "packages": {"": {}, "node_modules/left-pad": {}}}
        ),
    }
    for path, text in own.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (lab.cache_dir / "packages/linked").symlink_to("/somewhere/else")
    steps = remove.remove(places(lab))
    assert {path: path.read_text() for path in own} == own
    assert (lab.cache_dir / "packages/linked").is_symlink()
    assert [step.path for step in steps if step.verb == "keep"] == [lab.cache_dir / "models.json"]
    assert not (lab.cache_dir / "packages/foo").is_symlink()
    assert not (lab.config_dir / "node_modules/zod").is_symlink()


def test_what_was_in_the_way_gets_its_name_back(lab):
    theirs = lab.cache_dir / "packages/foo/node_modules/foo/index.js"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    before = state(lab.home)
    lab.start(lab.wrap(lab.cache("first")))
    assert not theirs.exists()
    remove.remove(places(lab))
    assert state(lab.home) == before


def test_after_the_cache_is_gone_its_links_are_known_by_their_text(lab):
    """As after a garbage collection: they dangle."""
    lab.start(lab.wrap(lab.cache("first", modules=MODULES)))
    lock = {"name": "opencode-config", "lockfileVersion": 3, "packages": {"": {"dependencies": {"a": "1"}}}}
    (lab.config_dir / "package-lock.json").write_text(json.dumps(lock))
    shutil.rmtree(lab.top / "first")
    remove.remove(places(lab))
    assert state(lab.home) == {".config": "/", ".config/opencode": "/"}


def test_a_dry_run_changes_nothing_and_says_the_same(lab):
    lab.start(lab.wrap(lab.cache("first", modules=MODULES)))
    before = state(lab.home)
    said = remove.remove(places(lab), dry_run=True)
    assert state(lab.home) == before
    assert remove.remove(places(lab)) == said
    assert remove.remove(places(lab)) == []


def test_the_next_start_puts_everything_back(lab):
    wrapper = lab.wrap(lab.cache("first", modules=MODULES))
    lab.start(wrapper)
    before = state(lab.home)
    remove.remove(places(lab))
    lab.start(wrapper)
    assert state(lab.home) == before


@pytest.mark.parametrize(
    ("arguments", "home", "status", "said"),
    [
        (["--user", "--dry-run"], "home", 0, "remove "),
        (["--user"], "home", 0, "removed "),
        ([], "home", 2, "say what to remove: --user"),
        (["--user"], None, 2, "HOME is not set to an absolute path"),
    ],
)
def test_the_command(lab, arguments, home, status, said):
    lab.start(lab.wrap(lab.cache("first")))
    (lab.cache_dir / "packages/b\x1b[2Jad").symlink_to("../.nix/packages/packages/b\x1b[2Jad")
    environment = {"HOME": str(lab.top / home)} if home else {}
    done = subprocess.run(
        [sys.executable, "-m", "opencode_cache", "remove", *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "\x1b[2J" not in done.stdout
    assert "Traceback" not in done.stderr


def test_while_a_start_is_at_work_nothing_goes(lab):
    lab.start(lab.wrap(lab.cache("first", modules=MODULES)))
    (lab.cache_dir / f".nix/stage.{os.getpid()}").mkdir()
    before = state(lab.home)
    with pytest.raises(CheckFailedError, match="is starting"):
        remove.remove(places(lab))
    assert state(lab.home) == before


def test_links_that_install_left_go_and_others_stay(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    entry = store.default().add(store.key("w"), "opencode-with-cache-1", lambda out: out.mkdir())
    for name in ("ours", "turned"):
        (tmp_path / name).symlink_to(entry)
        roots.remember(tmp_path / name)
    (tmp_path / "turned").unlink()
    (tmp_path / "turned").symlink_to("/bin/sh")
    words = [sys.executable, "-m", "opencode_cache", "remove", "--user"]
    environment = lab.environment({"XDG_DATA_HOME": str(tmp_path / "data")})
    for more, said in (["--dry-run"], "remove "), ([], "removed "):
        done = subprocess.run([*words, *more], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"{said}{tmp_path / 'ours'}\n"), done.stderr
        assert (tmp_path / "ours").is_symlink() is bool(more)
    assert (tmp_path / "turned").is_symlink()


def test_what_cannot_be_removed_is_one_sentence(lab):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    lab.start(lab.wrap(lab.cache("first")))
    for directory in (lab.home, *lab.home.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    code = (
        "import os; from opencode_cache.cli import app, main; app.all_commands();"
        "os.setuid(12345); main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "remove", "--user"],
        env=lab.environment({"PYTHONPATH": os.pathsep.join(sys.path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "cannot be removed" in done.stderr
