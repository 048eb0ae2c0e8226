"""What `doctor` says of a home, before and after the wrapper has been there."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from rich.console import Console
from wrapper_lab import Lab, shell

from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import tables
from opencode_cache.formats.manifest import Entry
from opencode_cache.inspect import doctor

CATALOGUE = {
    name: {"id": name, "models": {model: {}}}
    for name, model in (("github-copilot", "gpt-5"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"))
}


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path / "lab", shell("dash"))


def examine(lab, cache=None, **env):
    return doctor.examine(lab.environment(env), lab.top, cache)


def states(report):
    return {finding.what: finding.state for finding in report.findings}


def test_empty_home_is_set_up_by_the_first_start(lab):
    report = examine(lab)
    assert report.ok
    assert report.caches == ()
    assert [finding.next for finding in report.findings] == ["the first start sets it up"]


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_nothing_to_do_after_a_start(lab, layout):
    cache = lab.cache("A", layout, modules=["@opencode-ai/plugin"] if layout == "packages" else ())
    before = examine(lab, cache)
    assert before.ok
    assert "pending" in states(before).values()
    lab.start(lab.wrap(cache))
    report = examine(lab)
    assert set(states(report).values()) == {"ok"}
    assert report.caches == (str(cache),)
    assert doctor.Report.model_validate_json(report.model_dump_json()) == report


def test_what_the_next_start_will_do_is_what_it_does(lab):
    cache = lab.cache("A", "bun")
    wrapper = lab.wrap(cache)
    lab.start(wrapper)
    (lab.cache_dir / "version").write_text("8")
    (lab.cache_dir / "tui").unlink()
    (lab.cache_dir / "bun.lock").unlink()
    (lab.cache_dir / "bun.lock").write_text("mine")
    (lab.cache_dir / ".nix/stage.x").mkdir()
    found = {finding.what: finding for finding in examine(lab).findings}
    assert found["tui"].next == "the next start links it"
    assert found["bun.lock"].next == "the next start keeps it as bun.lock.before-nix-<n>"
    assert "says '8' and should say '9'" in found["version"].detail
    assert found[str(lab.cache_dir / ".nix/stage.x")].state == "pending"
    lab.start(wrapper)
    after = states(examine(lab))
    assert after.pop(str(lab.cache_dir / "bun.lock.before-nix-1")) == "note"
    assert set(after.values()) == {"ok"}


def test_an_older_caches_catalogue_is_replaced_and_the_users_own_stays(lab):
    lab.start(lab.wrap(lab.cache("A")))
    new = lab.cache("B")
    models = lab.cache_dir / "models.json"

    def said():
        (found,) = [finding for finding in examine(lab, new).findings if finding.what == "models.json"]
        return found.state, found.next or found.detail

    assert said() == ("pending", "the next start replaces it")
    models.write_text("")
    assert said() == ("pending", "the next start copies it")
    models.write_text("mine")
    assert said() == ("note", "was changed by OpenCode or by you, and stays")
    lab.start(lab.wrap(new))
    assert models.read_text() == "mine"


def test_links_that_the_next_start_removes_are_named(lab):
    lab.start(lab.wrap(lab.cache("A", links=("packages/foo", "skills/a/b/x.md"))))
    report = examine(lab, lab.cache("B", links=("packages/foo",)))
    assert {one.what: one.next for one in report.findings}["skills/a/b/x.md"] == "the next start removes it"


@pytest.mark.parametrize("why", ["owner", "nowhere"])
def test_where_the_wrapper_does_not_start_its_sentence_is_said(lab, why):
    if why == "owner":
        if os.geteuid() != 0:
            pytest.skip("needs root, to give a directory to another user")
        lab.cache_dir.mkdir(parents=True)
        os.chown(lab.cache_dir, 65534, 65534)
    else:
        lab.cache_dir.parent.mkdir()
        lab.cache_dir.symlink_to("/nowhere")
    cache = lab.cache("A")
    report = examine(lab, cache)
    (found,) = [finding for finding in report.findings if finding.state == "wrong"]
    started = lab.start(lab.wrap(cache))
    assert started.stderr == f"opencode: {found.detail}; {found.next}\n"


def test_a_cache_that_is_gone_is_wrong(lab):
    cache = lab.cache("A")
    lab.start(lab.wrap(cache))
    shutil.rmtree(cache)
    report = examine(lab)
    assert not report.ok
    assert states(report)[str(cache)] == "wrong"
    with pytest.raises(BadInputError, match="not a cache"):
        examine(lab, cache)


def test_no_home_is_one_sentence(lab):
    with pytest.raises(BadInputError, match="HOME is ''"):
        doctor.examine({}, lab.top)


@pytest.mark.parametrize(
    ("config", "said", "fix"),
    [
        ({"model": "copilot/gpt-5"}, "no provider 'copilot'", "write github-copilot/gpt-5"),
        ({"small_model": "antropic/x"}, "no provider 'antropic'", "write anthropic/x"),
        ({"agent": {"a": {"model": "gpt-5"}}}, "agent.a.model 'gpt-5' names no provider", "PROVIDER/MODEL"),
        ({"plugin": ["gone@1.2"]}, "plugin 'gone@1.2' is not in the cache", "--plugin"),
        (
            {"plugin": [["git+https://u:secret@h/x?key=secret", {"a": "secret"}]]},
            "//…@h/x",
            "take it out of the",
        ),
    ],
)
def test_mistakes_in_the_configuration(lab, config, said, fix):
    cache = lab.cache("A")
    (cache / "models.json").chmod(0o644)
    (cache / "models.json").write_text(json.dumps(CATALOGUE))
    lab.config_dir.mkdir(parents=True)
    (lab.config_dir / "opencode.json").write_text(json.dumps(config))
    report = examine(lab, cache)
    assert not report.ok
    (found,) = [finding for finding in report.findings if finding.state == "wrong"]
    assert found.what == str(lab.config_dir / "opencode.json")
    assert said in found.detail
    assert fix in found.next
    assert "secret" not in report.model_dump_json()


@pytest.mark.parametrize(
    "config",
    [
        {"model": "github-copilot/gpt-5", "small_model": "{env:MODEL}"},
        {"model": "mine/x", "provider": {"mine": {"npm": "@ai-sdk/openai-compatible", "models": {"x": {}}}}},
        {"plugin": ["here", "here@latest", "./local.ts", "file:///x.js"], "provider": {"a": {"npm": "sdk"}}},
    ],
)
def test_what_is_right_is_not_named(lab, config):
    kinds = (("plugin", "here"), ("provider", "sdk"))
    requests = tuple(
        Entry(spec=name, kind=kind, name=name, requested="latest", version="1.0.0", tree=f"packages/{name}")
        for kind, name in kinds
    )
    cache = lab.cache("A", requests=requests)
    place = lab.cache_dir / "packages/here@latest/node_modules/here"
    place.mkdir(parents=True)
    (cache / "models.json").chmod(0o644)
    (cache / "models.json").write_text(json.dumps(CATALOGUE))
    lab.config_dir.mkdir(parents=True)
    text = "// mine\n" + json.dumps(config, indent=1)[:-1] + ", /* no more */ }"
    (lab.config_dir / "opencode.jsonc").write_text(text)
    assert [finding for finding in examine(lab, cache).findings if "opencode.jsonc" in finding.what] == []


def test_places_of_the_configuration(lab):
    cache = lab.cache("A")
    wrong = json.dumps({"model": "bedrock/x"})
    places = ("work/opencode.json", "work/.opencode/opencode.jsonc", "opencode.json", "extra/opencode.json")
    for place in (*places, "one.json"):
        (lab.top / place).parent.mkdir(parents=True, exist_ok=True)
        (lab.top / place).write_text(wrong)
    env = {"OPENCODE_CONFIG": str(lab.top / "one.json"), "OPENCODE_CONFIG_DIR": str(lab.top / "extra")}
    env["OPENCODE_CONFIG_CONTENT"] = "{"
    report = doctor.examine(lab.environment(env), lab.top / "work", cache)
    named = [finding.what for finding in report.findings if finding.state == "wrong"]
    assert sorted(named) == sorted(
        [*(str(lab.top / place) for place in (*places, "one.json")), "OPENCODE_CONFIG_CONTENT"]
    )


def test_config_directory_is_explained(lab):
    cache = lab.cache("A", modules=["@opencode-ai/plugin"])
    what = str(lab.config_dir)
    assert states(examine(lab, cache))[what] == "pending"
    lab.config_dir.mkdir(parents=True)
    (lab.config_dir / "package.json").write_text('{"dependencies": {"zod": "*"}}')
    assert states(examine(lab, cache))[what] == "note"
    (lab.config_dir / "node_modules").mkdir()
    (found,) = [finding for finding in examine(lab, cache).findings if finding.what == what]
    assert (found.state, found.detail) == ("note", "node_modules is yours and stays")


def test_table_shows_every_finding(lab, capsys):
    cache = lab.cache("A", modules=["@opencode-ai/plugin"])
    report = examine(lab, cache)
    Console(width=200).print(tables.doctor_table(report))
    said = capsys.readouterr().out
    assert all(finding.next in said for finding in report.findings)
