"""Installing a bundle: every damaged byte is found, nothing is half done, and there is a way back."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard
from bundle_lab import (
    INSTALL,
    OTHER_TOOLS,
    SCRIPT,
    TOOLS,
    bundled,
    by_python,
    by_sh,
    differences,
    everything,
    make_bundle,
    make_cache,
    make_program,
    only,
    packed_again,
    run_sh,
    says,
    sh_words,
    unpacked_tar,
)
from hypothesis import given
from hypothesis import strategies as st
from kept import EVERY

from opencode_cache.base.errors import BadInputError, CheckFailedError, OpencodeCacheError
from opencode_cache.ship import file_format, pack, reader, signing, unbundle
from opencode_cache.ship.file_format import BLOCK, CONTENTS, DIGITS, SIGNATURE, SUMS, TRAILER

SH_FLIPS = 12
"""Each costs some processes."""
STRIDE = 1 if EVERY else 9
"""Each so manieth change of the file system is one at which an accident happens."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three bundles whose programs say 1, 2 and 3."""
    directory = tmp_path_factory.mktemp("bundles")
    return {version: make_bundle(directory, version) for version in "123"}


@pytest.fixture(params=["python", "sh"])
def install(request):
    return INSTALL[request.param]


def undo_python(prefix: Path) -> bool:
    try:
        unbundle.undo(prefix)
    except CheckFailedError:
        return False
    return True


def undo_sh(prefix: Path) -> bool:
    script = prefix / "lib/opencode-cache/current/install.sh"
    done = subprocess.run(
        [*sh_words(), script, "--undo", prefix], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


UNDO = {"python": undo_python, "sh": undo_sh}


def leftovers(prefix: Path) -> list[str]:
    return [path.name for path in (prefix / "lib" / "opencode-cache").glob(".new-*")]


# What is installed


def test_both_ways_install_the_same(files, tmp_path):
    assert by_python(files["1"], tmp_path / "python")
    assert by_sh(files["1"], tmp_path / "sh")
    python, sh = (everything(tmp_path / name) for name in ("python", "sh"))
    assert python == sh
    assert says(tmp_path / "sh", tmp_path / "home") == "version 1 hello"


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", " a", "a ", "-a", "a\u0301", "\U0001f600", "'a\"$b`"])
def test_names_that_are_odd_and_allowed(install, tmp_path, name):
    cache = make_cache(tmp_path / "cache")
    (cache / "packages/foo" / name).write_text("content")
    file = bundled(cache, make_program(tmp_path / "program"), tmp_path / "out.tar.zst").file
    assert install(file, tmp_path / "to")
    (made,) = (tmp_path / "to/lib/opencode-cache/generations").iterdir()
    assert (made / "cache/packages/foo" / name).read_text() == "content"


def test_prefix_can_be_moved(install, files, tmp_path):
    assert install(files["1"], tmp_path / "first")
    assert says(tmp_path / "first", tmp_path / "home") == "version 1 hello"
    (tmp_path / "other place").mkdir()
    moved = (tmp_path / "first").rename(tmp_path / "other place" / "second")
    assert says(moved, tmp_path / "home") == "version 1 hello"
    link = tmp_path / "home/.cache-nix/opencode/packages/foo"
    assert link.resolve().is_relative_to(moved)


def test_nobody_can_write_to_it(install, files, tmp_path):
    assert install(files["1"], tmp_path / "to")
    generation = (tmp_path / "to/lib/opencode-cache/current").resolve()
    for path in (generation, *generation.rglob("*")):
        if not path.is_symlink():
            assert not stat.S_IMODE(path.stat().st_mode) & 0o222, path


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_umask_changes_nothing_in_a_generation(install, files, tmp_path, umask):
    before = os.umask(umask)
    try:
        assert install(files["1"], tmp_path / "to")
    finally:
        os.umask(before)
    listing = reader.Archive(files["1"], files["1"].open("rb")).listing
    assert differences(tmp_path / "to/lib/opencode-cache/current", listing) == ""


@pytest.mark.parametrize("name", ["python", "sh"])
def test_without_root(name, files, tmp_path):
    """A directory that nobody may write to can be moved by root only; that is easily missed as root."""
    if os.geteuid() != 0:
        pytest.skip("is what all the other tests do already: needs root to become somebody else")
    sh_words()
    for path in (tmp_path, *list(tmp_path.parents)[:-2], files["1"].parent):
        path.chmod(path.stat().st_mode | 0o055)
    prefix = tmp_path / "mine"
    prefix.mkdir()
    os.chown(prefix, 65534, 65534)

    def as_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        assert INSTALL[name](files["1"], prefix / "to")
        assert INSTALL[name](files["2"], prefix / "to")
        assert UNDO[name](prefix / "to")
        unbundle.unbundle(files["3"], prefix / "to", keep=1)

    assert forked(as_nobody) == 0
    assert says(prefix / "to", tmp_path / "home") == "version 3 hello"
    assert len(list((prefix / "to/lib/opencode-cache/generations").iterdir())) == 1


# Generations


@pytest.mark.parametrize("name", ["python", "sh"])
def test_undo(name, files, tmp_path):
    prefix, home = tmp_path / "to", tmp_path / "home"
    for version in "12":
        assert INSTALL[name](files[version], prefix)
        assert says(prefix, home) == f"version {version} hello"
    assert UNDO[name](prefix)
    assert says(prefix, home) == "version 1 hello"
    assert not UNDO[name](prefix)
    assert INSTALL[name](files["3"], prefix)
    assert UNDO[name](prefix)
    assert says(prefix, home) == "version 1 hello"  # the one before, not the one that was undone
    assert leftovers(prefix) == []


@pytest.mark.parametrize("name", ["python", "sh"])
def test_what_was_undone_is_forgotten(name, files, tmp_path):
    history = tmp_path / "lib/opencode-cache/history"
    for version in "123":
        assert INSTALL[name](files[version], tmp_path)
    assert UNDO[name](tmp_path)
    assert UNDO[name](tmp_path)
    assert sorted(path.name for path in history.iterdir()) == ["1", "2", "3"]
    assert INSTALL[name](files["3"], tmp_path)
    assert sorted(path.name for path in history.iterdir()) == ["1", "2"]


def test_both_ways_know_each_other(files, tmp_path):
    prefix, home = tmp_path / "to", tmp_path / "home"
    assert by_python(files["1"], prefix)
    assert by_sh(files["2"], prefix)
    assert by_python(files["3"], prefix)
    assert undo_sh(prefix)
    assert says(prefix, home) == "version 2 hello"
    assert undo_python(prefix)
    assert says(prefix, home) == "version 1 hello"
    assert by_sh(files["2"], prefix)
    assert len(list((prefix / "lib/opencode-cache/generations").iterdir())) == 3


def test_the_same_again_changes_nothing(install, files, tmp_path):
    assert install(files["1"], tmp_path)
    before = everything(tmp_path)
    assert install(files["1"], tmp_path)
    assert everything(tmp_path) == before
    (done,) = [unbundle.unbundle(files["1"], tmp_path)]
    assert not done.changed


DAMAGE = {
    "content": lambda path: path.chmod(0o644) or path.write_text("other") or path.chmod(0o444),
    "missing": lambda path: path.unlink(),
    "besides": lambda path: path.with_name("besides").write_text(""),
    "link": lambda path: path.unlink() or path.symlink_to("cli with space.js"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_generation_is_replaced(install, files, tmp_path, how):
    assert install(files["1"], tmp_path)
    base = tmp_path / "lib/opencode-cache"
    module = base / "current/cache/packages/foo/node_modules/foo"
    module.resolve().chmod(0o755)
    DAMAGE[how](module.resolve() / "index.js")
    module.resolve().chmod(0o555)
    assert install(files["1"], tmp_path)
    listing = reader.Archive(files["1"], files["1"].open("rb")).listing
    assert differences(base / "current", listing) == ""
    assert len(list((base / "generations").iterdir())) == 2
    assert install(files["1"], tmp_path)
    assert len(list((base / "generations").iterdir())) == 2


def test_keep(files, tmp_path):
    base = tmp_path / "lib/opencode-cache"
    for version, keep, left in (("1", None, 1), ("2", None, 2), ("3", 2, 2), ("1", 1, 1)):
        unbundle.unbundle(files[version], tmp_path, keep=keep)
        assert len(list((base / "generations").iterdir())) == left
        assert says(tmp_path, tmp_path / "home") == f"version {version} hello"
    with pytest.raises(CheckFailedError, match="nothing was installed before"):
        unbundle.undo(tmp_path)
    with pytest.raises(BadInputError, match="--keep 0"):
        unbundle.unbundle(files["1"], tmp_path, keep=0)


def test_four_at_once(files, tmp_path):
    children = []
    for version in "1231":
        pid = os.fork()
        if not pid:
            os._exit(not by_python(files[version], tmp_path))
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert says(tmp_path, tmp_path / "home").startswith("version ")
    assert leftovers(tmp_path) == []


# Somebody else's things


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "current"])
def test_what_is_not_ours_stays(install, files, tmp_path, kind):
    place = tmp_path / ("lib/opencode-cache/current" if kind == "current" else "bin/opencode")
    place.parent.mkdir(parents=True)
    if kind in ("file", "current"):
        place.write_text("mine")
    else:
        place.symlink_to("/bin/sh" if kind == "link" else "/nowhere")
    before = everything(tmp_path)
    assert not install(files["1"], tmp_path)
    assert everything(tmp_path) == before


def test_prefix_that_cannot_be(install, files, tmp_path):
    (tmp_path / "file").write_text("")
    assert not install(files["1"], tmp_path / "file" / "prefix")
    assert not install(tmp_path / "missing.tar.zst", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_undo_where_nothing_is(tmp_path):
    with pytest.raises(BadInputError, match="nothing is installed there"):
        unbundle.undo(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bundle_for_another_system(install, files, tmp_path):
    other = "aarch64-darwin"
    cache = make_cache(tmp_path / "cache")
    text = (cache / "manifest.json").read_text()
    system = pack.manifests.read(cache).system
    (cache / "manifest.json").write_text(text.replace(system, other))
    file = bundled(cache, make_program(tmp_path / "opencode"), tmp_path / "out.tar.zst").file
    assert not install(file, tmp_path / "to")
    assert not os.path.lexists(tmp_path / "to/bin/opencode")
    assert not (tmp_path / "to/lib").exists()
    with pytest.raises(BadInputError, match="for aarch64-darwin"):
        unbundle.unbundle(file, tmp_path / "to")
    assert unbundle.unbundle(file, tmp_path / "to", system=other).info.system == other


# Damage


def nothing_there(prefix: Path) -> bool:
    return not prefix.exists() or not any(path for path in prefix.rglob("*") if not path.is_dir())


def flipped(data: bytes, at: int, by: int) -> bytes:
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


def positions(length: int, count: int) -> list[int]:
    """Both ends closely, and the rest evenly."""
    ends = {*range(min(20, length)), *range(max(0, length - 80), length)}
    return sorted(ends | set(range(0, length, max(1, length // count))))


def test_every_flipped_byte_is_found(files, tmp_path):
    data = files["1"].read_bytes()
    bad = tmp_path / "bad"
    for at in positions(len(data), 400):
        bad.write_bytes(flipped(data, at, 1 << at % 8))
        assert not by_python(bad, tmp_path / "to"), at
        assert not (tmp_path / "to").exists()


@given(at=st.integers(0, 1 << 30), by=st.integers(1, 255))
def test_any_flipped_byte_is_found(files, tmp_path, at, by):
    data = files["1"].read_bytes()
    (tmp_path / "bad").write_bytes(flipped(data, at % len(data), by))
    assert not by_python(tmp_path / "bad", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_flipped_bytes_are_found_by_sh(files, tmp_path):
    data = files["1"].read_bytes()
    bad = tmp_path / "bad"
    # The frame's header, the window in it, the ends of both frames, the last digit; and the rest evenly.
    ends = [0, 4, 5, len(data) - DIGITS - 9, len(data) - DIGITS - 4, len(data) - DIGITS, len(data) - 1]
    for at in [*ends, *range(0, len(data), len(data) // SH_FLIPS)]:
        bad.write_bytes(flipped(data, at, 1 << at % 8))
        assert not by_sh(bad, tmp_path / "to"), at
        assert nothing_there(tmp_path / "to"), at


@pytest.mark.parametrize("cut", [0, 1, 71, 72, 73, 500])
def test_cut_off_and_prolonged(install, files, tmp_path, cut):
    data = files["1"].read_bytes()
    bad = tmp_path / "bad"
    bad.write_bytes(data[: len(data) - cut] if cut else data + b"\0")
    assert not install(bad, tmp_path / "to")
    assert nothing_there(tmp_path / "to")
    bad.write_bytes(data[:cut])
    assert not install(bad, tmp_path / "to")


def test_flips_by_somebody_who_compresses_again(files, tmp_path):
    """The digits at the end are right: the lists have to find it. Headers and paddings as well as content."""
    tar = unpacked_tar(files["1"])
    for at in positions(len(tar), 120 if EVERY else 60):
        bad = packed_again(flipped(tar, at, 1 << at % 8), tmp_path / "bad")
        assert not by_python(bad, tmp_path / "to"), at
        assert not (tmp_path / "to").exists(), at


def offset_of(tar: bytes, name: str) -> int:
    """Where the content of a member begins."""
    at = tar.index(name.encode().ljust(100, b"\0"))
    assert at % BLOCK == 0
    return at + BLOCK


@pytest.mark.parametrize("name", [SUMS, CONTENTS, "bin/opencode", "cache/models.json", "libexec/opencode"])
def test_content_changed_by_somebody_who_compresses_again_is_found_by_sh(files, tmp_path, name):
    tar = unpacked_tar(files["1"])
    bad = packed_again(flipped(tar, offset_of(tar, name) + 1, 1), tmp_path / "bad")
    assert not by_sh(bad, tmp_path / "to")
    assert nothing_there(tmp_path / "to")


def header_changes(tar: bytes) -> dict[str, bytes]:
    """Tars with valid headers that say something else than the list."""
    at = offset_of(tar, "cache/models.json") - BLOCK

    def other(**fields) -> bytes:
        given = {"path": "cache/models.json", "flag": b"0", "mode": 0o444, "size": 3} | fields
        return tar[:at] + file_format.tar_header(**given) + tar[at + BLOCK :]

    extra = file_format.tar_header("cache/extra", b"0", 0o444, 0)
    return {
        "mode": other(mode=0o555),
        "setuid": other(mode=0o4555),
        "name": other(path="cache/models.jsox"),
        "absolute": other(path="/cache/models.json"),
        "outside": other(path="../models.json"),
        "device": other(flag=b"3"),
        "fifo": other(flag=b"6"),
        "hard link": other(flag=b"1", target="bin/opencode"),
        "symbolic link": other(flag=b"2", target="/etc/passwd"),
        "longer": other(size=4),
        "huge": other(size=8**11 - 1),
        "besides": tar[:at] + extra + tar[at:],
        "besides at the end": tar[:-10240] + extra + tar[-10240:],
        "after the end": tar + b"x",
        "twice": tar[: at + 2 * BLOCK] + tar[at : at + 2 * BLOCK] + tar[at + 2 * BLOCK :],
        "missing": tar[:at] + tar[at + 2 * BLOCK :],
        "no end": tar[:-10240],
        "empty": b"",
    }


def test_tar_that_is_not_the_list(files, tmp_path):
    for what, tar in header_changes(unpacked_tar(files["1"])).items():
        assert not by_python(packed_again(tar, tmp_path / "bad"), tmp_path / "to"), what
        assert not (tmp_path / "to").exists(), what
    assert not (tmp_path / "models.json").exists()


@pytest.mark.parametrize("what", ["mode", "besides", "besides at the end", "symbolic link", "missing"])
def test_tar_that_is_not_the_list_by_sh(files, tmp_path, what):
    assert not by_sh(
        packed_again(header_changes(unpacked_tar(files["1"]))[what], tmp_path / "bad"), tmp_path / "to"
    )
    assert nothing_there(tmp_path / "to")


def entry(line: str) -> str:
    return line.replace(" ", "\t") + "\n"


GOOD = entry("d 755 - a") + entry("l 777 - a/link ../b") + entry("d 755 - b")
BAD_LISTS = {
    "order": entry("d 755 - b") + entry("d 755 - a"),
    "twice": entry("d 755 - a") * 2,
    "no directory": entry("l 777 - a/link ../b"),
    "below a link": entry("d 755 - a") + entry("l 777 - b a") + entry("d 755 - b/c"),
    "outside": entry("d 755 - .."),
    "inside and outside": entry("d 755 - a") + entry("d 755 - a/../b"),
    "absolute": entry("d 755 - /a"),
    "dot": entry("d 755 - ./a"),
    "backslash": entry("d 755 - a\\b"),
    "carriage return": entry("d 755 - a\r"),
    "writable": entry("d 775 - a"),
    "set-id": entry("d 4555 - a"),
    "kind": entry("c 444 - a"),
    "absolute link": entry("l 777 - a /etc/passwd"),
    "link outside": entry("d 755 - a") + entry("l 777 - a/b ../../c"),
    "no target": entry("l 777 - a"),
    "target of a directory": entry("d 755 - a b"),
    "file without checksum": entry("f 444 3 a"),
    "size of a directory": entry("d 755 3 a"),
    "size": entry("f 444 x a"),
    "negative size": entry("f 444 -3 a"),
    "number that is written otherwise": entry("d 0755 - a"),
    "too many fields": entry("l 777 - a b c"),
    "too few fields": entry("d 755"),
    "no end of line": "d\t555\t-\ta",
    "the list itself": entry("d 755 - CONTENTS"),
}


REST = file_format.Rest(10240, "0" * 64).line


def sums_for(text: str) -> bytes:
    return f"{file_format.hashlib.sha256(text.encode()).hexdigest()}  {CONTENTS}\n".encode()


def test_list_that_is_good():
    assert [
        found.path for found in file_format.parse(sums_for(REST + GOOD), (REST + GOOD).encode()).entries
    ] == [
        "a",
        "a/link",
        "b",
    ]


@pytest.mark.parametrize("what", BAD_LISTS)
def test_lists_that_are_refused(what):
    text = REST + BAD_LISTS[what]
    with pytest.raises(ValueError, match=r".") as caught:
        file_format.parse(sums_for(text), text.encode())
    assert "\n" not in str(caught.value)


def test_sums_that_are_refused():
    good = sums_for(REST + GOOD)
    for sums in (b"", sums_for(""), good + sums_for("x")[:64] + b"  other\n", good * 2):
        with pytest.raises(ValueError, match=r"SHA256SUMS|CONTENTS"):
            file_format.parse(sums, (REST + GOOD).encode())


def sealed(frame: bytes, at: Path) -> Path:
    at.write_bytes(frame + TRAILER + file_format.hashlib.sha256(frame + TRAILER).hexdigest().encode())
    return at


def test_end_that_zstd_would_not_pass_over(files, tmp_path):
    frame = files["1"].read_bytes()[: -DIGITS - len(TRAILER)] + TRAILER.replace(b"\x2a", b"\x2b")
    (tmp_path / "bad").write_bytes(frame + file_format.hashlib.sha256(frame).hexdigest().encode())
    assert not by_python(tmp_path / "bad", tmp_path / "to")
    assert not by_sh(tmp_path / "bad", tmp_path / "to")


def test_bombs(tmp_path):
    """A window of 2 GiB, a list of 8 GiB, content without end: refused before memory or disk is taken."""
    window = struct.pack("<IBB", 0xFD2FB528, 0, (31 - 10) << 3) + b"\1\0\0"
    list_ = file_format.document_header(SUMS, 8**11 - 1)
    endless = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))
    began = time.process_time()
    for frame in (window, zstandard.compress(list_ + bytes(512)), endless):
        assert not by_python(sealed(frame, tmp_path / "bad"), tmp_path / "to")
        assert not (tmp_path / "to").exists()
    assert time.process_time() - began < 30


def test_more_than_there_is_room_for(files, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(BadInputError, match=r"bytes are needed and 1000 are free"):
        unbundle.unbundle(files["1"], tmp_path / "to")
    assert not (tmp_path / "to").exists()


# Accidents: at each change of the file system, the program is killed, interrupted, or the disk is full.

_CHANGES = {"os.rename", "os.mkdir", "os.symlink", "os.chmod", "os.remove", "os.rmdir", "os.utime"}


def at_each_change(act) -> None:
    """Have `act(number, path)` called before each, by an audit hook. For a forked child: it stays."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in _CHANGES or (event == "open" and arguments[2] and arguments[2] & os.O_WRONLY):
            seen += 1
            act(seen, str(arguments[0]))

    sys.addaudithook(hook)


def changes_to_try(file: Path, template: Path, tmp_path: Path) -> list[int]:
    """All outside the tree that is being unpacked or removed, and some in there."""
    prefix, log = tmp_path / "to", tmp_path / "changes"
    copied(template, prefix)

    def record() -> None:
        names = []
        at_each_change(lambda _, path: names.append(path))
        unbundle.unbundle(file, prefix, keep=1)
        os.write(os.open(log, os.O_RDWR | os.O_CREAT), "\0".join(names).encode())

    assert forked(record) == 0
    discard(prefix)
    names = log.read_text().split("\0")
    inside = [not name.startswith("/") or re.search(r"/\.new-\d+/[^/]+/", name) for name in names]
    return [n for n, within in enumerate(inside, 1) if not within or n % ((STRIDE + 1) // 2) == 0]


def copied(template: Path, prefix: Path) -> None:
    subprocess.run(["cp", "-R", "-P", "-p", template, prefix], check=True)


def discard(prefix: Path) -> None:
    subprocess.run(["chmod", "-R", "u+w", prefix], check=True)
    subprocess.run(["rm", "-rf", prefix], check=True)


def forked(act) -> int:
    """Run it in a child; the exit status, or minus the signal."""
    pid = os.fork()
    if not pid:
        status = 99
        try:
            act()
            status = 0
        except KeyboardInterrupt:
            status = 130
        except OpencodeCacheError as error:
            status = error.exit_status
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted() -> None:
    raise KeyboardInterrupt


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("accident", "status"), [(killed, -9), (interrupted, 130), (full, 2)])
def test_accident_at_every_change(files, tmp_path, accident, status):
    template = tmp_path / "template"
    assert by_python(files["1"], template)
    tried = changes_to_try(files["2"], template, tmp_path)
    if accident is not killed and not EVERY:
        tried = tried[::2]  # one at each is killed, which leaves the most
    assert len(tried) > (20 if accident is killed else 10)
    statuses = []
    for number in tried:
        prefix = tmp_path / "to"
        copied(template, prefix)

        def act(prefix=prefix, number=number):
            at_each_change(lambda now, _: accident() if now == number else None)
            unbundle.unbundle(files["2"], prefix, keep=1)

        statuses.append(forked(act))
        said = says(prefix, tmp_path / "home")
        assert said in ("version 1 hello", "version 2 hello"), number
        if status != -9:
            assert leftovers(prefix) == [], number
        assert by_python(files["2"], prefix)
        assert says(prefix, tmp_path / "home") == "version 2 hello"
        assert leftovers(prefix) == []
        discard(prefix)
    assert set(statuses) == {status}


def test_interrupt_while_the_installer_works(files, tmp_path, monkeypatch):
    assert by_python(files["1"], tmp_path / "to")
    before = everything(tmp_path / "to")

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unbundle.unbundle(files["2"], tmp_path / "to")
    monkeypatch.undo()
    assert leftovers(tmp_path / "to") == []
    assert not os.path.lexists(tmp_path / "to/lib/opencode-cache/.busy")
    assert everything(tmp_path / "to") == before or says(tmp_path / "to", tmp_path) == "version 2 hello"
    assert by_python(files["2"], tmp_path / "to")


DYING = """#!/bin/sh
n=0; [ ! -e "$COUNT" ] || read -r n <"$COUNT"
echo $((n + 1)) >"$COUNT"
[ $((n + 1)) -lt "$KILL_AT" ] || { kill -9 "$PPID" 2>/dev/null; exit 1; }
exec REAL "$@"
"""


def test_sh_is_killed_at_every_tool(files, tmp_path):
    sh_words()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("mkdir", "mv", "ln", "rm", "rmdir", "chmod", "sync", "cut"):
        (tools / name).write_text(DYING.replace("REAL", shutil.which(name)))
        (tools / name).chmod(0o755)
    template = tmp_path / "template"
    assert by_sh(files["1"], template)
    for number in range(1, 60, STRIDE):
        prefix = tmp_path / "to"
        copied(template, prefix)
        (tmp_path / "count").unlink(missing_ok=True)
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", "COUNT": str(tmp_path / "count")}
        done = run_sh(files["2"], prefix, env=os.environ | environment | {"KILL_AT": str(number)})
        said = says(prefix, tmp_path / "home")
        assert said in ("version 1 hello", "version 2 hello"), number
        assert by_sh(files["2"], prefix)
        assert says(prefix, tmp_path / "home") == "version 2 hello"
        assert leftovers(prefix) == []
        discard(prefix)
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert number > 10


# Dates and serials


def dated(directory: Path, version: str, epoch: int, serial: int, monkeypatch) -> Path:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(epoch))
    return make_bundle(directory, version, serial=serial)


@pytest.mark.parametrize("name", INSTALL)
@pytest.mark.parametrize("newer", [(86400 * 20000, 0), (86400 * 19000, 10)])
def test_older_bundle_is_not_installed_over_a_newer_one(name, tmp_path, monkeypatch, newer):
    old = dated(tmp_path / "old", "1", 86400 * 19000, 9, monkeypatch)
    new = dated(tmp_path / "new", "2", *newer, monkeypatch)
    prefix, home = tmp_path / "to", tmp_path / "home"
    assert INSTALL[name](old, prefix)
    assert INSTALL[name](new, prefix)
    assert not INSTALL[name](old, prefix)
    assert says(prefix, home) == "version 2 hello"
    assert UNDO[name](prefix)
    assert says(prefix, home) == "version 1 hello"
    assert INSTALL[name](old, prefix)
    assert INSTALL[name](new, prefix)
    with pytest.raises(
        BadInputError, match=r"of 20220108, serial 9, and older than what is installed.*--allow-older"
    ):
        unbundle.unbundle(old, prefix)
    if name == "python":
        unbundle.unbundle(old, prefix, allow_older=True)
    else:
        subprocess.run([*sh_words(), SCRIPT, "--allow-older", old, prefix], check=True, capture_output=True)
    assert says(prefix, home) == "version 1 hello"


# Removal


def test_removed(files, tmp_path):
    prefix = tmp_path / "to"
    assert by_python(files["1"], prefix)
    assert by_sh(files["2"], prefix)
    (prefix / "bin/mine").write_text("mine")
    (prefix / "lib/opencode-cache/mine").write_text("mine")
    script = prefix / "lib/opencode-cache/current/install.sh"
    subprocess.run([*sh_words(), script, "--remove", prefix], check=True, capture_output=True)
    assert {path for path in everything(prefix) if "mine" in path} == {"bin/mine", "lib/opencode-cache/mine"}
    assert len(everything(prefix)) == 5
    done = subprocess.run(
        [*sh_words(), SCRIPT, "--remove", prefix], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "nothing is installed there" in done.stderr


# Signatures


@pytest.fixture(scope="module")
def signed(keys, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("signed"), sign_key=keys / "key")


def test_signed_bundle(signed, keys, tmp_path):
    done = unbundle.unbundle(signed, tmp_path / "to", trusted=keys / "trusted")
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"
    by_hand = (
        "ssh-keygen -Y verify -f {} -I me@example -n opencode-cache-bundle -s SHA256SUMS.sig <SHA256SUMS"
    )
    command = by_hand.format(keys / "trusted")
    subprocess.run(["sh", "-c", command], cwd=done.generation, check=True, capture_output=True)
    assert by_sh(signed, tmp_path / "sh")


def test_signed_bundle_is_reproducible(signed, keys, tmp_path):
    assert make_bundle(tmp_path, sign_key=keys / "key").read_bytes() == signed.read_bytes()


def test_signature_is_not_part_of_the_name(signed, files, tmp_path):
    with signed.open("rb") as one, files["1"].open("rb") as other:
        assert reader.Archive(signed, one).listing.key == reader.Archive(files["1"], other).listing.key


def refused(file: Path, prefix: Path, trusted: Path, match: str) -> None:
    with pytest.raises(BadInputError, match=match) as caught:
        unbundle.unbundle(file, prefix, trusted=trusted)
    assert "\n" not in str(caught.value)
    assert not prefix.exists()


def test_bundle_that_nobody_trusted_signed(signed, files, keys, tmp_path):
    to = tmp_path / "to"
    refused(files["1"], to, keys / "trusted", "not signed")
    refused(make_bundle(tmp_path, sign_key=keys / "other"), to, keys / "trusted", "signed with no key in")
    refused(signed, to, tmp_path / "missing", "is not a file")
    (tmp_path / "empty").write_text("")
    refused(signed, to, tmp_path / "empty", "signed with no key in")
    (tmp_path / "git").write_text(
        (keys / "trusted").read_text().replace("me@example ", 'me@example namespaces="git" ')
    )
    refused(signed, to, tmp_path / "git", "signed with no key in")


def test_signature_of_something_else(signed, keys, tmp_path):
    """Another bundle's good signature, and one that was changed, byte for byte."""
    other = make_bundle(tmp_path, "2", sign_key=keys / "key")
    tar, theirs = unpacked_tar(signed), unpacked_tar(other)
    at, there = offset_of(tar, SIGNATURE), offset_of(theirs, SIGNATURE)
    swapped = tar[:at] + theirs[there : there + BLOCK] + tar[at + BLOCK :]
    refused(
        packed_again(swapped, tmp_path / "bad"), tmp_path / "to", keys / "trusted", "signed with no key in"
    )
    length = file_format.size_in(tar[at - BLOCK : at])
    # Not the last letters: some of their bits only fill up.
    body = range(
        at + len("-----BEGIN SSH SIGNATURE-----\n"),
        at + length - len("ABCDEF==\n-----END SSH SIGNATURE-----\n"),
    )
    for place in list(body)[::25]:
        if tar[place : place + 1] in b"=\n":
            continue  # says the same without them
        bad = packed_again(flipped(tar, place, 1), tmp_path / "bad")
        refused(bad, tmp_path / "to", keys / "trusted", "signed with no key in")


def test_bundle_signed_with_minisign(minisigns, keys, tmp_path):
    file = make_bundle(tmp_path / "one", sign_key=minisigns / "key")
    assert make_bundle(tmp_path / "two", sign_key=minisigns / "key").read_bytes() == file.read_bytes()
    done = unbundle.unbundle(file, tmp_path / "to", trusted=minisigns / "key.pub")
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"
    by_hand = [
        "minisign",
        "-V",
        "-Q",
        "-p",
        minisigns / "key.pub",
        "-x",
        "SHA256SUMS.sig",
        "-m",
        "SHA256SUMS",
    ]
    said = subprocess.run(by_hand, cwd=done.generation, check=True, capture_output=True, text=True).stdout
    assert said.strip() == "opencode-cache-bundle"
    assert by_sh(file, tmp_path / "sh")
    refused(file, tmp_path / "no", minisigns / "other.pub", "signed with no key in")
    refused(file, tmp_path / "no", keys / "trusted", "one of minisign's")
    refused(
        make_bundle(tmp_path / "ssh", sign_key=keys / "key"),
        tmp_path / "no",
        minisigns / "key.pub",
        "OpenSSH's",
    )


def test_what_minisign_signed_for_something_else(minisigns, tmp_path):
    file = make_bundle(tmp_path / "one", sign_key=minisigns / "key")
    tar = unpacked_tar(file)
    bad = packed_again(
        tar.replace(b"opencode-cache-bundle\n", b"opencode-cache-bumble\n", 1), tmp_path / "bad"
    )
    refused(bad, tmp_path / "no", minisigns / "key.pub", "signed with no key in")
    done = unbundle.unbundle(file, tmp_path / "to")
    words = ["minisign", "-S", "-s", minisigns / "key", "-t", "release", "-x", tmp_path / "sig", "-m"]
    subprocess.run([*words, done.generation / SUMS], check=True, capture_output=True)
    with pytest.raises(BadInputError, match="made for something else"):
        signing.check(
            (done.generation / SUMS).read_bytes(),
            (tmp_path / "sig").read_bytes(),
            minisigns / "key.pub",
            file,
        )


def test_key_that_cannot_sign(keys, tmp_path):
    (tmp_path / "no-key").write_text("nothing")
    for key, why in ((tmp_path / "no-key", "cannot sign"), (tmp_path / "missing", "is not a file")):
        with pytest.raises(BadInputError, match=why):
            make_bundle(tmp_path / why.replace(" ", "-"), sign_key=key)
        assert not (tmp_path / why.replace(" ", "-") / "1.tar.zst").exists()


# The script itself


def test_installer_is_clean_for_shellcheck():
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not on PATH")
    done = subprocess.run([program, "--shell=sh", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "f=FILE.tar.zst; zstd -tq" in SCRIPT.read_text()


def test_full_disk_is_one_sentence_of_the_installer(files, tmp_path):
    """Where root may mount a small disk; the tar has more than that."""
    (tmp_path / "disk").mkdir()
    inside = """
        mount -t tmpfs -o size=24k tmpfs "$1/disk" || exit
        sh "$2" "$3" "$1/disk/to"
        ls -A "$1/disk" >&2
        exit 7
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--mount", "sh", "-c", inside, "sh", tmp_path, SCRIPT, files["1"]]
    sh_words()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 7:
        pytest.skip(f"needs a mount namespace of its own: {done.stderr.strip()}")
    said = (
        r"install\.sh: .*: cannot be unpacked \((tar|cat|head): .*\); make room in .*/disk/to, or copy .*\n"
    )
    assert re.fullmatch(said, done.stderr)


def test_installer_needs_nothing_else(files, tmp_path):
    words, path = sh_words(), only(tmp_path / "path", TOOLS)
    for arguments in ([files["1"]], [files["2"]], ["--undo"]):
        done = subprocess.run(
            [*words, SCRIPT, *arguments, tmp_path / "to"],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"


def test_unbundle_needs_neither_tar_nor_zstd(files, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(only(tmp_path / "path", set(TOOLS) - {"tar", "zstd"})))
    assert by_python(files["1"], tmp_path / "to")
    assert by_python(files["2"], tmp_path / "to")
    assert undo_python(tmp_path / "to")
    monkeypatch.undo()
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"


@pytest.mark.parametrize(("needs", "others"), OTHER_TOOLS)
def test_installer_with_the_tools_of_other_systems(files, tmp_path, needs, others):
    if shutil.which(needs) is None:
        pytest.skip(f"needs {needs} on PATH")
    words, path = sh_words(), only(tmp_path / "path", TOOLS)
    others(path)
    assert by_sh(files["1"], tmp_path / "usual")
    assert by_sh(files["2"], tmp_path / "usual")
    for arguments in ([files["1"]], [files["2"]], ["--undo"]):
        done = subprocess.run(
            [*words, SCRIPT, *arguments, tmp_path / "to"],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"
    base = "lib/opencode-cache/generations"
    assert everything(tmp_path / "to" / base) == everything(tmp_path / "usual" / base)


@pytest.mark.parametrize("lacking", ["sha256sum head tail cut", "sha256sum", "mkdir", "readlink"])
def test_installer_says_which_tool_is_missing(files, tmp_path, lacking):
    """Without the tools that compare, two empty strings would be equal."""
    words = sh_words()
    only(tmp_path / "path", set(TOOLS) - set(lacking.split()))
    done = subprocess.run(
        [*words, SCRIPT, files["1"], tmp_path / "to"],
        env={"PATH": str(tmp_path / "path")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"install\.sh: \w+ is not on PATH, nothing was changed; install .*\n", done.stderr)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_installer_in_every_shell(files, tmp_path, shell):
    sh_words()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on PATH")
    words = [shell, "sh"] if shell == "busybox" else [shell]
    for version in "12":
        command = [*words, SCRIPT, files[version], "relative prefix"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert says(tmp_path / "relative prefix", tmp_path / "home") == "version 2 hello"
