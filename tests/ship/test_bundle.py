"""What is in an air-gap bundle, and that the same input gives the same bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
from bundle_lab import (
    FILES,
    LINKS,
    bundled,
    differences,
    make_bundle,
    make_cache,
    make_program,
    sh_words,
    unpacked_tar,
)
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache import pipeline
from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import main as cli
from opencode_cache.formats import manifest
from opencode_cache.npm import nodejs, platforms
from opencode_cache.ship import installation, items, pack, unbundle
from opencode_cache.ship.file_format import tar_header


def made(directory: Path, **options) -> pack.Bundle:
    cache = make_cache(directory / "cache")
    return bundled(cache, make_program(directory / "opencode"), directory / "out.tar.zst", **options)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_same_input_same_bytes(tmp_path, umask, monkeypatch):
    first = make_bundle(tmp_path / "a").read_bytes()
    umask(0o077)
    for name, value in {"TZ": "Pacific/Auckland", "LC_ALL": "C", "HOME": "/nowhere", "USER": "you"}.items():
        monkeypatch.setenv(name, value)
    other = tmp_path / "elsewhere" / "b"
    other.mkdir(parents=True)
    cache = make_cache(other / "cache")
    for path in sorted(cache.rglob("*"), reverse=True):
        os.utime(path, (10**9, 10**9), follow_symlinks=False)
    # As it lies in a store, where nobody can write.
    subprocess.run(["chmod", "-R", "a-w", cache], check=True)
    monkeypatch.chdir(other)
    program = make_program(other / "x" / "opencode")
    second = bundled(Path("cache"), program, Path("c.tar.zst"))
    subprocess.run(["chmod", "-R", "u+w", cache], check=True)
    assert second.file.read_bytes() == first
    assert second.sha256 == hashlib.sha256(first).hexdigest()
    assert stat.S_IMODE(second.file.stat().st_mode) == 0o600  # as every new file of that user


def test_date_of_the_day_or_of_source_date_epoch(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    days = {dt.datetime.now(dt.timezone.utc).date().isoformat()}
    today = made(tmp_path / "today", serial=7)
    days.add(dt.datetime.now(dt.timezone.utc).date().isoformat())
    assert today.infos[0].date in days
    assert today.infos[0].serial == 7
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    assert (first.infos[0].date, first.infos[0].serial) == ("2023-11-14", 0)
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("epoch", ["x", "1.5", "-99999999999999", "9" * 20, "9" * 5000, "\x1b[2J"])
def test_source_date_epoch_that_is_no_time(tmp_path, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(BadInputError, match=r"SOURCE_DATE_EPOCH is .*; give seconds since 1970") as caught:
        made(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("serial", [-1, 10**9])
def test_serial_that_is_none(tmp_path, serial):
    with pytest.raises(BadInputError, match="give a number from 0 to 999999999"):
        made(tmp_path, serial=serial)


KILLED = """
import os, signal, sys
from pathlib import Path
from opencode_cache.ship import pack
compressed = pack.compressed
def killed(pieces):
    yield next(compressed(pieces))
    print("at work", flush=True)
    if sys.argv[4] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
pack.compressed = killed
cache, program, out = map(Path, sys.argv[1:4])
pack.bundle([pack.tree(cache, program)], out)
"""


def test_what_a_killed_run_left_goes_with_the_next(tmp_path):
    out = made(tmp_path).file
    words = [sys.executable, "-c", KILLED, tmp_path / "cache", tmp_path / "opencode", out]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    before = sorted(tmp_path.iterdir())
    done = subprocess.run([*words, "killed"], env=environment, capture_output=True, check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == len(before) + 1
    # Somebody who is still at work keeps what is his.
    with subprocess.Popen(
        [*words, "waiting"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline()
        assert len(list(tmp_path.iterdir())) == len(before) + 1
        bundled(tmp_path / "cache", tmp_path / "opencode", out)
        assert len(list(tmp_path.iterdir())) == len(before) + 1
        other.kill()
    bundled(tmp_path / "cache", tmp_path / "opencode", out)
    assert sorted(tmp_path.iterdir()) == before


def test_number_of_threads_changes_nothing():
    # More than one of zstd's jobs, and little to find in it.
    pieces = [zlib.compress(str(n).encode() * 9) * 4000 for n in range(800)]
    assert sum(map(len, pieces)) > 20 << 20
    digests = {
        hashlib.sha256(b"".join(pack.compressed(iter(pieces), threads))).hexdigest() for threads in (1, 2, 5)
    }
    assert len(digests) == 1


def test_checked_by_hand_with_coreutils(tmp_path):
    sh_words()
    found = made(tmp_path)
    to = tmp_path / "to"
    to.mkdir()
    script = (
        'zstd -dc "$1" | tar -x -C "$2" && cd "$2" && sha256sum --strict -c SHA256SUMS >/dev/null &&'
        '[ "$(head -c -64 "$1" | sha256sum | cut -c-64)" = "$(tail -c 64 "$1")" ]'
    )
    done = subprocess.run(
        ["sh", "-c", script, "sh", found.file, to], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert differences(to, found.listing) == ""
    assert {name for name in FILES if not (to / "cache" / name).is_file()} == set()
    assert {name: os.readlink(to / "cache" / name) for name in LINKS} == LINKS  # noqa: PTH115 - its text as it is
    listed = {line[66:] for line in (to / "SHA256SUMS").read_text().splitlines()}
    files = {
        path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file() and not path.is_symlink()
    }
    assert files - listed == {"SHA256SUMS"}


def test_runs_where_it_was_unpacked_without_an_installer(tmp_path):
    sh_words()
    found = made(tmp_path)
    to = tmp_path / "a place" / "moved"
    to.mkdir(parents=True)
    subprocess.run(["sh", "-c", 'zstd -dc "$1" | tar -x -C "$2"', "sh", found.file, to], check=True)
    environment = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [to / "bin/opencode", "x"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "version 1 x\n"
    assert (tmp_path / "home/.cache-nix/opencode/packages/foo").resolve() == to / "cache/packages/foo"


def test_no_word_of_the_building_machine(tmp_path):
    found = made(tmp_path, ripgrep=make_program(tmp_path / "rg"))
    assert str(tmp_path).encode() not in unpacked_tar(found.file)
    unbundle.unbundle(found.file, tmp_path / "to")
    text = (tmp_path / "to/bin/opencode").read_text()
    assert str(tmp_path) not in text
    assert str(installation._ROOT) not in text


def test_tar_is_plain_for_tarfile(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(unpacked_tar(made(tmp_path).file))) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[:2] == ["SHA256SUMS", "CONTENTS"]
    assert names[2:] == sorted(names[2:], key=lambda name: name.split("/"))
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(1, 0, 0, "", "")}


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."})


@given(st.lists(names, min_size=1, max_size=12), st.lists(names, min_size=1, max_size=8))
def test_headers_say_what_they_are_given(path, target):
    path, target = "/".join(path), "/".join(target)
    raw = (
        tar_header(path, b"2", 0o777, 0, target)
        + tar_header(path, b"0", 0o555, 5)
        + b"hello".ljust(512, b"\0")
    )
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(10240)), encoding="utf-8") as archive:
        link, file = archive.getmembers()
        assert (link.name, link.linkname, link.mode) == (path, target, 0o777)
        assert (file.name, file.size, file.mode) == (path, 5, 0o555)
        assert archive.extractfile(file).read() == b"hello"


def test_links_out_of_the_cache(tmp_path):
    cache = make_cache(tmp_path / "cache")
    program = make_program(tmp_path / "opencode")
    outside = tmp_path / "outside"
    outside.write_text("content")
    (cache / "tui").mkdir()
    (cache / "tui" / "tui-1.18.33").symlink_to(program)
    (cache / "tui" / "other").symlink_to(outside)
    found = bundled(cache, program, tmp_path / "out.tar.zst")
    entries = {entry.path: entry for entry in found.listing.entries}
    assert entries["cache/tui/tui-1.18.33"].target == "../../libexec/opencode"
    assert entries["cache/tui/other"].sha256 == hashlib.sha256(b"content").hexdigest()


def bad_cache(cache: Path, what: str) -> None:
    if what == "directory":
        (cache / "odd").symlink_to(cache.parent)
    elif what == "dangling":
        (cache / "odd").symlink_to("/nowhere/at/all")
    elif what == "fifo":
        os.mkfifo(cache / "odd")
    elif what == "missing":
        shutil.rmtree(cache / "packages" / "foo")
    else:
        (cache / what).write_text("")


@pytest.mark.parametrize(
    "what",
    [
        *("directory", "dangling", "fifo", "missing"),
        *("odd\nname", "odd\tname", "odd\\name", "odd\x7f", "odd\x1c", "odd\udcff"),
    ],
)
def test_what_cannot_be_in_a_bundle(tmp_path, what):
    cache = make_cache(tmp_path / "cache")
    bad_cache(cache, what)
    with pytest.raises(BadInputError) as caught:
        bundled(cache, make_program(tmp_path / "opencode"), tmp_path / "out.tar.zst")
    assert "\n" not in str(caught.value)
    assert str(cache) in str(caught.value)
    assert not (tmp_path / "out.tar.zst").exists()


def elf(interpreter: bytes) -> bytes:
    """An ELF file's header and one program header, PT_INTERP."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(interpreter) + 1, 0, 1)
    return header + segment + interpreter + b"\0"


def test_interpreter_of_real_programs():
    assert "ld" in items.interpreter(Path(sys.executable).resolve()) or sys.platform != "linux"
    assert items.interpreter(Path(__file__)) == ""


@pytest.mark.parametrize(
    "content", [b"#! /nix/store/x-bash/bin/bash -e\n", elf(b"/nix/store/x-glibc/lib/ld.so")]
)
def test_program_that_needs_nix_is_refused(tmp_path, content):
    program = tmp_path / "opencode"
    program.write_bytes(content)
    program.chmod(0o755)
    with pytest.raises(BadInputError, match=r"/nix/store/x-\w+/.*which other machines have not"):
        bundled(make_cache(tmp_path / "cache"), program, tmp_path / "out.tar.zst")
    good = make_program(tmp_path / "good")
    with pytest.raises(BadInputError, match="static binary"):
        bundled(tmp_path / "cache", good, tmp_path / "out.tar.zst", ripgrep=program)


def test_ripgrep_is_found_by_opencode(tmp_path):
    sh_words()
    ripgrep = make_program(tmp_path / "any-name", "of ripgrep")
    found = made(tmp_path, ripgrep=ripgrep)
    (tmp_path / "opencode").write_text("#!/bin/sh\nexec rg\n")
    found = bundled(tmp_path / "cache", tmp_path / "opencode", found.file, ripgrep=ripgrep)
    unbundle.unbundle(found.file, tmp_path / "to")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "readlink").symlink_to(shutil.which("readlink"))
    environment = {"HOME": str(tmp_path), "PATH": str(tools)}
    done = subprocess.run(
        [tmp_path / "to/bin/opencode"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "version of ripgrep\n"


def test_node_is_brought_for_npm_tools(tmp_path):
    without, brought = made(tmp_path / "a"), made(tmp_path / "b", node=make_program(tmp_path / "node"))
    assert (without.infos[0].node, brought.infos[0].node) == (False, True)
    assert {"libexec/path", "libexec/path/node"} <= {entry.path for entry in brought.listing.entries}
    assert "libexec/path" not in {entry.path for entry in without.listing.entries}


def test_programs_are_brought_and_stand_in_the_lists(tmp_path):
    gopls = make_program(tmp_path / "any-name", "of gopls")
    found = made(tmp_path, programs={"gopls": gopls})
    digest = hashlib.sha256(gopls.read_bytes()).hexdigest()
    (entry,) = (entry for entry in found.listing.entries if entry.path == "libexec/path/gopls")
    assert entry.sha256 == digest
    unbundle.unbundle(found.file, tmp_path / "to")
    installed = (tmp_path / "to/bin/opencode").resolve().parents[1]
    (part,) = (
        part
        for part in json.loads((installed / "bill.cdx.json").read_text())["components"]
        if part["name"] == "gopls"
    )
    assert {"alg": "SHA-256", "content": digest} in part["hashes"]
    assert "gopls" in (installed / "bill.spdx.json").read_text()
    (tmp_path / "opencode").write_text("#!/bin/sh\nexec gopls\n")
    again = bundled(tmp_path / "cache", tmp_path / "opencode", found.file, programs={"gopls": gopls})
    unbundle.unbundle(again.file, tmp_path / "to")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "readlink").symlink_to(shutil.which("readlink"))
    environment = {"HOME": str(tmp_path), "PATH": str(tools)}
    done = subprocess.run(
        [tmp_path / "to/bin/opencode"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "version of gopls\n"


def _elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", machine) + bytes(44)


@pytest.mark.parametrize(
    ("system", "content", "found"),
    [
        ("x86_64-linux", _elf(183), "linux arm64"),
        ("x86_64-linux-musl", _elf(243), "linux another processor"),
        ("aarch64-linux", _elf(62), "linux x64"),
        ("x86_64-linux", b"\x7fELF\x01\x01\x01" + bytes(60), "linux another processor"),
        ("x86_64-linux", b"MZ" + bytes(60), "win32 any"),
        ("aarch64-linux", b"\xcf\xfa\xed\xfe\x0c\0\0\1", "darwin arm64"),
        ("aarch64-darwin", b"\xcf\xfa\xed\xfe\x07\0\0\1", "darwin x64"),
        ("x86_64-linux", _elf(62), ""),
        ("aarch64-darwin", b"\xcf\xfa\xed\xfe\x0c\0\0\1", ""),
        ("aarch64-darwin", b"\xca\xfe\xba\xbe\0\0\0\2", ""),
        ("aarch64-linux", b"#!/bin/sh\n", ""),
    ],
)
@pytest.mark.parametrize("role", ["programs", "ripgrep", "opencode"])
def test_a_program_for_another_machine_is_refused(tmp_path, system, content, found, role):
    cache, good, other = make_cache(tmp_path / "cache"), tmp_path / "good", make_program(tmp_path / "other")
    text = manifest.dumps(manifest.read(cache).model_copy(update={"system": system}))
    (cache / manifest.FILE).write_text(text)
    make_program(good)
    other.write_bytes(content)
    program, options = good, {role: other}
    if role == "programs":
        options = {role: {"gopls": other}}
    elif role == "opencode":
        program, options = other, {}
    if not found:
        assert bundled(cache, program, tmp_path / "out", **options)
        return
    with pytest.raises(BadInputError, match=f"is a program for {found}, and this is for {system}; give"):
        bundled(cache, program, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gopls"], "--program 'gopls': write it as NAME=FILE, for example 'gopls=./gopls'"),
        (["=x"], "write it as NAME=FILE"),
        (["gopls=@", "gopls=@"], "gopls is given twice; take one away"),
        (["a/b=@"], "'a/b' cannot be its name; write it as NAME=FILE"),
        (["..=@"], "'..' cannot be its name"),
        (["rg=@"], "'rg' cannot be its name; give --ripgrep"),
        (["gopls=nowhere"], "nowhere: not an executable file; give gopls as one program"),
    ],
)
def test_a_program_that_is_none_is_one_sentence(tmp_path, command, words, said):
    cache = make_cache(tmp_path / "cache")
    program = an_opencode(tmp_path / "opencode", cache)
    options = [f"--program={word.replace('@', str(program))}" for word in words]
    assert said in command("--cache", cache, "--opencode", program, "--output", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def command(monkeypatch, capsys):
    """`opencode-cache bundle`: what it said on stderr."""

    def run(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["opencode-cache", "bundle", "--no-prove", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == (0 if "-o" in arguments else 2)
        return " ".join(capsys.readouterr().err.split())

    return run


def an_opencode(at: Path, cache: Path) -> Path:
    """One that says the version that the cache is for."""
    make_program(at).write_text(f"#!/bin/sh\necho {manifest.read(cache).opencode}\n")
    return at


def test_the_command_refuses_a_program_that_the_cache_is_not_for(tmp_path, command, monkeypatch):
    cache, program = make_cache(tmp_path / "cache"), make_program(tmp_path / "opencode")
    words = ["--cache", cache, "--opencode", program, "--output", tmp_path / "out"]
    system = manifest.read(cache).system
    monkeypatch.setattr(platforms, "current", lambda: platforms.named(system))
    assert "not an OpenCode binary" in command(*words)
    program.write_text("#!/bin/sh\necho 1.0.61\n")
    assert "this is OpenCode 1.0.61, the lock is for " in command(*words)
    assert not (tmp_path / "out").exists()


def test_the_command_bundles_what_run_makes_of_a_plan(tmp_path, command, monkeypatch):
    cache = make_cache(tmp_path / "cache")
    program = an_opencode(tmp_path / "opencode", cache)
    (tmp_path / "plan.toml").write_text('plugins = ["p"]\n')
    plans = []

    def ready_for(plan, *_, is_default, allow_missing, **__):
        assert not allow_missing
        plans.append((plan.plugins, is_default))
        return pipeline.Built(program, cache, program)

    monkeypatch.setattr(pipeline, "ready_for", ready_for)
    command("--plan", tmp_path / "plan.toml", "-o", tmp_path / "one")
    command("-o", tmp_path / "two")
    command("--cache", cache, "--opencode", program, "-o", tmp_path / "three")
    assert plans == [(["p"], False), ([], True)]
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two", "three")}) == 1


@pytest.mark.parametrize("given", [["--cache", "c"], ["--opencode", "o"], ["--cache", "c", "--plan", "p"]])
def test_the_command_wants_one_of_both(command, given):
    assert "give --cache and --opencode, or --plan" in command("--output", "x", *given)


def test_the_command_says_that_tools_want_node(tmp_path, command, monkeypatch):
    monkeypatch.setattr(nodejs, "in_wheel", lambda: None)
    cache = make_cache(tmp_path / "cache")
    program = an_opencode(tmp_path / "opencode", cache)
    found = manifest.read(cache)
    tool = manifest.Entry(
        spec="pyright",
        kind="tool",
        name="pyright",
        requested="latest",
        version="1.1.1",
        tree="packages/pyright",
    )
    (cache / manifest.FILE).write_text(manifest.dumps(found.model_copy(update={"requests": (tool,)})))
    words = ["--cache", cache, "--opencode", program, "-o", tmp_path / "out"]
    assert "without Node.js: pyright will run on the Bun inside OpenCode, unless --node gives one" in command(
        *words
    )
    assert "Node.js" not in command(*words, "--node", program)


def test_file_that_changes_while_it_is_read(tmp_path):
    file = tmp_path / "file"
    file.write_text("one")
    item = items.Item(file=file, mode=0o444)
    entry = pack._entry("file", item)
    file.write_text("two")
    with pytest.raises(BadInputError, match="changed while it was read"):
        list(pack._body(entry, item))


@pytest.mark.parametrize("name", ["", "file/out"])
def test_place_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError) as caught:
        bundled(make_cache(tmp_path / "cache"), make_program(tmp_path / "opencode"), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "file", "opencode"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from opencode_cache.ship import pack
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    cache, program, out = map(Path, sys.argv[1:])
    pack.bundle([pack.tree(cache, program)], out)
except pack.BadInputError as error:
    sys.exit(str(error))
"""


def test_full_disk_leaves_the_old_bundle(tmp_path):
    out = made(tmp_path).file
    before = out.read_bytes()
    make_program(tmp_path / "opencode", "2")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "cache", tmp_path / "opencode", out],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert done.stderr.count("\n") == 1
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "opencode", "out.tar.zst"]
