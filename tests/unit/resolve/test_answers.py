"""A registry's answers are anybody's: with something wrong in them they make one sentence or a good lock.

OPENCODE_CACHE_TEST_MUTANTS says how many are tried.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.fetch import tarballs
from opencode_cache.formats import lock, plan
from opencode_cache.npm import client as npm
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import ask, embedded, highlighting
from opencode_cache.resolve import programs, resolver, signatures

MUTANTS = int(os.environ.get("OPENCODE_CACHE_TEST_MUTANTS", "20"))
ANSWERS = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))
"""What npm said of four packages and two trees, with this machine in place of the registry."""
AUDIT = {"invalid": [], "missing": [{"name": "@ai-sdk/groq", "version": "4.0.84", "location": "x"}]}
LINUX = "x86_64-linux"
DEEP = "\0deep\0"


class Npm:
    """npm whose answers are changed by `change`, a function of the document and its kind."""

    def __init__(self, monkeypatch):
        self.change = lambda _, document: document
        monkeypatch.setattr(npm, "_config", lambda: {"registry": "http://127.0.0.1:9/"})
        monkeypatch.setattr(npm, "_start", self.start)
        monkeypatch.setattr(tarballs, "sizes", lambda packages: {p.key: 7 for p in packages})
        monkeypatch.setattr(ask, "sdk_major", lambda _: 4)
        monkeypatch.setattr(ask, "bundled", lambda *_: set())
        monkeypatch.setattr(embedded, "catalogue", lambda _: {})
        monkeypatch.setattr(highlighting, "remote", lambda _: {"bash": SimpleNamespace()})
        monkeypatch.setattr(highlighting, "embedded", lambda _: ())
        npm.registry.cache_clear()

    def start(self, arguments, cwd):
        words = list(arguments)
        document, kind = AUDIT, "audit"
        if words[0] == "view":
            document, kind = ANSWERS["views"].get(words[words.index("--") + 1], {}), "view"
        elif words[0] == "install":
            document, kind = ANSWERS["locks"][split_spec(words[-1])[0]], "install"
        text = self.change(kind, copy.deepcopy(document))
        text = text if isinstance(text, str) else as_text(text)
        if words[0] == "install":
            (cwd / "package-lock.json").write_bytes(text.encode("utf-8", "surrogatepass"))
            text = ""
        return subprocess.CompletedProcess(words, 0, text, "")

    def lock(self, tmp_path):
        """The lock of a small plan, as it is written."""
        chosen = plan.Plan(
            opencode="1.18.33",
            systems=[LINUX],
            providers=["@ai-sdk/groq"],
            config=["@opencode-ai/plugin"],
            languages=["bash"],
        )
        found, missing = programs.binaries("1.18.33", [LINUX])
        made = resolver.Resolver(
            chosen, tmp_path / "opencode", before=None, on_step=lambda _: None, archives=tmp_path
        ).lock(found, missing)
        (tmp_path / "lock.json").write_text(lock.dumps(made), encoding="utf-8")
        return made


def as_text(document):
    text = json.dumps(document)
    return text.replace(json.dumps(DEEP), "[" * 3000 + "]" * 3000)


@pytest.fixture
def npms(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Npm(monkeypatch)


def outcome(npms, tmp_path):
    """ "lock", the sentence of an error, or what it is instead of those."""
    try:
        npms.lock(tmp_path)
        made = lock.read(tmp_path / "lock.json")
        # What a person sees or a shell gets of it holds nothing that a terminal obeys.
        names = [word for p in made.packages.values() for word in (p.key, p.license or "", p.integrity)]
        return "lock" if all(name.isprintable() for name in names) else f"unprintable: {names}"
    except OpencodeCacheError as error:
        said = str(error)
        return said if said.isprintable() and len(said) < 2000 else f"unprintable: {said!r}"
    except BaseException:  # noqa: BLE001 - a traceback is what is looked for
        return f"unprintable: {traceback.format_exc()}"


def test_the_answers_as_they_are_make_a_lock(npms, tmp_path):
    assert outcome(npms, tmp_path) == "lock"
    made = lock.read(tmp_path / "lock.json")
    assert {request.name: request.version for request in made.requests} == {
        "@ai-sdk/groq": "4.0.84",
        "@opencode-ai/plugin": "1.18.33",
    }
    assert "tree-sitter-bash@0.25.0" in made.packages
    assert made.signatures.missing == ("@ai-sdk/groq@4.0.84",)


NAMED = {
    "a licence that is deep": ("license", DEEP, "nested too deep"),
    "a version with a newline": ("version", "4.0.84\n", None),
    "a version that is a table": ("version", {}, None),
    "an integrity that is a number": ("integrity", 7, "no sha512 integrity|no hash can be locked"),
    "an integrity that is a list": ("integrity", ["sha512-x"], "no sha512 integrity|no hash can be locked"),
    "an integrity without an end": ("integrity", "sha512-", "no sha512 integrity|no hash can be locked"),
    "dist that is a string": ("dist", "x", "no sha512 integrity|no hash can be locked"),
    "dependencies that are a list": ("dependencies", ["x"], "lock"),
    "dependencies that are deep": ("dependencies", DEEP, "nested too deep"),
    "a dependency that is no string": ("dependencies", {"@ai-sdk/provider": 4}, "lock"),
    "a range of many digits": ("dependencies", {"@ai-sdk/provider": "9" * 6000}, "lock"),
    "time that is a string": ("time", "x", "lock"),
    "a bin that is a list": ("bin", ["x"], "lock"),
    "words that are numbers": ("os", [1, None], "lock"),
    "a cpu that is a table": ("cpu", {"x": 1}, "lock"),
}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_field_of_another_type(npms, tmp_path, name):
    field, value, expected = NAMED[name]

    def change(kind, document):
        entries = document if isinstance(document, list) else list(document.get("packages", {}).values())[1:]
        for entry in entries if kind != "audit" else ():
            (entry["dist"] if field == "integrity" and "dist" in entry else entry)[field] = value
        return document

    npms.change = change
    said = outcome(npms, tmp_path)
    assert not said.startswith("unprintable"), said
    if expected:
        assert re.search(expected, said)


@pytest.mark.parametrize("kind", ["view", "install", "audit"])
@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", '"x"', "[" * 100_000, "{", "[[]]", '{"packages": 7}']
)
def test_a_document_of_another_kind(npms, tmp_path, kind, text):
    npms.change = lambda asked, document: text if asked == kind else document
    said = outcome(npms, tmp_path)
    assert not said.startswith("unprintable"), said
    assert said != "lock" or kind == "audit"


# Mutants

VALUES = [
    *(None, True, 0, -1, 1.5, 10**40, [], {}, [[]], [{}], {"": ""}, {"a": {"b": 1}}, ["x"] * 2000),
    *("", " ", "\n", "a\nb", "\x1b[31m", "\u202e", "\ud800", "..", "../../x", "-g", "x" * 100_000),
    *("sha512-", "9" * 5000, "^", ">=0 || " * 500, DEEP, [DEEP], {"type": DEEP}, {"x": DEEP}),
]
WRONG = "\0\t\n\x1b./@\x7f\u202e"


def places(document, at=()):
    """Every place in a document, as the way to it."""
    pairs = ()
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = enumerate(document)
    for key, value in pairs:
        yield (*at, key)
        yield from places(value, (*at, key))


def mutant(dice, document):
    """The document with one to three things changed; or its text, with bytes changed."""
    for _ in range(dice.randint(1, 3)):
        ways = list(places(document))
        if not ways:
            break
        way = dice.choice(ways)
        inner = document
        for key in way[:-1]:
            inner = inner[key]
        kind = dice.randrange(5)
        if kind == 0:
            del inner[way[-1]]
        elif kind == 1 and isinstance(inner, dict):
            inner[dice.choice([value for value in VALUES if isinstance(value, str)])] = inner.pop(way[-1])
        elif kind == 2:  # something else of the same document
            other = document
            for key in dice.choice(ways):
                other = other[key] if isinstance(other, (dict, list)) and _has(other, key) else other
            inner[way[-1]] = copy.deepcopy(other)
        elif kind == 3 and isinstance(inner[way[-1]], str):
            text = inner[way[-1]]
            place = dice.randrange(len(text) + 1)
            inner[way[-1]] = (
                text[:place] + chr(dice.choice([0, 9, 10, 27, 46, 47, 64, 127, 8238])) + text[place:]
            )
        else:
            inner[way[-1]] = copy.deepcopy(dice.choice(VALUES))
    if dice.random() < 0.1:
        text = as_text(document)
        place = dice.randrange(len(text))
        return text[:place] + dice.choice(['"', "{", "]", "\0", "", "\x1b", ",", "1e999"]) + text[place + 1 :]
    return document


def _has(document, key):
    return key in document if isinstance(document, dict) else isinstance(key, int) and key < len(document)


def test_mutants_of_real_answers_make_one_sentence_or_a_good_lock(npms, tmp_path, monkeypatch):
    bad, locks = [], 0
    check = signatures.check
    for seed in range(MUTANTS):
        dice = random.Random(seed)  # noqa: S311 - not for secrets
        which = dice.choice(["view", "view", "install", "install", "audit"])
        # Most of the time would go into directories for npm's look at the signatures.
        monkeypatch.setattr(signatures, "check", check if which == "audit" else lambda _: lock.Signatures())
        npms.change = lambda kind, document: mutant(dice, document) if kind == which else document  # noqa: B023
        said = outcome(npms, tmp_path)
        locks += said == "lock"
        if said.startswith("unprintable"):
            bad.append((seed, said))
    print(f"{MUTANTS} mutants: {locks} locks, {MUTANTS - locks - len(bad)} sentences, {len(bad)} others")  # noqa: T201
    assert bad == []
    assert 0 < locks < MUTANTS
