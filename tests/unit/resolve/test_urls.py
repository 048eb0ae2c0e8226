"""Texts by address: what may be named, what a lock has of it, and what an index from outside can do."""

from __future__ import annotations

import functools
import json

import pytest
from hostile import Hostile, says
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.base import http
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import urls as build
from opencode_cache.formats import lock, plan, urls
from opencode_cache.resolve import missing
from opencode_cache.resolve import urls as resolve

QUICK = functools.partial(http.Client, connect=0.5, silence=0.3, total=2, pause=0)
SKILL = "---\nname: knots\ndescription: ties knots\n---\nPull.\n"


@pytest.fixture
def site(monkeypatch):
    """A server with these texts by path; 404 for all else."""
    monkeypatch.setattr(http, "Client", QUICK)
    started = []

    def serve(texts):
        def answer(connection, head):
            path = head.split()[1]
            body = texts.get(path)
            body = body if body is None or isinstance(body, bytes) else body.encode()
            says("200 OK" if body is not None else "404 Not Found", body or b"")(connection, head)

        started.append(Hostile(answer))
        return started[-1].url

    yield serve
    for server in started:
        server.close()


def take(instructions=(), skills=()):
    return resolve.take(instructions, skills, lambda _: None)


def index(*skills):
    return json.dumps(
        {"skills": [{"name": name, "files": files, "description": "x"} for name, files in skills]}
    )


def test_instructions_and_all_files_of_skills_are_taken(site):
    url = site(
        {
            "/rules.md": "Be kind.\n",
            "/all/index.json": index(("knots", ["SKILL.md", "more/tips.md"]), ("empty", ["README.md"])),
            "/all/knots/SKILL.md": SKILL,
            "/all/knots/more/tips.md": "Wet the rope.\n",
        }
    )
    texts, gone = take([f"{url}/rules.md"], [f"{url}/all"])
    assert gone == []
    first = json.loads(texts.pop(f"{url}/all/index.json"))
    assert texts == {
        f"{url}/rules.md": "Be kind.\n",
        f"{url}/all/knots/SKILL.md": SKILL,
        f"{url}/all/knots/more/tips.md": "Wet the rope.\n",
    }
    # Without its SKILL.md OpenCode passes over a skill; by the version it sees that a kept one is another.
    assert [(one["name"], one["files"]) for one in first["skills"]] == [
        ("knots", ["SKILL.md", "more/tips.md"])
    ]
    assert first["skills"][0]["version"] not in urls.index({"knots": {"SKILL.md": "other"}})


@pytest.mark.parametrize("end", ["", "/"])
def test_the_address_of_the_index_is_the_one_that_opencode_asks_for(end):
    assert urls.first("skills", f"https://h/a{end}") == "https://h/a/index.json"
    assert urls.first("instructions", f"https://h/a{end}") == f"https://h/a{end}"


def test_a_configuration_asks_for_what_is_there():
    texts = ("https://h/rules.md", "https://h/a/index.json", "https://h/a/knots/SKILL.md")
    assert urls.configured(texts) == {
        "instructions": ["https://h/rules.md"],
        "skills": {"urls": ["https://h/a/"]},
    }
    assert urls.configured(()) == {}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/gone.md", None, "404"),
        ("/long.md", "x" * (urls.LARGEST + 1), "more than the expected"),
        ("/picture.md", b"\x89PNG", "is no text in UTF-8; save it as a file"),
    ],
)
def test_what_cannot_be_had_is_said_and_the_rest_is_taken(site, path, body, said):
    url = site({"/rules.md": "Be kind.\n"} | ({path: body} if body else {}))
    texts, gone = take([f"{url}{path}", f"{url}/rules.md"])
    assert list(texts) == [f"{url}/rules.md"]
    assert [(one.kind, one.spec) for one in gone] == [("url", f"{url}{path}")]
    assert said in gone[0].reason


def test_an_address_was_named_by_a_person_so_that_its_lack_ends_the_lock(site):
    _, gone = take([f"{site({})}/gone.md"])
    error = missing.MissingError(missing.named(gone, set()))
    assert f"url {gone[0].spec}: " in str(error)
    assert "--allow-missing goes on without it" in str(error)


HOSTILE = {
    "not JSON": "<html>",
    "not an index": "[]",
    "a name that climbs": index(("..", ["SKILL.md"])),
    "a name with a slash": index(("a/b", ["SKILL.md"])),
    "a file that climbs": index(("a", ["SKILL.md", "../../../.bashrc"])),
    "a file elsewhere": index(("a", ["SKILL.md", "https://example.org/x"])),
    "a hidden file": index(("a", ["SKILL.md", ".opencode-version"])),
    "a file with a backslash": index(("a", ["SKILL.md", "..\\x"])),
    "too many skills": index(*((f"s{number}", ["SKILL.md"]) for number in range(urls.MOST + 1))),
    "too many files": index(*((f"s{number}", ["SKILL.md", "a", "b"]) for number in range(urls.MOST // 2))),
    "nested without end": "[" * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_index_that_means_ill_is_refused_before_its_files_are_asked_for(site, text):
    url = site({"/index.json": text})
    texts, gone = take(skills=[url])
    assert texts == {}
    assert len(gone) == 1
    assert "name it under skills.paths" in gone[0].reason
    assert len(gone[0].reason) < 1000


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
@settings(max_examples=50, deadline=None)
def test_whatever_an_index_names_stays_below_its_address(document):
    made = json.dumps({"skills": [{"name": "a", "files": ["SKILL.md", document]}]})
    try:
        found = urls.Index.model_validate_json(made)
    except ValueError:
        return
    assert all(
        ".." not in file.split("/") and ":" not in file for skill in found.skills for file in skill.files
    )


@pytest.mark.parametrize(
    ("field", "url", "said"),
    [
        ("instructions", "https://me:secret@h/x", "login or a query, which no lock may hold; save the text"),
        ("instructions", "https://h/x?token=secret", "login or a query"),
        ("skills", "https://h/x?token=secret", "fetch the skills into a directory"),
        ("instructions", "http://h/x", "not https"),
        ("instructions", "ftp://h/x", "is not an address; write 'https://HOST/PATH'"),
        ("instructions", "https://h/a b", "is not an address"),
        ("instructions", "https://h/" + "x" * 3000, "is not an address"),
        ("skills", "https://h/x/index.json", "write 'https://h/x/'"),
    ],
)
def test_a_plan_with_another_address_is_refused_with_the_fix(field, url, said):
    with pytest.raises(BadInputError) as caught:
        plan.Plan.model_validate({field: [url]})
    assert str(caught.value).startswith(field)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_older_versions_of_opencode_are_told_apart():
    with pytest.raises(BadInputError, match=r"only OpenCode 1\.14 or newer"):
        plan.Plan(opencode="1.3.2", instructions=["https://h/x"])


def test_a_cache_has_each_text_under_its_hash(tmp_path):
    digests = build.write({"https://h/a": "one\n", "https://h/b": "two\n"}, tmp_path)
    assert json.loads((tmp_path / urls.INDEX).read_text()) == digests
    assert {url: (tmp_path / urls.DIRECTORY / digest).read_text() for url, digest in digests.items()} == {
        "https://h/a": "one\n",
        "https://h/b": "two\n",
    }
    assert build.write({}, tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("entry", [{"javascript:x": "t"}, {"https://h/\n": "t"}, {"https://h": "x" * 70_000}])
def test_a_lock_with_another_text_is_refused(entry):
    with pytest.raises(ValueError, match="urls"):
        lock.Lock.model_validate({"opencode": {}, "requests": [], "trees": {}, "packages": {}, "urls": entry})
