"""The `generations` layout of OpenCode 2.x: its keys, what is written, and what counts as installed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import making
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import contents, plan
from opencode_cache.formats.lock import Lock
from opencode_cache.layouts.generations import key
from opencode_cache.npm import platforms
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from pathlib import Path

GENERATIONS = layouts.named("generations")
VERSION = "2.0.32"
COMMIT = "0123456789" * 4


@pytest.fixture
def experimental(monkeypatch):
    monkeypatch.setenv(versions.CONSENT, "1")


# Of facts that were tried with upstream's own install code under Bun.
KEYS = [
    ("plug", "plug@latest"),
    ("plug@latest", "plug@latest"),
    ("plug@1.2.3", "plug@1.2.3"),
    ("plug@^1", "plug@^1"),
    ("plug@>=1 <2", "plug@>=1 <2"),
    ("plug@", "plug@*"),
    ("@s/plug", "@s/plug@latest"),
    ("@s/plug@next", "@s/plug@next"),
    ("plug@npm:other@1", "plug@npm:other@1"),
    ("github:o/r#v1", "git-r-b67ef97abbdb"),
]


@pytest.mark.parametrize(("spec", "wanted"), KEYS)
def test_the_key_of_a_spec_is_upstreams(spec, wanted):
    assert key(spec) == wanted


def second(spec: str) -> str:
    """The same rule, written after its description: npm's parts of a spec, and the repository's last word."""
    git = re.fullmatch(
        r"(?:[^:]*?@)?(?:github:|git\+https://github\.com/)[^/]+/([^#]*?)(?:\.git)?(?:#.*)?", spec
    )
    if git:
        return f"git-{git[1].strip('-') or 'repository'}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}"
    end = spec.find("@", 1)
    if end < 0:
        return spec + "@latest"
    return spec + "*" if end == len(spec) - 1 else spec


WORD = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,8}", fullmatch=True)
NAME = st.one_of(WORD, st.builds("@{}/{}".format, WORD, WORD))
RANGE = st.sampled_from(["", "1.2.3", "^1", "~1.2", ">=1 <2", "1 || 2", "*", "next", "latest", "npm:other@1"])
REPOSITORY = st.builds(
    "{}{}{}/{}{}{}".format,
    st.one_of(st.just(""), NAME.map("{}@".format)),
    st.sampled_from(["github:", "git+https://github.com/"]),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(
        lambda s: ".git" not in s.lower()
    ),
    st.sampled_from(["", ".git"]),
    st.sampled_from(["", "#v1", "#main", f"#{COMMIT}"]),
)


@given(st.one_of(NAME, st.builds("{}@{}".format, NAME, RANGE), REPOSITORY))
def test_the_key_is_what_a_second_reading_of_the_rule_makes(spec):
    assert key(spec) == second(spec)


@given(st.lists(st.one_of(NAME, REPOSITORY), unique=True, min_size=2, max_size=8))
def test_two_specs_have_one_key_only_where_they_mean_the_same(specs):
    assert len({key(spec) for spec in specs}) == len(specs)


@given(st.one_of(NAME, st.builds("{}@{}".format, NAME, RANGE.filter(bool)), REPOSITORY))
def test_every_key_makes_a_tree_that_a_lock_may_have(spec):
    tree = GENERATIONS.place(VERSION, "plugin", spec, "1.0.0").tree
    document = json.loads(made([("plugin", spec, "x")], check=False))
    assert set(document["trees"]) == {tree}


def made(requests: list[tuple[str, str, str]], *, check: bool = True) -> str:
    """A lock of (kind, spec, name), as JSON."""
    packages, trees, wanted = {}, {}, []
    for kind, spec, name in requests:
        github = f"o/r#{COMMIT}" if ":" in spec and "npm:" not in spec else None
        package = making.package(name, github=github, bin={name: "./cli.js"} if kind == "tool" else {})
        placed = GENERATIONS.place(VERSION, kind, spec, "1.0.0")
        packages[package.key] = package
        trees[placed.tree] = {f"node_modules/{name}": package.key}
        fields = {"name": name, "requested": placed.requested}
        wanted.append(making.request(kind, spec, placed.tree) | fields)
    about = {"version": VERSION, "layout": "generations", "bundled": [], "binaries": {}}
    lock = Lock.model_validate({"opencode": about, "requests": wanted, "trees": trees, "packages": packages})
    if check:
        layouts.check(lock)
    return lock.model_dump_json()


ALL = [
    ("plugin", "bare", "bare"),
    ("plugin", "pinned@1.0.0", "pinned"),
    ("plugin", "range@>=1 <2", "range"),
    ("plugin", "@scope/scoped", "@scope/scoped"),
    ("plugin", "named@github:o/r", "named"),
    ("plugin", "github:o/r#v1", "nameless"),
    ("plugin", "alias@npm:bare@1", "alias"),
    ("provider", "@ai-sdk/x@1.0.0", "@ai-sdk/x"),
    ("tool", "pyright", "pyright"),
    ("command", "@scope/server", "@scope/server"),
]


def filled(cache: Path) -> Lock:
    """A cache with the trees of `ALL`, each package an empty directory."""
    lock = Lock.model_validate_json(made(ALL))
    for tree, nodes in lock.trees.items():
        for place in nodes:
            (cache / tree / place).mkdir(parents=True)
    commands = cache / "npm/pyright@latest/1/node_modules/.bin"
    commands.mkdir()
    (commands / "pyright-langserver").symlink_to("../pyright/cli.js")
    GENERATIONS.write_metadata(cache, lock)
    return lock


def test_what_is_written_is_golden(tmp_path, experimental):
    lock = filled(tmp_path)
    named, nameless = key("named@github:o/r"), key("github:o/r#v1")
    assert GENERATIONS.links(tmp_path) == tuple(
        sorted(
            [
                "npm/@ai-sdk/x@1.0.0/1",
                "npm/@scope/scoped@latest/1",
                "npm/@scope/server@latest/1",
                "npm/alias@npm:bare@1/1",
                "npm/bare@latest/1",
                f"npm/{named}/1",
                f"npm/{key('named@github:o/r', 64)}/1",
                f"npm/{nameless}/1",
                f"npm/{key('github:o/r#v1', 64)}/1",
                "npm/pinned@1.0.0/1",
                "npm/pyright@latest/1",
                "npm/range@>=1 <2/1",
            ]
        )
    )
    documents = {
        path.relative_to(tmp_path).as_posix(): json.loads(path.read_text())
        for path in tmp_path.glob("npm/*/1/*.json")
        if not path.parent.is_symlink()
    }
    commit = f"git+ssh://git@github.com/o/r.git#{COMMIT}"

    def locked(name):
        packages = {f"node_modules/{name}": {"version": "1.0.0", "resolved": commit}}
        return {"lockfileVersion": 3, "packages": packages}

    assert documents == {
        "npm/alias@npm:bare@1/1/package.json": {"dependencies": {"alias": "alias@npm:bare@1"}},
        f"npm/{named}/1/package.json": {"dependencies": {"named": "named@github:o/r"}},
        f"npm/{named}/1/package-lock.json": locked("named"),
        f"npm/{nameless}/1/package.json": {"dependencies": {"nameless": "github:o/r#v1"}},
        f"npm/{nameless}/1/package-lock.json": locked("nameless"),
    }
    assert GENERATIONS.copies(tmp_path) == ()
    assert all(GENERATIONS.installed(tmp_path, entry, VERSION)[0] for entry in contents.entries(lock))


def test_what_is_not_there_is_not_installed(tmp_path, experimental):
    entries = contents.entries(Lock.model_validate_json(made(ALL)))
    assert not any(GENERATIONS.installed(tmp_path, entry, VERSION)[0] for entry in entries)


def test_a_later_install_of_the_users_is_told(tmp_path):
    for name in ("1", "2", "1790000000000", ".staging-1-x", "0"):
        (tmp_path / "npm/a@latest" / name).mkdir(parents=True)
    (tmp_path / "npm/other@latest/5").mkdir(parents=True)
    newer = GENERATIONS.newer(tmp_path, ("npm/a@latest/1", "models.json"))
    assert newer == ["npm/a@latest/1790000000000", "npm/a@latest/2"]


def test_the_catalogue_is_linked_and_not_copied(tmp_path):
    (tmp_path / "models.json").write_text("{}")
    assert GENERATIONS.links(tmp_path) == ("models.json",)


def test_nothing_is_put_into_config_directories():
    with pytest.raises(BadInputError, match="installs nothing into config directories; take it out"):
        GENERATIONS.place(VERSION, "config", "@opencode-ai/plugin", "1.0.0")


def test_a_cache_is_right_for_its_series():
    assert GENERATIONS.accepts("2.0.17", "2.0.32")
    assert not GENERATIONS.accepts("2.0.32", "2.1.0")


def test_the_programs_have_names_of_their_own():
    assert GENERATIONS.binaries(platforms.named("x86_64-linux-musl")) == (
        "@opencode/cli-linux-x64-baseline-musl",
        "@opencode/cli-linux-x64-musl",
    )


def test_without_experimental_two_sentences_say_what_is_known_and_unknown():
    with pytest.raises(BadInputError) as refused:
        plan.default("2.0.32")
    text = str(refused.value)
    assert len(re.findall(r"\. [A-Z]", text)) == 1
    for part in ("known is what 2.0.15 for x86_64-linux makes", "unknown is all of other", "--experimental"):
        assert part in text
    with pytest.raises(BadInputError, match="is an experiment here"):
        made(ALL)


def test_with_experimental_a_plan_has_no_providers_of_its_own(experimental):
    assert plan.default("2.1.4").providers == []


@pytest.mark.parametrize("tree", ["npm/a@latest", "npm/a@latest/2", "npm/../x/1", "npm//1"])
def test_a_lock_with_another_tree_is_refused(tree):
    document = json.loads(made([("plugin", "a", "a")], check=False))
    document["trees"] = {tree: document["trees"].pop("npm/a@latest/1")}
    document["requests"][0]["tree"] = tree
    with pytest.raises(ValueError, match=r"tree|spec|path"):
        Lock.model_validate(document)
