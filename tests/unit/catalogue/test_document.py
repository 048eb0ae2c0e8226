"""The model catalogue: out of a file, out of a binary, and which packages it names."""

from __future__ import annotations

import json

import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue import document as catalogue
from opencode_cache.opencode import embedded

SMALL = {
    "plain": {"id": "plain", "models": {"m": {"id": "m"}, "n": {"id": "n"}}},
    "named": {
        "id": "named",
        "npm": "@ai-sdk/named",
        "models": {"m": {}, "n": {"provider": {"npm": "@ai-sdk/other"}}},
    },
    "empty": {"id": "empty", "npm": "never-counted", "models": {}},
    "odd": {
        "id": "odd",
        "npm": "@ai-sdk/named",
        "models": {"m": {"provider": None}, "n": {"provider": {"api": "x"}}},
    },
}


def test_the_packages_are_those_of_the_models_then_of_the_providers():
    assert catalogue.packages(SMALL) == {"plain": 2, "@ai-sdk/named": 3, "@ai-sdk/other": 1}


def test_a_catalogue_survives_writing_and_reading(tmp_path):
    document = SMALL | {"ünï": {"models": {"漢": {"name": 'quote " and \\'}}}}
    path = tmp_path / "models.json"
    path.write_text(catalogue.dumps(document), encoding="utf-8")
    assert catalogue.read(path) == document
    assert list(catalogue.read(path)) == list(document)


def test_a_catalogue_is_described_by_its_own_bytes():
    said = catalogue.describe(SMALL, "file")
    assert (said.source, said.providers, said.models) == ("file", 4, 6)
    assert said == catalogue.describe(json.loads(json.dumps(SMALL)), "file")
    assert said.sha256 != catalogue.describe(SMALL | {"x": {"models": {}}}, "file").sha256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        b"\xff",
        '{"a": 1}',
        '{"a": {}}',
        '{"a": {"models": []}}',
        '{"a": {"models": {"m": null}}}',
        '{"a": {"models": {"m": 1}}}',
        '{"a": {"models": {"m": {"provider": "x"}}}}',
        '{"a": {"npm": ["x"], "models": {"m": {}}}}',
        '{"a": {"models": {"m": {"name": "\\ud800"}}}}',
        '{"a": {"models": {"m": {"cost": NaN}}}}',
        '{"a":' + "9" * 5000 + "}",
        "[" * 100_000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_opencode_could_not_use_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "api.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInputError) as caught:
        catalogue.read(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(BadInputError, match="cannot be read as a model catalogue"):
            catalogue.read(path)


# In a binary


@pytest.fixture
def binary(tmp_path):
    """A program with that program text, which keeps what it is to evaluate and gives SMALL as the value."""

    def make(text, answer=None):
        program = tmp_path / "opencode"
        answer = json.dumps(SMALL) if answer is None else answer
        (tmp_path / "answer").write_text(answer, encoding="utf-8")
        program.write_bytes(
            f'#!/bin/sh\n[ "$BUN_BE_BUN" = 1 ] || exit 9\n'
            f"cat >{tmp_path}/seen.$$ && mv {tmp_path}/seen.$$ {tmp_path}/seen\n"
            f"cat {tmp_path}/answer\nexit\n".encode()
            + text.encode()
        )
        program.chmod(0o755)
        return program

    return make


@pytest.mark.parametrize("name", ["plain", "it's"])
def test_a_snapshot_that_is_a_string_is_found(binary, tmp_path, name):
    text = json.dumps({f"p{i}": {"name": name, "models": {}} for i in range(4000)})
    literal = "'" + text.replace("'", "\\'") + "'"
    program = binary(f"x=await {literal};y='{{}}'")
    assert embedded.catalogue(program) == SMALL
    assert (tmp_path / "seen").read_text(encoding="utf-8") == f"JSON.parse({literal})"


def test_a_snapshot_that_is_an_object_is_found_whole_and_no_more(binary, tmp_path):
    models = """{"m":{name:"} \\" ]",say:'it\\'s {',tick:`[{`}}"""
    snapshot = f"""{{plain:{{id:"plain",env:["A"],models:{models}}},"o-p":{{id:"o-p",env:[]}}}}"""
    program = binary(f"""let small={{x:{{id:"x",env:[]}}}},big=({snapshot});more={{"}}":1}}""")
    assert embedded.catalogue(program) == SMALL
    assert (tmp_path / "seen").read_text(encoding="utf-8") == snapshot


@pytest.mark.parametrize("text", ["", "nothing here", 'a={x:{id:"x",env:[', "await '{\"a\":1}'"])
def test_a_binary_without_a_snapshot_is_told_with_the_way_out(binary, text):
    with pytest.raises(
        BadInputError, match="no model catalogue found in this binary; give one with --models"
    ):
        embedded.catalogue(binary(text))


@pytest.mark.parametrize("answer", ["{}", "[]", '{"x": 1}', '{"x": {"models": 1}}'])
def test_what_looks_like_a_snapshot_and_is_none_is_not_taken(binary, answer):
    with pytest.raises(BadInputError, match="no model catalogue found"):
        embedded.catalogue(binary('a={x:{id:"x",env:[]}}', answer))
