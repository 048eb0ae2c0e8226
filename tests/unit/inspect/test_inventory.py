"""What is found in a cache besides its manifest: sizes, the date of its catalogue, its last proof."""

from __future__ import annotations

import json
import sys

import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import main as cli
from opencode_cache.formats import manifest
from opencode_cache.formats import proof as proof_format
from opencode_cache.inspect import inventory
from opencode_cache.prove import on_file


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(tmp_path))
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
        opencode_sha256="b" * 64,
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


def of(cache, **fields):
    """A proof of that cache and the program that it was built with, unless told otherwise."""
    made = manifest.read(cache)
    identity = on_file.identity(cache, made)
    return making.proof(**{"opencode": made.opencode, **identity.model_dump(), **fields})


def written(path, proof):
    path.write_text(proof if isinstance(proof, str) else on_file.dumps(proof))
    return path


def test_a_proof_that_is_given(cache, tmp_path):
    proof = of(cache)
    found = inventory.take(cache, written(tmp_path / "proof.json", proof))
    assert (found.proof, found.proved_here) == (proof, False)


WRONG = {
    "other version": ({"opencode": "1.17.0"}, "is a proof with OpenCode 1.17.0, and this is 1.18.33"),
    "other cache": ({"manifest_sha256": "c" * 64}, "is the proof of another cache"),
    "other binary": ({"binary_sha256": "c" * 64}, "is a proof with another OpenCode program"),
    "hand-made": ('{"steps":[],"ok":true}', "does not say which cache and which program"),
    "no steps": ("steps", "has no steps, and proves nothing"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("command", ["page", "list", "bundle"])
def test_a_wrong_proof_is_refused_in_one_sentence(cache, tmp_path, capsys, monkeypatch, command, wrong, said):
    if wrong == "steps":
        document = json.loads(of(cache).model_dump_json()) | {"steps": []}
        wrong = json.dumps(document)
    path = written(tmp_path / "proof.json", wrong if isinstance(wrong, str) else of(cache, **wrong))
    program = making.opencode_stand_in(tmp_path / "opencode")
    change(cache, opencode_sha256=proof_format.sha256(program))
    if isinstance(wrong, dict):
        written(path, of(cache, **wrong))
    page = tmp_path / "page.html"
    arguments = {
        "page": ["list", "--cache", cache, "--html", page, "--proof", path],
        "list": ["list", "--cache", cache, "--proof", path],
        "bundle": ["bundle", "--cache", cache, "--opencode", program, "--proof", path, "-o", page],
    }[command]
    monkeypatch.setattr(sys, "argv", ["opencode-cache", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "without ripgrep" not in line]
    assert said in line
    assert str(path) in line
    assert "make it with `opencode-cache verify --json`" in line
    assert ended.value.code == 2
    assert captured.out == ""
    assert not page.exists()


def test_the_right_proof_is_shown_with_its_digests(cache, tmp_path, capsys, monkeypatch):
    proof = of(cache)
    path = written(tmp_path / "proof.json", proof)
    monkeypatch.setattr(sys, "argv", ["opencode-cache", "list", "--cache", str(cache), "--proof", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "Proof: proved: OpenCode 1.18.33 asked for no host (elsewhere, on x86_64, 2 CPUs" in out
    assert proof.manifest_sha256 in out
    assert proof.binary_sha256 in out


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read as a proof"), ("", "Invalid JSON"), ("{}", "does not say which cache")],
)
def test_what_is_no_proof_is_refused(cache, tmp_path, text, said):
    path = tmp_path / "proof.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInputError, match=said) as raised:
        inventory.take(cache, path)
    assert str(path) in str(raised.value)


def test_a_proof_that_says_ok_and_holds_a_failed_step_is_refused(cache, tmp_path):
    document = json.loads(of(cache).model_dump_json())
    document["steps"][0]["ok"] = False
    with pytest.raises(BadInputError, match="contradicts the steps and hosts"):
        inventory.take(cache, written(tmp_path / "proof.json", json.dumps(document)))


def test_a_proof_with_another_program_is_shown_where_that_program_is_named(cache, tmp_path):
    program = making.opencode_stand_in(tmp_path / "other")
    proof = of(cache, binary_sha256=proof_format.sha256(program))
    path = written(tmp_path / "proof.json", proof)
    assert inventory.take(cache, path, program).proof == proof
    with pytest.raises(BadInputError, match="another OpenCode program"):
        inventory.take(cache, path)


def test_a_proof_that_was_made_here_is_found_again(cache, home, tmp_path):
    assert inventory.take(cache).proof is None
    proof = of(cache)
    on_file.put(proof)
    found = inventory.take(cache)
    assert (found.proof, found.proved_here) == (proof, True)
    # The same one as a file is still one of here; wherever the cache lies, its digests are what counts.
    assert inventory.take(cache, written(tmp_path / "proof.json", proof)).proved_here
    cache.rename(tmp_path / "elsewhere")
    assert inventory.take(tmp_path / "elsewhere").proof == proof
    change(tmp_path / "elsewhere", builder="2")
    assert inventory.take(tmp_path / "elsewhere").proof is None


def test_a_filed_proof_that_was_changed_by_hand_counts_for_nothing(cache, home):
    on_file.put(of(cache))
    (path,) = (home / "proofs").iterdir()
    for text in (
        '{"steps":[],"ok":true}',
        of(cache, manifest_sha256="c" * 64).model_dump_json(),
        "not JSON",
    ):
        path.write_text(text)
        assert inventory.take(cache).proof is None


def test_what_does_not_hold_takes_the_earlier_proof_away_and_a_slow_machine_does_not(cache, home):
    proof = of(cache)
    on_file.put(proof)
    step = {"name": "models", "ok": False, "seconds": 1, "detail": "no end within 60 s"}
    on_file.put(of(cache, steps=[{**step, "too_slow": True}], ok=False))
    assert inventory.take(cache).proof == proof
    on_file.put(of(cache, steps=[step], ok=False))
    assert inventory.take(cache).proof is None


def test_a_shipped_proof_speaks_for_the_same_digests_and_says_elsewhere(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "locks").mkdir()
    proof = of(cache)
    written(tmp_path / "locks" / "x.x86_64-linux.proof.json", proof)
    written(tmp_path / "locks" / "a.x86_64-linux.proof.json", "{}")
    found = inventory.take(cache)
    assert (found.proof, found.proved_here) == (proof, False)
    on_file.put(of(cache, kernel="Linux 7"))
    assert inventory.take(cache).proved_here


def test_a_proof_beside_the_cache_came_along_with_it(cache, tmp_path):
    """As in a bundle and an image; what is of something else, or none, counts as none."""
    beside = cache.parent / proof_format.FILE
    for text in ("{}", on_file.dumps(of(cache, binary_sha256="c" * 64))):
        assert inventory.take(written(beside, text).parent / cache.name).proof is None
    written(beside, of(cache))
    found = inventory.take(cache)
    assert (found.proof, found.proved_here) == (of(cache), False)


def test_where_nothing_can_be_written_the_proof_is_only_told(cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    on_file.put(of(cache))
    assert inventory.take(cache).proof is None


def test_without_a_home_nothing_is_kept(cache, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "")
    on_file.put(of(cache))
    assert inventory.take(cache).proof is None


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="not a cache"):
        inventory.take(tmp_path)
