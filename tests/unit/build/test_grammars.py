"""The table of languages in a binary's text, the pins, and the files that are made of them."""

from __future__ import annotations

import json

import making
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.build import grammars as build_grammars
from opencode_cache.formats.grammar import Grammar
from opencode_cache.opencode import highlighting
from opencode_cache.resolve import grammars

PYTHON_QUERY = (
    "https://github.com/tree-sitter/tree-sitter-python/raw/refs/heads/master/queries/highlights.scm"
)
MINIFIED = (
    'junk{filetype:"javascript",aliases:["javascriptreact"],queries:{highlights:["assets/h.scm"]},wasm:"a.wasm"}'
    ',{filetype:"zig",queries:{highlights:["assets/zig.scm"]},wasm:"assets/zig.wasm"}];'
    'var a={parsers:[{filetype:"python",wasm:"https://host.invalid/v1/tree-sitter-python.wasm",'
    f'queries:{{highlights:["{PYTHON_QUERY}"],locals:["https://host.invalid/locals.scm"]}}}},'
    '{filetype:"make",aliases:["makefile"],wasm:"https://host.invalid/make.wasm",'
    'queries:{highlights:["https://host.invalid/1.scm","https://host.invalid/2.scm"],'
    'injections:["https://host.invalid/3.scm"]}}]};junk'
)
SPELT_OUT = """
  parsers: [
    {
      filetype: "python",
      wasm: "https://host.invalid/v1/tree-sitter-python.wasm",
      queries: {
        highlights: [
          "https://host.invalid/highlights.scm"
        ],
        locals: [
          "https://host.invalid/locals.scm"
        ]
      }
    }
  ]
"""


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / "opencode"
    path.write_bytes(b"\x7fELF\xff\0" + MINIFIED.encode() + b"\0\xff")
    return path


@pytest.fixture
def known(binary):
    return highlighting.remote(binary)


# What OpenTUI is told, and where it looks


def test_the_table_of_a_minified_binary(binary, known):
    assert list(known) == ["python", "make"]
    assert known["python"].highlights == (PYTHON_QUERY,)
    assert known["make"].aliases == ("makefile",)
    assert highlighting.embedded(binary) == {"javascript", "zig"}


def test_the_table_of_a_binary_that_is_spelt_out(tmp_path):
    (tmp_path / "opencode").write_text(SPELT_OUT)
    (python,) = highlighting.remote(tmp_path / "opencode").values()
    assert python.highlights == ("https://host.invalid/highlights.scm",)


def test_files_are_named_as_opentui_names_them(known):
    # This name was found by the real OpenTUI of 1.18.33 and 1.0.61; `locals` are never read.
    assert known["python"].files == {
        "https://host.invalid/v1/tree-sitter-python.wasm": "languages/tree-sitter-python.wasm",
        PYTHON_QUERY: "queries/python-124e65af.scm",
    }
    assert len(known["make"].query_files) == 3


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_the_hash_is_a_32_bit_number(text):
    assert 0 <= int(highlighting.url_hash(text), 16) <= 2**31


@pytest.mark.parametrize(("text", "hashed"), [("", "0"), ("a", "61"), ("polygenelubricants", "80000000")])
def test_the_hash(text, hashed):
    assert highlighting.url_hash(text) == hashed


def test_a_binary_without_a_table_is_refused(tmp_path):
    (tmp_path / "opencode").write_bytes(b"nothing")
    with pytest.raises(BadInputError, match="no table of languages"):
        highlighting.remote(tmp_path / "opencode")
    with pytest.raises(BadInputError, match="cannot be read"):
        highlighting.remote(tmp_path / "nowhere")


# Pins


def test_every_shipped_pin_is_exact():
    for name, pin in grammars.PINS.items():
        assert Grammar.model_validate(pin.model_dump()) == pin, name
    assert "tree-sitter-c@0.23.4" in grammars.PINS["cpp"].packages


@pytest.mark.parametrize(
    "file",
    [
        "tree-sitter-x/x.wasm",
        "tree-sitter-x@latest/x.wasm",
        "tree-sitter-x@^1.0.0/x.wasm",
        "tree-sitter-x@1/x.wasm",
        "tree-sitter-x@1.0.0/../x.wasm",
        "tree-sitter-x@1.0.0//x.wasm",
        "tree-sitter-x@1.0.0/",
        "tree-sitter-x@1.0.0",
        "../x@1.0.0/x.wasm",
        "@scope@1.0.0/x.wasm/..",
    ],
)
def test_a_file_that_is_not_pinned_is_refused(file):
    with pytest.raises(ValidationError, match="package@version/path"):
        Grammar(wasm=file, queries=("a@1.0.0/b.scm",))


OWN = Grammar(
    wasm="@own/grammars@1.0.0/out/make.wasm", queries=("@own/grammars@1.0.0/a.scm", "b@2.0.0/b.scm")
)


def test_what_a_plan_wants(known):
    python = {"python": grammars.PINS["python"]}
    assert grammars.choose("pinned", {}, known) == (python, [])
    assert grammars.choose([], {}, known) == ({}, [])
    assert grammars.choose(["make", "python"], {}, known) == (python, ["make"])
    assert grammars.choose(["python"], {"make": OWN}, known) == (python | {"make": OWN}, [])
    assert grammars.choose(["python"], {"python": OWN}, known) == ({"python": OWN}, [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pyton", "write 'python'"),
        ("makefile", "write 'make'"),
        ("cobol", "it fetches make, python"),
        ("zig", "'zig' is in the OpenCode binary itself; take it out of the plan"),
    ],
)
def test_a_language_that_is_never_fetched_is_refused(known, name, said):
    with pytest.raises(BadInputError) as caught:
        grammars.choose([name], {}, known, {"zig"})
    assert str(caught.value).endswith(said)


def test_languages_without_a_pin_are_told(known):
    assert build_grammars.missing(known, ["python"]) == ["make"]
    assert build_grammars.missing(known, []) == ["make", "python"]


# The files


@pytest.fixture
def tarballs(tmp_path):
    directory = tmp_path / "tarballs"
    directory.mkdir()
    return directory


def pack(tarballs, name, version, files):
    data = making.tarball(files)
    package = making.package(name, version, data)
    (tarballs / package.tarball).write_bytes(data)
    return {package.key: package}


@pytest.fixture
def locked(tarballs):
    own = pack(
        tarballs, "@own/grammars", "1.0.0", {"out/make.wasm": b"\0asm", "a.scm": "(a) @a", "other": "x"}
    )
    return own | pack(tarballs, "b", "2.0.0", {"b.scm": "(b) @b\n"})


def test_a_language_is_put_where_opentui_looks(known, tarballs, locked, tmp_path):
    cache = tmp_path / "cache"
    build_grammars.install({"make": OWN}, known, locked, tarballs, cache)
    files = {
        path.relative_to(cache / "tree-sitter").as_posix() for path in cache.rglob("*") if path.is_file()
    }
    index = json.loads((cache / "tree-sitter" / "files.json").read_text())
    assert index == {"make": known["make"].files}
    assert files == {"files.json", *index["make"].values()}
    first, *others = (
        cache / "tree-sitter" / index["make"][f"https://host.invalid/{n}.scm"] for n in (1, 2, 3)
    )
    assert (cache / "tree-sitter" / "languages" / "make.wasm").read_bytes() == b"\0asm"
    assert first.read_text() == "(a) @a\n(b) @b\n"
    for other in others:  # to OpenTUI an empty file is none, and it would ask for it
        assert other.read_text().startswith(";")
    assert {oct(path.stat().st_mode & 0o777) for path in cache.rglob("*") if path.is_file()} == {"0o644"}


def test_nothing_is_made_of_no_languages(known, tmp_path):
    build_grammars.install({}, known, {}, tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_another_binary_than_the_locks_is_refused(known, tarballs, locked, tmp_path):
    with pytest.raises(BadInputError, match="lock again"):
        build_grammars.install({"cobol": OWN}, known, locked, tarballs, tmp_path / "cache")


def test_a_package_that_is_not_locked_is_refused(known, tarballs, locked, tmp_path):
    del locked["b@2.0.0"]
    with pytest.raises(BadInputError, match=r"the lock has no package b@2\.0\.0; lock again"):
        build_grammars.install({"make": OWN}, known, locked, tarballs, tmp_path / "cache")


@pytest.mark.parametrize("files", [{}, {"b.scm": ""}, {"deeper/b.scm": "(b) @b"}])
def test_a_package_without_the_file_is_refused(known, tarballs, locked, tmp_path, files):
    locked |= pack(tarballs, "b", "2.0.0", files)
    with pytest.raises(BadInputError, match=r"b@2\.0\.0 has no file 'b\.scm'"):
        build_grammars.install({"make": OWN}, known, locked, tarballs, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_damaged_tarball_is_refused(known, tarballs, locked, tmp_path):
    path = tarballs / locked["b@2.0.0"].tarball
    path.write_bytes(making.tarball({"b.scm": "(c) @c"}))
    with pytest.raises(BadInputError, match=r"b@2\.0\.0: .*remove it and fetch it again"):
        build_grammars.install({"make": OWN}, known, locked, tarballs, tmp_path / "cache")
    path.unlink()
    with pytest.raises(BadInputError, match="run `opencode-cache fetch` first"):
        build_grammars.install({"make": OWN}, known, locked, tarballs, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
