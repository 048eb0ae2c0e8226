"""What `verify` makes of a proof: the model, the known hosts, the table, the errors. No OpenCode."""

from __future__ import annotations

import io
import stat
import subprocess

import pytest
from rich.console import Console

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import tables
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Host, Proof, Step
from opencode_cache.prove import verify
from opencode_cache.prove.child import hosts, terminal
from opencode_cache.prove.child.record import Record, ended
from opencode_cache.sandbox import netns


def a_manifest(opencode="1.18.33", layout="packages"):
    return manifest.Manifest(
        builder="1",
        opencode=opencode,
        layout=layout,
        system="x86_64-linux",
        links=(),
        requests=(),
        packages=(),
        files=0,
        bytes=0,
    )


def a_proof(*, ok=True, hosts=(), weaker=None, steps=()):
    steps = steps or (Step(name="models", ok=True, seconds=1.25, detail="8 listed"),)
    return Proof(
        opencode="1.18.33", isolated=weaker is None, weaker_because=weaker, steps=steps, hosts=hosts, ok=ok
    )


def rendered(given):
    out = io.StringIO()
    Console(file=out, width=300).print(tables.proof_table(given))
    return out.getvalue()


def test_a_proof_survives_json():
    given = a_proof(hosts=(Host(name="h.example", count=2, step="run", known="why"),))
    assert Proof.model_validate_json(given.model_dump_json()) == given


def test_the_table_of_a_proof():
    text = rendered(a_proof())
    assert "models" in text
    assert "1.2" in text
    assert "proved: OpenCode 1.18.33 asked for no host" in text
    assert "weaker" not in text


def test_the_table_names_what_failed():
    steps = (
        Step(name="plugin [x]", ok=False, seconds=0, detail="[red] is no markup"),
        Step(name="run", ok=True, seconds=1, detail=""),
    )
    hosts = (
        Host(name="known.example", count=4, step="run", known="it costs nothing"),
        Host(name="bad.example", count=1, step="run", mend="install it"),
        Host(name="worse.example", count=1, step="run"),
    )
    text = rendered(a_proof(ok=False, steps=steps, hosts=hosts, weaker="there is no namespace"))
    assert "[red] is no markup" in text
    assert "known: it costs nothing" in text
    assert "install it" in text
    assert "weaker proof: there is no namespace" in text
    assert "not proved: failed: plugin [x]; asked for: bad.example, worse.example" in text


def test_the_table_of_a_proof_with_known_hosts():
    text = rendered(
        a_proof(hosts=(Host(name="known.example", count=4, step="run", known="it costs nothing"),))
    )
    assert "proved: OpenCode 1.18.33 asked only for hosts that are known" in text


@pytest.mark.parametrize(
    ("opencode", "layout", "name", "known"),
    [
        ("1.0.61", "bun", "models.dev", True),
        ("1.0.184", "bun", "models.dev", True),
        ("1.0.185", "bun", "models.dev", False),
        ("1.3.2", "bun", "models.dev", False),
        ("1.18.33", "packages", "models.dev", False),
        ("1.0.61", "bun", "registry.example", False),
        ("1.0.61", "bun", "github.com", False),
    ],
)
def test_which_hosts_are_known(opencode, layout, name, known):
    host = hosts.judged(a_manifest(opencode, layout), name, "models", 2)
    assert bool(host.known) is known


def test_a_missing_ripgrep_has_a_mend():
    assert "ripgrep" in hosts.judged(a_manifest(), "github.com", "run", 2).mend


class TestRecord:
    def test_hosts_belong_to_the_step_that_they_were_asked_in(self):
        names, said = [], []
        record = Record(lambda: names, said.append)
        with record.step("one") as detail:
            names += ["a.example", "a.example"]
            detail += ["first", "second"]
        with record.step("two"):
            names.append("a.example")
        assert said == ["one", "two"]
        assert [(step.name, step.ok, step.detail) for step in record.steps] == [
            ("one", True, "first; second"),
            ("two", True, ""),
        ]
        assert record.hosts == {("a.example", "one"): 2, ("a.example", "two"): 1}

    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            (CheckFailedError("it is not so"), "it is not so"),
            (ConnectionRefusedError(111, "refused"), "refused"),
            (ValueError("no JSON"), "no JSON"),
            (subprocess.TimeoutExpired("x", 7), "no end within 7 s"),
        ],
    )
    def test_an_expected_error_fails_the_step(self, error, detail):
        record = Record(list, lambda _: None)
        with record.step("one"):
            raise error
        assert not record.steps[0].ok
        assert detail in record.steps[0].detail

    def test_a_defect_is_not_swallowed(self):
        with pytest.raises(KeyError), Record(list, lambda _: None).step("one"):
            raise KeyError("defect")


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        ("", "", "ended with 3: it said nothing"),
        ("some\n", "thing", "ended with 3: some thing"),
        ("", "\x1b[91m\x1b[1mError: \x1b[0mUnexpected error, see log\n\nInstallFailedError: pkg: x\n at y",
         "ended with 3: InstallFailedError: pkg: x at y"),
    ],
)  # fmt: skip
def test_the_heart_of_what_a_program_said(stdout, stderr, expected):
    assert ended(subprocess.CompletedProcess([], 3, stdout, stderr)) == expected


@pytest.fixture
def cache(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir()
    (directory / manifest.FILE).write_text(manifest.dumps(a_manifest()))
    return directory


@pytest.fixture
def program(tmp_path):
    """A stand-in for OpenCode: the unit tests have none."""

    def make(text):
        path = tmp_path / "opencode"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def test_a_directory_that_is_no_cache_is_bad_input(tmp_path, program):
    with pytest.raises(BadInputError, match="not a cache"):
        verify.verify(tmp_path, program(""))


def test_what_is_no_program_is_bad_input(tmp_path, cache):
    for path in (tmp_path / "gone", tmp_path, cache / manifest.FILE):
        with pytest.raises(BadInputError, match="not a program"):
            verify.verify(cache, path)


@pytest.mark.parametrize("said", ["", '{"opencode": 1}'])
def test_a_proof_without_a_result_is_an_error_with_its_reason(monkeypatch, cache, program, said):
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=True))
    monkeypatch.setattr(verify, "_run_child", lambda *_: (said, "the kernel\n says no\n"))
    with pytest.raises(BadInputError, match=r"did not come to an end \(the kernel says no\)"):
        verify.verify(cache, program(""))


def test_without_a_namespace_the_child_is_told_why(monkeypatch, cache, program):
    given = []
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=False, why="the kernel says no."))
    monkeypatch.setattr(
        verify, "_run_child", lambda *call: given.append(call) or (a_proof().model_dump_json(), "")
    )
    assert verify.verify(cache, program("")) == a_proof()
    arguments, limit, _ = given[0]
    assert arguments[4] == "--weaker-because"
    assert arguments[5].startswith("the kernel says no; so ")
    assert limit == 600


def test_the_child_s_steps_and_result_come_through(monkeypatch, cache, program, tmp_path):
    package = tmp_path / "opencode_cache" / "prove"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text(
        "import json, sys\n"
        "print(json.dumps({'step': 'models'}), flush=True)\n"
        f"print({a_proof().model_dump_json()!r})\n"
    )
    monkeypatch.setattr(python, "path", lambda: {"PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=True))
    steps = []
    assert verify.verify(cache, program(""), on_step=steps.append) == a_proof()
    assert steps == ["models"]


def test_a_child_that_hangs_is_ended(monkeypatch, cache, program, tmp_path):
    package = tmp_path / "opencode_cache" / "prove"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(python, "path", lambda: {"PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=True))
    monkeypatch.setattr(verify, "_BASE_TIMEOUT", 0.2)
    with pytest.raises(BadInputError, match="no result within"):
        verify.verify(cache, program(""))


def watch(monkeypatch, tmp_path, program):
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.setattr(terminal, "_FIRST_SCREEN", 0.3)
    monkeypatch.setattr(terminal, "_WATCHED", 0.1)
    return terminal.watch(program, tmp_path, {"PATH": "/usr/bin:/bin"})


def test_an_interface_that_stays_is_seen(monkeypatch, tmp_path, program):
    text = "printf '\\033[2J\\033]0;title\\007%060d' 1; exec sleep 60"
    assert "stays up" in watch(monkeypatch, tmp_path, program(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo broken; exit 3", "ended with 3 at once: broken"),
        ("printf '\\033[2J'; exec sleep 60", "drew nothing"),
    ],
)
def test_an_interface_that_does_not_come_up_is_not_so(monkeypatch, tmp_path, program, text, reason):
    with pytest.raises(CheckFailedError, match=reason):
        watch(monkeypatch, tmp_path, program(text))
