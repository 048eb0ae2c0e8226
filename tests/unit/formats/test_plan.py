"""The plan: the versions' defaults, the file, and what is added to it."""

from __future__ import annotations

import json
import re

import pytest

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import options
from opencode_cache.formats import local_plugin, plan, plan_example, shipped, user_files

UNSUPPORTED = ["0.15.0", "1.4.0", "1.13.0", "1.19.0", "3.0.0"]
NO_VERSIONS = ["0.15", "1.13", "abc", "", "v1.18.33", "1.18", "1.18.33\n", "1.18.x", "\uff11.0.0"]


@pytest.fixture
def read(tmp_path):
    def one(text):
        path = tmp_path / "plan.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return plan.read(path)

    return one


@pytest.fixture
def refused(read, tmp_path):
    def one(text):
        with pytest.raises(BadInputError) as caught:
            read(text)
        said = str(caught.value)
        assert said.startswith(f"{tmp_path / 'plan.toml'}: ")
        assert len(said.splitlines()) == 1
        return said

    return one


@pytest.mark.parametrize("version", UNSUPPORTED)
def test_an_unsupported_version_is_refused_with_the_supported_range(version):
    for ask in (layouts.for_version, plan.default):
        with pytest.raises(BadInputError) as caught:
            ask(version)
        assert version in str(caught.value)
        assert "1.0 to 1.3 and 1.14 to 1.18" in str(caught.value)


@pytest.mark.parametrize("version", NO_VERSIONS)
def test_what_is_no_version_is_refused_with_an_example(version):
    with pytest.raises(BadInputError, match=r"is not an OpenCode version; write it like 1.18.33"):
        layouts.for_version(version)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.0.0", "bun"),
        ("1.0.61", "bun"),
        ("1.3.2", "bun"),
        ("1.3.99", "bun"),
        ("1.14.0", "packages"),
        ("1.14.34", "packages"),
        ("1.18.33", "packages"),
        ("1.18.33-beta.1", "packages"),
        ("1.18.33+build", "packages"),
    ],
)
def test_each_supported_version_has_its_layout(version, name):
    assert layouts.for_version(version).name == name
    assert layouts.named(name).name == name


@pytest.mark.parametrize("version", ["1.0.61", "1.0.98", "1.0.151", "1.0.61-beta.2", "1.0.61+build"])
def test_the_first_series_bundles_no_sdk_and_gets_the_usual_ones(version):
    made = plan.default(version)
    assert "@ai-sdk/anthropic" in made.providers
    assert made.providers != plan.CATALOGUE
    assert made.config == []
    assert made.opencode == version


@pytest.mark.parametrize("version", ["1.0.152", "1.1.27", "1.3.2"])
def test_the_later_bun_series_get_what_the_catalogue_names(version):
    made = plan.default(version)
    assert (made.providers, made.config, made.built_in_plugins) == (plan.CATALOGUE, [], True)


@pytest.mark.parametrize("version", ["1.14.34", "1.18.33"])
def test_the_packages_layout_gets_the_plugin_package_for_config_directories_too(version):
    made = plan.default(version)
    assert (made.providers, made.config) == (plan.CATALOGUE, ["@opencode-ai/plugin"])


def test_an_empty_file_is_the_default_plan(read):
    assert read("") == plan.default(shipped.default_version())


def test_what_the_file_does_not_speak_of_is_the_default_of_its_versions_era(read):
    made = read('opencode = "1.0.61"\nplugins = ["opencode-gemini-auth"]\n')
    assert made.providers == plan.default("1.0.61").providers
    assert made.config == []
    assert made.plugins == ["opencode-gemini-auth"]


def test_ranges_of_the_file_stand_beside_those_of_the_era(read):
    base = plan.default("1.0.61").resolve
    made = read('opencode = "1.0.61"\n[resolve]\n"some-package" = "^2"\n')
    assert made.resolve == base | {"some-package": "^2"}


def test_what_the_file_says_wins_over_the_default(read):
    made = read('providers = ["@ai-sdk/fireworks"]\nconfig = []\n[resolve]\n"@ai-sdk/fireworks" = "^2"\n')
    assert made.providers == ["@ai-sdk/fireworks"]
    assert made.config == []
    assert made.resolve == {"@ai-sdk/fireworks": "^2"}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("opencod", "opencode"),
        ("provider", "providers"),
        ("plugin", "plugins"),
        ("tool", "tools"),
        ("system", "systems"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(refused, key, meant):
    assert f"unknown key {key!r}; did you mean {meant!r}?" in refused(f'{key} = ["x"]')


def test_a_key_like_no_other_is_refused_with_all_known_ones(refused):
    said = refused("zzzzzz = 1")
    assert all(name in said for name in ("opencode", "providers", "plugins", "tools", "config", "resolve"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = [", "not TOML"),
        ("plugins", "not TOML"),
        ("plugins = []\nplugins = []", "not TOML"),
        (b"\xff", "cannot be read"),
        ("opencode = 1", "opencode"),
        ('plugins = "x"', "plugins"),
        ("plugins = [1]", "plugins.0"),
        ('providers = "catalog"', "providers"),
        ("[resolve]\na = 1", "resolve.a"),
        ("a = " + "[" * 20_000, "TOML"),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_a_bad_file_is_refused_in_one_line_with_the_place(refused, text, where):
    assert where in refused(text)


@pytest.mark.parametrize("version", [*UNSUPPORTED, "abc"])
def test_an_unsupported_version_in_a_file_is_refused_with_the_file(refused, version):
    assert version in refused(f'opencode = "{version}"')


def test_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadInputError, match="cannot be read") as caught:
            plan.read(path)
        assert str(path) in str(caught.value)


def test_more_is_added_behind_what_the_plan_has():
    base = plan.Plan(plugins=["a"], extra_providers=["p"], tools=["t"], resolve={"a": "^1", "b": "^1"})
    made = base.with_more({"extra_providers": ["q"], "plugins": ["c"], "tools": ["u"]}, {"a": "^2"})
    assert (made.plugins, made.extra_providers, made.tools) == (["a", "c"], ["p", "q"], ["t", "u"])
    assert made.resolve == {"a": "^2", "b": "^1"}
    assert base.plugins == ["a"]
    assert base.resolve == {"a": "^1", "b": "^1"}


def test_adding_nothing_changes_nothing():
    base = plan.default("1.18.33")
    assert base.with_more({}) == base


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('opencode = "1.0.61"\ntools = ["pyright"]', "take pyright out of the plan"),
        ('plugins = ["github:owner/repo#semver:^1"]', "'semver:^1' is not a branch, tag or commit"),
        ('plugins = ["mine@github:owner/repo#--upload-pack=x"]', "not a branch, tag or commit"),
        ('plugins = ["mine@git+https://gitlab.com/o/r.git"]', "cannot be locked"),
        ('plugins = ["git+https://u:secret@github.com/o/r.git"]', "'git+https://…@github.com/o/r.git'"),
        ('plugins = ["git+https://example.com/x.git"]', "cannot be locked"),
        (f'opencode = "1.0.61"\nplugins = ["github:owner/repo#{COMMIT}"]', "only for OpenCode 1.14"),
        ('[files]\n"packages/x" = "a"', "a place that the cache fills itself"),
        ('[files]\n"../x" = "a"', "not a plain relative path"),
        ('[files]\n"a/.hidden" = "a"', "hidden"),
        ("warmup = 1", "warmup"),
        ("warmup = ['run \"']", "No closing quotation"),
        ('warmup = ["models\\n"]', "has a control character"),
        ('[files]\n"a\\nb" = "a"', "has a control character"),
        ('systems = ["x86_64-linx"]', "the supported ones are x86_64-linux,"),
        ('plugins = ["gitlab:owner/repo"]', "write 'github:OWNER/REPO#COMMIT' or an npm name"),
        ('[resolve]\n"--x" = "1"', "'--x' is not an npm package name"),
        ('[resolve]\nx = "no range!"', "'no range!' is not an npm range"),
        ('[grammars.nix]\nwasmm = "a"', "grammars.nix: unknown key 'wasmm'; did you mean 'wasm'?"),
        (
            'providers = "all"',
            "providers: Input should be a valid list or Input should be 'catalogue', not 'all'",
        ),
        ("files = 1", "files"),
    ],
)
def test_what_can_never_be_locked_is_refused_with_the_fix(refused, text, said):
    assert said in refused(text)


NO_SPECS = [
    *("", " ", "foo bar", "foo\nbar", "foo\0bar", "foo@", "@scope", "node_modules", "foo@1;x"),
    *(
        "--help",
        "--registry=http://127.0.0.1:9",
        "-g",
        ".hidden",
        "foo/../../bar",
        "foo@../bar",
        "foo@npm:../x",
    ),
]


@pytest.mark.parametrize("spec", [*NO_SPECS, "../x", "/etc", "file:x", "http://127.0.0.1:9/x.tgz"])
@pytest.mark.parametrize("field", ["providers", "extra_providers", "tools", "config"])
def test_what_npm_would_take_for_something_else_is_no_spec(field, spec):
    with pytest.raises(BadInputError) as caught:
        plan.Plan.model_validate({field: [spec]})
    assert f"{field.removeprefix('extra_')}: {spec!r} is not an npm spec" in str(caught.value)


@pytest.mark.parametrize("spec", NO_SPECS)
def test_a_plugin_that_npm_would_take_for_something_else_is_refused(spec):
    with pytest.raises(BadInputError, match=r"is not an npm spec|cannot be locked"):
        plan.Plan(plugins=[spec])


def test_specs_on_the_command_line_are_looked_at_before_anything_is_asked_for():
    with pytest.raises(BadInputError, match=r"plugins: '--help' is not an npm spec"):
        options.planned(None, None, [], ["--help"], [], [])


@pytest.mark.parametrize(
    "spec", ["p", "p@1.2.3", "@s/p@^2", "p@>=1 <2 || ~3.1", "p@next", "p@npm:@s/q@1.0.0", "P_x~1@1.x", "p@*"]
)
def test_npm_specs_are_not_refused(spec):
    plan.Plan(providers=[spec], plugins=[spec], tools=[spec], config=[spec])


@pytest.mark.parametrize("wanted", ["file:../x", "workspace:*", "https://example.com/x.tgz"])
def test_a_local_plugin_whose_dependencies_cannot_be_locked_is_refused(tmp_path, wanted):
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {"dep": wanted}}))
    with pytest.raises(BadInputError, match=r"package\.json: dependencies: 'dep@.*' is not an npm spec"):
        plan.Plan(plugins=[str(tmp_path)]).check_files()


def test_a_local_plugin_may_want_any_version_of_something(tmp_path):
    (tmp_path / "package.json").write_text('{"dependencies": {"a": "", "b": "*"}}')
    assert local_plugin.dependencies(str(tmp_path)) == ["a", "b@*"]


@pytest.mark.parametrize(
    "made",
    [
        plan.Plan(plugins=["./gone"]),
        plan.Plan(files={"a": "gone"}),
        plan.Plan(files={"a": "go\0ne"}),
        plan.Plan(catalogue="gone.json"),
    ],
    ids=["plugin", "file", "no name", "catalogue"],
)
def test_a_path_that_is_not_there_is_refused(made):
    with pytest.raises(BadInputError, match=r"no such file|cannot be read"):
        made.check_files()


@pytest.mark.parametrize(
    "spec",
    [
        f"github:owner/repo#{COMMIT}",
        f"mine@github:owner/repo#{COMMIT}",
        "github:owner/repo",
        "mine@github:owner/repo#main",
        "superpowers@git+https://github.com/owner/superpowers.git",
        "@s/p@git+ssh://git@github.com/o/r.git#v1.0",
        f"@s/p@github:o/r.x#{COMMIT}",
        "p@npm:q@1",
    ],
)
def test_specs_that_can_be_locked_are_not_refused(read, spec):
    assert read(f'plugins = ["{spec}"]').plugins == [spec]


def test_paths_are_relative_to_the_plan(read, tmp_path):
    made = read(
        'plugins = ["./mine", "../theirs", "p"]\ncatalogue = "api.json"\n[files]\n"a.md" = "b/c.md"\n'
    )
    assert made.plugins == [str(tmp_path / "mine"), str(tmp_path / "../theirs"), "p"]
    assert made.catalogue == str(tmp_path / "api.json")
    assert made.files == {"a.md": str(tmp_path / "b/c.md")}


def test_the_stamp_of_a_plan_tells_the_content_of_its_files(read, tmp_path):
    (tmp_path / "note").write_text("one")
    made = read('[files]\n"a" = "note"\n')
    first = made.stamp()
    assert read('[files]\n"a" = "note"\n').stamp() == first
    (tmp_path / "note").write_text("two")
    assert made.stamp() != first


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"\xff", "UTF-8"), (b"x" * 65537, "has 65537 bytes")],
    ids=["missing", "binary", "large"],
)
def test_files_that_a_lock_cannot_carry_are_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(BadInputError, match=said):
        user_files.read({"a": str(tmp_path / "f")})


def test_a_file_below_another_file_is_refused(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(BadInputError, match="'a/b' lies below 'a'"):
        user_files.read({"a": str(tmp_path / "f"), "a/b": str(tmp_path / "f")})


def test_a_local_plugin_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file or directory"):
        local_plugin.dependencies(str(tmp_path / "none"))
    (tmp_path / "package.json").write_text("[]")
    with pytest.raises(BadInputError, match=r"package\.json"):
        local_plugin.dependencies(str(tmp_path))
    (tmp_path / "one.js").touch()
    assert local_plugin.dependencies(str(tmp_path / "one.js")) == []


def test_hosts_are_accepted_from_a_plugin_or_from_anybody(read):
    head = 'plugins = ["x@latest", "@a/y"]\n'
    named = read(head + '[accept]\nx = ["H.example", "192.0.2.1"]\n"@a/y" = ["::1"]\n"*" = []\n').accept
    assert named == {"x": ("h.example", "192.0.2.1"), "@a/y": ("::1",), "*": ()}
    assert read(head + 'accept = ["h.example"]').accept == {"*": ("h.example",)}
    assert read(head).accept == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('accept = ["https://h.example"]', "without https:// and port"),
        ('accept = ["*.example"]', "is no host"),
        ('accept = ["h.example:443"]', "is no host"),
        ('accept = "h.example"', "accept: "),
        ('[accept]\nopencode-wakatine = ["h.example"]', "did you mean 'opencode-wakatime'?"),
        ('[accept]\nzzz = ["h.example"]', "names no 'zzz'"),
    ],
)
def test_what_cannot_be_accepted_is_refused(refused, text, said):
    assert said in refused('plugins = ["opencode-wakatime"]\n' + text)


def test_every_key_has_an_example_that_is_a_plan(read):
    made = read(plan_example.TEXT.replace("github:owner/repo#COMMIT", f"github:owner/repo#{COMMIT}"))
    assert made.model_fields_set == set(plan.Plan.model_fields)
    assert all(
        f"{key} = " in plan_example.TEXT or f"[{key}" in plan_example.TEXT for key in plan.Plan.model_fields
    )


@pytest.mark.parametrize("key", sorted(plan.Plan.model_fields))
def test_a_value_of_the_wrong_kind_is_refused_with_one_of_the_right_kind(refused, key):
    wrong = (
        "[5]"
        if key in ("opencode", "min_age", "catalogue", "built_in_plugins", "require_signatures")
        else "5"
    )
    said = refused(f"{key} = {wrong}")
    assert f"{key}" in said
    assert re.search(rf"write it as in: \[?{key}\b", said)
