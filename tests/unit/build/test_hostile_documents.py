"""No string of a lock or a manifest becomes a path that leads out of the directory that is written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import making
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.base.errors import BadInputError
from opencode_cache.build import builder
from opencode_cache.formats import lock, manifest
from opencode_cache.npm import platforms
from opencode_cache.wrapper import render as wrapper

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = (
    *("../../../planted", "/planted", "a/../../../../planted", "..", ".", "", "~/planted", "$HOME/planted"),
    *("packages/../../../planted", "packages/github:a/../../../../../planted", "config/../../planted"),
    *(f"github:a/..#{COMMIT}", f"github:a/../../../../planted#{COMMIT}", f"../x@github:a/b#{COMMIT}"),
    *("github:a/../../../../.ssh/planted", "@../planted", "@a/../../planted", "node_modules/../../planted"),
    *(
        "a\0b",
        "a\nb",
        "\x1b]0;planted\x07",
        "\u202eplanted",
        "\ud800",
        "x" * 300,
        "@x/" + "y" * 300,
        "C:\\planted",
    ),
    *(".nix/packages", ".opencode", "-planted", "a\\..\\..\\planted", "node_modules", "Packages/x"),
)
MANY = int(os.environ.get("OPENCODE_CACHE_TEST_MUTANTS", "20"))
"""How many mutants of each document are tried."""


def small() -> tuple[dict, dict[str, bytes]]:
    """A lock with a package of every kind, as JSON values, and the tarballs of it."""
    sdk, sdk_data = making.npm_package("@ai-sdk/x", "2.0.0")
    tool, tool_data = making.npm_package("pyright", bin={"pyright-langserver": "cli.js"})
    config, config_data = making.npm_package("@opencode-ai/plugin")
    mine, mine_data = making.npm_package("mine", f"1.0.0+{COMMIT[:12]}")
    mine = mine.model_copy(update={"github": f"owner/repo#{COMMIT}"})
    spec = f"github:owner/repo#{COMMIT}"
    made = making.lock(
        [sdk, tool, config, mine],
        {
            "packages/@ai-sdk/x": {
                "node_modules/@ai-sdk/x": sdk.key,
                "node_modules/@ai-sdk/x/node_modules/pyright": tool.key,
            },
            "packages/pyright": {"node_modules/pyright": tool.key},
            "config": {"node_modules/@opencode-ai/plugin": config.key},
            f"packages/{spec}": {"node_modules/mine": mine.key},
        },
        [
            making.request("provider", "@ai-sdk/x", "packages/@ai-sdk/x", "2.0.0"),
            making.request("tool", "pyright", "packages/pyright"),
            making.request("config", "@opencode-ai/plugin", "config"),
            making.request("plugin", spec, f"packages/{spec}", mine.version, name="mine"),
        ],
    )
    document = json.loads(lock.dumps(made)) | {"files": {"skills/one.md": "text"}}
    packed = ((sdk, sdk_data), (tool, tool_data), (config, config_data), (mine, mine_data))
    return document, {package.tarball: data for package, data in packed}


def places(value, at=()):
    """Every string of a JSON value, keys too: where it stands, and whether it is a key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key), True
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*at, number))
    elif isinstance(value, str):
        yield at, False


def mutant(document, place, put):
    """A copy of the document with one string, or every string that equals it, replaced."""
    at, is_key = place
    old = at[-1] if is_key else _get(document, at)

    def everywhere(value):
        if isinstance(value, dict):
            return {put if key == old else key: everywhere(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [everywhere(inner) for inner in value]
        return put if value == old else value

    def here(value, left):
        if not left:
            return put
        if isinstance(value, dict):
            if is_key and len(left) == 1:
                return {put if key == left[0] else key: inner for key, inner in value.items()}
            return {key: here(inner, left[1:]) if key == left[0] else inner for key, inner in value.items()}
        return [here(inner, left[1:]) if number == left[0] else inner for number, inner in enumerate(value)]

    return everywhere(document), here(document, at)


def _get(value, at):
    for step in at:
        value = value[step]
    return value


def outside(root: Path, *inside: Path) -> dict[str, tuple]:
    """Everything below `root` that is not in those directories: path -> what stat and a read tell."""
    found = {}
    for directory, directories, names in os.walk(root):
        directories[:] = [name for name in directories if Path(directory, name) not in inside]
        for name in (*directories, *names):
            path = Path(directory, name)
            about = path.lstat()
            found[str(path)] = (about.st_mode, about.st_size, about.st_ino)
    return found


class Lab:
    """A directory with a lock's tarballs, a stand-in for OpenCode, and things beside that must stay."""

    def __init__(self, root: Path, tarballs: dict[str, bytes]) -> None:
        self.root = root
        self.top = root / "a" / "b" / "c" / "d"
        (self.top / "tarballs").mkdir(parents=True)
        for name, data in tarballs.items():
            (self.top / "tarballs" / name).write_bytes(data)
        self.binary = making.opencode_stand_in(root / "opencode")
        for name in ("planted", ".ssh", "a/planted", "a/b/planted"):
            (root / name).mkdir()
            (root / name).chmod(0o700)

    def build(self, document: dict) -> Path | None:
        """Read and build it; None where it is refused in one clean sentence."""
        path, out = self.top / "the.lock.json", self.top / "out"
        self.said = ""
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            found = lock.read(path)
            inputs = builder.Inputs(
                found, self.top / "tarballs", self.binary, platforms.SYSTEMS["x86_64-linux"]
            )
            builder.build(inputs, out)
        except BadInputError as error:
            self.said = str(error)
            return None
        return out


LOCK, TARBALLS = small()


@settings(max_examples=MANY)
@given(st.sampled_from(list(places(LOCK))), st.sampled_from(HOSTILE), st.booleans(), st.booleans())
def test_whatever_a_lock_says_a_build_writes_nothing_outside(place, put, everywhere, behind):
    old = place[0][-1] if place[1] else _get(LOCK, place[0])
    put = f"{old}/{put}" if behind else put
    document = mutant(LOCK, place, put)[0 if everywhere else 1]
    with tempfile.TemporaryDirectory() as directory:
        lab = Lab(Path(directory), TARBALLS)
        before = outside(lab.root, lab.top)
        out = lab.build(document)
        assert len(lab.said.splitlines()) == (0 if out else 1)
        assert outside(lab.root, lab.top) == before
        assert {path.name for path in lab.top.iterdir()} <= {
            "tarballs",
            "the.lock.json",
            *(["out"] if out else []),
        }
        for path in out.rglob("*") if out else ():
            if path.is_symlink():
                assert path.resolve().is_relative_to(out.resolve()), path


def test_the_lock_of_these_tests_can_be_built(tmp_path):
    out = Lab(tmp_path, TARBALLS).build(LOCK)
    assert out
    assert (out / f"packages/github:owner/repo#{COMMIT}/node_modules/github:owner/repo#{COMMIT}").is_dir()


def test_a_spec_that_climbs_makes_no_link_in_the_users_home(tmp_path):
    """As it was found: links and modes beside `.ssh`, through a request's spec."""
    spec = f"github:a/../../../../../../../../.ssh/planted#{COMMIT}"
    document = json.loads(json.dumps(LOCK))
    request = next(one for one in document["requests"] if one["spec"].startswith("github:"))
    request["spec"] = spec
    lab = Lab(tmp_path, TARBALLS)
    before = outside(lab.root, lab.top)
    assert lab.build(document) is None
    assert outside(lab.root, lab.top) == before


def test_a_tree_has_to_be_where_opencode_looks(tmp_path):
    document = json.loads(json.dumps(LOCK).replace('"packages/pyright"', '"packages/another"'))
    lab = Lab(tmp_path, TARBALLS)
    path = lab.top / "the.lock.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    inputs = builder.Inputs(
        lock.read(path), lab.top / "tarballs", lab.binary, platforms.SYSTEMS["x86_64-linux"]
    )
    with pytest.raises(BadInputError, match=r"pyright.* looks for this tool in 'packages/pyright'"):
        builder.build(inputs, lab.top / "out")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("built"), TARBALLS)
    return lab, lab.build(LOCK)


@settings(max_examples=MANY)
@given(st.data())
def test_whatever_a_manifest_says_the_wrapper_writes_nothing_outside(built, data):
    lab, cache = built
    document = json.loads((cache / manifest.FILE).read_text(encoding="utf-8"))
    place = data.draw(st.sampled_from(list(places(document))))
    put = data.draw(st.sampled_from(HOSTILE))
    changed = mutant(document, place, put)[data.draw(st.integers(0, 1))]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        home, copy = root / "x" / "y" / "home", root / "x" / "cache"
        home.mkdir(parents=True)
        copy.mkdir()
        for path in cache.iterdir():
            if path.name != manifest.FILE:
                (copy / path.name).symlink_to(path)
        (copy / manifest.FILE).write_text(json.dumps(changed), encoding="utf-8")
        own = (home / ".cache-nix" / "opencode", home / ".config" / "opencode", root / "wrapped")
        before = outside(root, *own)
        with contextlib.suppress(BadInputError):
            program = wrapper.wrap(copy, lab.binary, root / "wrapped")
            environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
            subprocess.run(
                [program, "models"], env=environment, cwd=home, capture_output=True, timeout=30, check=False
            )
        made = set(outside(root, *own)) - set(before)
        parents = {str(parent) for path in own for parent in path.parents}
        assert made - parents - {str(path) for path in own} == set()


def test_integrities_and_hashes_are_no_place_for_a_path():
    digest = base64.b64encode(hashlib.sha512(b"").digest()).decode()
    with pytest.raises(ValueError, match="integrity"):
        lock.Package(name="a", version="1.0.0", integrity=f"sha512-../{digest}")
