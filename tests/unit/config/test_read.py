"""Which files are read, in which order, and what their text says."""

from __future__ import annotations

import os
import time

import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.config import read
from opencode_cache.config.text import TextError, parse

PLACES = (
    ".config/opencode/config.json",
    ".config/opencode/opencode.json",
    ".config/opencode/opencode.jsonc",
    "named.json",
    "work/opencode.json",
    "work/opencode.jsonc",
    "work/inner/opencode.json",
    "work/inner/.opencode/opencode.json",
    "work/.opencode/opencode.json",
    "work/.opencode/opencode.jsonc",
    ".opencode/opencode.json",
    "extra/opencode.json",
)


def test_files_are_read_in_opencodes_order(home, tmp_path):
    for place in reversed(PLACES):
        home.write(place, {"model": place})
    home.write("opencode.json", {"model": "above the worktree"})
    home.write("../managed/opencode.json", {"model": "managed"})
    environ = {
        "OPENCODE_CONFIG": str(home.home / "named.json"),
        "OPENCODE_CONFIG_DIR": str(home.home / "extra"),
        "OPENCODE_CONFIG_CONTENT": '{"model": "content"}',
    }
    found = read.read(home.environ | environ, [home.project / "inner"])
    assert [document.value["model"] for document in found.documents] == [
        *PLACES,
        "content",
        "managed",
    ]
    assert found.broken == []
    assert [str(path.relative_to(home.home)) for path in found.directories] == [
        *(
            ".config/opencode",
            "work/inner/.opencode",
            "work/.opencode",
            ".opencode",
            "extra",
        )
    ]


def test_of_the_global_files_the_last_list_counts(home):
    home.write(".config/opencode/config.json", {"plugin": ["a"], "model": "a/b"})
    home.write(".config/opencode/opencode.json", {"plugin": ["b"], "instructions": ["b.md"]})
    home.write(".config/opencode/opencode.jsonc", {"instructions": ["c.md"]})
    home.write("work/opencode.json", {"plugin": ["d"], "instructions": ["d.md"]})
    values = [document.value for document in home.read().documents]
    assert values == [
        {"model": "a/b"},
        {"plugin": ["b"]},
        {"instructions": ["c.md"]},
        {"plugin": ["d"], "instructions": ["d.md"]},
    ]


def test_the_interfaces_files_are_read_too(home):
    places = (".config/opencode/tui.json", "work/tui.jsonc", "work/.opencode/tui.json")
    for place in places:
        home.write(place, {"plugin": [place]})
    home.write("mine.json", {"plugin": ["mine"]})
    found = home.read(OPENCODE_TUI_CONFIG=str(home.home / "mine.json"))
    said = [document.value["plugin"][0] for document in found.documents]
    assert said == [places[0], "mine", *places[1:]]
    assert all(document.tui for document in found.documents)


def test_a_project_can_be_left_out(home):
    home.config({"model": "own"})
    home.write("work/opencode.json", {"model": "the project's"})
    home.write("work/.opencode/opencode.json", {"model": "the project's"})
    found = home.read(OPENCODE_DISABLE_PROJECT_CONFIG="1")
    assert [document.value["model"] for document in found.documents] == ["own"]


def test_named_files_stand_for_the_users_own(home):
    home.config({"model": "not read"})
    named = home.write("elsewhere/opencode.jsonc", '{"model": "named", /* x */}')
    home.write("work/opencode.json", {"model": "the project's"})
    found = read.read_files([named], home.environ, [home.project])
    assert [document.value["model"] for document in found.documents] == [
        "named",
        "the project's",
    ]
    with pytest.raises(BadInputError, match=r"no such file; give an opencode\.json"):
        read.read_files([home.home / "gone.json"], home.environ, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("\ufeff{}", {}),
        ('{"a": 1, // one\n "b": [1, 2, /* three */], }', {"a": 1, "b": [1, 2]}),
        (
            '{"a": "// no comment, }", "b": "/* none */"}',
            {"a": "// no comment, }", "b": "/* none */"},
        ),
        ('{"a": "{env:WORD}-{env:NONE}"}', {"a": "word-"}),
        ('{"a": "{file:name.txt}"}', {"a": 'with "quotes"\nand lines'}),
        ('{\n // {file:gone.txt}\n "a": 1}', {"a": 1}),
        ('{"a": "{file:~/name.txt}"}', {"a": 'with "quotes"\nand lines'}),
    ],
)
def test_a_text_is_what_opencode_makes_of_it(tmp_path, text, value):
    (tmp_path / "name.txt").write_text('\n with "quotes"\nand lines \n')
    assert parse(text, tmp_path, {"WORD": "word", "HOME": str(tmp_path)}) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON at line 1"),
        ('{\n"a": NaN}', "is not JSON"),
        ("[" * 10_000, "is not JSON"),
        (
            '{"a": "{file:gone.txt}"}',
            r"refers to \{file:gone.txt\}, which cannot be read \(No such file",
        ),
        ('{"a": "{file:\0}"}', "cannot be read"),
    ],
)
def test_a_text_that_ends_opencode_is_named(tmp_path, text, said):
    with pytest.raises(TextError, match=said):
        parse(text, tmp_path, {})


def test_a_broken_file_hides_no_other(home):
    home.config("{ broken")
    home.write("work/opencode.json", "[]")
    home.write("work/.opencode/opencode.json", {"model": "a/b"})
    found = home.read()
    assert [one.why for one in found.broken] == [
        "is not JSON at line 1",
        "is not a table",
    ]
    assert len(found.documents) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            '{"dependencies": {"@opencode-ai/plugin": "latest", "ms": "^2"}, "devDependencies": {"x": "1"}}',
            True,
        ),
        ('{"dependencies": {"@opencode-ai/plugin": "latest"}}', False),
        ('{"dependencies": []}', False),
    ],
)
def test_dependencies_of_a_config_directory(tmp_path, text, wanted):
    (tmp_path / "package.json").write_text(text)
    assert read.dependencies(tmp_path) == ({"ms": "^2", "x": "1"} if wanted else {})
    assert read.dependencies(tmp_path / "none") == {}
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(BadInputError, match=r"cannot be read as a package\.json"):
        read.dependencies(tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/dev/urandom", "directory", "long"])
def test_what_a_text_refers_to_is_a_file_with_a_bound(tmp_path, kind):
    path = tmp_path / "secret"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "long":
        path.touch()
        os.truncate(path, 1 << 36)
    else:
        path.symlink_to(kind)
    with pytest.raises(TextError, match="cannot be read"):
        parse('{"key": "{file:secret}"}', tmp_path, {})


@pytest.mark.parametrize(
    "text",
    ["{env:" * 80_000, "{file:" * 80_000, '"' * 80_000, "/*" * 40_000, " " * 80_000 + "{file:a}" * 10_000],
    ids=lambda text: text[:5],
)
def test_what_is_never_closed_is_read_once(tmp_path, text):
    (tmp_path / "a").write_text("text")
    began = time.process_time()
    with pytest.raises(TextError, match="is not JSON"):
        parse(text, tmp_path, {})
    assert time.process_time() - began < 2


def test_a_text_that_grows_without_bound_is_refused(tmp_path):
    (tmp_path / "a").write_text("x" * 1_000_000)
    for text, environ in (("{file:a}" * 100, {}), ("{env:A}" * 100, {"A": "x" * 1_000_000})):
        with pytest.raises(TextError, match="has more than"):
            parse(f'{{"key": "{text}"}}', tmp_path, environ)


def test_references_in_lines_that_are_comments_stay(tmp_path):
    (tmp_path / "a").write_text("text")
    text = '{\n  // {file:gone} {file:gone}\n"b": "{file:a}", "c": "{file:a} // {file:a}"}'
    assert parse(text, tmp_path, {}) == {"b": "text", "c": "text // text"}
