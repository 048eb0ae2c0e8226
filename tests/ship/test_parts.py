"""Bundles of several systems, and steps that have only what has changed."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import stat
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_lab import (
    INSTALL,
    OTHER_TOOLS,
    SCRIPT,
    TOOLS,
    Parts,
    bundled,
    by_python,
    by_sh,
    everything,
    make_cache,
    make_program,
    member,
    only,
    packed_again,
    run_sh,
    says,
    sh_words,
    tree,
    unpacked_tar,
)

from opencode_cache.base.errors import BadInputError
from opencode_cache.npm import platforms
from opencode_cache.ship import items, pack, parts, since, unbundle

HERE = platforms.current().name
OTHER = next(name for name in platforms.SYSTEMS if name != HERE)
GENERATIONS = "lib/opencode-cache/generations"
EVERY = bool(os.environ.get("OPENCODE_CACHE_TEST_EVERY"))
"""Else `install.sh`, which starts many processes, is tried where it has a way of its own."""
WAYS = ["python", "sh"] if EVERY else ["python"]
NOISE = random.Random(1).randbytes(since.LARGE + 1000)  # noqa: S311 - the same bytes each time


def make_tree(directory: Path, version: str, system: str = HERE, **options) -> pack.Tree:
    """A tree with a large program, and a package that each version has another file of."""
    cache = make_cache(directory / f"cache-{version}-{system}", system)
    program = make_program(directory / f"opencode-{version}-{system}", version)
    with program.open("ab") as file:
        file.write(f"exit\n{system}".encode() + NOISE)
    new = cache / f"packages/foo/node_modules/foo/only-{version}.js"
    new.write_text(version)
    (cache / "packages/foo/node_modules/foo/index.js").write_text(f"module.exports = '{version}'\n")
    (cache / f"packages/foo/{system}").mkdir()
    (cache / f"packages/foo/{system}/native.node").write_text(system)
    return tree(cache, program, **options)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    directory = tmp_path_factory.mktemp("trees")
    return {
        (version, system): make_tree(directory, version, system)
        for version in "12"
        for system in (HERE, OTHER)
    }


@pytest.fixture(scope="module")
def files(trees, tmp_path_factory):
    """Bundles: `1` and `2` for this system, `step` between them, and the same for both systems."""
    if shutil.which("zstd") is None:
        pytest.skip("needs zstd on PATH, as steps do where they are made")
    at = tmp_path_factory.mktemp("bundles")
    for version in "12":
        pack.bundle([trees[version, HERE]], at / version)
        pack.bundle([trees[version, HERE], trees[version, OTHER]], at / f"both {version}")
    pack.bundle([trees["2", HERE]], at / "step", since=at / "1")
    pack.bundle([trees["2", HERE], trees["2", OTHER]], at / "both step", since=at / "both 1")
    return {path.name: path for path in at.iterdir()}


@pytest.fixture(params=["python", "sh"])
def install(request):
    return INSTALL[request.param]


def refused(name: str, file: Path, prefix: Path, why: str) -> None:
    """By one way, in one sentence, with nothing changed."""
    before = everything(prefix) if prefix.exists() else None
    if name == "python":
        with pytest.raises(BadInputError, match=why) as caught:
            unbundle.unbundle(file, prefix)
        assert "\n" not in str(caught.value)
    else:
        done = run_sh(file, prefix)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.search(why, done.stderr.splitlines()[-1]), done.stderr
    assert (everything(prefix) if prefix.exists() else None) == before


# Several systems


def test_each_system_gets_what_a_bundle_for_it_alone_has(install, files, tmp_path):
    assert install(files["1"], tmp_path / "alone")
    assert install(files["both 1"], tmp_path / "to")
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"
    alone = everything(tmp_path / "alone" / GENERATIONS)
    assert everything(tmp_path / "to" / GENERATIONS) == alone
    assert any(f"{HERE}/native.node" in name for name in alone)
    assert not any(OTHER in name for name in alone)


def test_both_are_told_which_one_it_takes(files, tmp_path):
    names = " ".join(sorted((HERE, OTHER)))
    assert run_sh(files["both 1"], tmp_path / "to").stderr == f"install.sh: takes {HERE}, of {names}\n"


def test_what_is_the_same_is_there_once(files, trees):
    tar = unpacked_tar(files["both 1"])
    assert tar.count(b"x" * 5000) == 1
    assert len(tar) < sum(len(unpacked_tar(files[name])) for name in ("1", "1")) - 5000
    listing = unbundle.reader.opened(files["both 1"])
    with listing as archive:
        assert parts.systems(archive.listing.entries) == tuple(sorted((HERE, OTHER)))


@pytest.mark.parametrize("name", ["python", "sh"])
def test_a_system_that_is_not_in_it(name, trees, files, tmp_path, monkeypatch):
    third = next(one for one in platforms.SYSTEMS if one not in (HERE, OTHER))
    if name == "python":
        with pytest.raises(BadInputError, match=f"this machine is {third}; get another one"):
            unbundle.unbundle(files["both 1"], tmp_path / "to", system=third)
    else:
        words = [*sh_words(), SCRIPT, "--system", third, files["both 1"], tmp_path / "to"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.endswith(f"and this is {third}; get another bundle\n")
    assert not (tmp_path / "to").exists()


def test_another_system_by_its_name(files, trees, tmp_path):
    words = [*sh_words(), SCRIPT, "--system", OTHER, files["both 1"], tmp_path / "by sh"]
    subprocess.run(words, capture_output=True, check=True)
    assert unbundle.unbundle(files["both 1"], tmp_path / "to", system=OTHER).info.system == OTHER
    assert everything(tmp_path / "to" / GENERATIONS) == everything(tmp_path / "by sh" / GENERATIONS)


def test_trees_that_cannot_be_together(trees, tmp_path):
    with pytest.raises(BadInputError, match="give one OpenCode, and each system once"):
        pack.bundle([trees["1", HERE], trees["1", HERE]], tmp_path / "out")


# Steps


def test_a_step_gives_what_the_whole_bundle_gives(install, files, tmp_path):
    to = tmp_path / "to"
    assert install(files["1"], to)
    first = everything(to)
    assert install(files["step"], to)
    assert says(to, tmp_path / "home") == "version 2 hello"
    assert install(files["2"], tmp_path / "whole")
    (made,) = (tmp_path / "whole" / GENERATIONS).iterdir()
    assert everything(to / GENERATIONS / made.name) == everything(made)
    assert not list((to / "lib/opencode-cache").glob(".new-*"))
    # Back, and forth again.
    assert unbundle.undo(to)
    assert says(to, tmp_path / "home") == "version 1 hello"
    assert {name: what for name, what in everything(to).items() if name in first}.keys() == first.keys()
    assert install(files["step"], to)
    assert says(to, tmp_path / "home") == "version 2 hello"


def test_a_step_is_small(files):
    assert files["step"].stat().st_size < files["2"].stat().st_size / 20
    assert files["both step"].stat().st_size < files["both 2"].stat().st_size / 20


@pytest.mark.parametrize("way", WAYS)
def test_a_step_of_several_systems(way, files, tmp_path):
    install = INSTALL[way]
    assert install(files["both 1"], tmp_path / "to")
    assert install(files["both step"], tmp_path / "to")
    assert install(files["1"], tmp_path / "other")
    assert install(files["step"], tmp_path / "other")
    assert everything(tmp_path / "to" / GENERATIONS) == everything(tmp_path / "other" / GENERATIONS)
    # The generation is the same whichever bundle it came from.
    assert install(files["1"], tmp_path / "third")
    assert install(files["both step"], tmp_path / "third")


@pytest.mark.parametrize("name", ["python", "sh"])
def test_a_step_over_nothing_or_over_another_generation(name, files, tmp_path):
    refused(name, files["step"], tmp_path / "to", "from the generation .*take the steps in their order")
    assert by_python(files["2"], tmp_path / "two")
    refused(name, files["step"], tmp_path / "two", "a step from the generation .*or a whole bundle")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("python", "cache/models.json"),
        ("python", "libexec/opencode"),
        ("sh", "libexec/opencode"),
        *([("sh", "cache/models.json")] if EVERY else []),
    ],
)
def test_a_step_over_a_damaged_generation(name, path, files, tmp_path):
    to = tmp_path / "to"
    assert by_python(files["1"], to)
    (generation,) = (to / GENERATIONS).iterdir()
    damaged = generation / path
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes() + b"x")
    damaged.chmod(0o555 if path.startswith("libexec") else 0o444)
    refused(name, files["step"], to, "whole bundle")
    # A whole one is the way out, and then the step.
    assert by_python(files["1"], to)
    assert INSTALL[name](files["step"], to)
    assert says(to, tmp_path / "home") == "version 2 hello"


def test_the_older_one_is_known_by_a_bundle_by_what_is_installed_or_by_its_lists(files, trees, tmp_path):
    assert by_python(files["1"], tmp_path / "to")
    current = tmp_path / "to/lib/opencode-cache/current"
    made = {
        "installed": pack.bundle([trees["2", HERE]], tmp_path / "a", since=current),
        "contents": pack.bundle([trees["2", HERE]], tmp_path / "b", since=current / "CONTENTS"),
        "of two": pack.bundle([trees["2", HERE]], tmp_path / "c", since=files["both 1"]),
    }
    assert {one.file.read_bytes() for one in made.values()} == {files["step"].read_bytes()}
    # With the lists alone, a large file that has changed is whole.
    lists = tmp_path / "lists"
    lists.mkdir()
    for name in ("SHA256SUMS", "CONTENTS"):
        shutil.copy(current / name, lists)
    by_list = pack.bundle([trees["2", HERE]], tmp_path / "d", since=lists / "CONTENTS").file
    assert by_list.stat().st_size > since.LARGE
    assert by_sh(by_list, tmp_path / "to")
    assert says(tmp_path / "to", tmp_path / "home") == "version 2 hello"


@pytest.mark.parametrize("way", WAYS)
def test_a_step_from_a_step(way, files, trees, tmp_path):
    third = make_tree(tmp_path, "3")
    last = pack.bundle([third], tmp_path / "last", since=files["step"]).file
    for file in (files["1"], files["step"], last):
        assert INSTALL[way](file, tmp_path / "to")
    assert says(tmp_path / "to", tmp_path / "home") == "version 3 hello"


@pytest.mark.parametrize(
    ("older", "why"),
    [
        ("missing", "cannot be read"),
        ("empty", "damaged|begin"),
        ("directory", "give --since a bundle"),
    ],
)
def test_an_older_one_that_is_none(older, why, trees, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    with pytest.raises(BadInputError, match=why) as caught:
        pack.bundle([trees["2", HERE]], tmp_path / "out", since=tmp_path / older)
    assert "\n" not in str(caught.value)


def test_an_older_one_for_another_system_alone(trees, tmp_path):
    older = pack.bundle([trees["1", OTHER]], tmp_path / "older").file
    with pytest.raises(BadInputError, match=f"is for {OTHER} only"):
        pack.bundle([trees["2", HERE]], tmp_path / "out", since=older)


def test_a_cache_with_files_of_the_lists_names_is_one_tree(install, tmp_path):
    cache = make_cache(tmp_path / "cache")
    for name in ("CONTENTS", "SHA256SUMS"):
        (cache / name).write_text("mine")
    file = bundled(cache, make_program(tmp_path / "opencode"), tmp_path / "out").file
    assert install(file, tmp_path / "to")
    assert (tmp_path / "to/lib/opencode-cache/current/cache/CONTENTS").read_text() == "mine"


# Both


def test_the_same_twice(trees, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = [trees["2", OTHER], trees["2", HERE]]
    assert pack.bundle(both, Path("out")).file.read_bytes() == files["both 2"].read_bytes()
    again = pack.bundle(both, Path("step"), since=files["both 1"]).file
    assert again.read_bytes() == files["both step"].read_bytes()


def test_one_signature_over_all(trees, files, keys, tmp_path):
    both = [trees["1", HERE], trees["1", OTHER]]
    signed = pack.bundle(both, tmp_path / "signed", sign_key=keys / "key").file
    step = pack.bundle([trees["2", HERE]], tmp_path / "step", since=signed, sign_key=keys / "key").file
    for file in (signed, step):
        unbundle.unbundle(file, tmp_path / "to", trusted=keys / "trusted")
    assert says(tmp_path / "to", tmp_path / "home") == "version 2 hello"
    with pytest.raises(BadInputError, match="not signed"):
        unbundle.unbundle(files["both 1"], tmp_path / "other", trusted=keys / "trusted")


@pytest.mark.parametrize(
    ("needs", "others"), [("coreutils", None), *OTHER_TOOLS] if EVERY else OTHER_TOOLS[:1]
)
def test_with_the_tools_of_other_systems(files, tmp_path, needs, others):
    words, path = sh_words(), only(tmp_path / "path", TOOLS)
    if others:
        if shutil.which(needs) is None:
            pytest.skip(f"needs {needs} on PATH")
        others(path)
    for file in (files["both 1"], files["both step"]):
        done = subprocess.run(
            [*words, SCRIPT, file, tmp_path / "to"],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"install\.sh: takes .*\n", done.stderr)
    assert says(tmp_path / "to", tmp_path / "home") == "version 2 hello"
    assert by_python(files["both 1"], tmp_path / "usual")
    assert by_python(files["both step"], tmp_path / "usual")
    assert everything(tmp_path / "to" / GENERATIONS) == everything(tmp_path / "usual" / GENERATIONS)


def test_a_zstd_that_is_too_old_for_a_step(files, tmp_path):
    words, path = sh_words(), only(tmp_path / "path", TOOLS)
    (path / "zstd").unlink()
    no = 'case "$*" in *patch-from*) echo "Incorrect parameters" >&2; exit 1 ;; esac'
    (path / "zstd").write_text(f'#!/bin/sh\n{no}\nexec {shutil.which("zstd")} "$@"\n')
    (path / "zstd").chmod(0o755)
    assert by_python(files["1"], tmp_path / "to")
    done = subprocess.run(
        [*words, SCRIPT, files["step"], tmp_path / "to"],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "(Incorrect parameters); a step needs zstd 1.4.5 or newer" in done.stderr
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"


# Of somebody who knows how


def evil(file: Path, at: Path, *members: tuple[str, bytes, str]) -> Path:
    """A bundle with more members, whose own lists say so; those of a system's tree do not."""
    made = Parts.of(file)
    lines, rest = made.contents.decode().splitlines(), made.rest.removesuffix(bytes(10240))
    sums = made.sums.decode().splitlines()
    for path, flag, target in members:
        kind = {b"2": "l\t777\t-", b"5": "d\t755\t-", b"0": "f\t444\t0"}[flag]
        lines.append(f"{kind}\t{path}" + (f"\t{target}" if target else ""))
        mode = {b"2": 0o777, b"5": 0o755, b"0": 0o444}[flag]
        rest += member(path, b"", flag, mode, target)
        if flag == b"0":
            sums.append("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  " + path)
    made = replace(
        made,
        contents="".join(f"{line}\n" for line in lines).encode(),
        sums="".join(f"{line}\n" for line in sums).encode(),
        rest=rest + bytes(10240),
    )
    return packed_again(made.agreeing().tar, at)


@pytest.mark.parametrize(
    "members",
    [
        [("zz", b"5", ""), ("zz/link", b"2", "../all")],
        [(f"{HERE}/zz", b"2", "..")],
        [(f"{HERE}/zz", b"2", "../..")],
        [(f"{HERE}/zz", b"5", ""), (f"{HERE}/zz/x", b"2", "../../../x")],
        [(f"{HERE}/zz", b"0", "")],
    ],
    ids=["outside the trees", "out", "further out", "below", "file"],
)
def test_members_that_the_lists_of_the_tree_do_not_have(files, tmp_path, members):
    file = evil(files["both 1"], tmp_path / "evil", *members)
    harmless = members[0][0] == "zz"
    for name, install in INSTALL.items():
        to = tmp_path / name / "to"
        to.parent.mkdir()
        # What is in nobody's tree goes nowhere.
        assert install(file, to) is harmless
        assert {path.name for path in to.parent.iterdir()} <= {"to"}
        if not harmless:
            assert not to.exists()


def test_a_generation_whose_name_leads_elsewhere(files, tmp_path):
    for name in INSTALL:
        file = altered_since(files["step"], tmp_path / f"evil {name}", "../" * 8 + "tmp/x")
        assert by_python(files["1"], tmp_path / name)
        refused(name, file, tmp_path / name, "damaged")


def altered_since(file: Path, at_path: Path, key: str) -> Path:
    """A step whose `bundle.json` names another generation, and whose lists agree with that."""
    made = Parts.of(file)
    old = re.search(rb'": "([0-9a-f]{32})"', made.rest)[1]
    rest = made.rest.replace(old, key.encode().ljust(32, b"0"), 1)
    at = made.at("bundle.json")
    size = int(rest[at + 124 : at + 135], 8)
    digest = hashlib.sha256(rest[at + 512 : at + 512 + size]).hexdigest()
    sums = re.sub(rb"[0-9a-f]{64}(?=  bundle\.json\n)", digest.encode(), made.sums)
    return packed_again(replace(made, rest=rest, sums=sums).agreeing().tar, at_path)


# Processors


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        (b"Bun v1.3.14 (0d9b296a) Linux x64 (baseline)\n", False),
        (b"Bun v1.3.14 (0d9b296a) Linux x64\n", True),
        (b"Bun v1.3.14 (0d9b296a) Linux arm64\n", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("before", [0, (1 << 20) - 20])
def test_which_processors_a_program_needs(tmp_path, text, needs, before):
    (tmp_path / "program").write_bytes(b"\0" * before + text + b"\0")
    assert items.needs_avx2(tmp_path / "program") is needs


def test_a_processor_that_is_too_old(tmp_path):
    sh_words()
    program = make_program(tmp_path / "opencode")
    with program.open("ab") as file:
        file.write(b"exit\n#Bun v1.3.14 (0d9b296a) Linux x64\n")
    file = bundled(make_cache(tmp_path / "cache"), program, tmp_path / "out").file
    (tmp_path / "cpuinfo").write_text("flags : fpu sse2\n")
    mounted = 'mount --bind "$1" /proc/cpuinfo || exit 9; exec sh "$2" "$3" "$4"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--mount", "sh", "-c", mounted, "sh", tmp_path / "cpuinfo", SCRIPT, file]
    done = subprocess.run([*words, tmp_path / "to"], capture_output=True, text=True, check=False)
    if done.returncode == 9:
        pytest.skip(f"needs a mount namespace of its own: {done.stderr.strip()}")
    assert done.returncode == 2
    assert "needs a processor with AVX2; get a bundle with OpenCode's baseline build" in done.stderr
    (tmp_path / "cpuinfo").write_text("flags : fpu sse2 avx2\n")
    done = subprocess.run([*words, tmp_path / "to"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stat.S_ISLNK((tmp_path / "to/bin/opencode").lstat().st_mode)


def elf(at: Path, loader: bytes, machine: int = 62) -> Path:
    """The head of a program for Linux."""
    head = b"\x7fELF\x02\x01".ljust(16, b"\0") + struct.pack("<HH", 2, machine)
    head = (
        head.ljust(32, b"\0") + struct.pack("<Q", 64).ljust(22, b"\0") + struct.pack("<HH", 56, bool(loader))
    )
    segment = struct.pack("<I", 3).ljust(8, b"\0") + struct.pack("<Q", 120)
    segment = segment.ljust(32, b"\0") + struct.pack("<Q", len(loader) + 1)
    at.write_bytes(head.ljust(64, b"\0") + segment.ljust(56, b"\0") + loader + b"\0")
    at.chmod(0o755)
    return at


@pytest.mark.parametrize(
    ("loader", "machine", "systems"),
    [
        (b"/lib64/ld-linux-x86-64.so.2", 62, {"x86_64-linux"}),
        (b"/lib/ld-musl-x86_64.so.1", 62, {"x86_64-linux-musl"}),
        (b"", 62, {"x86_64-linux", "x86_64-linux-musl"}),
        (b"", 183, {"aarch64-linux", "aarch64-linux-musl"}),
    ],
)
def test_which_systems_can_run_a_program(tmp_path, loader, machine, systems):
    program = elf(tmp_path / "program", loader, machine)
    assert items.interpreter(program) == loader.decode()
    assert {name for name in platforms.SYSTEMS if items.suits(program, name)} == systems


def test_a_program_with_the_loader_of_another_libc_is_refused(tmp_path):
    program = elf(tmp_path / "rg", b"/lib64/ld-linux-x86-64.so.2")
    with pytest.raises(BadInputError, match=r"with /lib64/ld-linux-x86-64\.so\.2, and this"):
        items.program(program, "a static one", "x86_64-linux-musl")
