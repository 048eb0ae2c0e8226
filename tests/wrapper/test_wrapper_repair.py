"""What a start makes of a cache directory that is not as it should be: old, damaged, in use, or half made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from kept import EVERY
from wrapper_lab import (
    BUN,
    OTHER,
    PACKAGES,
    PLUGIN,
    SHELLS,
    TIMEOUT,
    TOOLS,
    Lab,
    dying_tools,
    holds,
    move_home,
    shell,
    state,
)

from opencode_cache.wrapper.render import wrap

MODULES = ("@opencode-ai/plugin", "zod")
MANY = 16
CROWD, CROWDS = 60, 2
USED = ("oc_trace", "oc_does", "oc_run", "oc_is_ours", "oc_make_way")


@pytest.fixture(params=SHELLS)
def lab(request, tmp_path):
    return Lab(tmp_path / "lab", shell(request.param))


@pytest.fixture
def one(tmp_path):
    """For slow tests: the shell that /bin/sh mostly is."""
    return Lab(tmp_path / "lab", shell("dash"))


def quiet(started):
    assert (started.status, started.stderr) == (0, "")


@pytest.mark.parametrize("harm", ["missing", "dangling", "foreign", "pointer", "whole"])
def test_damage_is_repaired(lab, harm):
    cache = lab.cache("A")
    wrapper = lab.wrap(cache)
    quiet(lab.start(wrapper))
    link = lab.cache_dir / "packages/@scope/bar"
    kept = {}
    if harm == "pointer":
        (lab.cache_dir / ".nix/packages").unlink()
        (lab.cache_dir / ".nix/packages").symlink_to("/nowhere")
    elif harm == "whole":
        shutil.rmtree(lab.cache_dir)
    else:
        link.unlink()
    if harm in {"dangling", "foreign"}:
        link.symlink_to("../../.nix/packages/gone" if harm == "dangling" else lab.home)
        kept = {f"{link.name}.before-nix-1": str(link.readlink())}
    started = lab.start(wrapper)
    assert started.status == 0
    assert bool(started.stderr) == bool(kept)
    assert {name: str((link.parent / name).readlink()) for name in kept} == kept
    for name in kept:
        (link.parent / name).unlink()
    holds(lab, cache)


@pytest.mark.parametrize("thing", ["directory", "file", "empty directory", "link to a directory"])
@pytest.mark.parametrize("place", ["packages/foo", "packages/@scope", "packages"])
def test_users_things_in_the_way_are_kept(one, thing, place):
    cache = one.cache("A")
    path = one.cache_dir / place
    path.parent.mkdir(parents=True)
    own = one.home / "own"
    own.mkdir()
    (own / "mine").write_text("mine")
    if thing == "directory":
        shutil.copytree(own, path)
    elif thing == "file":
        path.write_text("mine")
    elif thing == "empty directory":
        path.mkdir()
    else:
        path.symlink_to(own)
    path.with_name(path.name + ".before-nix-1").write_text("taken")
    started = one.start(one.wrap(cache))
    aside = path.with_name(path.name + ".before-nix-2")
    holds(one, cache)
    if thing == "empty directory" or (thing == "directory" and place != "packages/foo"):
        assert not aside.exists()
        assert started.stderr == ""
        assert thing == "empty directory" or (path / "mine").read_text() == "mine"
    else:
        assert started.stderr == f"opencode: {path} was in the way of the cache and is now {aside}\n"
        assert (aside if thing == "file" else aside / "mine").read_text() == "mine"
    assert (own / "mine").read_text() == "mine"
    quiet(one.start(one.top / "wrapped-A/bin/opencode"))


def test_users_own_packages_live_beside_ours(lab):
    a, b = lab.cache("A"), lab.cache("B", links=OTHER)
    quiet(lab.start(lab.wrap(a)))
    mine = lab.cache_dir / "packages/mine/node_modules/mine/index.js"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (lab.cache_dir / "packages/@scope/own").symlink_to(lab.home)
    (lab.cache_dir / "packages/broken").symlink_to("/nowhere")
    quiet(lab.start(lab.wrap(b)))
    assert mine.read_text() == "mine"
    assert (lab.cache_dir / "packages/@scope/own").samefile(lab.home)
    assert (lab.cache_dir / "packages/broken").is_symlink()


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_generations_back_and_forth(lab, layout):
    links = {"packages": (PACKAGES, OTHER), "bun": (BUN, BUN[:-1])}[layout]
    caches = [lab.cache(name, layout, links=those) for name, those in zip("AB", links, strict=True)]
    wrappers = [lab.wrap(cache) for cache in caches]
    for turn in (0, 1, 0, 1):
        quiet(lab.start(wrappers[turn]))
        holds(lab, caches[turn])
    shutil.rmtree(caches[1])  # collected as garbage: the links that it left dangle
    quiet(lab.start(wrappers[0]))
    holds(lab, caches[0])


def test_links_at_any_depth_go_with_their_generation(one):
    deep = (
        "bin/server",
        "packages/name@github:o/r#1",
        "packages/@s/name@github:o/r#1",
        "skills/own.md",
    )
    first, second = one.cache("A", links=(*PACKAGES, *deep)), one.cache("B")
    one.start(one.wrap(first))
    holds(one, first)
    one.start(one.wrap(second))
    holds(one, second)
    assert not any((one.cache_dir / link).is_symlink() for link in deep)


def deep_entry_and_its_successor(lab):
    links = (*PACKAGES, "skills/a/b/x.md", "a/b/c/d/e")
    return lab.wrap(lab.cache("A", links=links)), lab.wrap(lab.cache("B"))


@pytest.mark.parametrize("kept", [True, False], ids=["cache kept", "cache collected"])
def test_what_a_generation_linked_is_recorded(lab, kept):
    first, second = deep_entry_and_its_successor(lab)
    quiet(lab.start(first))
    (lab.cache_dir / "skills/a/b/mine.md").symlink_to(lab.home)
    if not kept:
        shutil.rmtree(lab.top / "A")
    quiet(lab.start(second))
    assert sorted(state(lab.cache_dir / "skills")) == ["a", "a/b", "a/b/mine.md"]
    assert not (lab.cache_dir / "a/b/c/d/e").is_symlink()
    (record,) = (lab.cache_dir / ".nix").glob("*.links.*")
    assert sorted(record.read_text().splitlines()) == sorted(PACKAGES)


@pytest.mark.parametrize("harm", ["gone", "empty", "swept in part"])
def test_lists_that_are_lost_are_found_again(one, harm):
    first, second = deep_entry_and_its_successor(one)
    quiet(one.start(first))
    (record,) = (one.cache_dir / ".nix").glob("*.links.*")
    if harm == "empty":
        record.write_text("")
    elif harm == "gone":
        record.unlink()
    else:
        record.rename(record.with_name(record.name + ".old"))
    quiet(one.start(second))
    holds(one, one.top / "B")
    assert not (one.cache_dir / "skills/a/b/x.md").is_symlink()


@pytest.mark.parametrize("layout", ["packages", "bun"])
@pytest.mark.parametrize(
    "harm",
    ["first", "none", "links", "copy", "empty copy", "own copy", "generation", "lists", "way", "stage"],
)
def test_a_dry_run_says_what_is_then_done_and_does_nothing(lab, layout, harm):
    modules = MODULES if layout == "packages" else ()
    links = {"packages": (PACKAGES, OTHER), "bun": (BUN, BUN[:-1])}[layout]
    old, new = (
        lab.cache(name, layout, links=those, modules=modules) for name, those in zip("AB", links, strict=True)
    )
    wrapper = lab.wrap(new)
    lab.start(wrapper if harm in {"none", "stage"} else lab.wrap(old)) if harm != "first" else None
    if harm == "links":
        lab.start(wrapper)
        (lab.cache_dir / links[1][0]).unlink()
    elif harm.endswith("copy"):
        models = lab.cache_dir / "models.json"
        models.unlink() if harm == "copy" else models.write_text("" if harm == "empty copy" else "mine")
    elif harm == "lists":
        shutil.rmtree(lab.cache_dir / ".nix")
    elif harm == "way":
        entry = lab.cache_dir / links[1][-1]
        entry.unlink(missing_ok=True)
        entry.mkdir(parents=True)
        (entry / "mine").touch()
    elif harm == "stage":
        (lab.cache_dir / ".nix/stage.x").mkdir()
        (lab.cache_dir / ".nix/busy").touch()
    before = state(lab.home)
    done = subprocess.run(
        [*lab.shell, str(wrapper)],
        env=lab.environment({"OPENCODE_CACHE_TRACE": "dry-run"}),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.stderr == ""
    assert state(lab.home) == before
    lab.start(wrapper)
    after = state(lab.home)
    said = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    assert len(set(said)) == len(said)
    root = ".cache-nix/opencode/"
    was, now = before.get(root + "models.json"), after[root + "models.json"]
    assert (("copy", "models.json") in said) == (not was)
    assert (("recopy", "models.json") in said) == (bool(was) and was != now)
    assert (("own", "models.json") in said) == (was == now != "catalogue of B")
    assert {name for verb, name in said if verb == "remove"} == {
        name.removeprefix(root)
        for name, text in before.items()
        if text.startswith("-> ") and name.startswith(root) and name not in after
    }
    linked = {name for verb, name in said if verb == "link"}
    assert linked == {name for name in links[1] if before.get(root + name) != after[root + name]}
    assert {name for verb, name in said if verb == "keep"} == {
        name.removeprefix(root).partition(".before-nix")[0]
        for name in after
        if name.endswith(".before-nix-1") and name not in before
    }
    pointer = f"{root}.nix/{layout}"
    assert (("turn", f".nix/{layout}") in said) == (before.get(pointer) != after[pointer])
    assert any(verb == "tidy" for verb, _ in said) == (harm == "stage")


def test_layouts_do_not_disturb_each_other(lab):
    packages, bun = lab.wrap(lab.cache("P")), lab.wrap(lab.cache("N", "bun"))
    for wrapper in (packages, bun, packages):
        quiet(lab.start(wrapper))
    holds(lab, lab.top / "P")
    holds(lab, lab.top / "N")
    before = state(lab.cache_dir)
    assert "everything is in place" in lab.start(bun, env={"OPENCODE_CACHE_TRACE": "1"}).stderr
    assert state(lab.cache_dir) == before


def test_copy_is_renewed_only_if_it_is_still_ours(lab):
    wrappers = [lab.wrap(lab.cache(name)) for name in "ABC"]
    models = lab.cache_dir / "models.json"
    for wrapper, name in zip(wrappers[:2], "AB", strict=True):
        quiet(lab.start(wrapper))
        assert models.read_text() == f"catalogue of {name}"
        assert models.stat().st_mode & 0o200
    models.write_text("fetched by OpenCode")
    quiet(lab.start(wrappers[2]))
    assert models.read_text() == "fetched by OpenCode"
    models.unlink()
    quiet(lab.start(wrappers[2]))
    assert models.read_text() == "catalogue of C"


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_files_without_a_byte_after_a_power_cut_are_written_again(lab, layout):
    modules = MODULES if layout == "packages" else ()
    wrapper = lab.wrap(lab.cache("A", layout, modules=modules))
    quiet(lab.start(wrapper))
    before = state(lab.home)
    files = [lab.cache_dir / "models.json"]
    files += [lab.config_dir / "package-lock.json"] if modules else [lab.cache_dir / "version"]
    for path in files:
        path.write_text("")
        quiet(lab.start(wrapper))
        assert state(lab.home) == before, path


@pytest.mark.parametrize("place", [".nix", ".nix/packages", ".nix/models.json.sums"])
@pytest.mark.parametrize("thing", ["file", "directory"])
def test_users_things_where_the_wrapper_keeps_its_own(one, place, thing):
    cache = one.cache("A")
    wrapper = one.wrap(cache)
    quiet(one.start(wrapper))
    path = one.cache_dir / place
    if thing == "file" and place.endswith(".sums"):
        return  # that file is ours by its name
    shutil.rmtree(path) if place == ".nix" else path.unlink()
    if place.endswith(".sums"):
        (one.cache_dir / "models.json").unlink()
    if thing == "directory":
        path.mkdir()
        path /= "mine"
    path.write_text("mine")
    assert one.start(wrapper).status == 0
    holds(one, cache)
    assert "mine" in state(one.home).values()


@pytest.mark.parametrize("place", [".cache-nix", ".cache-nix/opencode"])
def test_a_link_that_leads_nowhere_is_one_line(lab, place):
    path = lab.home / place
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/nowhere/at/all")
    started = lab.start(lab.wrap(lab.cache("A")))
    fix = "make the directory that it names, or remove the link"
    assert (started.status, started.stderr) == (
        2,
        f"opencode: {path} is a link that leads nowhere; {fix}\n",
    )


def test_text_of_a_users_link_is_kept_to_the_byte(lab):
    path = lab.cache_dir / "packages/foo"
    path.parent.mkdir(parents=True)
    path.symlink_to("-n /x\n\n")
    assert lab.start(lab.wrap(lab.cache("A"))).status == 0
    assert os.readlink(path.with_name("foo.before-nix-1")) == "-n /x\n\n"  # noqa: PTH115 - Path would tidy it


@pytest.mark.parametrize("content", [None, "8", "9\n", "", "99"])
def test_version_of_the_bun_layout_is_always_right(one, content):
    cache = one.cache("A", "bun")
    wrapper = one.wrap(cache)
    quiet(one.start(wrapper))
    version = one.cache_dir / "version"
    version.unlink()
    if content is not None:
        version.write_text(content)
    quiet(one.start(wrapper))
    assert version.read_text() == "9"


def test_cache_emptied_by_another_opencode_is_filled_again(lab):
    cache = lab.cache("A", "bun")
    quiet(lab.start(lab.wrap(cache)))
    for entry in lab.cache_dir.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (lab.cache_dir / "version").write_text("21")
    quiet(lab.start(lab.top / "wrapped-A/bin/opencode"))
    holds(lab, cache)


@pytest.mark.parametrize("what", ["cache", "entry", "program"])
@pytest.mark.parametrize("started_before", [False, True])
def test_what_has_vanished_is_one_line(one, what, started_before):
    cache = one.cache("A")
    wrapper = one.wrap(cache)
    if started_before:
        one.start(wrapper)
    if what == "program":
        one.program.unlink()
    else:
        shutil.rmtree(cache if what == "cache" else cache / "packages/foo")
    started = one.start(wrapper)
    sentence = {
        "cache": f"the cache {cache} is gone; build or install OpenCode with its cache again",
        "entry": f"the cache {cache} lacks packages/foo; build it again",
        "program": f"{one.program} is gone; build or install OpenCode with its cache again",
    }[what]
    assert (started.status, started.stderr) == (2, f"opencode: {sentence}\n")


def test_root_that_cannot_be_made_is_one_line(lab):
    (lab.home / "file").write_text("")
    started = lab.start(lab.wrap(lab.cache("A")), env={"XDG_CACHE_HOME": str(lab.home / "file/cache")})
    assert started.status == 2
    assert re.fullmatch(
        r"opencode: \S+/file/cache/opencode cannot be set up \(.*mkdir.*\); make it .*\n",
        started.stderr,
    )


def test_full_disk_is_one_line(lab):
    tools = lab.tools(
        "full",
        'echo "ln: No space left on device" >&2; echo more >&2; exit 1\n',
        ["ln"],
    )
    started = lab.start(lab.wrap(lab.cache("A"), tools=str(tools)))
    assert started.status == 2
    fix = "make it a directory that can be written to, free space there"
    assert f"(ln: No space left on device); {fix}" in started.stderr
    assert started.stderr.count("\n") == 1


def test_read_only_root_with_everything_in_place_is_good_enough(lab):
    tools = lab.tools("read-only", "exit 1\n", TOOLS[:-5])
    wrapper = lab.wrap(lab.cache("A"), tools=str(tools))
    quiet(lab.start(lab.wrap(lab.top / "A", name="working")))
    (lab.cache_dir / "models.json").unlink()
    quiet(lab.start(wrapper))
    (lab.cache_dir / "packages/foo").unlink()
    assert lab.start(wrapper).status == 2


# --- Config directory ---


def test_config_links_follow_the_generation(lab):
    first = lab.cache("A", modules=[*MODULES, "old"])
    second = lab.cache("B", modules=[*MODULES, "@new/one"])
    for cache in (first, second, first):
        quiet(lab.start(lab.wrap(cache)))
        modules = lab.config_dir / "node_modules"
        for module in (cache / "config/node_modules").glob("[!@]*"):
            assert (modules / module.name).samefile(module)
        assert (lab.config_dir / PLUGIN).samefile(cache / "config" / PLUGIN)
        assert all(path.exists() for path in modules.rglob("*"))
    assert (lab.config_dir / "package-lock.json").read_text() == "lock of A"


@pytest.mark.parametrize(
    ("package_json", "touched"),
    [
        (None, True),
        ("{}", True),
        ('{"name": "x",\n "type": "module"}', True),
        (
            '{\n  "dependencies": {\n    "@opencode-ai/plugin": "1.18.33"\n  }\n}\n',
            True,
        ),
        ('{"dependencies":{"@opencode-ai/plugin":"*","zod":"*"}}', False),
        (
            '{"devDependencies": {"zod": "*"}, "dependencies": {"@opencode-ai/plugin": "*"}}',
            False,
        ),
        ('{"dependencies": {"zod": "*"}}', False),
    ],
)
def test_users_dependencies_are_left_alone(one, package_json, touched):
    one.config_dir.mkdir(parents=True)
    if package_json is not None:
        (one.config_dir / "package.json").write_text(package_json)
    before = state(one.config_dir)
    wrapper = one.wrap(one.cache("A", modules=MODULES))
    quiet(one.start(wrapper))
    assert (one.config_dir / PLUGIN).is_dir() == touched
    assert touched or state(one.config_dir) == before
    assert "everything is in place" in one.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"}).stderr


def test_every_shell_reads_package_json_alike(lab):
    lab.config_dir.mkdir(parents=True)
    wrapper = lab.wrap(lab.cache("A", modules=MODULES))
    only = """{
\t"name": "a * \\\\ b",
  "dependencies" : { "@opencode-ai/plugin": "1" },
  "devDependencies": {}
}"""
    for package_json, touched in (
        (only.replace('"1"', '"1", "zod": "*"'), False),
        (only, True),
    ):
        (lab.config_dir / "package.json").write_text(package_json)
        quiet(lab.start(wrapper))
        assert (lab.config_dir / PLUGIN).is_dir() == touched


@pytest.mark.parametrize("kind", ["file", "dangling lock"])
def test_config_directory_where_nothing_can_be_done_is_left_alone(one, kind):
    if kind == "file":
        one.config_dir.parent.mkdir(parents=True)
        one.config_dir.write_text("mine")
    else:
        one.config_dir.mkdir(parents=True)
        (one.config_dir / "package-lock.json").symlink_to("gone")
    wrapper = one.wrap(one.cache("A", modules=MODULES))
    quiet(one.start(wrapper))
    assert "everything is in place" in one.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"}).stderr
    lock = one.config_dir / "package-lock.json"
    assert one.config_dir.is_file() or list(one.config_dir.iterdir()) == [lock]


@pytest.mark.parametrize("kind", ["real", "empty", "link", "npm link"])
def test_users_node_modules_is_never_touched(one, kind):
    modules = one.config_dir / "node_modules"
    (one.home / "own").mkdir()
    if kind == "link":
        one.config_dir.mkdir(parents=True)
        modules.symlink_to(one.home / "own")
    else:
        modules.mkdir(parents=True)
    if kind == "real":
        (one.config_dir / PLUGIN).mkdir(parents=True)
    elif kind == "npm link":
        (modules / "@opencode-ai").mkdir()
        (one.config_dir / PLUGIN).symlink_to(one.home / "own")
    before = state(one.config_dir)
    quiet(one.start(one.wrap(one.cache("A", modules=MODULES))))
    quiet(one.start(one.wrap(one.cache("B", modules=MODULES))))
    assert state(one.config_dir) == before


def test_config_directory_that_cannot_be_made_is_no_reason_to_stop(lab):
    (lab.home / ".config").write_text("")
    quiet(lab.start(lab.wrap(lab.cache("A", modules=MODULES))))
    holds(lab, lab.top / "A")


# --- Many starts, and starts that die ---


def test_many_starts_at_once(one):
    caches = [
        one.cache("A", modules=MODULES),
        one.cache("B", links=OTHER, modules=MODULES),
    ]
    wrappers = [one.wrap(cache) for cache in caches]
    mine = one.cache_dir / "packages/foo/mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (one.cache_dir / "packages/new").write_text("mine")
    command = [[*one.shell, str(wrappers[n % 2])] for n in range(MANY)]
    running = [
        subprocess.Popen(
            words,
            env=one.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for words in command
    ]
    said = b""
    for process in running:
        said += process.communicate(timeout=TIMEOUT)[1]
        assert process.returncode == 0, said
    kept = {name: text for name, text in state(one.cache_dir).items() if ".before-nix-" in name}
    assert kept == {
        "packages/foo.before-nix-1": "/",
        "packages/foo.before-nix-1/mine": "mine",
        "packages/new.before-nix-1": "mine",
    }
    assert said.count(b"was in the way") == 2
    for cache, wrapper in zip(caches, wrappers, strict=True):
        quiet(one.start(wrapper))
        holds(one, cache)
        lacks = {*PACKAGES, *OTHER} - {*(PACKAGES if cache.name == "A" else OTHER)}
        assert not [link for link in lacks if (one.cache_dir / link).is_symlink()]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_another_start_has_made_meanwhile_is_not_moved(lab, kind):
    """Between the look at a place and the way made there, another start may have been."""
    text = lab.wrap(lab.cache("A")).read_text()
    functions = [
        re.search(rf"^{name}\(\) {{( [^\n]*}}\n|\n.*?^}}\n)", text, re.MULTILINE | re.DOTALL) for name in USED
    ]
    script = "\n".join(found[0] for found in functions) + 'oc_make_way "$1" "$2"'
    made = lab.cache_dir / ("packages/@scope" if kind == "directory" else ".nix/packages.links.1")
    made.parent.mkdir(parents=True)
    _ = made.mkdir() if kind == "directory" else made.write_text("packages/x\n")
    below = "packages" if kind == "directory" else made.relative_to(lab.cache_dir)
    words = [
        *lab.shell,
        "-c",
        f"oc_dir={lab.cache_dir} oc_name=x oc_layout=packages oc_dry=\n{script}",
        "sh",
        str(below),
        kind,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(lab.cache_dir.rglob("*")) == [made.parent, made]


VANISHING = """
case ${3-} in *.old) rm -f "$2"; echo packages/gone >"${2%.links.*}.links.$$" ;; esac
exec TOOL "$@"
"""


def test_a_list_that_another_start_sweeps_by_meanwhile_is_no_error(lab):
    """And were there one in each pass: with a hundred starts at once on a slow machine there was."""
    quiet(lab.start(lab.wrap(lab.cache("A", links=OTHER))))
    cache = lab.cache("B")
    shims = lab.tools("vanishing", VANISHING, ["mv"])
    quiet(lab.start(lab.wrap(cache), env={"PATH": f"{shims}:{os.environ['PATH']}"}))
    assert all((lab.cache_dir / link).samefile(cache / link) for link in PACKAGES)


def test_many_starts_that_find_files_where_directories_belong(one):
    """What one start has made a directory of, another leaves; and nobody leaves a stage."""
    pair = [one.wrap(one.cache(name, links=links)) for name, links in (("A", PACKAGES), ("B", OTHER))]
    for number in range(CROWDS):
        shutil.rmtree(one.cache_dir, ignore_errors=True)
        one.cache_dir.mkdir(parents=True)
        for name in (".nix", "packages"):
            (one.cache_dir / name).write_text(f"mine {name}")
        running = [
            subprocess.Popen(
                [*one.shell, str(pair[n % 2])],
                env=one.environment(),
                stdout=subprocess.DEVNULL,
            )
            for n in range(CROWD)
        ]
        assert {process.wait(TIMEOUT) for process in running} == {0}
        kept = sorted(path.name for path in one.cache_dir.iterdir() if "before-nix" in path.name)
        assert kept == [".nix.before-nix-1", "packages.before-nix-1"], number
        for name in (".nix", "packages"):
            assert (one.cache_dir / f"{name}.before-nix-1").read_text() == f"mine {name}"
        assert not list(one.cache_dir.rglob("stage.*")), number


def test_killed_at_any_tool(one):
    """A new generation, with the user's things in its way, killed at a tool that it starts.

    Here at every third; `test_wrapper_states.py` kills before any system call of the shell.
    """
    old, new = (
        one.cache("A", modules=MODULES),
        one.cache("B", links=OTHER, modules=[*MODULES, "more"]),
    )
    old_wrapper, new_wrapper = one.wrap(old), one.wrap(new)
    dying = wrap(new, one.program, one.top / "dying", tools=str(dying_tools(one)))
    first = Lab(one.top / "pristine", one.shell)
    quiet(first.start(old_wrapper))
    (first.cache_dir / "packages/new").mkdir()
    (first.cache_dir / "packages/new/mine").write_text("mine")
    for step in range(1, 100, 1 if EVERY else 3):
        shutil.rmtree(one.home)
        move_home(first, one)
        status = one.killed(dying, step)
        if status == 0:
            assert step > 20
            break
        assert status == -9
        order = [(new_wrapper, new), (old_wrapper, old)]
        for wrapper, cache in order if step % 2 else order[::-1]:
            assert one.start(wrapper).status == 0
            holds(one, cache)
            assert (one.config_dir / PLUGIN).samefile(cache / "config" / PLUGIN)
        kept = [path.read_text() for path in one.cache_dir.rglob("mine")]
        assert kept == ["mine"], step
        assert not (one.cache_dir / "packages/new").is_symlink() or (one.cache_dir / "packages/new").exists()
    else:
        pytest.fail("the wrapper never got to its end")


def test_leftover_stages_are_tidied_up(lab):
    cache = lab.cache("A")
    wrapper = lab.wrap(cache)
    quiet(lab.start(wrapper))
    gone = subprocess.Popen(["true"])
    gone.wait(timeout=TIMEOUT)
    for stage in (f"stage.{gone.pid}", "stage.x"):
        (lab.cache_dir / ".nix" / stage / "links").mkdir(parents=True)
    (lab.cache_dir / ".nix/busy").touch()
    living = lab.cache_dir / f".nix/stage.{os.getpid()}"
    living.mkdir()
    quiet(lab.start(wrapper))
    assert [path.name for path in (lab.cache_dir / ".nix").glob("stage.*")] == [living.name]
    assert Path(cache / "manifest.json").exists()


@pytest.mark.parametrize("options", ["noclobber", "noglob", "errexit", "noclobber:noglob:errexit:nounset"])
def test_options_that_bash_takes_from_the_environment(tmp_path, options):
    """A user who exports SHELLOPTS: the wrapper works; OpenCode's shells get these and no more."""
    lab = Lab(tmp_path / "lab", shell("bash"))
    cache = lab.cache("A", modules=MODULES)
    wrapper = lab.wrap(cache)
    given = {"SHELLOPTS": options}
    words = [*lab.shell, "-c", 'printf %s "$SHELLOPTS"']
    seen = subprocess.run(words, env=lab.environment(given), capture_output=True, check=True).stdout.decode()
    for trace in (None, None, ""):  # the cold way, that of most, and that of the others
        started = lab.start(wrapper, env=given | {"OPENCODE_CACHE_TRACE": trace})
        quiet(started)
        assert started.env["SHELLOPTS"] == seen
        holds(lab, cache)
    (lab.cache_dir / ".nix/stage.x").mkdir()
    (lab.cache_dir / ".nix/busy").touch()
    quiet(lab.start(wrapper, env=given))
    holds(lab, cache)


# --- File systems ---


def as_user(lab, directory):
    """Start as nobody: root could write everywhere."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv, to start as another user")
    for path in [directory, *directory.parents]:
        if path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    lab.shell = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        *lab.shell,
    ]


@pytest.mark.parametrize("owned", ["root", "cache directory", "packages", "copy"])
def test_another_users_files_are_one_line_or_no_matter(one, owned):
    cache = one.cache("A")
    wrapper = one.wrap(cache)
    names = {
        "root": ".",
        "cache directory": "opencode",
        "packages": "opencode/packages",
        "copy": "opencode",
    }
    place = one.home / ".cache-nix" / names[owned]
    place.mkdir(parents=True)
    if owned == "copy":
        (place / "models.json").write_text("somebody's")
        (place / "models.json").chmod(0o600)
    as_user(one, one.top)
    for path in (one.home, one.home / ".cache-nix", one.cache_dir):
        if path.exists() and (path != place or owned == "copy"):
            os.chown(path, 65534, 65534)
    before = state(one.home) if owned != "copy" else {}
    started = one.start(wrapper)
    assert started.stderr.count("\n") == 1 or not started.stderr
    if owned == "copy":  # unreadable, and in a directory of ours
        assert (one.cache_dir / "models.json").read_text() == "somebody's"
    else:
        assert started.status == 2
        assert re.search(
            r"cannot be set up \(.*[Pp]ermission denied.*\); make it a d",
            started.stderr,
        )
        kept = state(one.home)
        assert {name: kept.get(name) for name in before} == before


@pytest.mark.parametrize("place", [".", "opencode"])
@pytest.mark.parametrize("started_before", [False, True])
def test_a_cache_of_another_user_is_refused(lab, place, started_before):
    """Whoever owns it decides what OpenCode finds there. Root could in any case."""
    cache = lab.cache("A")
    wrapper = lab.wrap(cache)
    path = lab.home / ".cache-nix" / place
    path.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory to another user")
    if started_before:
        quiet(lab.start(wrapper))
    os.chown(path, 65534, 65534)
    if started_before and place == ".":
        return quiet(lab.start(wrapper))  # what is linked lies in a directory of one's own
    before = state(lab.home)
    started = lab.start(wrapper)
    fix = "set XDG_CACHE_HOME to a directory of your own"
    assert (started.status, started.stderr) == (
        2,
        f"opencode: {Path(os.path.normpath(path))} belongs to another user; {fix}\n",
    )
    assert state(lab.home) == before
    return None


def test_a_cache_that_root_has_set_up_is_used(one):
    wrapper = one.wrap(one.cache("A"))
    quiet(one.start(wrapper))
    as_user(one, one.top)
    quiet(one.start(wrapper))


@pytest.fixture
def mounted(tmp_path):
    """Mounts; everything is unmounted in the end."""
    done = []

    def mount(path, *options):
        path.mkdir(parents=True, exist_ok=True)
        words = ["mount", *options, str(path)]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounts are not allowed here")
        done.append(path)

    yield mount
    for path in reversed(done):
        subprocess.run(["umount", str(path)], check=True, timeout=TIMEOUT)


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
def test_full_disk_loses_nothing_and_is_put_right_by_space(one, mounted, size):
    """A file system of so many KiB: somewhere on the way it is full."""
    cache = one.cache("A", modules=MODULES)
    wrapper = one.wrap(cache)
    root = one.home / "full"
    mounted(root, "-t", "tmpfs", "-o", f"size={size}k", "none")
    (root / "opencode").mkdir()
    (root / "opencode/models.json").write_text("mine")
    filler = root / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    started = one.start(wrapper, env={"XDG_CACHE_HOME": str(root)})
    assert started.status in {0, 2}
    assert started.stderr.count("\n") == (1 if started.status else 0)
    assert (root / "opencode/models.json").read_text() == "mine"
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(root)], check=True, timeout=TIMEOUT)
    quiet(one.start(wrapper, env={"XDG_CACHE_HOME": str(root)}))
    assert (root / "opencode/packages/foo").samefile(cache / "packages/foo")
    assert (root / "opencode/models.json").read_text() == "mine"


def test_read_only_mounts(one, mounted):
    """Config directory and cache root that nobody can write to, root neither."""
    cache = one.cache("A", modules=MODULES)
    wrapper = one.wrap(cache)
    one.config_dir.mkdir(parents=True)
    mounted(one.config_dir, "-t", "tmpfs", "-o", "ro", "none")
    quiet(one.start(wrapper))
    holds(one, cache)
    assert "everything is in place" in one.start(wrapper, env={"OPENCODE_CACHE_TRACE": "1"}).stderr
    (one.cache_dir / "models.json").unlink()
    root = one.home / ".cache-nix"
    mounted(root, "--bind", str(root))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True, timeout=TIMEOUT)
    quiet(one.start(wrapper))
    started = one.start(one.wrap(one.cache("B", links=OTHER)))
    assert started.status == 2
    assert started.stderr.count("\n") == 1


@pytest.mark.parametrize("place", [".cache-nix", ".cache-nix/opencode", ".config/opencode"])
def test_directories_that_are_links(lab, place):
    real = lab.top / "elsewhere/deep/er"
    real.mkdir(parents=True)
    (lab.home / place).parent.mkdir(exist_ok=True)
    (lab.home / place).symlink_to(real)
    caches = [
        lab.cache("A", modules=MODULES),
        lab.cache("B", links=OTHER, modules=MODULES),
    ]
    for cache in (*caches, caches[0]):
        quiet(lab.start(lab.wrap(cache)))
        holds(lab, cache)
        assert (lab.config_dir / PLUGIN).samefile(cache / "config" / PLUGIN)
    assert (lab.home / place).is_symlink()
