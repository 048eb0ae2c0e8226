"""The build step: which packages a system gets, the same bytes every time, nothing left behind on failure."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import making
import pytest

from opencode_cache.base.errors import BadInputError, CacheLacksError
from opencode_cache.build import builder
from opencode_cache.formats import contents, manifest
from opencode_cache.npm import platforms
from opencode_cache.opencode import embedded

LINUX = platforms.SYSTEMS["x86_64-linux"]
MUSL = platforms.SYSTEMS["x86_64-linux-musl"]
MAC = platforms.SYSTEMS["aarch64-darwin"]


# Which packages


def native_lock():
    """A tool with a native part for each system, of which each has packages of its own."""
    packages = [
        making.package("tool"),
        making.package("native-linux", os=("linux",), cpu=("x64",), libc=("glibc",)),
        making.package("native-musl", os=("linux",), cpu=("x64",), libc=("musl",)),
        making.package("native-mac", os=("darwin",)),
        making.package("helper"),
        making.package("native-linux-extra"),
        making.package("not-windows", os=("!win32",)),
    ]
    nodes = {
        "node_modules/tool": "tool@1.0.0",
        "node_modules/native-linux": "native-linux@1.0.0",
        "node_modules/native-linux/node_modules/helper": "helper@1.0.0",
        "node_modules/native-linux-extra": "native-linux-extra@1.0.0",
        "node_modules/native-musl": "native-musl@1.0.0",
        "node_modules/native-musl/node_modules/helper": "helper@1.0.0",
        "node_modules/native-mac": "native-mac@1.0.0",
        "node_modules/native-mac/node_modules/native-linux": "native-linux@1.0.0",
        "node_modules/native-mac/node_modules/native-linux/node_modules/helper": "helper@1.0.0",
        "node_modules/not-windows": "not-windows@1.0.0",
    }
    return making.lock(packages, {"packages/tool": nodes}, [making.request("tool", "tool", "packages/tool")])


@pytest.mark.parametrize(
    ("system", "natives"),
    [
        (LINUX, {"native-linux", "native-linux/node_modules/helper"}),
        (MUSL, {"native-musl", "native-musl/node_modules/helper"}),
        (MAC, {"native-mac"}),
    ],
)
def test_what_is_for_other_systems_is_left_out_with_all_that_is_in_it(system, natives):
    chosen = contents.selected(native_lock(), system)["packages/tool"]
    always = {"tool", "native-linux-extra", "not-windows"}
    assert set(chosen) == {f"node_modules/{name}" for name in always | natives}
    assert chosen["node_modules/tool"].name == "tool"


def test_a_package_that_no_tree_needs_on_this_system_is_not_fetched_for_it():
    assert set(contents.packages(native_lock(), MAC)) == {
        "tool@1.0.0",
        "native-linux-extra@1.0.0",
        "native-mac@1.0.0",
        "not-windows@1.0.0",
    }


def test_a_request_that_is_for_another_system_is_refused_by_its_name():
    package = making.package("native-mac", os=("darwin",))
    found = making.lock(
        [package],
        {"packages/native-mac": {"node_modules/native-mac": package.key}},
        [making.request("tool", "native-mac", "packages/native-mac")],
    )
    assert contents.selected(found, MAC)
    with pytest.raises(BadInputError, match=r"native-mac.* x86_64-linux"):
        contents.selected(found, LINUX)


def test_the_binary_of_another_system_is_missing_with_the_reason():
    found = making.lock([], {}, [], missing={"aarch64-darwin": "the registry has none"})
    assert contents.binary_package(found, LINUX).name == "opencode-linux-x64-baseline"
    with pytest.raises(BadInputError, match=r"no OpenCode 1.18.33 for aarch64-darwin: the registry has none"):
        contents.binary_package(found, MAC)
    with pytest.raises(BadInputError, match="the lock was made for other systems"):
        contents.binary_package(found, MUSL)


# Building


@pytest.fixture
def given(tmp_path):
    """A lock with something of every kind, its tarballs, and a stand-in for OpenCode."""
    sdk, sdk_data = making.npm_package("@ai-sdk/x", "2.0.0", license="MIT")
    plugin, plugin_data = making.npm_package("plugin")
    tool, tool_data = making.npm_package("tool", bin={"tool": "cli.js"})
    zod, zod_data = making.npm_package("zod", "3.0.0")
    config, config_data = making.npm_package("@opencode-ai/plugin", "1.18.33")
    mac, _ = making.npm_package("native-mac", os=("darwin",))
    trees = {
        "packages/@ai-sdk/x": {"node_modules/@ai-sdk/x": sdk.key, "node_modules/zod": zod.key},
        "packages/plugin@latest": {
            "node_modules/plugin": plugin.key,
            "node_modules/plugin/node_modules/zod": zod.key,
            "node_modules/native-mac": mac.key,
        },
        "packages/tool": {"node_modules/tool": tool.key},
        "config": {"node_modules/@opencode-ai/plugin": config.key, "node_modules/zod": zod.key},
    }
    requests = [
        making.request("provider", "@ai-sdk/x", "packages/@ai-sdk/x", "2.0.0"),
        making.request("plugin", "plugin", "packages/plugin@latest"),
        making.request("tool", "tool", "packages/tool"),
        making.request("config", "@opencode-ai/plugin", "config", "1.18.33", requested="1.18.33"),
    ]
    tarballs = tmp_path / "tarballs"
    tarballs.mkdir()
    for package, content in (
        (sdk, sdk_data),
        (plugin, plugin_data),
        (tool, tool_data),
        (zod, zod_data),
        (config, config_data),
    ):
        (tarballs / package.tarball).write_bytes(content)
    return builder.Inputs(
        making.lock([sdk, plugin, tool, zod, config, mac], trees, requests, sdk_major=2),
        tarballs,
        making.opencode_stand_in(tmp_path / "opencode"),
        LINUX,
    )


def bun_inputs(tmp_path, **options):
    sdk, data = making.npm_package("@ai-sdk/x", "2.0.0")
    found = making.lock(
        [sdk],
        {".": {"node_modules/@ai-sdk/x": sdk.key}},
        [making.request("provider", "@ai-sdk/x", ".", "2.0.0")],
        version="1.0.61",
        layout="bun",
        cache_version="9",
    )
    tarballs = tmp_path / "bun-tarballs"
    tarballs.mkdir()
    (tarballs / sdk.tarball).write_bytes(data)
    models = tmp_path / "api.json"
    models.write_text('{"opencode": {"models": {"m": {"name": "é"}}}}', encoding="utf-8")
    binary = making.opencode_stand_in(tmp_path / "opencode-1.0", "1.0.61")
    return builder.Inputs(found, tarballs, binary, LINUX, models=models, **options)


def snapshot(root):
    """Everything that can be told of a tree: path -> kind, mode, time and content."""
    found = {}
    for path in (root, *root.rglob("*")):
        about = path.lstat()
        mode = oct(about.st_mode)
        content = ""
        if stat.S_ISLNK(about.st_mode):
            mode, content = None, str(path.readlink())
        elif stat.S_ISREG(about.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(root)] = (mode, about.st_mtime_ns, content)
    return found


def beside(out):
    """The names in the directory of `out`."""
    return sorted(path.name for path in out.parent.iterdir()) if out.parent.is_dir() else []


def test_a_cache_holds_every_tree_and_says_so(given, tmp_path):
    out = tmp_path / "out"
    done = []
    made = builder.build(given, out, on_done=lambda package: done.append(package.key))
    assert manifest.read(out) == made
    assert sorted(done) == [
        "@ai-sdk/x@2.0.0",
        "@opencode-ai/plugin@1.18.33",
        "plugin@1.0.0",
        "tool@1.0.0",
        "zod@3.0.0",
    ]
    for entry in made.requests:
        assert (
            json.loads((out / entry.path / "package.json").read_text(encoding="utf-8"))["name"] == entry.name
        )
    assert (out / "packages/plugin@latest/node_modules/plugin/node_modules/zod/index.js").is_file()
    assert not (out / "packages/plugin@latest/node_modules/native-mac").exists()
    assert (out / "packages/tool/node_modules/.bin/tool").readlink().as_posix() == "../tool/cli.js"
    assert os.access(out / "packages/tool/node_modules/.bin/tool", os.X_OK)
    assert (made.opencode, made.layout, made.system, made.sdk_major) == (
        "1.18.33",
        "packages",
        "x86_64-linux",
        2,
    )
    assert made.config == "config"
    assert made.catalogue is None
    assert set(made.links) >= {"packages/@ai-sdk/x", "packages/plugin@latest", "packages/tool"}
    assert not (out / "models.json").exists()
    licences = {package.name: package.license for package in made.packages}
    assert licences["@ai-sdk/x"] == "MIT"
    specs = {package.name: package.specs for package in made.packages}
    assert specs["zod"] == ("@ai-sdk/x", "@opencode-ai/plugin", "plugin")
    assert "native-mac" not in specs


def test_the_size_is_that_of_all_files_but_the_manifest(given, tmp_path):
    made = builder.build(given, tmp_path / "out")
    files = [
        p
        for p in (tmp_path / "out").rglob("*")
        if p.is_file() and not p.is_symlink() and p.name != "manifest.json"
    ]
    assert made.files == len(files)
    assert made.bytes == sum(path.stat().st_size for path in files)


def test_the_same_input_gives_the_same_output_whatever_the_umask_and_the_place(given, tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "elsewhere" / "with spaces é" / "other"
    old = os.umask(0o077)
    try:
        builder.build(given, one)
        os.umask(0)
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        monkeypatch.chdir("/")
        builder.build(given, other)
    finally:
        os.umask(old)
    assert snapshot(one) == snapshot(other)


def test_every_time_is_one_and_nothing_is_writable_for_others(given, tmp_path):
    builder.build(given, tmp_path / "out")
    for path, (mode, time, _) in snapshot(tmp_path / "out").items():
        assert time == 10**9, path
        if mode is not None:
            assert int(mode, 8) & 0o022 == 0, path
            assert int(mode, 8) & 0o444 == 0o444, path


def test_the_bun_cache_is_the_same_everywhere_too(tmp_path):
    inputs = bun_inputs(tmp_path)
    old = os.umask(0o077)
    try:
        made = builder.build(inputs, tmp_path / "one")
        os.umask(0)
        builder.build(inputs, tmp_path / "other")
    finally:
        os.umask(old)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")
    assert (tmp_path / "one" / "version").read_text(encoding="utf-8") == "9"
    assert (tmp_path / "one" / "tui" / "tui-1.0.61").readlink() == inputs.opencode
    assert made.tui == "tui/tui-1.0.61"
    assert made.catalogue is not None
    assert (made.catalogue.source, made.catalogue.models) == ("file", 1)
    assert set(made.copies) == {"models.json", "version"}
    assert json.loads((tmp_path / "one" / "models.json").read_text(encoding="utf-8"))["opencode"]["models"][
        "m"
    ]


def test_a_given_catalogue_is_shipped_in_the_packages_layout_too(given, tmp_path):
    models = tmp_path / "api.json"
    models.write_text('{"p": {"models": {"m": {}}}}', encoding="utf-8")
    made = builder.build(
        builder.Inputs(given.lock, given.tarballs, given.opencode, LINUX, models=models), tmp_path / "out"
    )
    assert made.copies == ("models.json",)
    assert made.catalogue.source == "file"


def test_the_date_of_the_binarys_own_catalogue_is_noted(given, tmp_path, monkeypatch):
    own = {"p": {"models": {"m": {"release_date": "2026-07-01"}}}}
    monkeypatch.setattr(embedded, "catalogue", lambda *_: own)
    inputs = builder.Inputs(given.lock, given.tarballs, given.opencode, LINUX)
    made = builder.build(inputs, tmp_path / "out")
    assert (made.catalogue, str(made.catalogue_date)) == (None, "2026-07-01")


# Refusals


def refused(inputs, out, said, kind=BadInputError, **options):
    """The build is refused with these words, and everything beside `out` is as it was."""
    before = beside(out)
    with pytest.raises(kind, match=said) as caught:
        builder.build(inputs, out, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert beside(out) == before


def test_what_is_there_already_is_not_touched(given, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("full", "empty", "file", "dangling"):
        refused(given, tmp_path / name, f"{name}: exists already; remove it or choose another --out")
    assert (tmp_path / "full" / "kept").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo hello", "not an OpenCode binary"),
        ("echo 1.18.33; exit 3", "not an OpenCode binary"),
        ("echo 1.17.0", r"this is OpenCode 1\.17\.0, the lock is for 1\.18\.33"),
        ("", "not an OpenCode binary"),
    ],
)
def test_a_program_that_is_not_the_locks_opencode_is_refused(given, tmp_path, script, said):
    program = tmp_path / "opencode"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    refused(given, tmp_path / "out", said)


@pytest.mark.parametrize("mode", [None, 0o644, "directory"])
def test_what_cannot_be_run_is_refused(given, tmp_path, mode):
    (tmp_path / "opencode").unlink()
    if mode == "directory":
        (tmp_path / "opencode").mkdir()
    elif mode is not None:
        making.opencode_stand_in(tmp_path / "opencode").chmod(mode)
    refused(given, tmp_path / "out", "cannot be run as OpenCode")


def test_a_missing_tarball_is_told_and_leaves_nothing(given, tmp_path):
    (given.tarballs / "zod@3.0.0.tgz").unlink()
    refused(given, tmp_path / "out", r"zod@3\.0\.0.*opencode-cache fetch")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:40] + b"\0" + data[41:],
        lambda _: b"",
        lambda data: data + b"x",
    ],
)
def test_a_damaged_tarball_is_told_and_leaves_nothing(given, tmp_path, damage):
    path = given.tarballs / "zod@3.0.0.tgz"
    path.write_bytes(damage(path.read_bytes()))
    refused(given, tmp_path / "out", r"zod@3\.0\.0.*fetch")


def test_a_tarball_with_other_content_than_was_locked_is_told_and_leaves_nothing(given, tmp_path):
    (given.tarballs / "zod@3.0.0.tgz").write_bytes(
        making.tarball({"package.json": "{}", "index.js": "evil()"})
    )
    refused(given, tmp_path / "out", r"zod@3\.0\.0.*integrity")


@pytest.mark.parametrize("error", [CacheLacksError("asked for x"), KeyboardInterrupt("stop")])
def test_a_cache_that_is_not_proved_gets_no_name(given, tmp_path, error):
    seen = []

    def prove(cache):
        seen.append(manifest.read(cache))
        raise error

    refused(given, tmp_path / "out", str(error), type(error), prove=prove)
    assert len(seen) == 1


def test_a_catalogue_that_is_none_is_told_and_leaves_nothing(given, tmp_path):
    (tmp_path / "api.json").write_text("[]", encoding="utf-8")
    inputs = builder.Inputs(given.lock, given.tarballs, given.opencode, LINUX, models=tmp_path / "api.json")
    refused(inputs, tmp_path / "out", "not a model catalogue")


def test_a_release_binary_that_is_not_there_is_told_and_leaves_nothing(given, tmp_path):
    inputs = builder.Inputs(given.lock, given.tarballs, given.opencode, LINUX, tui=tmp_path / "none")
    refused(inputs, tmp_path / "out", "none: ")


def test_a_place_that_cannot_be_written_is_told(given, tmp_path):
    (tmp_path / "file").touch()
    refused(given, tmp_path / "file" / "out", "cannot be made .*choose another --out")


def test_in_a_nix_shell_a_failed_build_leaves_nothing_either(given, tmp_path, monkeypatch):
    monkeypatch.setenv("NIX_BUILD_TOP", str(tmp_path))
    monkeypatch.setenv("out", str(tmp_path / "not this"))
    seen = []
    builder.build(given, tmp_path / "out", prove=seen.append)
    assert seen != [tmp_path / "out"]


def test_in_a_nix_build_only_the_output_itself_is_written(given, tmp_path, monkeypatch):
    out = tmp_path / "store" / "out"
    monkeypatch.setenv("NIX_BUILD_TOP", str(tmp_path))
    monkeypatch.setenv("out", str(out))
    seen = []
    builder.build(given, out, prove=lambda cache: seen.append((cache, beside(out))))
    assert seen == [(out, ["out"])]
    refused(given, tmp_path / "store" / "out", "exists already")


def test_a_catalogue_that_1_0_would_crash_on_is_refused(tmp_path):
    """1.0.61 takes its default model from the provider `opencode` without looking whether it is there."""
    inputs = bun_inputs(tmp_path)
    inputs.models.write_text('{"p": {"models": {"m": {}}}}', encoding="utf-8")
    with pytest.raises(BadInputError, match="has no provider `opencode`"):
        builder.build(inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
