"""The wrapper's text, and what a start does when nothing stands in its way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wrapper_lab import PACKAGES, PLUGIN, SHELLS, TIMEOUT, Lab, holds, manifest, preload, shell, state

from opencode_cache.base.errors import BadInputError
from opencode_cache.wrapper import render as wrapper
from opencode_cache.wrapper.render import render, slots, wrap

GOLDEN = Path(__file__).parent / "golden"
STORE = "/nix/store/00000000000000000000000000000000-"
RENDERED = {
    "packages": (
        manifest("packages", config="config", copies=()),
        {
            "extra_path": [STORE + "ripgrep/bin"],
            "tools": STORE + "coreutils/bin",
            "shell": STORE + "dash/bin/dash",
        },
    ),
    "generations": (manifest("generations"), {}),
    "bun": (manifest("bun"), {"offline": False, "name": "oc"}),
    "bun-offline-movable": (
        manifest("bun"),
        {"root": Path(STORE[:-1]), "extra_path": [STORE[:-1] + "/libexec/path"]},
    ),
}
LINES = 430
HOSTILE = 'it\'s a "dir"\nof $(touch pwned) `touch pwned` *[!x]\\ -é'
# What a shell, and not the wrapper, does to an environment.
SHELLS_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}


@pytest.fixture(params=SHELLS)
def lab(request, tmp_path):
    return Lab(tmp_path / "lab", shell(request.param))


@pytest.fixture
def one(tmp_path):
    """For tables: the shell that /bin/sh mostly is."""
    return Lab(tmp_path / "lab", shell("dash"))


def arguments(name):
    cache_manifest, options = RENDERED[name]
    top = STORE[:-1] + "/" if "root" in options else STORE
    paths = [Path(top + path) for path in ("opencode-cache", "opencode/bin/opencode", "preload.js")]
    return (cache_manifest, *paths), options


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_slots_are_the_golden_ones(name):
    positional, options = arguments(name)
    rendered = slots(*positional, **options)
    text = "".join(f"=== {slot}\n{value}\n" for slot, value in sorted(rendered.items()))
    golden = GOLDEN / f"slots-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "set UPDATE_GOLDEN=1 to accept"


def test_the_wrapper_is_short():
    template = Path(wrapper.__file__).with_name("wrapper.sh")
    assert len(template.read_text().splitlines()) <= LINES


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_text_is_clean_for_shellcheck(name, tmp_path):
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not on PATH")
    positional, options = arguments(name)
    script = tmp_path / "wrapper.sh"
    script.write_text(render(*positional, **options))
    command = [program, "--shell=dash", "--severity=style", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "a/b"}, "'a/b' is not a file name"),
        ({"name": ""}, "is not a file name"),
        ({"shell": "sh"}, "cannot stand in a #! line"),
        ({"shell": "/usr/bin/env sh"}, "cannot stand in a #! line"),
        ({"extra_path": ["/a:/b"]}, "cannot be a part of PATH"),
        ({"extra_path": ["bin"]}, "cannot be a part of PATH"),
        ({"cache_manifest": manifest(links=("a\nb",))}, "cannot be linked"),
        ({"cache_manifest": manifest(copies=("a/b",))}, "not at the top"),
        ({"cache_manifest": manifest("bun", cache_version=None)}, "cache_version is missing"),
    ],
)
def test_unusable_values_are_refused(options, sentence):
    cache_manifest = options.pop("cache_manifest", manifest())
    with pytest.raises(BadInputError, match=re.escape(sentence)):
        render(cache_manifest, Path("/cache"), Path("/opencode"), Path("/preload.js"), **options)


def test_wrap_refuses_what_cannot_start(tmp_path):
    lab = Lab(tmp_path / "lab")
    cache = lab.cache("A")
    with pytest.raises(BadInputError, match="not a cache"):
        wrap(lab.home, lab.program, tmp_path)
    with pytest.raises(BadInputError, match="not an executable file"):
        wrap(cache, cache / "models.json", tmp_path)
    with pytest.raises(BadInputError, match="cannot be written"):
        wrap(cache, lab.program, lab.program)
    (cache / "packages/foo").rmdir()
    with pytest.raises(BadInputError, match="packages/foo is missing"):
        wrap(cache, lab.program, tmp_path)


def test_wrap_writes_one_program(tmp_path):
    lab = Lab(tmp_path / "lab")
    cache = lab.cache("A")
    path = lab.wrap(cache, name="oc")
    assert path == lab.top / "wrapped-A/bin/oc"
    assert path.stat().st_mode & 0o777 == 0o755
    first = path.read_bytes()
    assert first.startswith(b"#!/bin/sh\n")
    assert lab.wrap(cache, name="oc").read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["oc"]


def test_packages_layout(lab):
    wrapper = lab.wrap(lab.cache("A"))
    started = lab.start(wrapper, "run", "", "a  b", "$(x)", "--", "*")
    assert (started.status, started.stderr) == (0, "")
    assert started.args == ["run", "", "a  b", "$(x)", "--", "*"]
    found = state(lab.cache_dir)
    assert re.fullmatch(r"\d+ \d+\n", found.pop(".nix/models.json.sums"))
    (record,) = [name for name in found if name.startswith(".nix/packages.links.")]
    assert sorted(found.pop(record).splitlines()) == sorted(PACKAGES)
    assert found == {
        ".nix": "/",
        ".nix/packages": f"-> {lab.top / 'A'}",
        "models.json": "catalogue of A",
        "packages": "/",
        "packages/foo": "-> ../.nix/packages/packages/foo",
        "packages/@scope": "/",
        "packages/@scope/bar": "-> ../../.nix/packages/packages/@scope/bar",
        "packages/@scope/plugin@latest": "-> ../../.nix/packages/packages/@scope/plugin@latest",
    }
    (lab.cache_dir / "models.json").write_text("OpenCode may write here")


def test_bun_layout(lab):
    started = lab.start(lab.wrap(lab.cache("A", "bun")))
    assert (started.status, started.stderr) == (0, "")
    found = state(lab.cache_dir)
    assert found["version"] == "9"
    assert found["models.json"] == "catalogue of A"
    assert {name: found[name] for name in ("node_modules", "package.json", "bun.lock", "tui")} == {
        "node_modules": "-> .nix/bun/node_modules",
        "package.json": "-> .nix/bun/package.json",
        "bun.lock": "-> .nix/bun/bun.lock",
        "tui": "-> .nix/bun/tui",
    }


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_second_start_says_that_all_is_in_place(lab, layout):
    wrapper = lab.wrap(
        lab.cache("A", layout, modules=["@opencode-ai/plugin"] if layout == "packages" else ())
    )
    lab.start(wrapper)
    before = state(lab.home)
    started = lab.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"})
    assert started.stderr == f"opencode: everything is in place in {lab.cache_dir}\n"
    assert state(lab.home) == before


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_hot_path_forks_nothing_and_writes_nothing(lab, layout, tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not on PATH")
    wrapper = lab.wrap(
        lab.cache("A", layout, modules=["@opencode-ai/plugin"] if layout == "packages" else ())
    )
    lab.start(wrapper)
    log = tmp_path / "strace"
    lab.shell = [strace, "-f", "-o", str(log), *lab.shell]
    if lab.start(wrapper).status != 0:
        pytest.skip("strace cannot trace here")
    calls = log.read_text().splitlines()
    end = next(n for n, call in enumerate(calls) if f'execve("{lab.program}"' in call)
    ours = "\n".join(call for call in calls[:end] if '"/dev/tty"' not in call)  # bash opens its terminal
    assert "newfstatat" in ours or "stat(" in ours
    forbidden = (
        r"\b(v?fork|clone3?|write|rename\w*|(sym)?link\w*|unlink\w*|mkdir\w*|rmdir|f?chmod\w*|utime\w*)\("
    )
    assert re.findall(forbidden, ours) == []
    assert re.findall(r"O_WRONLY|O_RDWR|O_CREAT", ours) == []


@pytest.mark.parametrize(
    ("layout", "offline", "env", "added"),
    [
        (
            "packages",
            True,
            {},
            {
                "OPENCODE_DISABLE_AUTOUPDATE": "1",
                "OPENCODE_DISABLE_MODELS_FETCH": "1",
                "npm_config_fetch_retries": "0",
            },
        ),
        ("packages", False, {}, {"OPENCODE_DISABLE_AUTOUPDATE": "1"}),
        (
            "packages",
            True,
            {
                "OPENCODE_DISABLE_AUTOUPDATE": "",
                "OPENCODE_DISABLE_MODELS_FETCH": "false",
                "NPM_CONFIG_FETCH_RETRIES": "3",
            },
            {},
        ),
        (
            "bun",
            True,
            {},
            {
                "OPENCODE_DISABLE_AUTOUPDATE": "1",
                "OPENCODE_DISABLE_MODELS_FETCH": "1",
                "npm_config_update_notifier": "false",
                "npm_config_registry": "http://127.0.0.1:9",
            },
        ),
        ("bun", False, {}, {"OPENCODE_DISABLE_AUTOUPDATE": "1"}),
        (
            "bun",
            True,
            {
                "BUN_CONFIG_REGISTRY": "http://mirror.example/",
                "OPENCODE_DISABLE_MODELS_FETCH": "",
                "name": "x",
            },
            {"OPENCODE_DISABLE_AUTOUPDATE": "1", "npm_config_update_notifier": "false"},
        ),
    ],
)
def test_environment_is_the_users_with_our_defaults(lab, layout, offline, env, added):
    kept = {
        "HTTPS_PROXY": "http://proxy.example:1",
        "SSL_CERT_FILE": "/ca",
        "name": "n",
        "dir": "d",
        "IFS": "/",
    } | env
    wrapper = lab.wrap(lab.cache("A", layout), offline=offline)
    started = lab.start(wrapper, env=kept)
    added = {
        "XDG_CACHE_HOME": str(lab.home / ".cache-nix"),
        **added,
        "BUN_INSPECT_PRELOAD": str(preload(wrapper)),
    }
    expected = lab.environment(kept) | added | {"OPENCODE_CACHE_SET": " ".join(added)}
    assert {key: value for key, value in started.env.items() if key not in SHELLS_OWN | {"IFS"}} == {
        key: value for key, value in expected.items() if key != "IFS"
    }


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_every_way_through_gives_the_same_environment(one, layout, offline):
    """The way of those who have set nothing, that of the others, and the cold one."""
    wrapper = one.wrap(one.cache("A", layout), offline=offline, extra_path=["/opt/rg/bin"])
    every = (one.wrap(one.cache(f"every-{kind}", kind)).read_text() for kind in ("packages", "bun"))
    asked = re.findall(r"\$\{(\w+)[-+:]", "".join(every))
    names = sorted({name for name in asked if not name.startswith(("oc_", "2"))} - {"HOME", "PATH"})
    assert len(names) > 12
    cold = one.start(wrapper).env
    assert one.start(wrapper).env == cold
    assert one.start(wrapper, env={"OPENCODE_CACHE_TRACE": ""}).env == cold | {"OPENCODE_CACHE_TRACE": ""}
    for name in names:
        for value in ("", "7", str(one.top / "elsewhere")):
            shutil.rmtree(one.top / "elsewhere", ignore_errors=True)
            shutil.rmtree(one.cache_dir / ".nix", ignore_errors=True)
            first, second = (one.start(wrapper, env={name: value}).env for _ in range(2))
            assert first == second, name


def test_a_wrapper_that_may_be_moved_finds_its_cache(lab):
    """The prefix is moved, reached through links, by a relative path, through PATH; its name is hostile."""
    prefix = lab.top / "one"
    prefix.mkdir()
    cache = lab.cache("one/cache", modules=["@opencode-ai/plugin"])
    program = prefix / "libexec/opencode"
    program.parent.mkdir()
    shutil.copy(lab.program, program)
    (prefix / "tools").mkdir()
    wrapper = wrap(cache, program, prefix, relocatable=True, extra_path=[str(prefix / "tools"), "/opt/rg"])
    assert str(lab.top) not in wrapper.read_text()
    started = lab.start(wrapper, "x")
    assert (started.status, started.stderr, started.args) == (0, "", ["x"])
    assert started.env["PATH"].endswith(f":{prefix}/bin/../tools:/opt/rg")
    holds(lab, cache)
    moved = lab.top / HOSTILE
    prefix.rename(moved)
    started = lab.start(moved / "bin/opencode")
    assert (started.status, started.stderr) == (0, "")
    assert (lab.cache_dir / ".nix/packages").readlink() == moved / "cache"
    holds(lab, moved / "cache")
    before = state(lab.home)
    (lab.top / "link to it").symlink_to(moved / "bin/opencode")
    (lab.top / "current").symlink_to(moved)
    for way in ("link to it", "current/bin/opencode", "./current/../current/bin/opencode"):
        assert lab.start(Path(way)).status == 0
        assert state(lab.home) == before, way
    found = lab.start(Path("opencode"), env={"PATH": f"{moved}/bin:{os.environ['PATH']}"})
    assert found.status in {0, 2, 127}  # a shell looks for a script here, or on PATH, or in both
    assert state(lab.home) == before


@pytest.mark.parametrize(
    ("layout", "name", "line", "variable"),
    [
        ("packages", ".npmrc", "fetch-retries=4", "npm_config_fetch_retries"),
        ("bun", ".npmrc", "registry = http://mirror.example/", "npm_config_registry"),
        ("bun", ".bunfig.toml", 'registry = "http://mirror.example/"', "npm_config_registry"),
    ],
)
def test_users_npm_and_bun_files_win(one, layout, name, line, variable):
    wrapper = one.wrap(one.cache("A", layout))
    (one.home / name).write_text(
        f"# registry = x, fetch-retries=1\n@own:registry=http://own.example/\n[install]\n{line}"
    )
    assert variable not in one.start(wrapper).env
    (one.home / name).write_text("# registry = x, fetch-retries=1\n@own:registry=http://own.example/\n")
    assert variable in one.start(wrapper).env


def test_users_own_preload_is_remembered(one):
    wrapper = one.wrap(one.cache("A"))
    started = one.start(wrapper, env={"BUN_INSPECT_PRELOAD": "/own.js"})
    assert started.env["BUN_INSPECT_PRELOAD"] == str(preload(wrapper))
    assert started.env["OPENCODE_CACHE_USER_BUN_INSPECT_PRELOAD"] == "/own.js"
    nested = one.start(one.wrap(one.cache("B")), env=started.env).env
    assert nested["OPENCODE_CACHE_USER_BUN_INSPECT_PRELOAD"] == "/own.js"


def test_nested_start_keeps_the_list_of_what_we_set(lab):
    wrapper = lab.wrap(lab.cache("A"))
    outer = lab.start(wrapper).env
    assert lab.start(wrapper, env=outer).env["OPENCODE_CACHE_SET"] == outer["OPENCODE_CACHE_SET"]


def test_extra_path_comes_last_and_once(lab):
    wrapper = lab.wrap(lab.cache("A"), extra_path=["/opt/rg $x/bin", "/usr/bin"])
    path = lab.start(wrapper, env={"PATH": "/usr/bin:/bin"}).env["PATH"]
    assert path == "/usr/bin:/bin:/opt/rg $x/bin"
    assert lab.start(wrapper, env={"PATH": path}).env["PATH"] == path


@pytest.mark.parametrize("value", [None, "", "relative", "-relative"])
def test_unusable_xdg_cache_home_is_ignored_and_remembered(one, value):
    started = one.start(one.wrap(one.cache("A")), env={"XDG_CACHE_HOME": value})
    assert started.env["XDG_CACHE_HOME"] == str(one.home / ".cache-nix")
    assert started.env.get("OPENCODE_CACHE_USER_XDG_CACHE_HOME") == value
    assert "XDG_CACHE_HOME" in started.env["OPENCODE_CACHE_SET"].split()


def test_users_xdg_cache_home_is_used(lab):
    root = lab.home / "own"
    started = lab.start(lab.wrap(lab.cache("A")), env={"XDG_CACHE_HOME": str(root), "HOME": None})
    assert started.status == 0
    assert "XDG_CACHE_HOME" not in started.env["OPENCODE_CACHE_SET"].split()
    assert (root / "opencode/packages/foo").samefile(lab.top / "A/packages/foo")


@pytest.mark.parametrize("home", [None, "", "relative", "-x"])
def test_no_home_is_one_line(one, home):
    started = one.start(one.wrap(one.cache("A")), env={"HOME": home})
    assert started.status == 2
    fix = "set HOME, or XDG_CACHE_HOME to a directory for the cache"
    assert started.stderr == f"opencode: HOME is not set to an absolute path; {fix}\n"


@pytest.mark.parametrize("layout", ["packages", "bun"])
@pytest.mark.parametrize("name", sorted(SHELLS))
def test_hostile_paths(name, layout, tmp_path):
    lab = Lab(tmp_path / HOSTILE, shell(name))
    cache = lab.cache(HOSTILE, layout, modules=["@opencode-ai/plugin", "zod"] if layout == "packages" else ())
    wrapper = lab.wrap(cache, name=HOSTILE, extra_path=[f"/{HOSTILE}"])
    for _ in range(2):
        started = lab.start(wrapper, HOSTILE)
        assert (started.status, started.stderr) == (0, "")
        assert "\n".join(started.args) == HOSTILE
        assert started.env["PATH"].endswith(HOSTILE)
    holds(lab, cache)
    assert "everything is in place" in lab.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"}).stderr
    assert not list(tmp_path.rglob("pwned"))


def test_umask_of_those_who_show_nobody_is_respected(one):
    wrapper = one.wrap(one.cache("A", modules=["@opencode-ai/plugin"]))
    one.shell = ["sh", "-c", 'umask 077; exec "$@"', "sh", *one.shell]
    one.start(wrapper)
    assert {oct(p.stat().st_mode & 0o777) for p in (one.cache_dir, one.cache_dir / "packages")} == {"0o700"}
    assert oct((one.cache_dir / "models.json").stat().st_mode & 0o777) == "0o600"
    assert oct((one.config_dir / "package-lock.json").stat().st_mode & 0o077) == "0o0"


@pytest.mark.parametrize("umask", ["000", "002", "022", "077", "777"])
def test_what_is_made_is_the_owners_whatever_the_umask(lab, umask):
    cache = lab.cache("A", modules=["@opencode-ai/plugin"])
    wrapper = lab.wrap(cache)
    lab.program.write_text("#!/bin/sh\numask\n")
    shell_words = lab.shell
    lab.shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *shell_words]
    assert (lab.start(wrapper).status, lab.start(wrapper).stderr) == (0, "")
    done = subprocess.run(
        [*lab.shell, str(wrapper)], env=lab.environment(), capture_output=True, check=True, timeout=TIMEOUT
    )
    assert int(done.stdout, 8) == int(umask, 8), "OpenCode has the user's"
    paths = [path for path in lab.home.rglob("*") if not path.is_symlink()]
    for path in paths:
        mode = path.stat().st_mode & 0o777
        assert mode & 0o600 == 0o600, path
        assert not mode & (0o022 | int(umask, 8) & 0o077), path
        assert not path.is_dir() or mode & 0o100, path
    assert len(paths) > 8


def test_nothing_that_is_run_lies_in_the_users_cache(lab):
    """A command of the agent could write there; what is preloaded lies with the program, and is read-only."""
    wrapper = lab.wrap(lab.cache("A", modules=["@opencode-ai/plugin"]))
    started = lab.start(wrapper)
    loaded = Path(started.env["BUN_INSPECT_PRELOAD"])
    assert loaded == preload(wrapper)
    assert not loaded.is_relative_to(lab.home)
    assert loaded.stat().st_mode & 0o777 == 0o444
    assert str(lab.top / "A") in loaded.read_text()
    assert not [path for path in lab.home.rglob("*") if path.suffix in {".js", ".sh"}]


@pytest.mark.parametrize("harm", ["missing", "empty"])
@pytest.mark.parametrize("started_before", [False, True])
def test_what_is_preloaded_has_vanished_is_one_line(one, harm, started_before):
    wrapper = one.wrap(one.cache("A"))
    if started_before:
        one.start(wrapper)
    path = preload(wrapper)
    path.unlink()
    if harm == "empty":
        path.touch()
    started = one.start(wrapper)
    fix = "build or install OpenCode with its cache again"
    assert (started.status, started.stderr) == (2, f"opencode: {path} is gone; {fix}\n")


@pytest.mark.parametrize("name", ["a\\b", "a\udcff", "aé"])
@pytest.mark.parametrize("movable", [False, True])
def test_nothing_is_preloaded_from_where_bun_finds_nothing(lab, movable, name):
    cache = lab.cache("A")
    odd = lab.top / name
    program = wrap(cache, lab.program, odd, relocatable=movable)
    for _ in range(2):
        started = lab.start(program)
        assert (started.status, started.stderr) == (0, "")
        assert ("BUN_INSPECT_PRELOAD" in started.env) == (name == "aé")
        assert "BUN_INSPECT_PRELOAD" not in started.env["OPENCODE_CACHE_SET"].split() or name == "aé"
    said = lab.start(program, env={"OPENCODE_SERVER_PASSWORD": "x"}).stderr
    assert ("commands of the agent see OPENCODE_SERVER_PASSWORD" in said) == (name != "aé")


def test_a_movable_wrapper_reached_through_a_linked_directory(lab):
    """Bun reads `bin/..` as text: what is preloaded has to be there by that reading too."""
    prefix = lab.top / "deep/prefix"
    program = prefix / "libexec/opencode"
    program.parent.mkdir(parents=True)
    shutil.copy(lab.program, program)
    wrapper = wrap(lab.cache("deep/prefix/cache"), program, prefix, relocatable=True)
    (lab.top / "linked").symlink_to(prefix / "bin")
    for way in (lab.top / "linked/opencode", Path("linked/./opencode"), wrapper):
        started = lab.start(way)
        assert (started.status, started.stderr) == (0, "")
        read_as_text = Path(os.path.normpath(started.env["BUN_INSPECT_PRELOAD"]))
        assert read_as_text.samefile(preload(wrapper)), way


def test_empty_environment(lab):
    wrapper = lab.wrap(lab.cache("A"))
    started = lab.start(wrapper, env={"PATH": None, "LC_ALL": None})
    assert (started.status, started.stderr) == (0, "")
    holds(lab, lab.top / "A")


def test_tools_stand_before_path_in_the_cold_path_only(lab):
    tools = lab.tools("tools", f'echo >>"{lab.top}/used"; exec TOOL "$@"\n', ["ln", "mv"])
    wrapper = lab.wrap(lab.cache("A"), tools=str(tools))
    started = lab.start(wrapper, env={"PATH": "/usr/bin:/bin"})
    assert started.env["PATH"] == "/usr/bin:/bin"
    assert (lab.top / "used").exists()


def test_config_directory_gets_links(lab):
    lab.start(lab.wrap(lab.cache("A", modules=["@opencode-ai/plugin", "@opencode-ai/sdk", "zod"])))
    target = lab.cache_dir / ".nix/packages/config/node_modules"
    assert state(lab.config_dir) == {
        "node_modules": "/",
        "node_modules/@opencode-ai": "/",
        PLUGIN: f"-> {target}/@opencode-ai/plugin",
        "node_modules/@opencode-ai/sdk": f"-> {target}/@opencode-ai/sdk",
        "node_modules/zod": f"-> {target}/zod",
        "package-lock.json": "lock of A",
    }
    assert (lab.config_dir / PLUGIN).is_dir()


def test_trace_names_what_is_wrong(lab):
    wrapper = lab.wrap(lab.cache("A"))
    lab.start(wrapper)
    (lab.cache_dir / PACKAGES[0]).unlink()
    said = lab.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"}).stderr
    assert f"{lab.cache_dir}/packages/foo is not the cache's" in said
    assert "ln -s ../.nix/packages/packages/foo" in said


def test_two_prefixes_of_one_user_take_turns_without_a_word(lab):
    """Each start has its own cache, of another version and of the same one at another place."""
    caches = [lab.cache("A"), lab.cache("B", links=[*PACKAGES, "packages/new"]), lab.cache("C")]
    wrappers = [lab.wrap(cache) for cache in caches]
    for cache, program in zip(caches * 3, wrappers * 3, strict=True):
        started = lab.start(program)
        assert (started.status, started.stderr) == (0, "")
        holds(lab, cache)
    assert not list(lab.cache_dir.rglob("*.before-nix-*"))
    assert sorted(path.name for path in (lab.cache_dir / "packages").iterdir()) == ["@scope", "foo"]
    own = {path.name for path in (lab.cache_dir / ".nix").iterdir()}
    assert len([name for name in own if ".links." in name]) == 1
