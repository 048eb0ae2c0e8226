"""`explain`: where something is, who needs it, and whether OpenCode would accept it."""

from __future__ import annotations

import dataclasses
import json
import sys

import making
import pytest

from opencode_cache import __main__ as program
from opencode_cache.build import builder
from opencode_cache.formats import lock, manifest
from opencode_cache.inspect import explain
from opencode_cache.npm import platforms
from opencode_cache.opencode import ask as asking

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SPEC = f"github:owner/repo#{COMMIT}"


def described(name, version="1.0.0", dependencies=(), **fields):
    """A package whose package.json names dependencies, and its tarball."""
    document = {"name": name, "version": version, "dependencies": dict.fromkeys(dependencies, "*")}
    files = {"package.json": json.dumps(document), "index.js": "//\n"}
    files |= dict.fromkeys(fields.get("bin", {}).values(), "#!/usr/bin/env node\n")
    data = making.tarball(files)
    made = fields.pop("locked", version)
    return making.package(name, made, data, size=len(data), license="MIT", **fields), data


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A lock and the cache of it: a plugin with a chain of two, a tool, and a plugin out of a repository."""
    root = tmp_path_factory.mktemp("explain")
    found = {
        "plugin": described("plugin", dependencies=["middle"]),
        "middle": described("middle", dependencies=["leaf"]),
        "leaf": described("leaf"),
        "nested": described("leaf", "2.0.0"),
        "pyright": described(
            "pyright", dependencies=["leaf"], bin={"pyright": "a.js", "pyright-langserver": "b.js"}
        ),
        "own": described(
            "own", dependencies=[], locked=f"1.0.0+{COMMIT[:12]}", github=f"owner/repo#{COMMIT}"
        ),
    }
    key = {name: package.key for name, (package, _) in found.items()}
    made = making.lock(
        [package for package, _ in found.values()],
        {
            "packages/plugin@latest": {
                "node_modules/plugin": key["plugin"],
                "node_modules/middle": key["middle"],
                "node_modules/leaf": key["leaf"],
                "node_modules/middle/node_modules/leaf": key["nested"],
            },
            "packages/pyright": {"node_modules/pyright": key["pyright"], "node_modules/leaf": key["leaf"]},
            f"packages/{SPEC}": {"node_modules/own": key["own"]},
        },
        [
            making.request("plugin", "plugin", "packages/plugin@latest"),
            making.request("tool", "pyright", "packages/pyright"),
            making.request("plugin", SPEC, f"packages/{SPEC}", version=f"1.0.0+{COMMIT[:12]}")
            | {"name": "own"},
        ],
    )
    tarballs = root / "tarballs"
    tarballs.mkdir()
    for package, data in found.values():
        (tarballs / package.tarball).write_bytes(data)
    (root / "my.lock.json").write_text(lock.dumps(made))
    opencode = making.opencode_stand_in(root / "opencode")
    builder.build(builder.Inputs(made, tarballs, opencode, platforms.named("x86_64-linux")), root / "cache")
    return root


@pytest.fixture
def ask(locked):
    def one(spec, refused=None):
        cache = locked / "cache"
        subject = explain.of_cache(cache, manifest.read(cache), lock.read(locked / "my.lock.json"), refused)
        return explain.explain(spec, subject)

    return one


def places(found):
    return [copy.place for one in found.found for copy in one.copies]


@pytest.mark.parametrize(
    "spec", ["plugin", "plugin@latest", "plugin@1.0.0", "packages/plugin@latest", "packages/plugin@latest/"]
)
def test_a_request_is_found_by_each_of_its_names(ask, spec):
    found = ask(spec)
    assert places(found) == ["packages/plugin@latest/node_modules/plugin"]
    (one,) = found.found
    assert (one.name, one.version, one.license) == ("plugin", "1.0.0", "MIT")
    assert one.integrity.startswith("sha512-")
    assert one.packed
    assert one.copies[0].bytes
    (verdict,) = found.verdicts
    assert verdict.accepted
    assert verdict.why == "packages/plugin@latest/node_modules/plugin is there"


def test_a_dependency_is_found_with_everyone_who_needs_it(ask):
    found = ask("leaf")
    assert [(one.version, [copy.place for copy in one.copies]) for one in found.found] == [
        (
            "1.0.0",
            ["packages/plugin@latest/node_modules/leaf", "packages/pyright/node_modules/leaf"],
        ),
        ("2.0.0", ["packages/plugin@latest/node_modules/middle/node_modules/leaf"]),
    ]
    (newer,) = found.found[1].copies
    assert [need.chain for need in newer.needs] == [("plugin@1.0.0", "middle@1.0.0", "leaf@2.0.0")]
    assert {(verdict.kind, verdict.spec) for verdict in found.verdicts} == {
        ("plugin", "plugin"),
        ("tool", "pyright"),
    }


def test_one_version_and_one_place_can_be_asked_for(ask):
    assert [one.version for one in ask("leaf@2.0.0").found] == ["2.0.0"]
    place = "packages/plugin@latest/node_modules/middle/node_modules/leaf"
    assert places(ask(place)) == [place]


def test_a_plugin_out_of_a_repository_says_so(ask):
    found = ask(SPEC)
    assert found.found[0].github == f"owner/repo#{COMMIT}"
    assert found.found[0].version == f"1.0.0+{COMMIT[:12]}"
    assert found.verdicts[0].accepted
    assert found.verdicts[0].why.startswith(f"packages/{SPEC}/node_modules/{SPEC} ")


def test_the_test_is_made_on_the_directory_as_it_is(ask, locked):
    links = locked / "cache/packages/pyright/node_modules/.bin"
    assert ask("pyright").verdicts[0].accepted
    (links / "pyright-langserver").rename(locked / "aside")
    try:
        (verdict,) = ask("pyright").verdicts
        assert not verdict.accepted
        assert verdict.why.endswith(".bin has nothing in it to start")
    finally:
        (locked / "aside").rename(links / "pyright-langserver")


def test_a_binary_of_another_series_accepts_nothing(ask):
    (verdict,) = ask("plugin", "this is OpenCode 1.17.0").verdicts
    assert (verdict.accepted, verdict.why) == (False, "this is OpenCode 1.17.0")


@pytest.mark.parametrize(
    ("spec", "near", "added"),
    [
        ("pyrigth", "pyright", "--plugin pyrigth"),
        ("leaf@3.0.0", "leaf@1.0.0", "--plugin leaf@3.0.0"),
        ("prettier", None, "--tool prettier"),
        ("@ai-sdk/fireworks", None, "--provider @ai-sdk/fireworks"),
        ("pyright@9.9.9", "pyright", "--tool pyright@9.9.9"),
    ],
)
def test_what_is_not_there_is_answered_with_help(ask, spec, near, added):
    found = ask(spec)
    assert found.found == ()
    assert near is None or near in found.near
    assert found.add.startswith("opencode-cache lock --opencode-version 1.18.33 ")
    assert f"{added} -o" in found.add
    assert "--plugin plugin " in found.add
    assert ("--tool pyright " in found.add) == (not spec.startswith("pyright"))


def test_a_place_that_is_not_there_gets_no_command(ask):
    assert ask("packages/none").add is None


@pytest.mark.parametrize("spec", ["", "--help", "../x", "a b", "git+https://example.com/x.git"])
def test_what_cannot_be_locked_gets_no_command(ask, spec):
    found = ask(spec)
    assert (found.found, found.add) == ((), None)


def with_sdk(locked):
    """The lock, with an SDK in it that only the plugin needs."""
    subject = explain.of_lock(locked / "my.lock.json", lock.read(locked / "my.lock.json"))
    node = ("packages/plugin@latest", "node_modules/@ai-sdk/deep", "@ai-sdk/deep@1.0.0")
    return dataclasses.replace(subject, nodes=(*subject.nodes, node))


def test_an_sdk_that_is_there_for_others_alone_is_not_found_by_opencode(locked):
    found = explain.explain("@ai-sdk/deep", with_sdk(locked))
    assert found.found
    assert "--provider @ai-sdk/deep" in found.add
    # What is no SDK is not what OpenCode would look for; what is asked for is there.
    assert explain.explain("leaf", with_sdk(locked)).add is None
    assert explain.explain("pyright", with_sdk(locked)).add is None


@pytest.fixture
def run(monkeypatch, capsys):
    def one(*arguments):
        monkeypatch.setattr(sys, "argv", ["opencode-cache", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            program.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return one


def test_the_command_prints_what_it_found(run, locked):
    opencode = ["--opencode", locked / "opencode"]
    status, out, err = run("leaf@2.0.0", "--cache", locked / "cache", *opencode)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "leaf 2.0.0 (MIT)"
    assert "    for plugin plugin: plugin@1.0.0 -> middle@1.0.0 -> leaf@2.0.0" in lines
    assert lines[-1].startswith("OpenCode 1.18.33 accepts plugin plugin: ")


def test_the_command_reads_a_lock_alone(run, locked):
    status, out, _ = run("leaf", "--lock", locked / "my.lock.json", "--json")
    assert status == 0
    document = json.loads(out)
    assert [one["version"] for one in document["found"]] == ["1.0.0", "2.0.0"]
    assert document["verdicts"] == []


@pytest.mark.parametrize("json_too", [True, False])
def test_the_command_says_what_is_near_and_how_to_add_it(run, locked, json_too):
    status, out, err = run("pyrigth", "--cache", locked / "cache", *(["--json"] if json_too else []))
    assert status == 1
    assert "has no pyrigth; the nearest are pyright" in err
    assert len(err.splitlines()) == 1
    assert "--plugin pyrigth" in (json.loads(out)["add"] if json_too else out)


def test_the_command_fails_where_opencode_would_not_accept_it(run, locked, tmp_path):
    old = making.opencode_stand_in(tmp_path / "opencode", "1.17.0")
    status, out, err = run("plugin", "--cache", locked / "cache", "--opencode", old)
    assert status == 1
    assert "does not accept plugin plugin" in out
    assert "1.17.0" in err


@pytest.mark.parametrize("bundled", [True, False])
def test_the_binary_is_asked_for_an_sdk_that_the_cache_lacks(run, locked, monkeypatch, bundled):
    monkeypatch.setattr(asking, "bundles", lambda *_: bundled)
    opencode = ["--cache", locked / "cache", "--opencode", locked / "opencode"]
    status, out, err = run("@ai-sdk/anthropic", *opencode)
    assert status == (0 if bundled else 1)
    assert ("has @ai-sdk/anthropic compiled in" in out) == bundled
    assert ("To add it: " in out) != bundled
    assert ("has no @ai-sdk/anthropic" in err) != bundled
    status, _, err = run("@ai-sdk/anthropic", "--cache", locked / "cache")
    assert (status, "OpenCode may have that SDK compiled in" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--opencode", "x"], "give --cache as well"),
        (["--cache", "/nowhere"], "not a cache"),
        (["--lock", "/nowhere"], "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(run, arguments, said):
    status, out, err = run("plugin", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
