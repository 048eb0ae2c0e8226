"""What is found in a cache besides its manifest: sizes, the date of its catalogue, its last proof."""

from __future__ import annotations

import json
import os

import making
import pytest

from opencode_cache import pipeline
from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Proof
from opencode_cache.inspect import inventory
from opencode_cache.wrapper import render as wrapper

PROOF = Proof(opencode="1.18.33", isolated=True, steps=(), hosts=(), ok=True)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "opencode-cache"


@pytest.fixture
def cache(tmp_path):
    """Two trees: a provider with a dependency, which holds one of its own, and a plugin from GitHub."""
    directory = tmp_path / "cache"
    write(directory, "packages/sdk/node_modules/sdk", "sdk", "1.0.0", 100)
    write(directory, "packages/sdk/node_modules/dep", "dep", "2.0.0", 200)
    write(directory, "packages/sdk/node_modules/dep/node_modules/inside", "inside", "9.0.0", 50)
    write(directory, "packages/x/node_modules/plug", "plug", "1.0.0", 300)
    write(directory, "packages/x/node_modules/dep", "dep", "2.0.0", 200)
    packages = {"sdk": ("1.0.0", ["sdk"]), "dep": ("2.0.0", ["plug", "sdk"]), "plug": ("1.0.0+abc", ["plug"])}
    made = manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        layout="packages",
        system="x86_64-linux",
        links=("packages/sdk", "packages/x"),
        requests=(entry("plug", "packages/x", "plugin"), entry("sdk", "packages/sdk", "provider")),
        packages=tuple(
            manifest.CachedPackage(
                name=name, version=version, integrity=making.package(name).integrity, specs=tuple(specs)
            )
            for name, (version, specs) in sorted(packages.items())
        ),
        files=12,
        bytes=900,
    )
    (directory / manifest.FILE).write_text(manifest.dumps(made))
    return directory


def write(cache, place, name, version, size):
    """A package whose files have that size together."""
    package = cache / place
    package.mkdir(parents=True)
    document = json.dumps({"name": name, "version": version})
    (package / "package.json").write_text(document)
    (package / "index.js").write_text("x" * (size - len(document)))


def entry(name, tree, kind):
    return manifest.Entry(
        spec=name,
        kind=kind,
        name=name,
        requested="latest",
        version="1.0.0",
        tree=tree,
    )


def change(cache, **fields):
    made = manifest.read(cache).model_copy(update=fields)
    (cache / manifest.FILE).write_text(manifest.dumps(made))


def test_sizes_are_those_on_disk(cache):
    found = inventory.take(cache)
    sizes = {tree.path: {p.name: size for p, size in tree.sizes.items()} for tree in found.trees}
    # What came inside dep's tarball is dep's, and what GitHub's has no commit in its own version is found.
    assert sizes == {"packages/sdk": {"sdk": 100, "dep": 250}, "packages/x": {"plug": 300, "dep": 200}}
    assert {p.name: found.size(p) for p in found.manifest.packages} == {"sdk": 100, "dep": 450, "plug": 300}
    assert found.other == 50
    assert [tree.bytes for tree in found.trees] == [350, 500]


def test_the_trees_name_what_they_answer(cache):
    assert [[e.spec for e in tree.entries] for tree in inventory.take(cache).trees] == [["sdk"], ["plug"]]


def test_one_tree_for_all(cache):
    (cache / "node_modules").symlink_to("packages/sdk/node_modules")
    change(cache, requests=(entry("dep", ".", "plugin"), entry("sdk", ".", "provider")), layout="bun")
    (tree,) = inventory.take(cache).trees
    assert (tree.path, tree.bytes, len(tree.entries)) == (".", 350, 2)


def test_a_proof_that_is_given(cache, tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(PROOF.model_dump_json(indent=2))
    found = inventory.take(cache, path)
    assert (found.proof, found.proof_kept) == (PROOF, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read as a proof"),
        ("", "Invalid JSON"),
        ("{}", "opencode: Field required"),
        (PROOF.model_copy(update={"opencode": "1.17.0"}).model_dump_json(), "OpenCode 1.17.0, and the cache"),
    ],
)
def test_what_is_no_proof_of_this_cache_is_refused(cache, tmp_path, text, said):
    path = tmp_path / "proof.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInputError, match=said) as raised:
        inventory.take(cache, path)
    assert str(path) in str(raised.value)


def keep(home, cache, key, proof, time):
    """What `run` leaves behind: a wrapper in the store, and a proof of the same name."""
    program = making.opencode_stand_in(cache.parent / "opencode")
    wrapper.wrap(cache, program, home / "store" / f"{key}-opencode-with-cache-1.18.33")
    stamp = home / "proofs" / f"{key}.json"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(proof if isinstance(proof, str) else proof.model_dump_json())
    os.utime(stamp, (time, time))


def test_the_newest_proof_that_was_kept_for_this_cache(cache, home, tmp_path):
    assert inventory.take(cache).proof is None
    newer = PROOF.model_copy(update={"isolated": False})
    keep(home, cache, "a", newer, 2000)
    keep(home, cache, "b", PROOF, 1000)
    other = tmp_path / "other's cache"
    cache.rename(other)
    keep(home, other, "c", PROOF.model_copy(update={"ok": False}), 3000)
    other.rename(cache)
    found = inventory.take(cache)
    assert (found.proof, found.proof_kept) == (newer, True)
    (tmp_path / "link").symlink_to(cache)
    assert inventory.take(tmp_path / "link").proof == newer
    cache.rename(other)
    assert inventory.take(other).proof.ok is False


def test_a_kept_proof_of_another_version_of_this_program_is_none(cache, home):
    keep(home, cache, "a", '{"other": 1}', 1000)
    assert inventory.take(cache).proof is None


def test_the_pipeline_keeps_its_proofs_where_they_are_looked_for(cache, home, monkeypatch):
    monkeypatch.setattr(pipeline, "verify", lambda *_, **__: PROOF)
    keep(home, cache, "k", PROOF, 1000)
    (home / "proofs" / "k.json").unlink()
    assert inventory.take(cache).proof is None
    pipeline._prove("k", cache, cache.parent / "opencode")
    assert inventory.take(cache).proof == PROOF
    assert store.data_home() == home


def test_without_a_home_nothing_is_kept(cache, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "")
    assert inventory.take(cache).proof is None


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="not a cache"):
        inventory.take(tmp_path)
