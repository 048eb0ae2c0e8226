"""The unpacker: npm's semantics, and nothing outside the destination whatever a tarball says."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opencode_cache.base.errors import BadInputError
from opencode_cache.build import assemble
from opencode_cache.build.unpack import destination, tar
from opencode_cache.formats.lock import Package

SMALL = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def header(
    name, *, size=0, flag=b"0", mode=0o644, link=b"", prefix=b"", magic=b"ustar\x0000", size_field=None
):
    """A raw tar header: what tarfile refuses to write can be written with this."""
    raw = name if isinstance(name, bytes) else name.encode()
    block = bytearray(512)
    block[: len(raw)] = raw
    block[100:108] = b"%07o\0" % mode
    block[108:124] = b"0000000\0" * 2
    block[124:136] = size_field or b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = flag
    block[157 : 157 + len(link)] = link
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name, content=b"", **fields):
    return header(name, size=len(content), **fields) + content + bytes(-len(content) % 512)


def pax(records, flag=b"x"):
    body = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        body += str(length).encode() + rest
    return member("PaxHeader", body, flag=flag)


END = bytes(1024)


def write_tarball(folder, data, *, name="pkg", packed=None, integrity=None):
    """Write a tarball, `data` being the tar stream, and return its Package."""
    raw = gzip.compress(data, 1, mtime=0) if packed is None else packed
    digest = base64.b64encode(hashlib.sha512(integrity or raw).digest()).decode()
    package = Package(name=name, version="1.0.0", integrity=f"sha512-{digest}")
    (folder / package.tarball).write_bytes(raw)
    return package


def unpack(tmp_path, data, *, keep_all=True, **options):
    package = write_tarball(tmp_path, data)
    out = tmp_path / "out"
    stats = assemble.unpack(package, tmp_path / package.tarball, [out], keep_all=keep_all, **options)
    return out, stats


def listing(root):
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


def files(root):
    return {path: content for path, content in listing(root).items() if content is not None}


def test_one_component_is_stripped_whatever_its_name(tmp_path):
    out, stats = unpack(tmp_path, member("odd name/a.js", b"1") + member("x/sub/b.js", b"22") + END)
    assert files(out) == {"a.js": b"1", "sub/b.js": b"22"}
    assert (stats.files, stats.bytes, stats.dropped_files) == (2, 3, 0)


def test_odd_but_real_paths(tmp_path):
    data = (
        member("top-level-file", b"skipped")
        + member("./package/x.js", b"1")
        + member("package//y.js", b"2")
        + member("package/", flag=b"5", mode=0o755)
        + member("package/dir/", b"")
        + member("package/back\\slash.js", b"3")
        + END
    )
    out, _ = unpack(tmp_path, data)
    # As npm: "./package/x" has "." as the component to strip; a file with "/" at its end is a directory,
    # and those are only made for files in them.
    assert files(out) == {"package/x.js": b"1", "y.js": b"2", "back\\slash.js": b"3"}
    assert not (out / "dir").exists()


@pytest.mark.parametrize("mode", [0o0, 0o400, 0o644, 0o755, 0o777, 0o4711])
def test_modes_are_npms(tmp_path, mode):
    out, _ = unpack(
        tmp_path,
        member("p/a.js", b"1", mode=mode) + member("p/d/", flag=b"5", mode=0) + member("p/d/b.js") + END,
    )
    assert stat.S_IMODE((out / "a.js").stat().st_mode) == ((mode | 0o666) & ~0o022 & 0o777)
    assert stat.S_IMODE((out / "d").stat().st_mode) == 0o755


def test_times_and_modes_do_not_depend_on_the_umask(tmp_path):
    data = member("p/d/a.js", b"1") + member("p/b.sh", b"2", mode=0o755) + END
    before = os.umask(0o077)
    try:
        out, _ = unpack(tmp_path, data)
    finally:
        os.umask(before)
    entries = [out, *out.rglob("*")]
    assert {path.stat().st_mtime for path in entries} == {1}
    assert [oct(stat.S_IMODE((out / name).stat().st_mode)) for name in ("d", "d/a.js", "b.sh")] == [
        "0o755",
        "0o644",
        "0o755",
    ]


def test_the_last_of_two_members_wins_and_the_first_ones_mode_stays(tmp_path):
    data = member("p/a.js", b"first, longer", mode=0o755) + member("p/a.js", b"last", mode=0o644) + END
    out, stats = unpack(tmp_path, data)
    assert files(out) == {"a.js": b"last"}
    assert stat.S_IMODE((out / "a.js").stat().st_mode) == 0o755
    assert (stats.files, stats.bytes) == (1, 4)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([(".gitignore", b"g")], {".npmignore": b"g"}),
        ([(".npmignore", b"n"), (".gitignore", b"g")], {".npmignore": b"n"}),
        ([(".gitignore", b"g"), (".npmignore", b"n")], {".npmignore": b"n"}),
        ([("d/.npmignore", b"n"), (".gitignore", b"g")], {"d/.npmignore": b"n", ".npmignore": b"g"}),
        ([("x.gitignore", b"g")], {"x.gitignore": b"g"}),
    ],
)
def test_gitignore_becomes_npmignore(tmp_path, members, expected):
    out, _ = unpack(tmp_path, b"".join(member(f"p/{name}", content) for name, content in members) + END)
    assert files(out) == expected


def test_long_names_and_extended_headers(tmp_path):
    long = "p/" + "d" * 90 + "/" + "e" * 120 + ".js"
    data = (
        pax({b"comment": b"all", b"path": b"p/ignored-in-a-global-header"}, flag=b"g")
        + pax({b"path": long.encode()})
        + member("p/short", b"1")
        + member("././@LongLink", f"p/{'g' * 150}.js\0".encode(), flag=b"L", magic=b"ustar  \0")
        + member("p/short", b"2", magic=b"ustar  \0")
        + member("c.js", b"3", prefix=b"p/in/a/prefix")
        + pax({b"size": b"3"})
        + header("p/sized", size=0)
        + b"abc".ljust(512, b"\0")
        + header("p/base256", size_field=b"\x80" + (2).to_bytes(11, "big"))
        + b"xy".ljust(512, b"\0")
        + END
    )
    out, _ = unpack(tmp_path, data)
    assert files(out) == {
        long[2:]: b"1",
        f"{'g' * 150}.js": b"2",
        "in/a/prefix/c.js": b"3",
        "sized": b"abc",
        "base256": b"xy",
    }


def test_no_end_mark_and_one_empty_block_are_taken(tmp_path):
    out, _ = unpack(tmp_path, member("p/a", b"1") + bytes(512) + member("p/b", b"2"))
    assert files(out) == {"a": b"1", "b": b"2"}


def test_two_gzip_members_are_one_stream(tmp_path):
    data = member("p/a", b"1" * 700) + END
    packed = gzip.compress(data[:600]) + gzip.compress(data[600:]) + bytes(100)
    package = write_tarball(tmp_path, b"", packed=packed)
    assemble.unpack(package, tmp_path / package.tarball, [tmp_path / "out"], keep_all=True)
    assert files(tmp_path / "out") == {"a": b"1" * 700}


def test_inner_links_are_left_out(tmp_path):
    data = (
        member("p/real.js", b"1")
        + member("p/d/sym", flag=b"2", link=b"../real.js")
        + member("p/hard", flag=b"1", link=b"p/real.js")
        + END
    )
    out, _ = unpack(tmp_path, data)
    assert files(out) == {"real.js": b"1"}


HOSTILE = {
    "climbs": member("p/../../evil", b"1"),
    "climbs first": member("../evil", b"1"),
    "climbs with backslashes": member("p/a\\..\\..\\evil", b"1"),
    "climbs in a pax path": pax({b"path": b"p/../../evil"}) + member("p/x", b"1"),
    "climbs in a long name": member("L", b"p/../../evil\0", flag=b"L") + member("p/x", b"1"),
    "climbs in a prefix": member("evil", b"1", prefix=b"p/../.."),
    "absolute": member("/evil-at-the-root", b"1"),
    "absolute drive": member("C:/evil", b"1"),
    "absolute drive inside": member("p/C:/evil", b"1"),
    "absolute share": member("\\\\host\\evil", b"1"),
    "not UTF-8": member(b"p/\xff\xfe", b"1"),
    "NUL": pax({b"path": b"p/a\0b"}) + member("p/x", b"1"),
    "line break": pax({b"path": b"p/a\nb"}) + member("p/x", b"1"),
    "character device": member("p/dev", flag=b"3"),
    "block device": member("p/dev", flag=b"4"),
    "fifo": member("p/fifo", flag=b"6"),
    "sparse": member("p/sparse", flag=b"S"),
    "file as directory": member("p/a", b"1") + member("p/a/b", b"2"),
    "directory as file": member("p/a/b", b"1") + member("p/a", b"2"),
    "symlink out": member("p/d/link", flag=b"2", link=b"../../evil"),
    "symlink out and in": member("p/link", flag=b"2", link=b"../p/x"),
    "symlink absolute": member("p/link", flag=b"2", link=b"/etc/passwd"),
    "hard link out": member("p/link", flag=b"1", link=b"../evil"),
    "hard link absolute": member("p/link", flag=b"1", link=b"/etc/passwd"),
    "ten gigabytes": header("p/big", size_field=b"\x80" + (10 << 30).to_bytes(11, "big")),
    "too deep": pax({b"path": b"p/" + b"d/" * 1100 + b"x"}) + member("p/x", b"1"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_members_are_refused_and_write_nothing_outside(tmp_path, case):
    with pytest.raises(BadInputError, match=r"pkg@1\.0\.0.*pkg@1\.0\.0\.tgz holds .*refused"):
        unpack(tmp_path, member("p/ok.js", b"1") + HOSTILE[case] + END)
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "pkg@1.0.0.tgz"}
    assert not any("evil" in path.name for path in tmp_path.rglob("*"))
    assert not (tmp_path / "out" / "package.json").exists()


DAMAGED = {
    "checksum": member("p/a", b"1").replace(b"ustar", b"uztar") + END,
    "no path": header("") + END,
    "negative size": header("p/a", size_field=b"\xff" * 12) + END,
    "size not a number": header("p/a", size_field=b"zzzzzzzzzzzz") + END,
    "cut body": header("p/a", size=2000) + b"x" * 512,
    "cut header": member("p/a", b"1") + b"x" * 100,
    "link without a target": header("p/a", flag=b"2") + END,
    "file with a target": header("p/a", link=b"p/b") + END,
    "after the end": member("p/a", b"1") + END + member("p/b", b"2"),
    "pax record": member("PaxHeader", b"99 path=p/x\n", flag=b"x") + END,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_tar_is_refused(tmp_path, case):
    with pytest.raises(BadInputError, match=r"pkg@1\.0\.0: .*pkg@1\.0\.0\.tgz .*opencode-cache fetch"):
        unpack(tmp_path, DAMAGED[case])


GOOD = member("p/package.json", b"{}") + member("p/a.js", b"x" * 5000) + END


@pytest.mark.parametrize(
    ("packed", "integrity", "why"),
    [
        (gzip.compress(GOOD)[:-12], None, "is cut off"),
        (b"", None, "is cut off"),
        (b"not gzip at all", None, "not a gzip file"),
        (GOOD, None, "not a gzip file"),
        (gzip.compress(GOOD)[:-8] + bytes(8), None, "damaged"),
        (gzip.compress(GOOD) + b"garbage", None, "after its end"),
        (gzip.compress(GOOD), b"something else", "the lock says"),
    ],
)
def test_a_damaged_file_is_refused_before_it_counts(tmp_path, packed, integrity, why):
    package = write_tarball(tmp_path, b"", packed=packed, integrity=integrity)
    with pytest.raises(BadInputError, match=rf"pkg@1\.0\.0: .*{why}.*opencode-cache fetch"):
        assemble.unpack(package, tmp_path / package.tarball, [tmp_path / "out"], keep_all=True)
    assert not (tmp_path / "out" / "package.json").exists()


def test_a_missing_tarball_says_fetch(tmp_path):
    package = write_tarball(tmp_path, GOOD)
    with pytest.raises(BadInputError, match=r"elsewhere.tgz is not there; run `opencode-cache fetch`"):
        assemble.unpack(package, tmp_path / "elsewhere.tgz", [tmp_path / "out"], keep_all=True)


@pytest.mark.parametrize("kind", ["a directory", "a device, a pipe or a socket"])
def test_what_is_no_tarball_hangs_nobody(tmp_path, kind):
    package = write_tarball(tmp_path, GOOD)
    tarball = tmp_path / "other.tgz"
    tarball.mkdir() if kind == "a directory" else os.mkfifo(tarball)
    with pytest.raises(BadInputError, match=rf"other.tgz cannot be read \(is {kind}, not a file\)"):
        assemble.unpack(package, tarball, [tmp_path / "out"], keep_all=True)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    bomb = gzip.compress(header("p/big", size=32 << 20) + bytes(32 << 20))
    package = write_tarball(tmp_path, b"", packed=bomb)
    with pytest.raises(BadInputError, match="250 times"):
        assemble.unpack(package, tmp_path / package.tarball, [tmp_path / "out"], keep_all=True)
    monkeypatch.setattr(tar, "MAX_MEMBERS", 5)
    with pytest.raises(BadInputError, match="more than 5 members"):
        unpack(tmp_path, b"".join(member(f"p/{i}") for i in range(6)) + END)


def test_a_link_in_the_destination_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "d").symlink_to(outside)
    (out / "f.js").symlink_to(outside / "f.js")
    for data in (member("p/d/x.js", b"1"), member("p/f.js", b"1")):
        with pytest.raises(BadInputError, match="cannot be written"):
            unpack(tmp_path, data + END)
    assert not list(outside.iterdir())
    package = write_tarball(tmp_path, GOOD)
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(BadInputError, match="cannot be written"):
        assemble.unpack(package, tmp_path / package.tarball, [tmp_path / "link"], keep_all=True)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(destination.os, "write", full)
    with pytest.raises(BadInputError, match=r"no space left on device: pkg@1\.0\.0 .*free \d+ bytes"):
        unpack(tmp_path, GOOD)
    assert not (tmp_path / "out" / "package.json").exists()


def test_large_files_reach_every_destination(tmp_path):
    content = os.urandom(3 << 20)
    data = (
        member("p/big.bin", content)
        + member("p/README.md", content[: 2 << 20])
        + member("p/package.json", b"{}")
    )
    package = write_tarball(tmp_path, data + END)
    outs = [tmp_path / name for name in ("one", "two", "three")]
    stats = assemble.unpack(package, tmp_path / package.tarball, outs, keep_all=True)
    assert stats == assemble.Stats(9, 3 * (len(content) + (2 << 20) + 2), 0, 0)
    for out in outs:
        assert (out / "big.bin").read_bytes() == content
        assert (out / "README.md").read_bytes() == content[: 2 << 20]


def test_what_is_dropped_is_counted_and_never_written(tmp_path):
    data = (
        member("p/a.js.map", b"m" * 10)
        + member("p/a.d.ts", b"d" * 20)
        + member("p/a.js", b"1")
        + member("p/LICENSE", b"l")
        + member("p/package.json", b'{"main": "a.js"}')
        + END
    )
    out, stats = unpack(tmp_path, data, keep_all=False)
    assert set(files(out)) == {"a.js", "LICENSE", "package.json"}
    assert stats == assemble.Stats(3, 18, 2, 30)
    whole = assemble.unpack(
        write_tarball(tmp_path, data),
        tmp_path / "pkg@1.0.0.tgz",
        [tmp_path / "w"],
        keep_all=False,
        whole=True,
    )
    assert set(files(tmp_path / "w")) == {"a.js", "a.d.ts", "LICENSE", "package.json"}
    assert (whole.files, whole.dropped_files) == (4, 1)
    typed = tmp_path / "t"
    assemble.unpack(
        write_tarball(tmp_path, data), tmp_path / "pkg@1.0.0.tgz", [typed], keep_all=False, declarations=True
    )
    assert set(files(typed)) == {"a.js", "a.d.ts", "LICENSE", "package.json"}


def make_jobs(tmp_path):
    outer = write_tarball(
        tmp_path,
        member("p/package.json", b"{}")
        + member("p/i.js", b"1")
        + member("p/i.d.ts", b"22")
        + member("p/node_modules/inner/stale.js", b"old")
        + END,
        name="outer",
    )
    inner = write_tarball(tmp_path, member("p/package.json", b'{"name":"inner"}') + END, name="@s/inner")
    return {
        Path("a/node_modules/outer"): assemble.Job(outer),
        Path("a/node_modules/outer/node_modules/inner"): assemble.Job(inner),
        Path("b/node_modules/outer"): assemble.Job(outer, whole=True),
    }


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_assemble_does_not_depend_on_the_number_of_workers(tmp_path, workers):
    jobs = {tmp_path / "out" / path: job for path, job in make_jobs(tmp_path).items()}
    done = []
    stats = assemble.assemble(jobs, tmp_path, keep_all=False, on_done=done.append, workers=workers)
    assert sorted(package.key for package in done) == ["@s/inner@1.0.0", "outer@1.0.0"]
    assert files(tmp_path / "out") == {
        "a/node_modules/outer/package.json": b"{}",
        "a/node_modules/outer/i.js": b"1",
        "a/node_modules/outer/node_modules/inner/package.json": b'{"name":"inner"}',
        "b/node_modules/outer/package.json": b"{}",
        "b/node_modules/outer/i.js": b"1",
        "b/node_modules/outer/i.d.ts": b"22",
        "b/node_modules/outer/node_modules/inner/stale.js": b"old",
    }
    assert stats == assemble.Stats(7, 27, 2, 5)
    assert {path.stat().st_mtime for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]} == {1}


@pytest.mark.parametrize("workers", [1, 3])
def test_one_bad_package_ends_it_all(tmp_path, workers):
    jobs = {tmp_path / "out" / path: job for path, job in make_jobs(tmp_path).items()}
    (tmp_path / "@s+inner@1.0.0.tgz").write_bytes(b"bad")
    with pytest.raises(BadInputError, match=r"@s/inner@1\.0\.0"):
        assemble.assemble(jobs, tmp_path, keep_all=True, workers=workers)
    assert not _children()


def _children():
    """Processes of this one that are still there."""
    task = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return task.read_text().split() if task.exists() else []


@pytest.mark.skipif(sys.platform != "linux", reason="patches what a forked worker runs")
def test_a_killed_worker_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(assemble, "extract", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    jobs = {tmp_path / "out" / path: job for path, job in make_jobs(tmp_path).items()}
    with pytest.raises(BadInputError, match="was killed"):
        assemble.assemble(jobs, tmp_path, keep_all=True, workers=2)
    assert not _children()


INTERRUPTED = """
    import os, signal, sys
    from pathlib import Path
    from opencode_cache.build import assemble
    from opencode_cache.formats.lock import Package
    root = Path(sys.argv[1])
    jobs = {
        root / "out" / file.stem: assemble.Job(
            Package(name=file.name.split("@")[0], version="1.0.0", integrity=sys.argv[2])
        )
        for file in sorted(root.glob("*.tgz"))
    }
    def on_done(package):
        HOW
    try:
        assemble.assemble(jobs, root, keep_all=True, on_done=on_done, workers=2)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "how", ["os.killpg(os.getpgid(0), signal.SIGINT)", "os.kill(os.getpid(), signal.SIGKILL)"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_do_not_outlive_an_interrupted_program(tmp_path, how):
    for number in range(30):
        package = write_tarball(tmp_path, GOOD, name=f"p{number}")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(INTERRUPTED).replace("HOW", how),
            str(tmp_path),
            package.integrity,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(assemble.__file__).parents[2])},
    )
    # The pipes close when the last process that holds them has gone.
    out, err = process.communicate(timeout=10)
    assert err == ""
    assert (out, process.returncode) in [("interrupted\n", 0), ("", -signal.SIGKILL)]


name = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0\n:", exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)
component = name.filter(
    lambda text: text.strip(".") != "" and len(text.encode()) < 200 and not text.endswith("ignore")
)
paths = st.lists(component, min_size=1, max_size=4).map("/".join)


@SMALL
@given(
    st.dictionaries(paths, st.binary(max_size=3000), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_what_tarfile_writes_is_read_back(contents, form):
    folders = {str(parent) for path in contents for parent in Path(path).parents}
    contents = {path: content for path, content in contents.items() if path not in folders}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for path, content in contents.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with tempfile.TemporaryDirectory() as folder:
        out, stats = unpack(Path(folder), stream.getvalue())
        assert files(out) == contents
        assert stats == assemble.Stats(len(contents), sum(map(len, contents.values())), 0, 0)


@SMALL
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=300), st.booleans())
def test_damage_anywhere_never_escapes_or_crashes(position, noise, packed):
    raw = gzip.compress(GOOD, 1) if packed else GOOD
    position %= len(raw)
    spoiled = raw[:position] + noise + raw[position + len(noise) :]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        package = write_tarball(root, spoiled, packed=spoiled if packed else None)
        with contextlib.suppress(BadInputError):
            assemble.unpack(package, root / package.tarball, [root / "out"], keep_all=False)
        assert {path.name for path in root.iterdir()} <= {"out", package.tarball}


@SMALL
@given(
    st.lists(st.sampled_from(["a", "..", ".", "", "b", "C:", "\\", "a\\..", "\\x"]), min_size=1, max_size=6)
)
def test_no_path_leaves_the_destination(parts):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            unpack(root, member("/".join(parts) or "x", b"1") + END)
        except BadInputError:
            # A slash at the end makes it a directory, as it does for node-tar; the content is then no header.
            refused = ".." in "/".join(parts) or parts[0] == "" or "\\" in "".join(parts) or "C:" in parts
            assert refused or parts[-1] == ""
        assert {path.name for path in root.iterdir()} <= {"out", "pkg@1.0.0.tgz"}
