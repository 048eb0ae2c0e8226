"""The layouts: where things go for which version, and what makes OpenCode take them for installed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import making
import pytest

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.layouts.layout import Place
from opencode_cache.npm.spec import split_spec

if TYPE_CHECKING:
    from opencode_cache.formats import lock

BUN = layouts.named("bun")
PACKAGES = layouts.named("packages")

# Versions on both sides of each change of the rule, from tries on the real binaries.
VERBATIM = ["1.0.61", "1.0.98", "1.0.152", "1.0.185", "1.1.11", "1.1.27"]
RESOLVED = ["1.1.53", "1.1.65", "1.2.27", "1.3.0", "1.3.2"]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("a", ("a", "")),
        ("@s/a", ("@s/a", "")),
        ("a@1.2.3", ("a", "1.2.3")),
        ("@s/a@^1", ("@s/a", "^1")),
        ("a@latest", ("a", "latest")),
        ("a@>=1 <2", ("a", ">=1 <2")),
        ("a@npm:b@1", ("a", "npm:b@1")),
        ("", ("", "")),
    ],
)
def test_a_spec_is_split_at_the_version(spec, parts):
    assert split_spec(spec) == parts


# Bun


@pytest.mark.parametrize("kind", ["provider", "plugin"])
@pytest.mark.parametrize("version", VERBATIM)
def test_up_to_1_1_27_the_word_latest_itself_is_compared(version, kind):
    assert BUN.place(version, kind, "@s/a", "2.0.1") == Place(".", "latest")
    assert BUN.place(version, kind, "@s/a@latest", "2.0.1") == Place(".", "latest")
    assert BUN.place(version, kind, "a@0.0.5", "0.0.5") == Place(".", "0.0.5")


@pytest.mark.parametrize("kind", ["provider", "plugin"])
@pytest.mark.parametrize("version", RESOLVED)
def test_after_1_1_27_the_version_on_disk_is_compared(version, kind):
    assert BUN.place(version, kind, "@s/a", "2.0.1") == Place(".", "2.0.1")
    assert BUN.place(version, kind, "a@0.0.5", "0.0.5") == Place(".", "0.0.5")


@pytest.mark.parametrize("kind", ["config", "tool"])
def test_the_bun_layout_has_no_place_for_tools_and_config_packages(kind):
    with pytest.raises(BadInputError, match=r"pyright: OpenCode 1\.0\.61 .* take it out of the plan"):
        BUN.place("1.0.61", kind, "pyright", "1.0.0")


@pytest.mark.parametrize(
    ("version", "asks"), [("1.0.61", False), ("1.1.27", False), ("1.1.53", True), ("1.3.2", True)]
)
def test_from_1_1_53_on_the_registry_is_asked_about_what_is_installed(version, asks):
    assert BUN.asks_again(version) is asks


@pytest.fixture
def bun_cache(tmp_path):
    """A cache with nested packages of every shape, and what the layout wrote beside them."""
    top = making.package("@ai-sdk/top", "2.0.0", bin={"top": "./cli.js"})
    plugin = making.package("plugin", "0.0.5")
    native = making.package("native-linux", "1.0.0", os=("linux",), cpu=("x64", "arm64"))
    old, older = making.package("zod", "3.0.0"), making.package("zod", "2.0.0")
    nodes = {
        "node_modules/@ai-sdk/top": top,
        "node_modules/plugin": plugin,
        "node_modules/native-linux": native,
        "node_modules/zod": old,
        "node_modules/@ai-sdk/top/node_modules/zod": older,
        "node_modules/@ai-sdk/top/node_modules/@s/x": making.package("@s/x"),
    }
    manifest = {
        "name": "@ai-sdk/top",
        "dependencies": {"zod": "^2", "native-linux": "1"},
        "optionalDependencies": {"native-linux": "1"},
        "peerDependencies": {"react": "*", "vue": "*"},
        "peerDependenciesMeta": {"vue": {"optional": True}, "react": {"optional": False}},
        "devDependencies": {"never": "1"},
    }
    for path in nodes:
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "node_modules/@ai-sdk/top/package.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "node_modules/plugin/package.json").write_text(
        '{"dependencies": {"opt": "1"}}', encoding="utf-8"
    )
    made = making.lock(
        list(nodes.values()),
        {".": {path: package.key for path, package in nodes.items()}},
        [
            making.request("provider", "@ai-sdk/top", ".", "2.0.0"),
            making.request("plugin", "plugin@0.0.5", ".", "0.0.5", requested="0.0.5"),
        ],
        version="1.0.61",
        layout="bun",
        cache_version="9",
    )
    BUN.write_metadata(tmp_path, made)
    return tmp_path, made


def test_the_package_json_holds_the_requested_strings(bun_cache):
    cache, _ = bun_cache
    document = json.loads((cache / "package.json").read_text(encoding="utf-8"))
    assert document == {"dependencies": {"@ai-sdk/top": "latest", "plugin": "0.0.5"}}


def test_the_version_has_no_newline(bun_cache):
    assert (bun_cache[0] / "version").read_bytes() == b"9"


def read_bun_lock(cache):
    text = (cache / "bun.lock").read_text(encoding="utf-8")
    return text, json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


def test_buns_lock_is_json_but_for_the_commas_at_the_end(bun_cache):
    text, document = read_bun_lock(bun_cache[0])
    assert document["lockfileVersion"] == 1
    assert document["workspaces"][""]["dependencies"] == {"@ai-sdk/top": "latest", "plugin": "0.0.5"}
    assert "://" not in text
    assert text.endswith("}\n")


def test_an_entry_of_buns_lock_is_key_registry_info_and_integrity(bun_cache):
    cache, made = bun_cache
    _, document = read_bun_lock(cache)
    assert set(document["packages"]) == {
        "@ai-sdk/top",
        "plugin",
        "native-linux",
        "zod",
        "@ai-sdk/top/zod",
        "@ai-sdk/top/@s/x",
    }
    assert document["packages"]["@ai-sdk/top/zod"][0] == "zod@2.0.0"
    for key, registry, info, integrity in document["packages"].values():
        assert registry == ""
        assert isinstance(info, dict)
        assert integrity == made.packages[key].integrity


def test_buns_info_comes_from_the_manifest_with_each_dependency_once(bun_cache):
    _, document = read_bun_lock(bun_cache[0])
    packages = document["packages"]
    assert packages["@ai-sdk/top"][2] == {
        "dependencies": {"zod": "^2"},
        "optionalDependencies": {"native-linux": "1"},
        "peerDependencies": {"react": "*", "vue": "*"},
        "optionalPeers": ["vue"],
        "bin": {"top": "./cli.js"},
    }
    assert packages["native-linux"][2] == {"os": "linux", "cpu": ["x64", "arm64"]}
    assert packages["zod"][2] == {}


@pytest.mark.parametrize(
    "manifest",
    [
        '{"peerDependenciesMeta": {"a": null}}',
        '{"peerDependenciesMeta": []}',
        '{"dependencies": []}',
        "[]",
        "{",
        '{"optionalDependencies": {"a": "1"}, "dependencies": {"a": "1"}}',
        '\ufeff{"dependencies": {"a": "1"}}',
    ],
)
def test_an_odd_manifest_of_a_package_breaks_nothing(bun_cache, manifest):
    cache, made = bun_cache
    (cache / "node_modules/plugin/package.json").write_text(manifest, encoding="utf-8")
    BUN.write_metadata(cache, made)
    read_bun_lock(cache)


def test_a_package_with_nothing_but_optional_dependencies_has_no_others_in_buns_lock(bun_cache):
    cache, made = bun_cache
    manifest = {"dependencies": {"a": "1"}, "optionalDependencies": {"a": "1"}}
    (cache / "node_modules/plugin/package.json").write_text(json.dumps(manifest), encoding="utf-8")
    BUN.write_metadata(cache, made)
    _, document = read_bun_lock(cache)
    assert document["packages"]["plugin"][2] == {"optionalDependencies": {"a": "1"}}


def test_a_bun_lock_without_a_cache_version_cannot_be_built(bun_cache):
    cache, made = bun_cache
    opencode = made.opencode.model_copy(update={"cache_version": None})
    with pytest.raises(BadInputError, match="no cache_version"):
        BUN.write_metadata(cache, made.model_copy(update={"opencode": opencode}))


def test_the_bun_layout_links_what_is_read_and_copies_what_is_written(bun_cache):
    cache, _ = bun_cache
    assert BUN.links(cache) == ("node_modules", "package.json", "bun.lock")
    assert BUN.copies(cache) == ("version",)
    (cache / "tui").mkdir()
    (cache / "models.json").touch()
    (cache / "manifest.json").touch()
    assert set(BUN.links(cache)) == {"node_modules", "package.json", "bun.lock", "tui"}
    assert set(BUN.copies(cache)) == {"models.json", "version"}


def test_in_the_bun_layout_the_plugin_package_is_asked_for_whatever_there_is():
    assert BUN.tolerated("1.0.61") == {"@opencode-ai/plugin"}
    assert PACKAGES.tolerated("1.18.33") == frozenset()


# Packages


@pytest.mark.parametrize("version", ["1.14.34", "1.15.0", "1.17.0", "1.18.33"])
@pytest.mark.parametrize(
    ("kind", "spec", "place"),
    [
        ("provider", "@ai-sdk/fireworks", Place("packages/@ai-sdk/fireworks", "latest")),
        ("provider", "a@1.2.3", Place("packages/a@1.2.3", "1.2.3")),
        ("plugin", "opencode-gemini-auth", Place("packages/opencode-gemini-auth@latest", "latest")),
        ("plugin", "@s/p", Place("packages/@s/p@latest", "latest")),
        ("plugin", "@s/p@1.2.3", Place("packages/@s/p@1.2.3", "1.2.3")),
        ("plugin", "p@^1", Place("packages/p@^1", "^1")),
        ("plugin", "p@latest", Place("packages/p@latest", "latest")),
        ("tool", "pyright", Place("packages/pyright", "latest")),
        ("tool", "@biomejs/biome", Place("packages/@biomejs/biome", "latest")),
        ("config", "@opencode-ai/plugin", Place("config", "3.2.1")),
        ("config", "zod@^3", Place("config", "3.2.1")),
    ],
)
def test_in_the_packages_layout_every_spec_has_a_tree_of_its_own(version, kind, spec, place):
    assert PACKAGES.place(version, kind, spec, "3.2.1") == place


def test_every_tree_that_a_layout_gives_is_one_that_a_lock_takes():
    for spec in ("a", "@s/a", "a@^1", "@s/a@1.2.3-b", "a@npm:b@1"):
        for kind in ("provider", "plugin", "tool", "config"):
            tree = PACKAGES.place("1.18.33", kind, spec, "1.0.0").tree
            package = making.package("a")
            making.lock([package], {tree: {"node_modules/a": package.key}}, [])


def packages_lock(requests):
    found = {request["name"]: making.package(request["name"], request["version"]) for request in requests}
    trees = {}
    for request in requests:
        trees.setdefault(request["tree"], {})[f"node_modules/{request['name']}"] = found[request["name"]].key
    return making.lock(list(found.values()), trees, requests)


def write(cache, made: lock.Lock):
    for tree, nodes in made.trees.items():
        for path in nodes:
            (cache / tree / path).mkdir(parents=True)
    PACKAGES.write_metadata(cache, made)


def test_config_directories_get_a_lock_that_names_their_packages(tmp_path):
    write(
        tmp_path,
        packages_lock(
            [
                making.request("config", "@opencode-ai/plugin", "config", "1.18.33"),
                making.request("config", "zod", "config", "3.0.0"),
                making.request("tool", "pyright", "packages/pyright"),
            ]
        ),
    )
    document = json.loads((tmp_path / "config" / "package-lock.json").read_text(encoding="utf-8"))
    assert document["lockfileVersion"] == 3
    assert document["packages"][""]["dependencies"] == {"@opencode-ai/plugin": "1.18.33", "zod": "3.0.0"}
    assert "://" not in json.dumps(document)


def test_without_config_packages_there_is_no_config_directory(tmp_path):
    write(tmp_path, packages_lock([making.request("tool", "pyright", "packages/pyright")]))
    assert not (tmp_path / "config").exists()


def test_each_tree_is_a_link_of_its_own(tmp_path):
    write(
        tmp_path,
        packages_lock(
            [
                making.request("provider", "@ai-sdk/fireworks", "packages/@ai-sdk/fireworks"),
                making.request("plugin", "p@1.0.0", "packages/p@1.0.0"),
                making.request("tool", "pyright", "packages/pyright"),
                making.request("config", "@opencode-ai/plugin", "config"),
            ]
        ),
    )
    trees = ("packages/@ai-sdk/fireworks", "packages/p@1.0.0", "packages/pyright")
    assert PACKAGES.links(tmp_path) == trees
    assert PACKAGES.copies(tmp_path) == ()
    (tmp_path / "tui").mkdir()
    (tmp_path / "models.json").touch()
    assert PACKAGES.links(tmp_path) == (*trees, "tui")
    assert PACKAGES.copies(tmp_path) == ("models.json",)


def test_a_bare_plugin_is_found_under_both_names_that_1_18_looks_for(tmp_path):
    write(
        tmp_path,
        packages_lock(
            [
                making.request("plugin", "bare", "packages/bare@latest"),
                making.request("plugin", "@s/scoped", "packages/@s/scoped@latest"),
                making.request("plugin", "pinned@1.0.0", "packages/pinned@1.0.0"),
            ]
        ),
    )
    for name in ("bare", "@s/scoped"):
        assert (tmp_path / "packages" / name / "node_modules" / name).is_dir()
        assert (tmp_path / "packages" / name).readlink().parts == (f"{name.rpartition('/')[2]}@latest",)
    assert PACKAGES.links(tmp_path) == (
        "packages/@s/scoped",
        "packages/@s/scoped@latest",
        "packages/bare",
        "packages/bare@latest",
        "packages/pinned@1.0.0",
    )


def test_a_package_that_is_both_a_provider_and_a_bare_plugin_keeps_both_trees(tmp_path):
    write(
        tmp_path,
        packages_lock(
            [
                making.request("plugin", "both", "packages/both@latest"),
                making.request("provider", "both", "packages/both"),
            ]
        ),
    )
    assert not (tmp_path / "packages" / "both").is_symlink()
