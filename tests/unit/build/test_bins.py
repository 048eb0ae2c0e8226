"""`.bin` links as npm makes them."""

from __future__ import annotations

import base64
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack.bins import link_bins, normalized
from opencode_cache.formats.lock import Package

INTEGRITY = "sha512-" + base64.b64encode(bytes(64)).decode()


def package(name, **commands):
    return Package(name=name, version="1.0.0", integrity=INTEGRITY, bin=commands)


def make(root, nodes):
    """Make the files that the commands point to, then the links."""
    for path, node in nodes.items():
        for target in normalized(node).values():
            file = root / path / target
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#!/usr/bin/env node\n// {path}\n")
            file.chmod(0o644)
    link_bins(root, nodes)


def links(root):
    return {
        str(path.relative_to(root)): str(path.readlink()) for path in root.rglob("*") if path.is_symlink()
    }


def test_links_are_relative_and_lie_beside_the_package(tmp_path):
    nodes = {
        "node_modules/a": package("a", a="cli.js"),
        "node_modules/@s/b": package("@s/b", b="./bin/b.js", b2="bin/b.js"),
        "node_modules/a/node_modules/c": package("c", c="c.js"),
        "node_modules/a/node_modules/@s/d": package("@s/d", d="d.js"),
        "node_modules/none": package("none"),
    }
    make(tmp_path, nodes)
    assert links(tmp_path) == {
        "node_modules/.bin/a": "../a/cli.js",
        "node_modules/.bin/b": "../@s/b/bin/b.js",
        "node_modules/.bin/b2": "../@s/b/bin/b.js",
        "node_modules/a/node_modules/.bin/c": "../c/c.js",
        "node_modules/a/node_modules/.bin/d": "../@s/d/d.js",
    }
    assert (tmp_path / "node_modules/.bin/a").resolve().read_text().endswith("node_modules/a\n")


def test_modes_and_times(tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / "node_modules/a").mkdir(mode=0o755, parents=True)
        (tmp_path / "node_modules/a/other.js").write_text("")
        make(tmp_path, {"node_modules/a": package("a", a="cli.js")})
    finally:
        os.umask(before)
    modules = tmp_path / "node_modules"
    assert stat.S_IMODE((modules / "a/cli.js").stat().st_mode) == 0o755
    assert stat.S_IMODE((modules / ".bin").stat().st_mode) == 0o755
    for path in (modules, modules / ".bin", modules / ".bin/a", modules / "a/cli.js"):
        assert path.lstat().st_mtime == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"#!/usr/bin/env node\r\nx\r\n", b"#!/usr/bin/env node\nx\r\n"),
        (b"#!/usr/bin/env node\nx\r\n", b"#!/usr/bin/env node\nx\r\n"),
        (b"x\r\n#!y\r\n", b"x\r\n#!y\r\n"),
        (b"#!" + b"long" * 600 + b"\r\n", b"#!" + b"long" * 600 + b"\r\n"),
        (b"#!/bin/sh\r\n\xff", b"#!/bin/sh\n\xef\xbf\xbd"),
        (b"\x7fELF\r\n", b"\x7fELF\r\n"),
    ],
)
def test_a_windows_line_end_after_the_hash_bang(tmp_path, before, after):
    file = tmp_path / "node_modules/a/cli.js"
    file.parent.mkdir(parents=True)
    file.write_bytes(before)
    link_bins(tmp_path, {"node_modules/a": package("a", a="cli.js")})
    assert file.read_bytes() == after
    assert file.stat().st_mtime == 1


def test_the_first_in_npms_order_has_a_contested_name(tmp_path):
    # The order of localeCompare(…, "en"): "@" and "_" before letters, "-" after "_", lower case before upper.
    order = ["_x", "-x", "@s/x", "a", "a-b", "ab", "aB", "b"]
    nodes = {
        f"node_modules/{name}": package(name.lstrip("-_"), same=f"{index}.js")
        for index, name in enumerate(order)
    }
    for count in range(len(order)):
        root = tmp_path / str(count)
        chosen = dict(reversed([item for index, item in enumerate(nodes.items()) if index >= count]))
        make(root, chosen)
        assert links(root) == {"node_modules/.bin/same": f"../{order[count]}/{count}.js"}


def test_only_the_winner_becomes_executable(tmp_path):
    make(tmp_path, {"node_modules/a": package("a", x="x.js"), "node_modules/b": package("b", x="x.js")})
    assert os.access(tmp_path / "node_modules/a/x.js", os.X_OK)
    assert stat.S_IMODE((tmp_path / "node_modules/b/x.js").stat().st_mode) == 0o644


def test_a_missing_target_gets_no_link_and_still_takes_the_name(tmp_path):
    nodes = {"node_modules/a": package("a", x="gone.js"), "node_modules/b": package("b", x="there.js")}
    (tmp_path / "node_modules/b").mkdir(parents=True)
    (tmp_path / "node_modules/b/there.js").touch()
    link_bins(tmp_path, nodes)
    assert links(tmp_path) == {}


def test_a_directory_as_target_is_linked(tmp_path):
    (tmp_path / "node_modules/a/dir").mkdir(parents=True)
    link_bins(tmp_path, {"node_modules/a": package("a", x="dir/")})
    assert links(tmp_path) == {"node_modules/.bin/x": "../a/dir"}


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ({"a": "./cli.js"}, {"a": "cli.js"}),
        ({"a": "../../../etc/passwd"}, {"a": "etc/passwd"}),
        ({"a": "/abs"}, {"a": "abs"}),
        ({"a": "b\\c.js"}, {"a": "b/c.js"}),
        ({"../../evil": "x"}, {"evil": "x"}),
        ({"@s/name": "x"}, {"name": "x"}),
        ({"C:\\evil": "x"}, {"evil": "x"}),
        ({"..": "x", ".": "x", "": "x", "/": "x"}, {}),
        ({"a": "", "b": ".", "c": ".."}, {}),
    ],
)
def test_commands_are_normalized(commands, expected):
    assert normalized(package("p", **commands)) == expected


def test_a_symbolic_link_as_target_is_refused(tmp_path):
    (tmp_path / "node_modules/a").mkdir(parents=True)
    (tmp_path / "node_modules/a/x").symlink_to("/etc/passwd")
    with pytest.raises(BadInputError, match="symbolic link"):
        link_bins(tmp_path, {"node_modules/a": package("a", x="x")})


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "node_modules/a").mkdir(parents=True)
    (tmp_path / "node_modules/a/x").touch()
    (tmp_path / "node_modules/.bin").touch()
    with pytest.raises(BadInputError, match=r"\.bin.* cannot be linked"):
        link_bins(tmp_path, {"node_modules/a": package("a", x="x")})


awkward = st.text(st.sampled_from("ab./\\:@"), max_size=10)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(awkward, awkward, max_size=4))
def test_nothing_leaves_the_package_or_the_bin_directory(commands):
    node = package("p", **commands)
    for command, target in normalized(node).items():
        assert "/" not in command
        assert command not in ("", ".", "..")
        assert ".." not in target.split("/")
        assert not target.startswith("/")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        (root / "node_modules/p").mkdir(parents=True)
        link_bins(root, {"node_modules/p": node})
        assert [path.name for path in Path(folder).iterdir()] == ["root"]
