"""What doctor, plans and locks are given by others: one clean sentence, no hang, no traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from opencode_cache.base import answer, console
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import tables
from opencode_cache.formats import lock, plan, user_files
from opencode_cache.inspect import doctor

MANY = int(os.environ.get("OPENCODE_CACHE_TEST_MUTANTS", "20"))
ALLOWED = "\n"
CONFIG = {
    "$schema": "https://opencode.ai/config.json",
    "model": "anthropic/claude",
    "agent": {"build": {"model": "openai/x"}},
    "mode": {"plan": {"model": "copilot/x"}},
    "command": {"go": {"model": "nobody/x", "template": "x"}},
    "plugin": ["one@1.2.3", ["two", {"a": 1}], "file:///x"],
    "provider": {"mine": {"npm": "@x/y", "models": {"m": {"name": "m"}}}},
    "mcp": {"memory": {"type": "local", "command": ["npx", "-y", "memory"]}},
}
HOSTILE = st.sampled_from(
    [
        *(
            "\x1b]0;owned\x07",
            "\x1b[2J",
            "\u202e",
            "\u2066x",
            "a\nopencode-cache: all is well",
            "\r",
            "\x9b31m",
        ),
        *(
            "\ud800",
            "x" * 5000,
            "x/" * 2500,
            "../../x",
            "/etc/passwd",
            "",
            "\0",
            "\u2028",
            "[red]x[/red]",
            ":smile:",
        ),
        *("git+https://u:secret@h/x", "{env:HOME}", "{file:/dev/zero}", "a" * 300 + "@1.0.0", "@" * 400),
    ]
) | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)


def clean(text: str) -> bool:
    return all(char.isprintable() or char in ALLOWED for char in text)


def printed(report: doctor.Report, *, colours: bool = False) -> str:
    """What doctor prints of a report: its table, and its document."""
    said = io.StringIO()
    kind = type(console.stderr())
    kind(file=said, width=200, force_terminal=colours, no_color=not colours).print(
        tables.doctor_table(report)
    )
    document = io.StringIO()
    with contextlib.redirect_stdout(document):
        answer.model(report)
    json.loads(document.getvalue())
    return said.getvalue() + document.getvalue()


class Home:
    """A HOME with nothing in it but what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / ".config" / "opencode"
        self.config.mkdir(parents=True)
        self.project = root / "work"
        self.project.mkdir()

    def examine(self, **environ: str) -> doctor.Report:
        return doctor.examine({"HOME": str(self.root), **environ}, self.project)


@contextlib.contextmanager
def a_home():
    with tempfile.TemporaryDirectory() as directory:
        yield Home(Path(directory))


def places(value, at=()):
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*at, number))


def replaced(value, at, key, put):
    if not at:
        return put
    if isinstance(value, dict):
        last = len(at) == 1 and key is not None
        return {
            (key if last and name == at[0] else name): replaced(inner, at[1:], key, put)
            if name == at[0]
            else inner
            for name, inner in value.items()
        }
    return [replaced(inner, at[1:], key, put) if n == at[0] else inner for n, inner in enumerate(value)]


@settings(max_examples=MANY)
@given(st.sampled_from(list(places(CONFIG))), st.none() | HOSTILE, VALUES)
def test_whatever_a_configuration_says_doctor_answers_cleanly(at, key, put):
    with a_home() as home:
        text = json.dumps(replaced(CONFIG, at, key, put))
        (home.config / "opencode.json").write_text(text, encoding="utf-8")
        said = printed(home.examine())
    assert clean(said)
    assert "secret" not in said


@settings(max_examples=MANY)
@given(st.integers(0, 400), st.integers(0, 20), st.binary(max_size=8))
def test_whatever_bytes_a_configuration_has_doctor_answers_cleanly(at, cut, put):
    whole = json.dumps(CONFIG).encode()
    with a_home() as home:
        (home.config / "opencode.jsonc").write_bytes(whole[:at] + put + whole[at + cut :])
        assert clean(printed(home.examine()))


@pytest.mark.parametrize(
    "text",
    [
        *('"' * 80_000, '\\"' * 40_000, '"' + '\\"' * 40_000, "/*" * 40_000, "//" * 40_000, "[" * 100_000),
        *('{"a":' * 50_000, ", " * 40_000, ",\n" * 40_000, "9" * 80_000, "{" + '"a":1,' * 20_000),
    ],
    ids=lambda text: text[:6],
)
def test_a_long_configuration_takes_no_time(text):
    """As it was found: 80 KB of quotes took minutes."""
    with a_home() as home:
        (home.config / "opencode.json").write_text(text, encoding="utf-8")
        began = time.process_time()
        report = home.examine()
        assert time.process_time() - began < 5
        assert clean(printed(report))
        assert any(finding.what.endswith("opencode.json") for finding in report.findings)


@pytest.mark.parametrize("kind", ["fifo", "zero", "directory", "endless", "mem", "loop", "large"])
@pytest.mark.parametrize("name", ["opencode.json", "package.json"])
def test_what_is_no_file_hangs_nobody(kind, name):
    with a_home() as home:
        path = home.config / name
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "large":
            with path.open("wb") as file:
                file.truncate(1 << 36)
        else:
            targets = {
                "zero": "/dev/zero",
                "endless": "/dev/urandom",
                "mem": "/proc/self/mem",
                "loop": str(path),
            }
            path.symlink_to(targets[kind])
        assert clean(printed(home.examine()))


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "\udcff", "\u202edriver", "x" * 250])
def test_directories_with_names_of_all_kinds(name):
    with a_home() as home:
        project = home.project / name
        project.mkdir()
        (project / "opencode.json").write_text('{"model": "copilot/x"}', encoding="utf-8")
        report = doctor.examine({"HOME": str(home.root)}, project)
        said = printed(report)
        assert clean(said)
        assert "github-copilot" in said


@given(st.text(max_size=60))
def test_no_text_gets_through_a_table_as_it_is(text):
    one = doctor.Finding(state="wrong", what=text, detail=text, next=text)
    report = doctor.Report(directory=text, caches=(text,), findings=(one,))
    assert clean(printed(report))
    assert clean(re.sub(r"\x1b\[[0-9;]*m", "", printed(report, colours=True)))


@given(st.text(max_size=80))
def test_no_message_has_more_than_a_line_or_anything_unseen(text):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        console.error(text)
        console.step(text)
    assert clean(said.getvalue())
    assert said.getvalue().count("\n") == 2


@given(VALUES)
def test_a_document_is_the_same_document(value):
    text = json.dumps(value, ensure_ascii=False)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        answer.document(text)
    assert clean(said.getvalue())
    assert json.loads(said.getvalue()) == json.loads(text) or value != value  # noqa: PLR0124 - NaN


# Plans and locks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('catalogue = "~nouser-at-all/x"', "no such user"),
        ('catalogue = "/proc/self/mem"', "/proc/self/mem"),
        ('[files]\n"a.md" = "/proc/self/mem"', "/proc/self/mem"),
        ('[files]\n"a.md" = "/dev/zero"', "not a file"),
        ('plugins = ["~nouser-at-all/x"]', "not an npm spec"),
        (".".join(["a"] * 5000) + " = 1", "unknown key"),
        ("[resolve]\n" + ".".join(["a"] * 5000) + " = 1", "resolve"),
        ("opencode = " + "9" * 5000, "TOML"),
        ('opencode = "\\u001b[31m"', "OpenCode version"),
    ],
    ids=lambda value: value[:20],
)
def test_plans_that_lead_astray_are_refused(tmp_path, text, said):
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")

    def all_of_it():
        found = plan.read(path)
        found.check_files()
        found.stamp()

    with pytest.raises(BadInputError, match=said):
        all_of_it()


def test_a_catalogue_of_the_whole_machine_is_refused_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "_MOST_SOURCES", 50)
    for number in range(60):
        (tmp_path / f"{number}.toml").touch()
    with pytest.raises(BadInputError, match="more than 50 files"):
        plan.Plan(catalogue=str(tmp_path)).stamp()


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/proc/self/mem"])
def test_a_lock_that_is_no_file_hangs_nobody(tmp_path, kind):
    path = tmp_path / "the.lock.json"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(kind)
    with pytest.raises(BadInputError, match=r"cannot be read as a lock file .*make one with `lock`"):
        lock.read(path)


def test_the_console_of_these_tests_is_the_one_that_prints():
    assert isinstance(console.stdout(), Console)
    assert type(console.stdout()) is type(console.stderr()) is not Console
