"""The real interface shows code in the languages of the cache: in colours, and without asking for a host."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import colours
import pytest
from kept import EVERY, slow

from opencode_cache.base.errors import NetworkError
from opencode_cache.build import builder
from opencode_cache.build import grammars as build_grammars
from opencode_cache.formats import grammar
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.npm.client import NotInRegistryError
from opencode_cache.opencode import highlighting
from opencode_cache.resolve import grammars
from opencode_cache.resolve.metadata import package_from
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

KNOWN_10 = ["models.dev"]
"""1.0.x fetches the catalogue at every start and has no switch for it."""

SAMPLES = {
    "bash": 'for name in "$@"; do echo "bash $name"; done',
    "c": "static int f_c(void) { return 1; /* c */ }",
    "cpp": "class Cpp { public: virtual int size() const; };",
    "csharp": "public class Csharp { private int x = 5; }",
    "css": "a.css { color: #ff0000; margin: 1px }",
    "elixir": 'defmodule Elixir.A do def f(x), do: "a" end',
    "fsharp": 'let fsharp (x: int) : string = if x > 5 then "a" else "b"',
    "go": 'func main() { var go_x int = 5; println("go", go_x) }',
    "haskell": 'haskell :: Int -> String; haskell x = if x > 5 then "a" else "b"',
    "html": '<p class="html">text</p> <!-- html -->',
    "java": "public class Java { private final int x = 5; }",
    "json": '{"json": [1, true, null, "text"]}',
    "julia": 'function julia(x) return x > 5 ? "a" : "b" end',
    "kotlin": 'fun kotlin(x: Int): String { return "kotlin" }',
    "lua": 'local function lua(x) return x == 5 and "a" end',
    "ocaml": 'let ocaml (x : int) = if x > 5 then "a" else "b"',
    "php": '<?php function php($x) { return "a" . 5; }',
    "python": 'def python(x: int) -> str: return "a" if x else None',
    "r": 'r_f <- function(x) { if (x > 5) "a" else NULL }',
    "ruby": 'def ruby(x) return "a" if x == :b end',
    "rust": 'fn rust(x: u32) -> bool { let y = "a"; true }',
    "scala": 'def scala(x: Int): String = if (x > 5) "a" else "b"',
    "swift": 'func swift(x: Int) -> String { return "swift" }',
    "toml": "[toml] # a comment",
    "yaml": 'yaml: [1, true, "text"] # a comment',
}
"""One line of each language that has a pin."""


def answer(languages):
    return "\n\n".join(f"```{name}\n{SAMPLES[name]}\n```" for name in languages)


TWO = ("python", "rust")


@pytest.fixture(scope="module")
def packages(fetch_packages):
    """The pins' packages by key, as a lock would have them; fetched. npm is started for each."""

    def one(spec):
        return package_from(npm.view(spec)[0], spec.rpartition("@")[0])

    specs = grammar.packages(grammars.PINS[name] for name in (grammars.PINS if EVERY else TWO))
    try:
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(specs, pool.map(one, specs), strict=True))
    except NotInRegistryError:
        raise  # a pin that is not there is no reason to skip
    except NetworkError as error:
        pytest.skip(f"needs the npm registry: {error}")
    fetch_packages(found.values())
    return found


@pytest.fixture(scope="module")
def place(packages, tarballs, tmp_path_factory):
    """Puts languages where OpenTUI looks, as links to read-only files; without names, all that have a pin."""

    def one(made, home, *names):
        known = highlighting.remote(made.opencode)
        pins, _ = grammars.choose(names or "pinned", {}, known)
        cache = tmp_path_factory.mktemp("grammars")
        build_grammars.install(pins, known, packages, tarballs, cache)
        for path in (path for path in cache.rglob("*") if path.is_file()):
            path.chmod(0o444)
            if path.name != grammar.INDEX:
                file = path.relative_to(cache)
                link = home / ".local" / "share" / "opentui" / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(cache / file)
        return list(pins)

    return one


@pytest.fixture(scope="module")
def program_118(made_118, tmp_path_factory):
    return wrapper.wrap(made_118.cache, made_118.opencode, tmp_path_factory.mktemp("wrapped"))


@pytest.fixture(scope="module")
def program_10(made_10, tmp_path_factory):
    return wrapper.wrap(made_10.cache, made_10.opencode, tmp_path_factory.mktemp("wrapped"))


def test_the_table_has_every_language_of_the_binary(made_118, made_10):
    for made, count in ((made_118, 34), (made_10, 18)):
        known = highlighting.remote(made.opencode)
        urls = set(re.findall(rb'"(https://github\.com/[^"\s]+\.wasm)"', made.opencode.read_bytes()))
        assert {one.wasm for one in known.values()} == {url.decode() for url in urls}
        assert len(known) == count
        assert {"typescript", "javascript", "markdown"} <= highlighting.embedded(made.opencode)


@slow
def test_118_shows_every_pinned_language_in_colours(program_118, made_118, place, tmp_path):
    languages = place(made_118, tmp_path)
    assert languages == sorted(SAMPLES)
    shown = colours.show(program_118, answer(languages), tmp_path)
    assert (shown.before, shown.hosts) == ([], [])
    assert [name for name in languages if len(shown.colours(SAMPLES[name])) == 1] == []


def test_languages_of_a_lock_are_in_colours_and_nothing_is_written(made_118, packages, tarballs, tmp_path):
    """As users have it: lock, build, wrap; OpenTUI is pointed at the cache."""
    pins, _ = grammars.choose(TWO, {}, highlighting.remote(made_118.opencode))
    wanted = {key: packages[key] for key in grammar.packages(pins.values())}
    # Languages, and what OpenCode wants at every start.
    config = made_118.lock.trees["config"]
    kept = {key: made_118.lock.packages[key] for key in config.values()}
    change = {
        "languages": pins,
        "packages": kept | wanted,
        "trees": {"config": config},
        "requests": tuple(one for one in made_118.lock.requests if one.kind == "config"),
    }
    inputs = builder.Inputs(
        made_118.lock.model_copy(update=change), tarballs, made_118.opencode, platforms.current()
    )
    made = builder.build(inputs, tmp_path / "cache")
    assert made.languages == TWO
    assert {"nix", "go"} <= set(made.languages_fetched)
    home = tmp_path / "home"
    program = wrapper.wrap(tmp_path / "cache", made_118.opencode, tmp_path / "wrapped")
    shown = colours.show(program, answer(TWO), home)
    assert (shown.before, shown.hosts) == ([], [])
    assert all(len(shown.colours(SAMPLES[name])) > 2 for name in TWO)
    assert not [path for path in (home / ".local/share/opentui").rglob("*") if path.is_file()]


@slow
def test_118_shows_a_file_that_the_agent_writes(program_118, made_118, place, tmp_path):
    place(made_118, tmp_path, "rust")
    shown = colours.show(program_118, "Done.", tmp_path, file=("main.rs", SAMPLES["rust"] + "\n"))
    assert (tmp_path / "work" / "main.rs").exists()
    assert shown.hosts == []
    assert len(shown.colours(SAMPLES["rust"])) > 2


@slow
def test_118_asks_for_the_host_where_a_language_is_not_there(program_118, made_118, place, tmp_path):
    place(made_118, tmp_path, "python")
    shown = colours.show(program_118, answer(["python", "rust"]), tmp_path)
    assert shown.hosts == ["github.com"]
    assert len(shown.colours(SAMPLES["python"])) > 2
    assert len(shown.colours(SAMPLES["rust"])) == 1


@slow
def test_118_asks_for_the_host_where_none_is_there(program_118, tmp_path):
    shown = colours.show(program_118, answer(["python"]), tmp_path)
    assert (shown.before, shown.hosts) == ([], ["github.com"])
    assert len(shown.colours(SAMPLES["python"])) == 1


@slow
def test_10_shows_every_pinned_language_in_colours(program_10, made_10, place, tmp_path):
    languages = place(made_10, tmp_path)
    shown = colours.show(program_10, answer(languages), tmp_path)
    assert shown.hosts == KNOWN_10
    assert [name for name in languages if len(shown.colours(SAMPLES[name])) == 1] == []


def test_10_asks_for_the_host_where_none_is_there(program_10, tmp_path):
    shown = colours.show(program_10, answer(["python"]), tmp_path)
    assert shown.hosts == ["github.com", *KNOWN_10]
    assert len(shown.colours(SAMPLES["python"])) == 1
