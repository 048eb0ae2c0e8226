"""What is left out of a package, and above all what is not."""

from __future__ import annotations

import json
import random  # noqa: TC003 - hypothesis reads the annotation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.build.unpack import prune


def kept(files, manifest=None, **options):
    """The names that stay; `files` is names, or names with their content."""
    contents = files if isinstance(files, dict) else dict.fromkeys(files, "")
    contents = {**contents, "package.json": json.dumps(manifest)}
    return prune.keep(contents, manifest, lambda path: contents[path].encode(), **options) - {"package.json"}


@pytest.mark.parametrize(
    "path",
    [
        "a.js.map",
        "a.mjs.map",
        "a.cjs.map",
        "a.css.map",
        "a.d.ts.map",
        "d/a.d.mts.map",
        "a.ts.map",
        "a.jsx.map",
    ],
)
def test_source_maps(path):
    assert prune.is_source_map(path)
    assert prune.useless(path)
    assert kept([path, "a.js"], {"exports": {"./*": "./*"}}) == {"a.js"}


@pytest.mark.parametrize("path", ["world.map", "data/x.map", "js.map", "a.js.map.js", "a.map.json"])
def test_other_maps_are_data(path):
    assert not prune.useless(path)
    assert kept([path], {}) == {path}


def test_build_notes_are_no_source_maps():
    assert prune.useless("tsconfig.tsbuildinfo")
    assert not prune.is_source_map("tsconfig.tsbuildinfo")


def test_legal_texts_stay_wherever_they_are():
    texts = {
        "LICENSE",
        "LICENCE.md",
        "docs/license.txt",
        "COPYING",
        "src/NOTICE.md",
        "test/UNLICENSE",
        "LICENSE-MIT",
    }
    assert kept(texts, {"exports": "./a.js"}) == texts


def test_everything_stays_where_the_manifest_cannot_be_read():
    files = {"a.ts", "a.d.ts", "README.md", "test/a.js"}
    assert prune.keep({*files, "a.js.map"}, None, lambda _: b"") == files
    assert prune.keep(files, ["no", "object"], lambda _: b"") == files


# Declarations


def test_declarations_beside_what_they_describe():
    files = {"a.js", "a.d.ts", "b.mjs", "b.d.mts", "c.cjs", "c.d.cts", "d.json", "d.d.json.ts"}
    assert kept(files, {"exports": "./a.js"}) == {"a.js", "b.mjs", "c.cjs", "d.json"}
    assert kept(files, {"exports": "./a.js"}, declarations=True) == files


def test_a_directory_of_declarations_that_types_points_into():
    files = {"dist/a.js", "types/a.d.ts", "types/deep/b.d.ts", "types/package.json", "other/c.d.ts"}
    kept_files = kept(files, {"main": "dist/a.js", "types": "./types/a.d.ts"})
    assert kept_files == {"dist/a.js", "types/package.json", "other/c.d.ts"}
    exports = {".": {"types": "./other/c.d.ts", "import": "./dist/a.js"}}
    assert "other/c.d.ts" not in kept(files, {"exports": exports})


def test_declarations_that_are_data_stay():
    # As the ones that the TypeScript compiler reads: nothing beside them has their name.
    files = {"lib/typescript.js", "lib/typescript.d.ts", "lib/lib.dom.d.ts", "lib/lib.d.ts"}
    manifest = {"main": "lib/typescript.js", "typings": "lib/typescript.d.ts"}
    assert kept(files, manifest) == files - {"lib/typescript.d.ts"}


def test_a_declaration_that_a_program_is_sent_to_stays():
    assert kept({"index.d.ts"}, {"exports": {".": "./index.d.ts"}}) == {"index.d.ts"}
    assert kept({"index.d.ts"}, {"exports": {".": {"types": "./index.d.ts"}}}) == set()
    assert kept({"a.js": "import './a.d.ts'", "a.d.ts": ""}, {"main": "a.js"}) == {"a.js", "a.d.ts"}


# Sources


@pytest.mark.parametrize(
    "manifest",
    [
        {"exports": "./src/a.ts"},
        {"exports": {".": {"types": "./x.d.ts", "bun": "./src/a.ts", "default": "./x.js"}}},
        {"exports": {".": [{"import": "./src/a.ts"}, "./x.js"]}},
        {"exports": {"./*": "./src/*.ts"}},
        {"exports": {"./*": "./src/*"}},
        {"exports": {"./": "./src/"}},
        {"exports": {".": "./x.js"}, "imports": {"#a": "./src/a.ts"}},
        {"exports": {".": "./x.js"}, "main": "src/a"},
        {"exports": {".": "./x.js"}, "bin": {"a": "src/a.ts"}},
        {"exports": {".": "./x.js"}, "browser": {"./x.js": "./src/a.ts"}},
        {"exports": {".": "./x.js"}, "module": "./src/a.ts"},
        {"exports": {".": "./x.js"}, "opencode": {"plugins": ["./src"]}},
        {},
        {"main": "x.js"},
    ],
)
def test_sources_that_package_json_leads_to_stay(manifest):
    assert "src/a.ts" in kept({"src/a.ts", "x.js"}, manifest)


@pytest.mark.parametrize(
    "manifest",
    [
        {"exports": "./x.js"},
        {"exports": {".": {"types": "./src/a.ts", "default": "./x.js"}}},
        {"exports": {".": {"types@>=5": "./src/a.ts", "default": "./x.js"}}},
        {"exports": {".": {"@scope/source": "./src/a.ts", "default": "./x.js"}}},
        {"exports": {".": "./x.js"}, "source": "./src/a.ts", "types": "./src/a.ts", "files": ["src"]},
        {"exports": {"./*": "./dist/*.js"}},
        {"exports": {".": "./x.js"}, "scripts": {"build": "./src/a.ts"}},
    ],
)
def test_sources_that_nothing_leads_to_go(manifest):
    assert "src/a.ts" not in kept({"src/a.ts", "x.js"}, manifest)


@pytest.mark.parametrize(
    "code",
    [
        'import "../src/a.ts"',
        "require('../src/a')",
        'import("../src/a.js")',
        "import(`../src/${name}.ts`)",
        'new URL("../src/a.ts", import.meta.url)',
        'new URL("src/a.ts", import.meta.url + "/..")',
        'path.join(__dirname, "..", "src", "a.ts")',
        'readdir("../src")',
        'it\'s "../src/a.ts"',
    ],
)
def test_sources_that_a_kept_file_names_stay(code):
    assert "src/a.ts" in kept({"dist/x.js": code, "src/a.ts": ""}, {"exports": "./dist/x.js"})


def test_what_a_reached_source_names_stays_too():
    files = {
        "plugin.ts": 'import { b } from "./src/b"; export * from "./src/c.js"; import "./src/folder"',
        "src/b.ts": 'import "./deep/d.ts"',
        "src/c.ts": "",
        "src/deep/d.ts": "",
        "src/folder/index.tsx": "",
        "src/alone.ts": "",
    }
    assert kept(files, {"exports": "./plugin.ts"}) == set(files) - {"src/alone.ts"}


def test_a_name_made_at_run_time_keeps_the_directory():
    files = {"src/x.ts": "import('./' + name)", "src/y.ts": "", "src/z.ts": "", "lib/w.ts": ""}
    assert kept(files, {"exports": "./src/x.ts"}) == {"src/x.ts", "src/y.ts", "src/z.ts"}


def test_without_exports_only_sources_beside_compiled_code_go():
    files = {"lib/a.js", "lib/a.ts", "lib/b.ts", "src/c.ts"}
    assert kept(files, {"main": "lib/a.js"}) == files - {"lib/a.ts"}


def test_nested_manifests_count():
    files = {"sub/package.json": '{"main": "./s.ts"}', "sub/s.ts": "", "sub/t.ts": "", "x.js": ""}
    assert kept(files, {"exports": "./x.js"}) == {"sub/package.json", "sub/s.ts", "x.js"}


def test_bundled_packages_are_left_alone():
    files = {"x.js", "node_modules/b/src/a.ts", "node_modules/b/README.md", "node_modules/b/test/a.js"}
    assert kept(files, {"exports": "./x.js"}) == files


# Tests and documents


def test_tests_and_documents_go():
    files = {
        "dist/x.js",
        "README.md",
        "CHANGELOG.md",
        "docs/guide.mdx",
        "docs/picture.png",
        "examples/a.js",
        "test/a.js",
        "tests/data.json",
        "src/__tests__/a.js",
        "dist/x.test.js",
        "src/x.spec.ts",
        "dist/test/helper.js",
    }
    assert kept(files, {"exports": "./dist/x.js"}) == {"dist/x.js"}


def test_tests_and_documents_that_are_reached_stay():
    files = {
        "dist/x.js": 'import "./test/helper.js"; read(join(__dirname, "../docs")); open("../README.md")',
        "dist/test/helper.js": 'require("../../examples/a")',
        "docs/guide.md": "",
        "examples/a.js": "",
        "examples/b.js": "",
        "README.md": "",
        "SECURITY.md": "",
        "testing/index.js": "",
        "test/public.js": "",
    }
    manifest = {"exports": {".": "./dist/x.js", "./testing": "./test/public.js"}}
    assert kept(files, manifest) == set(files) - {"examples/b.js", "SECURITY.md"}


def test_texts_that_are_data_stay():
    files = {"x.js", "skills/a/SKILL.md", "prompts/plan.md", "agents/b.mdx", "lib/notes.txt"}
    assert kept(files, {"exports": "./x.js"}) == files


def test_without_exports_a_deep_test_directory_may_be_meant_for_others():
    files = {"lib/test/helper.js", "test/a.js", "lib/__tests__/b.js", "lib/c.test.js", "x.js"}
    assert kept(files, {"main": "x.js"}) == {"lib/test/helper.js", "x.js"}


def test_code_and_data_stay_whatever_reaches_them():
    files = {
        "a.js",
        "b.mjs",
        "c.cjs",
        "d.json",
        "e.wasm",
        "f.node",
        "g.bin",
        "src/h.js",
        "umd/i.min.js",
        "j.html",
    }
    assert kept(files, {"exports": "./a.js"}) == files


def test_what_is_too_long_to_look_at_keeps_everything():
    files = {"a.js", "src/b.ts", "README.md", "docs/c.md"}
    assert prune.keep(files, {"exports": "./a.js"}, lambda _: None) == files


segments = st.sampled_from(["a", "b", "src", "dist", "test", "docs", "index", "types", "node_modules"])
ends = st.sampled_from([".js", ".ts", ".d.ts", ".mjs", ".json", ".md", ".test.js", ".js.map", ".tsx", ""])
names = st.builds(lambda parts, end: "/".join(parts) + end, st.lists(segments, min_size=1, max_size=3), ends)
literals = st.builds(
    lambda up, path: f"import '{up}{path}';", st.sampled_from(["./", "../", ""]), names | st.just("")
)
packages = st.dictionaries(names, st.lists(literals, max_size=3).map(" ".join), max_size=12)
manifests = st.fixed_dictionaries(
    {}, optional={"exports": names | st.dictionaries(names, names), "main": names}
)


@settings(max_examples=150, deadline=None)
@given(packages, manifests, st.randoms())
def test_never_code_and_never_by_chance(files, manifest, shuffle: random.Random):
    def keep(names):
        return prune.keep(names, manifest, lambda path: files[path].encode())

    result = keep(list(files))
    assert result <= set(files)
    for path in set(files) - result:
        assert prune.useless(path) or prune.held(path)
    order = list(files)
    shuffle.shuffle(order)
    assert keep(order) == result


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | names,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.text(max_size=8) | st.sampled_from(["exports", "main", "imports", "types", ".", "import"]),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_manifest_crashes_it(manifest):
    files = {"a.js": "import './b'", "b.ts": "", "README.md": ""}
    assert prune.keep(files, manifest, lambda path: files[path].encode()) >= {"a.js"}
