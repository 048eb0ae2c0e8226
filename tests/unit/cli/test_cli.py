"""The command line: exit statuses, one-line errors, help, and what goes to which stream."""

from __future__ import annotations

import json
import os
import sys

import making
import pytest

import opencode_cache
from opencode_cache import pipeline
from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError, CacheLacksError, CheckFailedError, NetworkError
from opencode_cache.cli import inspect
from opencode_cache.cli import main as cli
from opencode_cache.cli.app import all_commands
from opencode_cache.formats import lock, manifest, plan
from opencode_cache.formats.proof import Host, Proof, Step

COMMANDS = sorted(all_commands())
CONTRACT = ["build", "fetch", "list", "lock", "run", "verify", "wrap"]


# Help


def test_the_commands_of_the_contract_are_there():
    assert set(CONTRACT) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, command):
    status, out, err = run(command, "--help")
    assert status == 0
    assert f"Example: opencode-cache {command}" in " ".join(out.split())
    assert err == ""
    assert "\x1b" not in out
    assert run(command, "-h")[1] == out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_on_a_narrow_terminal_the_help_has_every_name_whole(run, monkeypatch, command):
    words = [command] if command else []
    monkeypatch.setenv("COLUMNS", "40")
    status, out, err = run(*words, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 40
    named = all_commands()[command].params if command else []
    options = {option for param in named for option in param.opts if option.startswith("--")}
    assert [option for option in (options or COMMANDS) if option not in out.split()] == []


def test_the_help_of_run_says_where_opencodes_own_arguments_go(run):
    assert "run [OPTIONS] [-- ARGS]" in run("run", "--help")[1]


def test_the_help_names_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    assert all(f" {command} " in out for command in COMMANDS)


def test_without_a_command_the_help_is_shown(run):
    status, out, err = run()
    assert status in (0, 2)
    assert all(f" {command} " in out for command in COMMANDS)
    assert err == ""


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"opencode-cache {opencode_cache.__version__}\n", "")


# Errors


def assert_sentence(said, *words):
    """One line that begins with the program's name, without escape codes."""
    lines = said.splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("opencode-cache: ")
    assert "\x1b" not in said
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "{tmp}/none.json", "--to", "{tmp}/t"], ["none.json", "cannot be read"]),
        (["fetch", "{tmp}", "--to", "{tmp}/t"], ["cannot be read", "directory"]),
        (["fetch", sys.executable, "--to", "{tmp}/t"], [sys.executable]),
        (["fetch", "{lock}", "--to", "{tmp}/t", "--system", "sparc"], ["'sparc'", "x86_64-linux"]),
        (["fetch", "{lock}", "--to", "{tmp}/t", "--system", "aarch64-darwin"], ["aarch64-darwin"]),
        (["lock", "--opencode-version", "1.4.0", "-o", "{tmp}/l"], ["1.4.0", "1.14 to 1.18"]),
        (["lock", "--opencode-version", "abc", "-o", "{tmp}/l"], ["'abc'"]),
        (["lock", "--plan", "{tmp}/none.toml", "-o", "{tmp}/l"], ["none.toml"]),
        (["lock", "--resolve", "x", "-o", "{tmp}/l"], ["--resolve 'x'", "NAME=RANGE"]),
        (["lock", "--resolve", "x=", "-o", "{tmp}/l"], ["NAME=RANGE"]),
        (["lock", "--resolve", "=1", "-o", "{tmp}/l"], ["NAME=RANGE"]),
        (["lock", "--before", "soon", "-o", "{tmp}/l"], ["--before", "soon"]),
        (["bundle"], ["--output"]),
        (["run", "--opencode-version", "3.0.0", "--", "models"], ["3.0.0", "1.14 to 1.18"]),
        (
            ["run", "--opencode-version", "2.0.0", "--", "models", "--experimental"],
            ["OpenCode 2.0.0 is an experiment here", "Add --experimental"],
        ),
        (["build", "--lock", "{lock}"], ["--tarballs"]),
        (["list", "--cache", "{tmp}/none"], ["none", "not a cache"]),
        (["list", "--cache", "{tmp}", "--json"], ["not a cache"]),
        (["verify", "--cache", "{tmp}", "--opencode", "/bin/sh"], ["not a cache"]),
        (["wrap", "--cache", "{tmp}", "--opencode", "/bin/sh", "--out", "{tmp}/w"], ["not a cache"]),
        (["nonsense"], ["nonsense"]),
        (["list", "--nonsense"], ["--nonsense"]),
        (["fetch", "{tmp}/[red]none[/red].json", "--to", "{tmp}/t"], ["[red]none[/red].json"]),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_bad_input_is_one_sentence_and_status_2(run, some_lock, tmp_path, arguments, words):
    filled = [word.replace("{tmp}", str(tmp_path)).replace("{lock}", str(some_lock)) for word in arguments]
    status, out, err = run(*filled)
    assert (status, out) == (2, "")
    assert_sentence(err, *words)
    assert not (tmp_path / "l").exists()


def test_a_directory_for_tarballs_that_cannot_be_made_is_told_in_the_last_line(run, some_lock):
    status, out, err = run("fetch", some_lock, "--to", some_lock / "t", "--system", "x86_64-linux")
    assert (status, out) == (2, "")
    assert_sentence(err.splitlines()[-1], "cannot be made", "--to")


def build_arguments(some_lock, tmp_path, out, opencode="opencode"):
    making.opencode_stand_in(tmp_path / "opencode")
    tarballs = tmp_path / "tarballs"
    options = [
        "--tarballs",
        tarballs,
        "--opencode",
        tmp_path / opencode,
        "--out",
        out,
        "--system",
        "x86_64-linux",
    ]
    return ["build", "--lock", some_lock, *options, "--no-warmup"]


def test_a_build_over_something_is_one_sentence_and_status_2(run, some_lock, tmp_path):
    status, out, err = run(*build_arguments(some_lock, tmp_path, tmp_path))
    assert (status, out) == (2, "")
    assert_sentence(err, "exists already")


def test_a_build_with_something_that_is_not_opencode_is_one_sentence_and_status_2(run, some_lock, tmp_path):
    (tmp_path / "other").write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    (tmp_path / "other").chmod(0o755)
    status, out, err = run(*build_arguments(some_lock, tmp_path, tmp_path / "out", "other"))
    assert (status, out) == (2, "")
    assert_sentence(err, "not an OpenCode binary")
    assert not (tmp_path / "out").exists()


def test_a_build_without_a_warm_up_makes_the_cache(run, some_lock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*build_arguments(some_lock, tmp_path, "out"))
    assert (status, out) == (0, "")
    assert "\x1b" not in err
    assert manifest.read(tmp_path / "out").opencode == "1.18.33"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CheckFailedError("it is not so"), 1),
        (BadInputError("bad input"), 2),
        (NetworkError("the registry cannot be reached"), 3),
        (CacheLacksError("x is lacking"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_expected_error_has_its_status(run, some_lock, tmp_path, monkeypatch, error, status):
    def fails(*_):
        raise error

    monkeypatch.setattr(pipeline, "fetch", fails)
    found, out, err = run("fetch", some_lock, "--to", tmp_path / "t", "--system", "x86_64-linux")
    assert (found, out) == (status, "")
    assert_sentence(err, str(error) or "interrupted")


@pytest.mark.parametrize("place", ["file/link", "directory"])
def test_a_link_that_cannot_be_left_is_one_sentence_and_status_2(run, tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    (tmp_path / "directory" / "full").mkdir(parents=True)
    monkeypatch.setattr(pipeline, "locked", lambda *_, **__: tmp_path)
    ready = pipeline.Built(tmp_path, tmp_path, tmp_path / "program")
    monkeypatch.setattr(pipeline, "ready", lambda *_, **__: ready)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started"))
    status, out, err = run("run", "--link", tmp_path / place)
    assert (status, out) == (2, "")
    assert_sentence(err, place.rpartition("/")[2])


# Plans


@pytest.fixture
def planned(monkeypatch):
    """The plans that `lock` and `run` were asked to lock."""
    plans = []

    def keep(chosen, *_, **options):
        plans.append((chosen, options))
        raise BadInputError("far enough")

    monkeypatch.setattr(pipeline, "make_lock", keep)
    monkeypatch.setattr(pipeline, "locked", keep)
    return plans


def test_the_options_of_lock_become_the_plan(run, planned, tmp_path):
    options = ["--provider", "p", "--provider", "q", "--plugin", "g", "--tool", "t", "--resolve", "p=>=1 <2"]
    run("lock", "--opencode-version", "1.14.34", *options, "-o", tmp_path / "l")
    ((chosen, _),) = planned
    assert (chosen.opencode, chosen.extra_providers, chosen.plugins, chosen.tools, chosen.resolve) == (
        "1.14.34",
        ["p", "q"],
        ["g"],
        ["t"],
        plan.default("1.14.34").resolve | {"p": ">=1 <2"},
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("lock --tool pyr", "pyright"), ("fetch --system aarch64-d", "aarch64-darwin"), ("unb", "unbundle")],
)
def test_the_shell_completes_commands_tools_and_systems(typed, offered, monkeypatch, capsys):
    monkeypatch.setenv("COMP_WORDS", f"opencode-cache {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    monkeypatch.setenv("_OPENCODE_CACHE_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        cli.command_line()(prog_name="opencode-cache")
    assert capsys.readouterr().out.split() == [offered]


def test_a_lock_has_a_name_of_its_own(run, some_lock, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "make_lock", lambda *_, **__: lock.read(some_lock))
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("lock")
    assert (status, out) == (0, "")
    assert lock.read(tmp_path / "opencode-cache.lock.json") == lock.read(some_lock)


def test_options_do_not_leak_into_the_next_run(run, planned, tmp_path):
    run("lock", "--plugin", "g", "-o", tmp_path / "l")
    run("lock", "-o", tmp_path / "l")
    assert [chosen.plugins for chosen, _ in planned] == [["g"], []]


def test_a_plan_without_a_version_takes_the_one_that_is_given_with_its_eras_defaults(run, planned, tmp_path):
    (tmp_path / "plan.toml").write_text('plugins = ["g"]\n', encoding="utf-8")
    run("lock", "--plan", tmp_path / "plan.toml", "--opencode-version", "1.0.61", "-o", tmp_path / "l")
    ((chosen, _),) = planned
    assert (chosen.opencode, chosen.config, chosen.plugins) == ("1.0.61", [], ["g"])
    assert chosen.providers != "catalogue"


def test_a_plan_for_another_version_than_is_given_is_refused(run, tmp_path):
    (tmp_path / "plan.toml").write_text('opencode = "1.18.33"\n', encoding="utf-8")
    status, _, err = run("lock", "--plan", tmp_path / "plan.toml", "--opencode-version", "1.0.61", "-o", "l")
    assert status == 2
    assert_sentence(err, "plan.toml", "1.18.33", "1.0.61")


@pytest.mark.parametrize(
    ("options", "default"),
    [
        ([], True),
        (["--opencode-version", "1.0.61"], True),
        (["--plugin", "g"], False),
        (["--resolve", "a=1"], False),
    ],
)
def test_only_the_default_plan_may_use_a_shipped_lock(run, planned, options, default):
    run("run", *options)
    ((_, given),) = planned
    assert given["is_default"] is default


def test_what_follows_the_dashes_goes_to_opencode(run, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(pipeline, "locked", lambda *_, **__: tmp_path)
    ready = pipeline.Built(tmp_path, tmp_path, tmp_path / "program")
    monkeypatch.setattr(pipeline, "ready", lambda *_, **__: ready)
    monkeypatch.setattr(os, "execv", lambda *given: started.append(given))
    run("run", "--link", tmp_path / "a" / "link", "--", "run", "--model", "x", "--", "-h")
    ((program, arguments),) = started
    assert arguments == [str(program), "run", "--model", "x", "--", "-h"]
    assert (tmp_path / "a" / "link").readlink() == tmp_path / "program"


# Output


PROOF = making.proof(steps=(Step(name="models", ok=True, seconds=1.5, detail="3 models"),))
FAILED = PROOF.model_copy(update={"ok": False, "hosts": (Host(name="h.test", count=2, step="models"),)})


@pytest.fixture
def proved(monkeypatch):
    """What `verify` finds out."""

    def as_(proof):
        def verify(_cache, _opencode, *, on_step, patience, ask):
            on_step("models")
            return proof

        monkeypatch.setattr(inspect.verify_step, "verify", verify)

    return as_


@pytest.mark.parametrize(("proof", "status"), [(PROOF, 0), (FAILED, 1)])
def test_verify_json_is_one_document_on_stdout(run, proved, tmp_path, proof, status):
    proved(proof)
    found, out, err = run("verify", "--cache", tmp_path, "--opencode", "/bin/sh", "--json")
    assert found == status
    assert Proof.model_validate(json.loads(out)) == proof
    assert "models" in err
    assert ("not proved: asked for" in err) is bool(status)


@pytest.mark.parametrize(("proof", "status"), [(PROOF, 0), (FAILED, 1)])
def test_verify_prints_a_table(run, proved, tmp_path, proof, status):
    proved(proof)
    found, out, err = run("verify", "--cache", tmp_path, "--opencode", "/bin/sh")
    assert found == status
    assert "3 models" in out
    assert ("h.test" in out) is bool(status)
    assert "\x1b" not in out + err


def test_list_json_is_the_manifest(run, cache):
    status, out, err = run("list", "--cache", cache, "--json")
    assert (status, err) == (0, "")
    shown = json.loads(out)
    assert [request.pop("licences") for request in shown["requests"]] == [["MIT"]]
    assert manifest.Manifest.model_validate(shown) == manifest.read(cache)


def test_list_prints_spec_version_and_licence(run, cache):
    status, out, err = run("list", "--cache", cache)
    assert (status, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("provider")]
    assert line.split() == ["provider", "@ai-sdk/x", "1.0.0", "1", "0.0", "MB", "MIT"]
    assert "OpenCode 1.18.33" in out
    assert "\x1b" not in out


def test_wrap_prints_the_path_of_the_program(run, cache, tmp_path):
    status, out, err = run(
        "wrap", "--cache", cache, "--opencode", tmp_path / "opencode", "--out", tmp_path / "w", "--name", "oc"
    )
    assert (status, out, err) == (0, f"{tmp_path / 'w' / 'bin' / 'oc'}\n", "")


def test_no_color_is_minded_on_a_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.error("[bold]wrong[/bold]")
    assert "\x1b" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    console.error("[bold]wrong[/bold]")
    console.step("a [dim]step[/dim]")
    said = capsys.readouterr().err
    assert said == "opencode-cache: [bold]wrong[/bold]\nopencode-cache: a [dim]step[/dim]\n"


def test_a_cache_of_opencode_2_is_used_with_experimental_alone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODE_CACHE_EXPERIMENTAL", "0")  # and so it is again afterwards
    manifest = {"builder": "0", "opencode": "2.0.15", "layout": "generations", "system": "x86_64-linux"}
    manifest |= {"links": [], "requests": [], "packages": [], "files": 0, "bytes": 0}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    making.opencode_stand_in(tmp_path / "opencode", "2.0.15")
    given = ["--cache", tmp_path, "--opencode", tmp_path / "opencode"]
    for command in (["verify", *given], ["wrap", *given, "--out", tmp_path / "out"]):
        status, _, err = run(*command)
        assert status == 2
        assert_sentence(
            err, "OpenCode 2.0.15 is an experiment here: known is", "unknown is", "--experimental"
        )
    status, out, _ = run("wrap", *given, "--out", tmp_path / "out", "--experimental")
    assert (status, out.strip()) == (0, str(tmp_path / "out/bin/opencode"))
