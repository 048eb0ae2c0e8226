"""The lock step with a registry made of tables: which version stands behind a spec, and what is refused."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import json
import re
import threading
from pathlib import Path

import making
import pytest

from opencode_cache.base.errors import BadInputError, NetworkError, OpencodeCacheError
from opencode_cache.catalogue import document as catalogue
from opencode_cache.fetch import github as github_archives
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import lock, plan
from opencode_cache.npm import client as npm
from opencode_cache.npm import nodejs, repository
from opencode_cache.opencode import ask, embedded
from opencode_cache.resolve import git, metadata, missing, programs
from opencode_cache.resolve import resolver as resolve

SPEAKS = "@ai-sdk/provider"


class Registry:
    """Name -> version -> manifest; `view` and `package_lock` answer from it as npm does."""

    def __init__(self):
        self.packages = {}
        self.locked = []
        self.overrides = []
        self.extra = {}

    def has(self, name, version="1.0.0", day="2025-01-01", **fields):
        """Publish a version. The last one published is npm's latest."""
        entry = {
            "name": name,
            "version": version,
            "dist": {"integrity": making.integrity(f"{name}{version}".encode())},
        }
        self.packages.setdefault(name, {})[version] = (entry | fields, day)

    def view(self, spec):
        name, _, wanted = spec.rpartition("@") if spec.rfind("@") > 0 else (spec, "", "")
        if name not in self.packages:
            raise npm.NotInRegistryError(f"npm view failed: {spec} (E404)")
        versions = self.packages[name]
        times = {version: f"{day}T12:00:00.000Z" for version, (_, day) in versions.items()}
        if not wanted:
            chosen = list(versions)[-1:]
        elif wanted.startswith("^"):
            chosen = [v for v in versions if v.split(".")[0] == wanted[1:] and "-" not in v]
        elif wanted == ">=0":
            chosen = list(versions)
        else:
            chosen = [v for v in versions if v == wanted]
            if not chosen:
                raise npm.NotInRegistryError(f"npm view failed: {spec} (ETARGET)")
        return [versions[v][0] | {"time": times} for v in chosen]

    def package_lock(self, specs, before=None, overrides=None):
        self.locked.append((tuple(specs), before))
        self.overrides.append(dict(overrides or {}))
        nodes = {"": {"dependencies": {}}}
        for spec in specs:
            name, _, version = spec.rpartition("@")
            entry, day = self.packages[name][version]
            if before and day >= before.isoformat():
                raise npm.NotInRegistryError(
                    f"npm install failed: {spec} with a date before {before} (ETARGET)"
                )
            nodes[f"node_modules/{name}"] = {
                "version": version,
                "resolved": f"http://127.0.0.1/{name}.tgz",
                "integrity": entry["dist"]["integrity"],
            }
        return {"packages": nodes | self.extra}


@pytest.fixture
def registry(monkeypatch):
    made = Registry()
    monkeypatch.setattr(npm, "view", made.view)
    monkeypatch.setattr(npm, "package_lock", made.package_lock)
    # test_signatures.py has npm itself look.
    monkeypatch.setattr(npm, "audit_signatures", lambda _: {"error": {"code": "ENOTABLE"}})
    monkeypatch.setattr(tarball, "sizes", lambda packages: {p.key: 7 for p in packages})
    monkeypatch.setattr(ask, "sdk_major", lambda _: 2)
    monkeypatch.setattr(ask, "bun_facts", lambda *_: ask.BunFacts("9", ("built-in@0.0.5",)))
    monkeypatch.setattr(embedded, "catalogue", lambda _: {})
    monkeypatch.setattr(ask, "bundled", lambda *_: set())
    return made


@pytest.fixture
def locked(registry, tmp_path):
    """The lock for a plan with nothing but these."""

    def make(before=None, opencode="1.18.33", found=None, *, allow_missing=False, **fields):
        empty = {"providers": [], "config": [], "built_in_plugins": False}
        chosen = plan.Plan(opencode=opencode, **(empty | fields))
        day = dt.date.fromisoformat(before) if before else None
        resolver = resolve.Resolver(
            chosen,
            tmp_path / "opencode",
            before=day,
            on_step=lambda _: None,
            archives=tmp_path / "archives",
            allow_missing=allow_missing,
        )
        made = resolver.lock(found or {}, {})
        # What is made is what can be read.
        (tmp_path / "lock.json").write_text(lock.dumps(made), encoding="utf-8")
        assert lock.dumps(lock.read(tmp_path / "lock.json")) == lock.dumps(made)
        return made

    return make


def versions(made):
    return {request.spec: request.version for request in made.requests}


# Which version


def sdk(registry, version, major, **fields):
    registry.has("@ai-sdk/x", version, dependencies={SPEAKS: f"{major}.0.5"}, **fields)


def test_a_provider_gets_the_newest_release_of_the_binarys_generation(registry, locked):
    for version, major in (("1.9.0", 1), ("2.9.0", 2), ("2.10.0", 2), ("2.11.0-beta.1", 2), ("3.0.0", 3)):
        sdk(registry, version, major)
    made = locked(providers=["@ai-sdk/x"])
    assert versions(made) == {"@ai-sdk/x": "2.10.0"}
    assert made.requests[0].requested == "latest"
    assert made.opencode.sdk_major == 2


def test_the_generation_may_be_a_peer_dependency_and_a_range(registry, locked):
    registry.has("p", "1.0.0", peerDependencies={SPEAKS: "^2.0.0"})
    registry.has("p", "2.0.0", peerDependencies={SPEAKS: ">=3"})
    assert versions(locked(providers=["p"])) == {"p": "1.0.0"}


def test_a_package_that_speaks_several_generations_fits_each_of_them(registry, locked):
    registry.has("p", "1.0.0", dependencies={SPEAKS: "^2.0.0"})
    registry.has("p", "2.0.0", peerDependencies={SPEAKS: "^2.0.0 || ^3.0.0"})
    registry.has("p", "3.0.0", peerDependencies={SPEAKS: "^3.2.0"})
    assert versions(locked(providers=["p"])) == {"p": "2.0.0"}


def test_a_provider_that_is_no_ai_sdk_provider_gets_the_newest_release(registry, locked):
    registry.has("@aws/credentials", "1.0.0")
    registry.has("@aws/credentials", "10.0.0")
    registry.has("@aws/credentials", "9.0.0")
    assert versions(locked(providers=["@aws/credentials"])) == {"@aws/credentials": "10.0.0"}


def test_a_provider_without_a_version_of_the_generation_is_not_locked_silently(registry, locked):
    sdk(registry, "4.0.0", 4)
    made = locked(providers=["@ai-sdk/x"])
    notes = [request.note or "" for request in made.requests] + [gone.reason for gone in made.unavailable]
    assert len(notes) == 1
    assert f"no version speaks {SPEAKS} 2" in notes[0]
    assert "4" in notes[0]


def test_a_range_that_was_given_wins_over_everything(registry, locked):
    sdk(registry, "2.0.0", 2)
    sdk(registry, "3.0.0", 3)
    sdk(registry, "3.1.0", 3)
    sdk(registry, "4.0.0", 4)
    given = {"@ai-sdk/x": "^3"}
    assert versions(locked(providers=["@ai-sdk/x"], resolve=given)) == {"@ai-sdk/x": "3.1.0"}
    assert versions(locked(plugins=["@ai-sdk/x@2.0.0"], resolve=given)) == {"@ai-sdk/x@2.0.0": "3.1.0"}


def test_a_range_for_what_nobody_asked_for_by_name_goes_to_the_dependencies(registry, locked):
    registry.has("a")
    registry.has("b")
    locked(tools=["a", "b"], resolve={"a": "^1", "zod": "<4.4"})
    assert sorted(map(sorted, registry.overrides)) == [["a", "zod"], ["zod"]]
    assert {"zod": "<4.4"} in registry.overrides


def test_of_the_versions_in_a_range_the_highest_is_taken_not_the_last(registry, locked):
    for version in ("2.0.0", "2.10.0", "2.9.0", "3.0.0"):
        registry.has("p", version)
    assert versions(locked(plugins=["p@^2"])) == {"p@^2": "2.10.0"}


def test_a_bare_plugin_gets_npms_latest_even_if_something_higher_is_there(registry, locked):
    registry.has("p", "3.0.0-rc.1")
    registry.has("p", "2.0.0")
    made = locked(plugins=["p"])
    assert versions(made) == {"p": "2.0.0"}
    assert made.requests[0].tree == "packages/p@latest"


def test_the_config_package_has_opencodes_own_version(registry, locked):
    registry.has("@opencode-ai/plugin", "1.18.33")
    registry.has("@opencode-ai/plugin", "1.19.0")
    assert versions(locked(config=["@opencode-ai/plugin"])) == {"@opencode-ai/plugin": "1.18.33"}


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["1.18.3", "1.18.31", "1.18.4", "1.18.40", "1.19.0-dev"], "1.18.31"),
        (["1.18.40", "1.19.0"], "1.18.40"),
    ],
)
def test_where_the_registry_lacks_opencodes_own_version_the_nearest_is_taken_and_noted(
    registry, locked, there, taken
):
    for version in there:
        registry.has("@opencode-ai/plugin", version)
    made = locked(config=["@opencode-ai/plugin"])
    assert [(r.version, r.note) for r in made.requests] == [
        (taken, "the registry does not have 1.18.33; this is the nearest version that it has")
    ]


def test_another_package_for_config_directories_has_versions_of_its_own(registry, locked):
    registry.has("zod", "3.0.0")
    registry.has("zod", "4.0.0")
    assert versions(locked(config=["zod"])) == {"zod": "4.0.0"}


def test_with_a_date_only_what_was_published_before_that_day_counts(registry, locked):
    registry.has("p", "1.0.0", day="2025-01-01")
    registry.has("p", "1.1.0", day="2025-02-28")
    registry.has("p", "1.2.0", day="2025-03-01")
    sdk(registry, "2.0.0", 2, day="2025-01-01")
    sdk(registry, "2.1.0", 2, day="2025-03-02")
    made = locked(before="2025-03-01", plugins=["p"], providers=["@ai-sdk/x"], tools=["p@^1"])
    assert versions(made) == {"p": "1.1.0", "@ai-sdk/x": "2.0.0", "p@^1": "1.1.0"}


@pytest.mark.parametrize(
    ("kind", "spec"), [("plugins", "p@1.2.0"), ("providers", "p@1.2.0"), ("config", "p@1.2.0")]
)
def test_an_exact_version_never_depends_on_the_date(registry, locked, kind, spec):
    registry.has("p", "1.0.0", day="2025-01-01")
    registry.has("p", "1.2.0", day="2025-06-01")
    assert versions(locked(before="2025-03-01", **{kind: [spec]})) == {spec: "1.2.0"}


def test_an_exact_version_that_was_given_for_a_name_does_not_depend_on_the_date_either(registry, locked):
    registry.has("p", "1.0.0", day="2025-01-01")
    registry.has("p", "1.2.0", day="2025-06-01")
    assert versions(locked(before="2025-03-01", plugins=["p"], resolve={"p": "1.2.0"})) == {"p": "1.2.0"}


def test_the_date_holds_for_dependencies_too(registry, locked):
    registry.has("p", "1.0.0", day="2025-01-01")
    locked(before="2025-03-01", plugins=["p"])
    assert registry.locked == [(("p@1.0.0",), dt.date(2025, 3, 1))]


# What cannot be had


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"plugins": ["none"]}, "the registry has no such package or version"),
        ({"plugins": ["p@9.9.9"]}, "the registry has no such package or version"),
        ({"plugins": ["p@^9"]}, "no version of p matches ^9"),
        ({"plugins": ["p"], "before": "2024-01-01"}, "published before 2024-01-01"),
        ({"providers": ["p"], "before": "2024-01-01"}, "published before 2024-01-01"),
        ({"providers": ["p"], "resolve": {"p": "^9"}}, "no version of p matches ^9"),
    ],
)
def test_what_cannot_be_had_is_listed_with_the_reason_where_that_is_allowed(registry, locked, fields, said):
    registry.has("p", "1.0.0", day="2025-01-01")
    registry.has("other", "1.0.0", day="2023-01-01")
    with pytest.raises(missing.MissingError, match=re.escape(said)):
        locked(tools=["other"], **fields)
    made = locked(tools=["other"], allow_missing=True, **fields)
    assert versions(made) == {"other": "1.0.0"}
    (gone,) = made.unavailable
    assert said in gone.reason
    assert gone.spec == (fields.get("plugins") or fields["providers"])[0]


def test_without_a_date_nothing_is_said_of_time(registry, locked):
    registry.has("p")
    assert "time" not in locked(plugins=["p@^9"], allow_missing=True).unavailable[0].reason


def test_a_package_without_a_latest_version_is_listed_as_unavailable(registry, locked):
    registry.packages["p"] = {}
    assert [gone.spec for gone in locked(plugins=["p"], allow_missing=True).unavailable] == ["p"]


# Tools


@pytest.mark.parametrize(
    ("node", "version"),
    [((20, 20, 2), "5.3.0"), ((22, 22, 2), "6.0.2"), (None, "6.0.2"), ((8, 0, 0), "6.0.2")],
)
def test_a_tool_is_one_that_the_nodejs_here_runs(registry, locked, monkeypatch, node, version):
    registry.has("pyright", "5.3.0", engines={"node": ">=20"})
    registry.has("pyright", "6.0.2", engines={"node": ">=22.22.2"})
    monkeypatch.setattr(nodejs, "version", lambda: node)
    (request,) = locked(tools=["pyright"]).requests
    assert request.version == version
    wants = "it wants Node.js >=22.22.2, and 8.0.0 is here"
    assert request.note == (wants if node == (8, 0, 0) else None)


def test_a_tool_brings_what_it_needs(registry, locked):
    registry.has("typescript-language-server", "6.0.2")
    with contextlib.suppress(KeyError):  # the registry of tables knows exact versions only
        locked(tools=["typescript-language-server"])
    with contextlib.suppress(KeyError):
        locked(tools=["typescript-language-server"], resolve={"typescript": "^5"})
    server = "typescript-language-server@6.0.2"
    assert [specs for specs, _ in registry.locked] == [
        (server, "typescript@>=4.7 <7"),
        (server, "typescript@^5"),
    ]
    assert registry.overrides == [{}, {}]  # npm takes no range for what is a dependency of the project itself


def test_what_npx_starts_is_locked_under_its_own_text(registry, locked):
    registry.has("@s/server", "1.0.0")
    made = locked(commands=["@s/server"])
    (request,) = made.requests
    assert (request.kind, request.spec, request.tree) == ("command", "@s/server", "packages/@s/server")


# Named means wanted


def test_all_that_was_named_and_cannot_be_had_ends_the_lock_in_one_go(registry, locked):
    registry.has("good")
    registry.has("opencode-beads", "1.0.0")
    registry.has("opencode-beads", "1.1.0")
    with pytest.raises(missing.MissingError) as caught:
        locked(
            plugins=["good", "opencode-bead", "opencode-beads@1.0.1"],
            extra_providers=["@ai-sdk/cohera"],
            tools=["some-tool"],
        )
    assert caught.value.exit_status == 3
    first, said = str(caught.value).split(": ", 1)
    assert first == "4 of what was asked for cannot be had; --allow-missing goes on without them"
    reason = "the registry has no such package or version"
    assert said.split(" | ") == [
        f"provider @ai-sdk/cohera: {reason}; did you mean @ai-sdk/cohere?",
        f"plugin opencode-bead: {reason}; did you mean opencode-beads?",
        f"plugin opencode-beads@1.0.1: {reason}; of opencode-beads it has 1.0.0, 1.1.0",
        f"tool some-tool: {reason}",
    ]


def test_a_plugin_that_renames_itself_is_noted_with_its_other_name(registry, locked):
    registry.has("oh-my-opencode")
    (request,) = locked(plugins=["oh-my-opencode"]).requests
    assert request.note.startswith("write oh-my-openagent: at its first start it changes")


def lacking(registry, monkeypatch, *broken):
    """npm's resolution of a tree fails where one of these is in it."""
    whole = registry.package_lock

    def package_lock(specs, before=None, overrides=None):
        gone = [spec for spec in specs if spec.rpartition("@")[0] in broken]
        if gone:
            raise npm.NotInRegistryError("npm install failed: 404 (E404)", f"dependency-of-{gone[0]}")
        return whole(specs, before, overrides)

    monkeypatch.setattr(npm, "package_lock", package_lock)


@pytest.mark.parametrize("opencode", ["1.18.33", "1.0.61"])
def test_a_dependency_that_is_gone_is_named_with_its_plugin(registry, locked, monkeypatch, opencode):
    """In a tree of its own, and in one node_modules for all."""
    for name in ("a", "b", "c", "d"):
        registry.has(name)
    lacking(registry, monkeypatch, "b", "d")
    with pytest.raises(missing.MissingError) as caught:
        locked(opencode=opencode, plugins=["a", "b", "c", "d"])
    gone = {one.spec: one.reason for one in caught.value.gone}
    assert gone == {
        name: f"it depends on dependency-of-{name}@1.0.0, which the registry does not have" for name in "bd"
    }
    made = locked(opencode=opencode, plugins=["a", "b", "c", "d"], allow_missing=True)
    assert [request.spec for request in made.requests] == ["a", "c"]
    assert sorted(gone.spec for gone in made.unavailable) == ["b", "d"]


def test_what_nobody_named_is_listed(registry, locked, monkeypatch):
    """The catalogue's providers: of one the registry has nothing, of one not all that it depends on."""
    registry.has("here")
    registry.has("broken")
    lacking(registry, monkeypatch, "broken")
    models = {name: {"npm": name, "models": {"m": {}}} for name in ("here", "gone", "broken")}
    monkeypatch.setattr(embedded, "catalogue", lambda _: models)
    monkeypatch.setattr(ask, "bundled", lambda *_: set())
    made = locked(providers=plan.CATALOGUE)
    assert [request.spec for request in made.requests] == ["here"]
    assert sorted(gone.spec for gone in made.unavailable) == ["broken", "gone"]
    with pytest.raises(missing.MissingError, match="provider gone"):
        locked(providers=plan.CATALOGUE, extra_providers=["gone"])


def test_what_opencode_has_built_in_is_said_and_not_locked(registry, locked, monkeypatch):
    registry.has("@ai-sdk/x")
    monkeypatch.setattr(ask, "bundled", lambda *_: {"@ai-sdk/x"})
    made = locked(plugins=["opencode-copilot-auth@1.0.0"], extra_providers=["@ai-sdk/x"])
    said = "OpenCode has this built in; take it out"
    assert [(gone.spec, gone.reason) for gone in made.unavailable] == [("opencode-copilot-auth@1.0.0", said)]
    assert [(request.spec, request.note) for request in made.requests] == [("@ai-sdk/x", said)]


# Trees


def test_each_tree_is_resolved_once_with_all_that_is_in_it(registry, locked):
    for name in ("built-in", "a", "b"):
        registry.has(name, "0.0.5")
    made = locked(opencode="1.0.61", providers=["a"], plugins=["b"], built_in_plugins=True)
    assert [sorted(specs) for specs, _ in registry.locked] == [["a@0.0.5", "b@0.0.5", "built-in@0.0.5"]]
    assert set(made.trees) == {"."}
    assert made.opencode.cache_version == "9"
    assert {request.spec: request.requested for request in made.requests} == {
        "a": "latest",
        "b": "latest",
        "built-in@0.0.5": "0.0.5",
    }


def test_built_in_plugins_can_be_left_out(registry, locked):
    registry.has("a")
    assert versions(locked(opencode="1.0.61", providers=["a"])) == {"a": "1.0.0"}


def test_the_same_spec_twice_is_one_request(registry, locked):
    registry.has("a")
    made = locked(plugins=["a", "a"], tools=["a", "a"], providers=["a", "a"], extra_providers=["a"])
    assert sorted(request.kind for request in made.requests) == ["plugin", "provider", "tool"]


@pytest.mark.parametrize(
    "fields",
    [
        {"opencode": "1.0.61", "plugins": ["a@1.0.0", "a@2.0.0"]},
        {"opencode": "1.0.61", "providers": ["a"], "plugins": ["a@1.0.0"]},
        {"config": ["a@1.0.0", "a@2.0.0"]},
    ],
)
def test_two_versions_of_one_name_in_one_tree_are_refused_by_both_names(registry, locked, fields):
    registry.has("a", "1.0.0")
    registry.has("a", "2.0.0")
    with pytest.raises(BadInputError) as caught:
        locked(**fields)
    assert "a@1.0.0" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_tool_in_the_bun_layout_is_refused(registry, locked):
    registry.has("pyright")
    with pytest.raises(BadInputError, match=r"OpenCode 1.0.61 .*take pyright out"):
        locked(opencode="1.0.61", tools=["pyright"])


def node(package, version="1.0.0", **fields):
    return {
        "version": version,
        "resolved": f"http://127.0.0.1/{package}.tgz",
        "integrity": making.integrity(f"{package}{version}".encode()),
    } | fields


def test_nested_packages_aliases_and_packages_of_other_systems_are_kept(registry, locked):
    registry.has("a")
    registry.extra = {
        "node_modules/@s/b": node("@s/b", os=["darwin"], cpu=["arm64"], license="MIT", bin={"b": "b.js"}),
        "node_modules/a/node_modules/@s/b": node("@s/b", "2.0.0", libc=["musl"], os="linux"),
        "node_modules/alias": node("real", name="real"),
        "node_modules/a/node_modules/bundled": node("bundled", inBundle=True),
        "node_modules/optional": node("optional", optional=True, dev=False, peer=True),
    }
    made = locked(tools=["a"])
    assert made.trees["packages/a"] == {
        "node_modules/a": "a@1.0.0",
        "node_modules/@s/b": "@s/b@1.0.0",
        "node_modules/a/node_modules/@s/b": "@s/b@2.0.0",
        "node_modules/alias": "real@1.0.0",
        "node_modules/optional": "optional@1.0.0",
    }
    mac = made.packages["@s/b@1.0.0"]
    assert (mac.os, mac.cpu, mac.libc, mac.license, mac.bin) == (
        ("darwin",),
        ("arm64",),
        (),
        "MIT",
        {"b": "b.js"},
    )
    assert (made.packages["@s/b@2.0.0"].os, made.packages["@s/b@2.0.0"].libc) == (("linux",), ("musl",))
    assert {package.size for package in made.packages.values()} == {7}


@pytest.mark.parametrize(
    "entry",
    [
        {"link": True, "resolved": "../b"},
        node("b", resolved="git+ssh://git@h.test/b.git#0123", integrity=None),
        node("b", resolved="git+ssh://git@h.test/b.git#0123"),
        node("b", resolved="file:../b.tgz"),
        node("b", integrity=None),
        node("b", integrity="sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        node("b", version="http://h.test/b.tgz"),
    ],
)
def test_a_dependency_that_is_not_from_the_registry_is_refused(registry, locked, entry):
    registry.has("a")
    registry.extra = {"node_modules/b": entry}
    with pytest.raises(BadInputError, match=r"packages/a: .*b"):
        locked(tools=["a"])


def test_one_package_with_two_integrities_is_refused(registry, locked):
    registry.has("a")
    registry.extra = {
        "node_modules/b": node("b"),
        "node_modules/a/node_modules/b": node("b", integrity=making.integrity(b"other")),
    }
    with pytest.raises(BadInputError, match=r"b@1.0.0: .*two integrities"):
        locked(tools=["a"])


# Entries


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("license", "MIT", "MIT"),
        ("license", {"type": "ISC", "url": "x"}, "ISC"),
        ("license", {"name": "odd"}, None),
        ("license", None, None),
        ("license", "MIT\n\x1b]0;title\x07 \x1b[31mred\u202e", "MIT ]0;title [31mred"),
        ("license", "\x1b", None),
        ("bin", "./cli.js", {"b": "./cli.js"}),
        ("bin", {"x": "x.js"}, {"x": "x.js"}),
        ("bin", None, {}),
        ("os", "linux", ("linux",)),
        ("os", ["linux", "!win32"], ("linux", "!win32")),
        ("cpu", None, ()),
        ("integrity", f"sha1-AAAA {making.integrity(b'x')}", None),
    ],
)
def test_an_entry_of_npm_becomes_a_package_of_the_lock(field, given, kept):
    made = metadata.package_from(node("@s/b", **{field: given}), "@s/b")
    assert getattr(made, field) == (making.integrity(b"x") if field == "integrity" else kept)


@pytest.mark.parametrize(
    "fields", [{"license": ["MIT", "ISC"]}, {"license": [{"type": "MIT"}]}, {"bin": {"x": False}}]
)
def test_an_odd_entry_is_kept_or_refused_but_breaks_nothing(registry, locked, fields):
    registry.has("a")
    registry.extra = {"node_modules/b": node("b", **fields)}
    with contextlib.suppress(OpencodeCacheError):
        locked(tools=["a"])


# Binaries


def test_the_best_binary_that_exists_is_taken_for_each_system(registry):
    registry.has("opencode-linux-x64-baseline", "1.18.33")
    registry.has("opencode-linux-x64", "1.18.33")
    registry.has("opencode-linux-x64-musl", "1.18.33")
    found, missing = programs.binaries("1.18.33", ["x86_64-linux", "x86_64-linux-musl", "aarch64-darwin"])
    assert {system: package.name for system, package in found.items()} == {
        "x86_64-linux": "opencode-linux-x64-baseline",
        "x86_64-linux-musl": "opencode-linux-x64-musl",
    }
    assert missing == {"aarch64-darwin": "the registry has no opencode-darwin-arm64 1.18.33"}


def test_a_binary_without_a_strong_hash_is_missing_with_the_reason(registry):
    registry.has("opencode-linux-arm64", "1.0.61", dist={"integrity": "sha1-AAAA"})
    found, missing = programs.binaries("1.0.61", ["aarch64-linux"])
    assert found == {}
    assert "no sha512 integrity" in missing["aarch64-linux"]


def test_binaries_get_their_sizes_too(registry, locked):
    registry.has("a")
    binary = making.package("opencode-linux-x64-baseline", "1.18.33")
    made = locked(tools=["a"], found={"x86_64-linux": binary})
    assert made.opencode.binaries["x86_64-linux"].size == 7


# The catalogue


def test_what_the_catalogue_names_and_the_binary_lacks_is_locked(registry, locked, monkeypatch):
    registry.has("@ai-sdk/lacking")
    registry.has("extra")
    document = {
        "x": {"npm": "@ai-sdk/lacking", "models": {"m": {}}},
        "y": {"npm": "@ai-sdk/there", "models": {"m": {}}},
    }
    monkeypatch.setattr(embedded, "catalogue", lambda _: document)
    monkeypatch.setattr(ask, "bundled", lambda *_: {"@ai-sdk/there", "@ai-sdk/of-no-catalogue"})
    made = locked(providers=plan.CATALOGUE, extra_providers=["extra"])
    assert made.opencode.bundled == ("@ai-sdk/of-no-catalogue", "@ai-sdk/there")
    assert set(versions(made)) == {"@ai-sdk/lacking", "extra"}


# Tools, repositories and files of the user's own


def test_the_version_of_a_tool_is_no_part_of_its_place(registry, locked):
    registry.has("pyright", "1.1.0")
    registry.has("pyright", "1.2.0")
    made = locked(tools=["pyright@1.1.0"])
    assert versions(made) == {"pyright@1.1.0": "1.1.0"}
    assert made.requests[0].tree == "packages/pyright"


def test_a_tool_that_opencode_does_not_ask_for_is_noted(registry, locked):
    registry.has("some-server")
    assert "asks for no such tool" in locked(tools=["some-server"]).requests[0].note


def test_a_tool_that_is_plainly_another_one_is_refused(registry, locked):
    registry.has("biome")
    registry.has("pyrigth")
    with pytest.raises(missing.MissingError) as caught:
        locked(tools=["biome", "pyrigth"])
    assert {one.spec: one.reason for one in caught.value.gone} == {
        name: f"OpenCode asks npm for no such tool; did you mean {meant}?"
        for name, meant in (("biome", "@biomejs/biome"), ("pyrigth", "pyright"))
    }


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def archive(**fields):
    document = {"name": "my-plugin", "version": "1.2.0", "license": "MIT"} | fields
    return making.tarball({"package.json": json.dumps(document), "index.js": "export {}"})


@pytest.fixture
def repositories(monkeypatch):
    """GitHub's archives from a server on loopback: path -> content."""
    served = {f"/owner/repo/tar.gz/{COMMIT}": archive()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = served.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv(repository.ARCHIVES, f"http://127.0.0.1:{server.server_port}/")
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def from_file(registry, monkeypatch):
    """npm resolves `name@file:…` as well: the package itself, and one dependency."""
    asked = []

    def package_lock(specs, before=None, overrides=None):
        asked.extend(specs)
        (spec,) = specs
        name, _, file = spec.partition("@file:")
        assert Path(file).is_file()
        return {
            "packages": {
                f"node_modules/{name}": {
                    "version": "1.2.0",
                    "resolved": f"file:{file}",
                    "integrity": "sha512-x",
                },
                "node_modules/a": {"version": "1.0.0", "integrity": making.integrity(b"a1.0.0")},
            }
        }

    monkeypatch.setattr(npm, "package_lock", package_lock)
    return asked


@pytest.mark.parametrize(("start", "name"), [("", "my-plugin"), ("mine@", "mine")])
def test_a_plugin_out_of_a_repository_is_locked_by_the_hash_of_its_archive(
    repositories, from_file, locked, tmp_path, start, name
):
    spec = f"{start}github:owner/repo#{COMMIT}"
    made = locked(plugins=[spec])
    (request,) = made.requests
    assert (request.name, request.tree, request.spec) == (name, f"packages/{spec}", spec)
    package = made.packages[f"{name}@1.2.0+{COMMIT[:12]}"]
    assert package.integrity == making.integrity(archive())
    assert (package.github, package.license) == (f"owner/repo#{COMMIT}", "MIT")
    assert made.trees[request.tree] == {f"node_modules/{name}": package.key, "node_modules/a": "a@1.0.0"}
    github_archives.fetch([package], tmp_path / "tarballs")
    assert (tmp_path / "tarballs" / package.tarball).read_bytes() == archive()
    repositories[f"/owner/repo/tar.gz/{COMMIT}"] = archive(version="9")
    github_archives.fetch([package], tmp_path / "tarballs")  # what is there and whole is not asked for again
    with pytest.raises(NetworkError, match="GitHub's archive has"):
        github_archives.fetch([package], tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("written", ["git+https://github.com/owner/repo.git", "owner/repo"])
@pytest.mark.parametrize(("start", "name"), [("", "my-plugin"), ("mine@", "mine")])
def test_a_git_spec_is_locked_under_its_own_text(
    repositories, from_file, locked, tmp_path, monkeypatch, start, name, written
):
    """What stands in opencode.json stays as it is: OpenCode makes one slash of two where it looks."""
    spec = start + written
    monkeypatch.setattr(git, "pinned", lambda source: source.at(COMMIT))
    made = locked(plugins=[spec])
    (request,) = made.requests
    tree = f"packages/{spec.replace('//', '/')}"
    assert (request.name, request.tree, request.spec) == (name, tree, spec)
    assert made.packages[f"{name}@1.2.0+{COMMIT[:12]}"].github == f"owner/repo#{COMMIT}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "shows no such commit"),
        (b"no archive", "what GitHub sent is not an archive"),
        (making.tarball({"index.js": ""}), "has no package.json"),
        (archive(name=None), "has no name"),
        (archive(name="../x"), "'../x' cannot be used; write 'NAME@github:…'"),
        (archive(name="--help"), "'--help' cannot be used"),
        (archive(version="../1"), "package.json cannot be used \\(version: "),
    ],
)
def test_a_repository_that_cannot_be_used_is_refused_and_nothing_is_left(
    repositories, from_file, locked, tmp_path, content, said
):
    repositories[f"/owner/repo/tar.gz/{COMMIT}"] = content
    with pytest.raises(OpencodeCacheError, match=said) as caught:
        locked(plugins=[f"github:owner/repo#{COMMIT}"])
    assert len(str(caught.value).splitlines()) == 1
    assert list((tmp_path / "archives").iterdir()) == []


def test_what_a_local_plugin_needs_goes_to_the_config_directory(registry, locked, tmp_path):
    registry.has("zod", "3.1.0")
    registry.has("zod", "4.0.0")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "package.json").write_text('{"dependencies": {"zod": "^3"}}')
    made = locked(plugins=[f"{tmp_path}/mine"])
    assert [(r.kind, r.spec, r.version) for r in made.requests] == [("config", "zod@^3", "3.1.0")]
    made = locked(plugins=[f"{tmp_path}/mine"], config=["zod@^4"])
    assert versions(made) == {"zod@^4": "4.0.0"}


def test_a_lock_carries_what_the_plan_says_of_the_build(registry, locked, tmp_path):
    (tmp_path / "note.md").write_text("a note")
    (tmp_path / "api.json").write_text('{"p": {"models": {}}}')
    made = locked(
        warmup=["models", "agent list"],
        files={"skills/note.md": str(tmp_path / "note.md")},
        catalogue=str(tmp_path / "api.json"),
    )
    assert made.warmup == ("models", "agent list")
    assert made.files == {"skills/note.md": "a note"}
    assert made.catalogue == catalogue.describe({"p": {"models": {}}}, "file").sha256


def test_a_plan_that_says_nothing_of_the_build_leaves_no_trace_in_the_lock(registry, locked):
    assert not {"warmup", "files", "catalogue"} & set(json.loads(lock.dumps(locked())))


# What may not be passed on

XSSEC = "node_modules/@sap/xssec"


@pytest.fixture
def sap(registry, monkeypatch):
    """A catalogue of two providers, of which one brings what may not be passed on."""
    registry.has("free")
    registry.has("bound")
    monkeypatch.setattr(embedded, "catalogue", lambda _: {})
    packages = {"free": ["a"], "bound": ["b"]}
    monkeypatch.setattr(catalogue, "packages", lambda _: packages)
    plain = registry.package_lock

    def package_lock(specs, before=None, overrides=None):
        document = plain(specs, before, overrides)
        if any(spec.startswith("bound@") for spec in specs):
            document["packages"][XSSEC] = {
                "version": "4.15.0",
                "integrity": making.integrity(b"xssec"),
                "license": "SAP DEVELOPER LICENSE AGREEMENT",
            }
        return document

    monkeypatch.setattr(npm, "package_lock", package_lock)
    return registry


@pytest.mark.parametrize("opencode", ["1.18.33", "1.0.200"])
def test_the_catalogue_brings_nothing_that_may_not_be_passed_on(sap, locked, opencode):
    made = locked(opencode=opencode, providers="catalogue")
    assert list(versions(made)) == ["free"]
    assert list(made.packages) == ["free@1.0.0"]
    (gone,) = made.unavailable
    assert (gone.kind, gone.spec) == ("provider", "bound")
    assert gone.reason == (
        "its dependency @sap/xssec may not be passed on (SAP Developer License); "
        "name it yourself with --provider to lock it for yourself"
    )


@pytest.mark.parametrize(
    "fields",
    [{"providers": ["bound"]}, {"providers": "catalogue", "extra_providers": ["bound"]}],
    ids=["plan", "option"],
)
@pytest.mark.parametrize("opencode", ["1.18.33", "1.0.200"])
def test_what_a_person_named_is_locked_with_a_note(sap, locked, fields, opencode):
    made = locked(opencode=opencode, **fields)
    assert "@sap/xssec@4.15.0" in made.packages
    assert made.unavailable == ()
    (note,) = [request.note for request in made.requests if request.spec == "bound"]
    assert note == (
        "its dependency @sap/xssec may not be passed on (SAP Developer License); "
        "`bundle` takes it with --accept-licence @sap/xssec alone"
    )
