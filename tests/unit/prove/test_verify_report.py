"""What `verify` makes of a proof: the model, the known hosts, the table, the errors. No OpenCode."""

from __future__ import annotations

import io
import stat
import subprocess

import making
import pytest
from rich.console import Console

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CheckFailedError, TooSlowError
from opencode_cache.cli import tables
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Host, Proof, Step, verdict
from opencode_cache.prove import on_file, verify
from opencode_cache.prove.child import __main__ as child
from opencode_cache.prove.child import hosts, terminal
from opencode_cache.prove.child.record import Patience, Record, Wanted, ended
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


def a_proof(*, ok=True, hosts=(), weaker=None, steps=(), **fields):
    steps = steps or (Step(name="models", ok=True, seconds=1.25, detail="8 listed"),)
    return making.proof(
        isolated=weaker is None, weaker_because=weaker, steps=steps, hosts=hosts, ok=ok, **fields
    )


def raising(error):
    def action(_):
        raise error

    return action


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
    assert "a" * 64 in text
    assert "b" * 64 in text
    assert "made on x86_64, 2 CPUs, Linux 6.1.0, 2026-11-26 01:02 UTC, by opencode-cache 0.1.0" in text


def test_the_table_shows_addresses_and_what_could_not_be_seen():
    text = rendered(
        a_proof(
            hosts=(Host(name="192.0.2.1", ports=("tcp/80",), count=1, step="import x", who="provider x"),),
            unseen=("addresses are not seen: the kernel says no",),
            ok=False,
        )
    )
    assert "192.0.2.1 tcp/80" in text
    assert "provider x" in text
    assert "weaker proof: addresses are not seen: the kernel says no" in text


def test_a_machine_that_is_too_slow_is_never_called_a_failure():
    slow = Step(name="tui", ok=False, seconds=9, detail="it drew nothing within 60 s", too_slow=True)
    assert verdict(a_proof(ok=False, steps=(slow,))) == (
        "too slow: tui (it drew nothing within 60 s); "
        "be more patient with `opencode-cache verify --patience N`"
    )
    failed = Step(name="run", ok=False, seconds=9, detail="ended with 1: no")
    assert verdict(a_proof(ok=False, steps=(slow, failed))) == (
        "not proved: failed: run (ended with 1: no); too slow: tui (it drew nothing within 60 s)"
    )
    assert "slow" in rendered(a_proof(ok=False, steps=(slow,)))


def test_the_table_names_what_failed():
    steps = (
        Step(name="plugin [x]", ok=False, seconds=0, detail="[red] is no markup"),
        Step(name="run", ok=True, seconds=1, detail=""),
    )
    hosts = (
        Host(name="known.example", count=4, step="run", known="it costs nothing"),
        Host(name="bad.example", count=1, step="run", fix="install it"),
        Host(name="worse.example", count=1, step="run"),
    )
    text = rendered(a_proof(ok=False, steps=steps, hosts=hosts, weaker="there is no namespace"))
    assert "[red] is no markup" in text
    assert "known: it costs nothing" in text
    assert "install it" in text
    assert "weaker proof: there is no namespace" in text
    assert (
        "not proved: failed: plugin [x] ([red] is no markup); asked for: bad.example, worse.example" in text
    )


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
    host = hosts.judged(a_manifest(opencode, layout), Wanted(name), "models", 2)
    assert bool(host.known) is known


def test_a_missing_ripgrep_has_a_fix():
    assert "ripgrep" in hosts.judged(a_manifest(), Wanted("github.com"), "run", 2).fix


@pytest.mark.parametrize("name", ["169.254.169.254", "fd00:ec2::254", "metadata.google.internal"])
def test_a_clouds_metadata_service_has_a_fix(name):
    host = hosts.judged(a_manifest(), Wanted(name), "run", 1)
    assert "AWS_EC2_METADATA_DISABLED=true" in host.fix
    assert host.known is None


@pytest.mark.parametrize(
    ("step", "who"),
    [
        ("import @ai-sdk/x", "provider @ai-sdk/x"),
        ("tool pyright", "tool pyright"),
        ("serve", None),
        ("run", None),
        ("answer @ai-sdk/x (bundled)", None),
    ],
)
def test_who_asked_is_said_where_the_step_tells(step, who):
    assert hosts.judged(a_manifest(), Wanted("h.example"), step, 1).who == who


def test_an_address_is_one_host_with_all_its_ports():
    asked = {
        ("run", Wanted("192.0.2.1", "tcp/80")): 2,
        ("run", Wanted("192.0.2.1", "udp/53")): 1,
        ("run", Wanted("h.example")): 4,
        ("tui", Wanted("h.example")): 2,
    }
    assert [(h.name, h.step, h.count, h.ports) for h in hosts.all_of(a_manifest(), asked)] == [
        ("192.0.2.1", "run", 3, ("tcp/80", "udp/53")),
        ("h.example", "run", 4, ()),
        ("h.example", "tui", 2, ()),
    ]


def test_whom_a_provider_asks_that_was_asked_itself_is_known():
    host = hosts.judged(a_manifest(), Wanted("169.254.169.254"), "ask amazon-bedrock/x", 1)
    assert host.who == "provider amazon-bedrock/x"
    assert host.known


class TestRecord:
    def test_hosts_belong_to_the_step_that_they_were_asked_in(self):
        asked, said = [], []
        record = Record(lambda: asked, lambda name, _: said.append(name))
        a = Wanted("a.example")
        assert record.step("one", lambda _: asked.extend([a, a]) or "detail")
        assert record.step("two", lambda _: asked.append(a) or "")
        assert said == ["one", "two"]
        assert [(step.name, step.ok, step.detail) for step in record.steps] == [
            ("one", True, "detail"),
            ("two", True, ""),
        ]
        assert record.asked == {("one", a): 2, ("two", a): 1}

    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            (CheckFailedError("it is not so"), "it is not so"),
            (ConnectionRefusedError(111, "refused"), "refused"),
            (ValueError("no JSON"), "no JSON"),
        ],
    )
    def test_an_expected_error_fails_the_step(self, error, detail):
        record = Record(list, lambda *_: None)
        assert not record.step("one", raising(error))
        assert not record.steps[0].ok
        assert not record.steps[0].too_slow
        assert detail in record.steps[0].detail

    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            (subprocess.TimeoutExpired("x", 7), "no end within 7 s"),
            (TooSlowError("it drew nothing within 7 s"), "it drew nothing within 7 s"),
            (TimeoutError("timed out"), "timed out"),
        ],
    )
    def test_what_is_too_slow_is_done_once_more_with_twice_the_time(self, error, detail):
        record, limits = Record(list, lambda *_: None, Patience(2, 60)), []

        def late(patience):
            limits.append(patience.limit(30))
            if len(limits) == 1:
                raise error
            return "done"

        assert record.step("one", late)
        assert limits == [120, 240]
        assert (record.steps[0].detail, record.steps[0].too_slow) == ("done", False)
        assert not record.step("two", raising(error))
        assert (record.steps[1].detail, record.steps[1].too_slow) == (detail, True)

    def test_a_failure_after_a_slow_try_is_a_failure(self):
        record, errors = Record(list, lambda *_: None), [CheckFailedError("no"), TooSlowError("late")]

        def fails(_):
            raise errors.pop()

        assert not record.step("one", fails)
        assert (record.steps[0].detail, record.steps[0].too_slow) == ("no", False)

    def test_a_defect_is_not_swallowed(self):
        with pytest.raises(KeyError):
            Record(list, lambda *_: None).step("one", raising(KeyError("defect")))


@pytest.mark.parametrize(("start", "limit"), [(0.1, 30), (0.5, 30), (2, 120), (20, 1200)])
def test_limits_grow_with_the_start_of_the_bare_binary(start, limit):
    assert Patience(start, 60).limit(30) == limit
    assert Patience(start, 60).for_another_try().limit(30) == 2 * limit


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


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """What is proved here is filed there."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


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
    with pytest.raises(BadInputError, match=r"did not finish \(the kernel says no\)"):
        verify.verify(cache, program(""))


def test_without_a_namespace_the_child_is_told_why(monkeypatch, cache, program):
    given = []
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=False, why="the kernel says no."))
    monkeypatch.setattr(
        verify, "_run_child", lambda *call: given.append(call) or (a_proof().model_dump_json(), "")
    )
    assert verify.verify(cache, program("")) == a_proof()
    arguments, _ = given[0]
    assert arguments[4] == "--weaker-because"
    assert arguments[5].startswith("the kernel says no; so ")


def test_the_child_is_told_of_patience_and_of_whom_to_ask(monkeypatch, cache, program):
    given = []
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=True))
    monkeypatch.setattr(
        verify, "_run_child", lambda *call: given.append(call) or (a_proof().model_dump_json(), "")
    )
    verify.verify(cache, program(""), patience=7, ask=["a/b", "c/d"])
    assert given[0][0][-6:] == ["--patience", "7", "--ask", "a/b", "--ask", "c/d"]


def test_the_child_s_steps_and_result_come_through(monkeypatch, cache, program, tmp_path):
    package = tmp_path / "opencode_cache" / "prove"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text(
        "import json, sys\n"
        "print(json.dumps({'step': 'models', 'within': 9}), flush=True)\n"
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
    monkeypatch.setattr(verify, "_FIRST_WORD", 0.2)
    with pytest.raises(BadInputError, match="no result in time"):
        verify.verify(cache, program(""))


def test_a_child_has_as_long_as_it_said(monkeypatch, cache, program, tmp_path):
    package = tmp_path / "opencode_cache" / "prove"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "child.py").write_text(
        "import json, time\n"
        "print(json.dumps({'step': 'long', 'within': 60}), flush=True)\n"
        "print(json.dumps({'step': 'short', 'within': 0}), flush=True)\n"
        "time.sleep(0.5)\n"
        f"print({a_proof().model_dump_json()!r})\n"
    )
    monkeypatch.setattr(python, "path", lambda: {"PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=True))
    monkeypatch.setattr(verify, "_SLACK", 0)
    assert verify.verify(cache, program("")) == a_proof()


def watch(monkeypatch, tmp_path, program):
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.setattr(terminal, "_WATCHED", 0.1)
    return terminal.watch(program, tmp_path, {"PATH": "/usr/bin:/bin"}, 0.3)


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


@pytest.mark.parametrize(
    ("machine", "system", "emulated"),
    [
        ("x86_64", "x86_64-linux-musl", False),
        ("arm64", "aarch64-darwin", False),
        ("x86_64", "aarch64-linux", True),
    ],
)
def test_a_proof_under_an_emulator_says_so(monkeypatch, machine, system, emulated):
    monkeypatch.setattr(child.platform, "machine", lambda: machine)
    assert (", emulating " in child._machine(system)) is emulated


def test_a_proof_of_what_ships_says_so():
    found = on_file.Found(a_proof(installation_sha256="e" * 64), here=True)
    assert "e" * 64 in "\n".join(tables.proved(found))
    assert "as it ships" not in "\n".join(tables.proved(on_file.Found(a_proof(), here=True)))
