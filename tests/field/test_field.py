"""Configurations as people have them: what is said of each, and that OpenCode itself sees it so.

A few of them start the real OpenCode; with OPENCODE_CACHE_TEST_FIELD=1 all do.
"""

from __future__ import annotations

import json

import pytest
from cases import CASES
from kept import FIELD

from opencode_cache.config import judge, read, write
from opencode_cache.config.mistakes import mistakes
from opencode_cache.config.offer import Offer
from opencode_cache.opencode import run as opencode

VERSION = "1.18.33"
STARTED = {"a server without its command", "servers of version 2", "names out of the environment and files"}
CATALOGUE = {"anthropic": {"models": {"claude-sonnet-4-5": {}}}, "openai": {"models": {}}}


def lay(case, home):
    """The case's files in a home; its environment."""
    (home / "work/.git").mkdir(parents=True)
    for place, content in case.files.items():
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    given = {name: value.replace("@HOME@", str(home)) for name, value in case.environ.items()}
    return {"HOME": str(home), "OPENCODE_TEST_MANAGED_CONFIG_DIR": str(home / "managed")} | given


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_entry_ends_in_its_word(case, tmp_path):
    environ = lay(case, tmp_path)
    found = read.read(environ, [tmp_path / "work"])
    judgements = judge.judge(found, Offer(VERSION))
    wanted = {shown.replace("@HOME@", str(tmp_path)): word for shown, word in case.words.items()}
    assert {one.shown: one.word for one in judgements} == wanted
    wrong = list(mistakes(found, lambda: CATALOGUE, opencode=VERSION))
    told = write.text(judgements, wrong, VERSION, [])
    planned, _ = write.additions(judgements)
    planned = {
        key: ["@opencode-ai/plugin", *specs] if key == "config" else specs for key, specs in planned.items()
    }
    assert planned == case.plan
    for part in case.said:
        assert part in told
    assert any("does not start with it" in f"{one.text} {one.fix}" for one in wrong) == case.ends


def test_there_are_enough_of_them():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 25
    assert {name for name in names if name in STARTED} == STARTED


@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_opencode_starts_with_it_or_not(case, tmp_path, opencode_field):
    """`debug config` reads the whole configuration, and ends with what it cannot use."""
    if not FIELD and case.name not in STARTED:
        pytest.skip("set OPENCODE_CACHE_TEST_FIELD=1 to start OpenCode with each of them")
    environ = lay(case, tmp_path)
    (tmp_path / "tmp").mkdir()
    registry = {"npm_config_fetch_retries": "0", "npm_config_registry": "http://127.0.0.1:9"}
    arguments = ["--pure", "debug", "config"]
    done = opencode.run(
        opencode_field, arguments, tmp_path, extra=environ | opencode.QUIET | registry, timeout=240
    )
    assert (done.returncode != 0) == case.ends, done.stderr[-500:]
    if not case.ends:
        made = json.loads(done.stdout)
        specs = [spec[0] if isinstance(spec, list) else spec for spec in made.get("plugin", [])]
        mine = judge.judge(read.read(environ, [tmp_path / "work"]), Offer(VERSION))
        tui = case.name == "plugins of the interface"
        off = [
            one.entry.value for one in mine if one.entry.kind == "plugin" and not one.entry.off and not tui
        ]
        assert [spec.removeprefix("file://") for spec in specs] == off
        assert set(made.get("mcp", {})) == {
            one.entry.key.removeprefix("mcp.") for one in mine if one.entry.key.startswith("mcp.")
        }


@pytest.mark.usefixtures("isolated")
def test_files_count_in_the_order_in_which_opencode_puts_them_together(tmp_path, opencode_field):
    """Of `instructions` each file adds its own, so that the answer has them in the order of reading."""
    places = (
        ".config/opencode/config.json",
        ".config/opencode/opencode.json",
        ".config/opencode/opencode.jsonc",
        "named.json",
        "work/opencode.json",
        "work/opencode.jsonc",
        "work/inner/opencode.json",
        "work/inner/.opencode/opencode.json",
        "work/.opencode/opencode.jsonc",
        ".opencode/opencode.json",
        "extra/opencode.json",
        "managed/opencode.json",
    )
    (tmp_path / "work/.git").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(json.dumps({"instructions": [place]}))
    environ = {
        "HOME": str(tmp_path),
        "OPENCODE_TEST_MANAGED_CONFIG_DIR": str(tmp_path / "managed"),
        "OPENCODE_CONFIG": str(tmp_path / "named.json"),
        "OPENCODE_CONFIG_DIR": str(tmp_path / "extra"),
        "OPENCODE_CONFIG_CONTENT": '{"instructions": ["content"]}',
    }
    found = read.read(environ, [tmp_path / "work/inner"])
    ours = [one for document in found.documents for one in document.value.get("instructions", [])]
    registry = {"npm_config_fetch_retries": "0", "npm_config_registry": "http://127.0.0.1:9"}
    # The directory to start in is `work` of the home that is given.
    (tmp_path / "work/inner/work").symlink_to(".")
    (tmp_path / "work/inner/tmp").mkdir()
    done = opencode.run(
        opencode_field,
        ["--pure", "debug", "config"],
        tmp_path / "work/inner",
        extra=environ | opencode.QUIET | registry,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert json.loads(done.stdout)["instructions"] == ours
