"""The lock file: reading it, refusing it, and writing it at once or not at all."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import making
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.base import files, model
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import lock

REPOSITORY_LOCKS = sorted((Path(__file__).parents[3] / "nix" / "locks").glob("*.lock.json"))

NAMES = st.from_regex(r"(@[a-z0-9][a-z._-]?/)?[a-z0-9_][a-z.-]{0,3}", fullmatch=True)
VERSIONS = st.sampled_from(["0.0.1", "1.2.3", "10.0.0-rc.1", "2.0.0+build"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
WORDS = st.lists(st.sampled_from(["linux", "darwin", "!win32", "x64", "arm64"]), max_size=2).map(tuple)


@st.composite
def packages(draw):
    return making.package(
        draw(NAMES),
        draw(VERSIONS),
        size=draw(st.none() | st.integers(0, 2**40)),
        license=draw(st.none() | TEXT),
        os=draw(WORDS),
        cpu=draw(WORDS),
        libc=draw(st.sampled_from([(), ("glibc",), ("musl",)])),
        bin=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
    )


@st.composite
def locks(draw):
    """Any lock that the program could have made: packages in trees, and requests for some of them."""
    found = {package.key: package for package in draw(st.lists(packages(), min_size=1, max_size=5))}
    trees, requests = {}, {}
    for package in draw(st.lists(st.sampled_from(list(found.values())), max_size=3)):
        tree = f"packages/{package.name}"
        nodes = {f"node_modules/{package.name}": package.key}
        for inner in draw(st.lists(st.sampled_from(list(found.values())), max_size=2)):
            nodes[f"node_modules/{package.name}/node_modules/{inner.name}"] = inner.key
        trees[tree] = nodes
        kind = draw(st.sampled_from(["provider", "plugin", "tool", "config"]))
        requests[tree] = making.request(kind, package.name, tree, package.version)
    return making.lock(
        list(found.values()), trees, list(requests.values()), cache_version=draw(st.none() | TEXT)
    )


def small() -> dict:
    """A valid lock as JSON values, with one of everything."""
    outer, inner = (
        making.package("outer", os=("linux",), bin={"o": "o.js"}, size=7),
        making.package("@in/ner"),
    )
    made = making.lock(
        [outer, inner],
        {"packages/outer": {"node_modules/outer": outer.key, "node_modules/@in/ner": inner.key}},
        [making.request("tool", "outer", "packages/outer")],
        missing={"aarch64-linux": "not released"},
    )
    document = json.loads(lock.dumps(made))
    document["unavailable"] = [{"spec": "gone", "kind": "plugin", "reason": "not there"}]
    return document


def read_text(directory: Path, text: str | bytes) -> lock.Lock:
    path = directory / "some.lock.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return lock.read(path)


def refusal(directory: Path, text: str | bytes) -> str:
    with pytest.raises(BadInputError) as caught:
        read_text(directory, text)
    return str(caught.value)


def assert_read_or_refused(directory: Path, text: str | bytes) -> None:
    """The text is a lock, or it is refused in one line that begins with the file."""
    try:
        assert lock.dumps(read_text(directory, text))
    except BadInputError as error:
        said = str(error)
    else:
        return
    assert said.startswith(str(directory / "some.lock.json"))
    assert len(said.splitlines()) == 1


@given(locks())
def test_a_lock_survives_writing_and_reading(tmp_path, made):
    text = lock.dumps(made)
    found = read_text(tmp_path, text)
    assert lock.dumps(found) == text
    assert found.packages == made.packages
    assert found.trees == made.trees
    assert set(found.requests) == set(made.requests)
    assert found.opencode == made.opencode


@given(locks(), st.randoms(use_true_random=False))
def test_the_text_does_not_depend_on_the_order_in_which_things_were_found(made, chance):
    def shuffled(mapping):
        items = list(mapping.items())
        chance.shuffle(items)
        return dict(items)

    other = lock.Lock(
        opencode=made.opencode,
        requests=tuple(chance.sample(made.requests, len(made.requests))),
        trees=shuffled({tree: shuffled(nodes) for tree, nodes in made.trees.items()}),
        packages=shuffled(made.packages),
    )
    assert lock.dumps(other) == lock.dumps(made)


@pytest.mark.parametrize("path", REPOSITORY_LOCKS, ids=lambda path: path.name)
def test_the_shipped_locks_are_written_as_this_program_writes_them(path):
    text = path.read_text(encoding="utf-8")
    assert lock.dumps(lock.read(path)) == text
    assert "://" not in text


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["", "../x", "/x", "a\\b", "a/../b", ".", "..", "node_modules/..", "sha512-", "latest"])
    | TEXT.filter(lambda text: len(text.splitlines()) < 2 and not text.endswith("\n")),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "..", "name"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value, path=()):
    """The path of every value in a document."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


SMALL = small()
PLACES = [path for path in places(SMALL) if path]


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from("dri"), JUNK), min_size=1, max_size=3))
def test_a_document_with_wrong_values_anywhere_is_read_or_refused_in_one_line(tmp_path, changes):
    document = copy.deepcopy(SMALL)
    for path, what, junk in changes:
        holder = document
        try:
            for key in path[:-1]:
                holder = holder[key]
            if what == "d":
                del holder[path[-1]]
            elif what == "r":
                holder[path[-1]] = junk
            elif isinstance(holder, list):
                holder.insert(path[-1], junk)
            else:
                holder[f"more-{path[-1]}"] = junk
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    assert_read_or_refused(tmp_path, json.dumps(document))


@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, data):
    whole = json.dumps(SMALL, indent=1).encode()
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 20))
    put = data.draw(
        st.binary(max_size=6) | st.sampled_from([b'"', b"[", b"{}", b"\\ud800", b"-", b"1e999", b"NaN"])
    )
    assert_read_or_refused(tmp_path, whole[:at] + put + whole[at + cut :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"lock"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"lock_version":' + "9" * 5000 + "}",
        b"\xff\xfe\x00",
        b"\x1f\x8b\x08",
        json.dumps(SMALL | {"lock_version": 2}),
        json.dumps(SMALL | {"surprise": 1}),
        json.dumps(SMALL).replace("not there", "\\ud800"),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_what_is_no_lock_is_refused_in_one_line_that_names_the_file(tmp_path, text):
    said = refusal(tmp_path, text)
    assert said.startswith(str(tmp_path / "some.lock.json"))
    assert len(said.splitlines()) == 1


def test_of_a_key_that_stands_twice_the_whole_document_is_checked(tmp_path):
    text = json.dumps(SMALL)
    assert read_text(tmp_path, '{"lock_version":1,' + text[1:]).opencode.version == "1.18.33"
    assert "packages" in refusal(tmp_path, text[:-1] + ',"packages":{}}')


def test_a_missing_file_and_a_directory_are_refused_with_the_command_that_makes_a_lock(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BadInputError, match=r"cannot be read .*make one with `lock`") as caught:
            lock.read(path)
        assert str(path) in str(caught.value)


CLIMBING = [
    "..",
    "../a",
    "/a",
    "a/../b",
    "a//b",
    "a/",
    "./a",
    "a\\b",
    "a\0b",
    "",
    "packages/..",
    "packages/../../a",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_climbs_out_is_no_plain_relative_path(path):
    with pytest.raises(ValueError, match="is not a plain relative path"):
        model.safe_relative(path)


@pytest.mark.parametrize("path", ["a", "a/b", "packages/@s/a@^1", "node_modules/a/.b/c..d", "..."])
def test_a_plain_relative_path_stays_as_it_is(path):
    assert model.safe_relative(path) == path


@pytest.mark.parametrize("tree", [*CLIMBING, "packages/.hidden", ".a"])
def test_a_tree_that_climbs_out_or_hides_is_refused(tmp_path, tree):
    document = copy.deepcopy(SMALL)
    document["requests"][0]["tree"] = tree
    assert "requests.0.tree" in refusal(tmp_path, json.dumps(document))
    document["requests"] = []
    document["trees"][tree] = document["trees"].pop("packages/outer")
    assert "trees" in refusal(tmp_path, json.dumps(document))


@pytest.mark.parametrize(
    "path", [*CLIMBING, "node_modules", "elsewhere/a", "node_modules/a/../../../b", "node_modules/.."]
)
def test_a_package_whose_place_climbs_out_is_refused(tmp_path, path):
    document = copy.deepcopy(SMALL)
    document["trees"]["packages/outer"][path] = "outer@1.0.0"
    assert "trees" in refusal(tmp_path, json.dumps(document))


BAD_NAMES = [
    "..",
    ".",
    "a/b",
    "a/../b",
    "@a",
    "@a/..",
    "@a/.b",
    ".a",
    "a\\b",
    "a b",
    "a\0",
    "",
    "@a/b/c",
    "/a",
    "a@b",
]


@pytest.mark.parametrize("name", [*BAD_NAMES, "a\n", "@a/b\n"])
def test_what_is_no_npm_name_is_refused(name):
    with pytest.raises(ValueError, match="is not an npm package name"):
        making.package("a").model_validate(making.package("a").model_dump() | {"name": name})


@pytest.mark.parametrize("version", ["", "..", "../1", "1/2", "-1", "1 2", "1\\2", "1.0.0\n"])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(ValueError, match="is not a version"):
        making.package("a").model_validate(making.package("a").model_dump() | {"version": version})


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "sha512-",
        "sha512-AAAA",
        "sha512-" + "é" * 88,
        "sha512-" + "!" * 88,
        "sha1-" + making.integrity(b"")[7:],
        making.integrity(b"")[7:],
        making.integrity(b"") + " " + making.integrity(b"1"),
    ],
)
def test_what_is_no_sha512_is_refused(tmp_path, wrong):
    document = copy.deepcopy(SMALL)
    document["packages"]["outer@1.0.0"]["integrity"] = wrong
    assert "packages.outer@1.0.0.integrity" in refusal(tmp_path, json.dumps(document))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["packages"].pop("@in/ner@1.0.0"), "which is not in packages"),
        (
            lambda d: d["packages"].update(wrong=d["packages"].pop("outer@1.0.0")),
            "the key 'wrong' holds outer@1.0.0",
        ),
        (lambda d: d["requests"][0].update(tree="packages/none"), "tree 'packages/none' has no outer"),
        (lambda d: d["requests"][0].update(name="other"), "has no other"),
        (lambda d: d["requests"][0].update(version="2.0.0"), "version 2.0.0 but the tree has outer@1.0.0"),
        (lambda d: d["requests"][0].update(kind="theme"), "requests.0.kind"),
        (lambda d: d["packages"]["outer@1.0.0"].update(size=-1), "packages.outer@1.0.0.size"),
        (lambda d: d["packages"]["outer@1.0.0"].update(extra=1), "packages.outer@1.0.0.extra"),
        (lambda d: d["opencode"].update(layout="other"), "opencode.layout"),
        (lambda d: d.pop("opencode"), "opencode"),
    ],
)
def test_a_lock_that_contradicts_itself_is_refused_with_the_place(tmp_path, change, said):
    document = copy.deepcopy(SMALL)
    change(document)
    assert said in refusal(tmp_path, json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update({"x\ny": 1}),
        lambda d: d["packages"]["outer@1.0.0"].update({"x\ny": 1}),
        lambda d: d["requests"][0].update(spec="x\ny", version="2.0.0"),
        lambda d: d["trees"]["packages/outer"].update({"else\nwhere": "outer@1.0.0"}),
    ],
)
def test_a_line_break_in_a_value_does_not_break_the_sentence(tmp_path, change):
    document = copy.deepcopy(SMALL)
    change(document)
    assert len(refusal(tmp_path, json.dumps(document)).splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "layout"), [("1.0.61", "packages"), ("1.18.33", "bun"), ("9.9.9", "packages")]
)
def test_a_lock_whose_layout_is_not_that_of_its_opencode_is_refused(tmp_path, version, layout):
    document = copy.deepcopy(SMALL)
    document["opencode"] |= {"version": version, "layout": layout}
    refusal(tmp_path, json.dumps(document))


@pytest.mark.parametrize(
    "path", ["node_modules/.bin", "node_modules/outer/package.json", "node_modules/outer/node_modules"]
)
def test_only_a_package_below_a_node_modules_directory_is_a_place_for_one(tmp_path, path):
    document = copy.deepcopy(SMALL)
    document["trees"]["packages/outer"][path] = "outer@1.0.0"
    refusal(tmp_path, json.dumps(document))


def test_tarballs_of_scoped_packages_have_names_without_directories():
    assert making.package("@in/ner", "2.0.0-rc.1").tarball == "@in+ner@2.0.0-rc.1.tgz"
    assert making.package("outer").tarball == "outer@1.0.0.tgz"


# Writing


def test_a_file_is_written_whole_with_its_directories(tmp_path):
    path = tmp_path / "new" / "some.json"
    files.write_atomically(path, "één\n")
    assert path.read_text(encoding="utf-8") == "één\n"
    assert path.stat().st_mode & 0o777 == 0o644
    files.write_atomically(path, "two\n")
    assert path.read_text(encoding="utf-8") == "two\n"
    assert list(path.parent.iterdir()) == [path]


class _FullDisk:
    def __init__(self, file, error):
        self.file, self.error = file, error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, text):
        self.file.write(text[:3])
        self.file.flush()
        raise self.error


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_write_that_fails_midway_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "some.json"
    path.write_text("old", encoding="utf-8")
    fdopen = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *a, **k: _FullDisk(fdopen(*a, **k), error))
    kind = BadInputError if isinstance(error, OSError) else type(error)
    with pytest.raises(kind) as caught:
        files.write_atomically(path, "new text")
    if kind is BadInputError:
        assert str(path) in str(caught.value)
        assert "No space left" in str(caught.value)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    path = tmp_path / "some.json"
    path.write_text("old", encoding="utf-8")

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refused)
    with pytest.raises(BadInputError, match=r"cannot be written .*Permission denied"):
        files.write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"


def test_a_directory_or_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "directory", tmp_path / "file" / "some.json"):
        with pytest.raises(BadInputError, match="cannot be written"):
            files.write_atomically(path, "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory", "file"]
