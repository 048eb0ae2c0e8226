"""Bundles of somebody who wants something else installed, or something written elsewhere, and knows how."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
from bundle_lab import (
    INSTALL,
    SCRIPT,
    Parts,
    by_hand,
    by_python,
    by_sh,
    everything,
    make_bundle,
    member,
    packed_again,
    run_sh,
    says,
    sh_words,
    unpacked_tar,
)

from opencode_cache.base.errors import BadInputError
from opencode_cache.ship import file_format, signing, unbundle
from opencode_cache.ship.file_format import BLOCK, CONTENTS, DIGITS, END, SIGNATURE, SUMS, TRAILER


@pytest.fixture(scope="module")
def signed(keys, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("signed"), sign_key=keys / "key")


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """The other OpenCode, whose bundle nobody signed."""
    return make_bundle(tmp_path_factory.mktemp("evil"), "evil")


def pax(path: str, name: str, data: bytes) -> bytes:
    """A member with a pax header that says another path than its own."""
    record = file_format._record(b"path", path.encode())
    header = file_format._block(b"././@PaxHeader", b"", b"x", 0, len(record), b"")
    return header + record + bytes(-len(record) % BLOCK) + member(name, data, mode=0o555)


def again(tar: bytes, prefix: str = "./") -> bytes:
    """The members of a tar once more, their names written in another way; not those with long names."""
    parts, at, is_long = b"", 0, False
    while tar[at : at + 1].strip(b"\0"):
        header = tar[at : at + BLOCK]
        size = file_format.size_in(header)
        whole = BLOCK + -(-size // BLOCK) * BLOCK
        name, flag, mode = header[:100].rstrip(b"\0").decode(), header[156:157], int(header[100:107], 8)
        target = header[157:257].rstrip(b"\0").decode()
        if flag in b"025" and not is_long and not header[345:500].strip(b"\0"):
            data = tar[at + BLOCK : at + BLOCK + size]
            parts += member(prefix + name.rstrip("/"), data, flag, mode, target)
        at, is_long = at + whole, flag == b"x"
    return parts


PROGRAM = b"#!/bin/sh\necho version evil $*\n"
ALTERED = {
    "a second set": lambda good, evil: good[: -len(END)] + again(evil) + END,
    "a second set after the end": lambda good, evil: good + again(evil) + END,
    "a second set under the same names": lambda good, evil: good[: -len(END)] + again(evil, "") + END,
    "a first set": lambda good, evil: again(evil) + good,
    "a pax path": lambda good, _: good[: -len(END)] + pax("libexec/opencode", "cache/x", PROGRAM) + END,
    "a hard link to the list": lambda good, evil: (
        good[: -len(END)]
        + member("x", Parts_of(evil).sums)
        + member(SUMS, b"", b"1", target="x")
        + again(evil)
        + END
    ),
    "the list as a hard link": lambda good, evil: (
        member("x", Parts_of(evil).sums)
        + member(SUMS, b"", b"1", target="x")
        + good[:-10240]
        + again(evil)
        + END
    ),
    "one more program": lambda good, _: (
        good[: -len(END)] + member("./libexec/opencode", PROGRAM, mode=0o555) + END
    ),
}


def Parts_of(tar: bytes) -> Parts:  # noqa: N802
    size = file_format.size_in(tar)
    return Parts(tar[BLOCK : BLOCK + size], b"", b"", b"")


@pytest.mark.parametrize("how", ALTERED)
def test_altered_bundle_does_not_pass_the_signature(signed, evil, keys, tmp_path, how):
    bad = packed_again(ALTERED[how](unpacked_tar(signed), unpacked_tar(evil)), tmp_path / "bad")
    done = by_hand(bad, keys / "site", tmp_path / "home")
    assert done.returncode != 0
    assert not os.path.lexists(tmp_path / "home/.local")
    with pytest.raises(BadInputError):
        unbundle.unbundle(bad, tmp_path / "to", trusted=keys / "trusted")
    assert not (tmp_path / "to").exists()


def test_the_recipe_installs_what_was_signed(signed, evil, keys, tmp_path):
    done = by_hand(signed, keys / "site", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert says(tmp_path / "home/.local", tmp_path / "home") == "version 1 hello"
    for bad in (evil, make_bundle(tmp_path, "evil", sign_key=keys / "other")):
        done = by_hand(bad, keys / "site", tmp_path / "home")
        assert done.returncode != 0
        assert says(tmp_path / "home/.local", tmp_path / "home") == "version 1 hello"


def test_the_recipe_with_minisign(minisigns, tmp_path, evil):
    good = make_bundle(tmp_path, sign_key=minisigns / "key")
    for how, altered in ALTERED.items():
        bad = packed_again(altered(unpacked_tar(good), unpacked_tar(evil)), tmp_path / "bad")
        assert by_hand(bad, minisigns / "key.pub", tmp_path / "home").returncode != 0, how
        assert not os.path.lexists(tmp_path / "home/.local"), how
    done = by_hand(good, minisigns / "key.pub", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert says(tmp_path / "home/.local", tmp_path / "home") == "version 1 hello"
    assert by_hand(good, minisigns / "other.pub", tmp_path / "other").returncode != 0


SWAPPING = """#!/bin/sh
# Reads the medium, which has something else at the next read.
REAL "$@"
status=$?
case " $(readlink /proc/$$/fd/0) $* " in
*" $MEDIUM "*) [ ! -e "$MEDIUM.next" ] || mv "$MEDIUM.next" "$MEDIUM" ;;
esac
exit $status
"""


@pytest.mark.parametrize("again", ["the same list", "another list"])
def test_medium_that_gives_other_bytes_at_the_second_read(signed, evil, keys, tmp_path, again):
    """After the signature was checked, and after each reader of install.sh's."""
    altered = ALTERED["a second set"](unpacked_tar(signed), unpacked_tar(evil))
    bad = packed_again(altered if again == "the same list" else unpacked_tar(evil), tmp_path / "bad")
    first = subprocess.run(
        ["sh", "-c", f"zstd -dcq {signed} | tar -xO {SUMS} >{tmp_path}/sums"], check=True, capture_output=True
    )
    assert first.returncode == 0
    # Between the check and the installation.
    assert not by_sh(bad, tmp_path / "to", sums=tmp_path / "sums")
    assert not os.path.lexists(tmp_path / "to")
    # While it is installed.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "head", "tail", "zstd"):
        (tools / name).write_text(SWAPPING.replace("REAL", shutil.which(name)))
        (tools / name).chmod(0o755)
    medium = shutil.copy(signed, tmp_path / "medium")
    shutil.copy(bad, tmp_path / "medium.next")
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "MEDIUM": str(medium)}
    assert by_sh(medium, tmp_path / "to", sums=tmp_path / "sums", env=environment)
    assert not (tmp_path / "medium.next").exists()
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"


def test_signed_and_not_checked_is_said(signed, tmp_path, capsys):
    unbundle.unbundle(signed, tmp_path / "python")
    assert "signed, but not checked; pass --trusted FILE" in capsys.readouterr().err
    done = run_sh(signed, tmp_path / "sh")
    assert done.returncode == 0
    assert done.stderr == "install.sh: signed, but not checked; check SHA256SUMS and pass --sums\n"


# Modes and owners


def with_header(rest: bytes, at: int, mode: int, uid: int) -> bytes:
    """With another mode and owner in one header."""
    header = bytearray(rest[at : at + BLOCK])
    header[100:108], header[108:116], header[116:124] = b"%07o\0" % mode, b"%07o\0" % uid, b"%07o\0" % uid
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return rest[:at] + bytes(header) + rest[at + BLOCK :]


@pytest.mark.parametrize("agreeing", [False, True])
@pytest.mark.parametrize(("mode", "uid"), [(0o6555, 1000), (0o555, 1000), (0o4777, 0), (0o1555, 0)])
def test_modes_and_owners_in_headers(signed, keys, tmp_path, mode, uid, agreeing):
    parts = Parts.of(signed)
    parts = replace(parts, rest=with_header(parts.rest, parts.at("libexec/opencode"), mode, uid))
    bad = packed_again((parts.agreeing() if agreeing else parts).tar, tmp_path / "bad")
    assert by_hand(bad, keys / "site", tmp_path / "home").returncode != 0
    assert not os.path.lexists(tmp_path / "home/.local")
    assert not by_python(bad, tmp_path / "to")
    # Nobody signed that list, and so it may be installed; but never like that.
    assert by_sh(bad, tmp_path / "to") == agreeing
    for path in (tmp_path / "to").rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid()), path
        assert path.is_symlink() or not stat.S_IMODE(status.st_mode) & 0o7022, path


@pytest.mark.parametrize("name", INSTALL)
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_prefix_is_readable_by_all_and_writable_by_its_owner(name, signed, tmp_path, umask):
    # What an older installer has left under an open umask is put right, too.
    open_already = tmp_path / "to/lib/opencode-cache/generations"
    if umask == 0o000:
        open_already.mkdir(parents=True)
        open_already.chmod(0o777)
        open_already.parent.chmod(0o777)
        (tmp_path / "to").chmod(0o755)
        (tmp_path / "to/lib").chmod(0o755)
    before = os.umask(umask)
    try:
        assert INSTALL[name](signed, tmp_path / "to")
    finally:
        os.umask(before)
    for path in (tmp_path / "to", *(tmp_path / "to").rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink():
            assert mode & 0o444 == 0o444, path
            assert not mode & 0o7022, path
            assert not path.is_dir() or mode & 0o111 == 0o111, path


# Members that nobody announced, with lists that agree with each other


def hostile(parts: Parts, outside: str) -> dict[str, bytes]:
    rest, models = parts.rest, parts.at("cache/models.json")
    link = member("cache/models.json", b"", b"1", target="../" * 12 + outside.lstrip("/"))
    extra = {
        "twice": member("bin/opencode", PROGRAM, mode=0o555),
        "with a dot": member("./bin/opencode", PROGRAM, mode=0o555),
        "a list": member("./" + CONTENTS, PROGRAM),
        "absolute": member(outside + "/planted", PROGRAM),
        "above": member("../" * 12 + outside.lstrip("/") + "/planted", PROGRAM),
        "below a link": member("cache/way", b"", b"2", target=outside) + member("cache/way/planted", PROGRAM),
        "a steering name": member("cache/\x1b]0;x\x07\r\n", PROGRAM),
        "a device": member("cache/null", b"", b"3"),
        "a FIFO": member("cache/fifo", b"", b"6"),
    }
    inside = {
        "a hard link outside": link,
        "an absolute hard link": member("cache/models.json", b"", b"1", target=outside + "/mine"),
        "a link outside": member("cache/models.json", b"", b"2", target=outside + "/mine"),
        "a FIFO in its place": member("cache/models.json", b"", b"6"),
        "a device in its place": member("cache/models.json", b"", b"3"),
    }
    end = len(rest) - len(END)
    return {what: rest[:end] + data + END for what, data in extra.items()} | {
        what: rest[:models] + data + rest[models + 2 * BLOCK :] for what, data in inside.items()
    }


def test_members_that_nobody_announced(signed, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (outside / "mine").chmod(0o666)
    before = everything(outside)
    for what, rest in hostile(Parts.of(signed), str(outside)).items():
        bad = packed_again(
            replace(Parts.of(signed), signature=b"", rest=rest).agreeing().tar, tmp_path / "bad"
        )
        done = run_sh(bad, tmp_path / "to")
        assert done.returncode == 2, what
        assert done.stderr.count("\n") == 1, (what, done.stderr)
        assert done.stderr.strip().isprintable(), what
        assert not by_python(bad, tmp_path / "to"), what
        assert not os.path.lexists(tmp_path / "to"), what
        assert everything(outside) == before, what


@pytest.mark.parametrize("lists", ["sums", "contents", "both"])
def test_lists_whose_last_line_does_not_end(evil, tmp_path, lists):
    parts = Parts.of(evil)
    if lists != "sums":
        contents = parts.contents.split(b"\n")[0]
        sums = hashlib.sha256(contents).hexdigest().encode() + parts.sums[64:]
        parts = replace(parts, contents=contents, sums=sums)
    if lists != "contents":
        parts = replace(parts, sums=parts.sums.split(b"\n")[0])
    bad = packed_again(parts.tar, tmp_path / "bad")
    done = run_sh(bad, tmp_path / "to", sums="")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not by_python(bad, tmp_path / "to")


def test_list_that_leads_outside(signed, tmp_path):
    """Lists and members agree, and are not those of a bundle."""
    parts = Parts.of(signed)
    for line, more in {
        "l\t777\t-\tcache/zz\t/etc/passwd\n": member("cache/zz", b"", b"2", 0o777, "/etc/passwd"),
        "l\t777\t-\tcache/zz\t../../x\n": member("cache/zz", b"", b"2", 0o777, "../../x"),
        "d\t755\t-\t../zz\n": member("../zz/", b"", b"5", 0o755),
        "d\t755\t-\tzz/y\n": member("zz/y/", b"", b"5", 0o755),
        "d\t2755\t-\tzz\n": member("zz/", b"", b"5", 0o2755),
        "d\t755\t-\tlibexec\n": member("libexec/", b"", b"5", 0o755),
        "d\t755\t-\tz\x1b[2Jz\n": member("z\x1b[2Jz/", b"", b"5", 0o755),
    }.items():
        rest = parts.rest[: -len(END)] + more + END
        changed = replace(parts, signature=b"", contents=parts.contents + line.encode(), rest=rest).agreeing()
        bad = packed_again(changed.tar, tmp_path / "bad")
        done = run_sh(bad, tmp_path / "to")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), line
        assert "its lists are not those of a bundle" in done.stderr, line
        assert not by_python(bad, tmp_path / "to"), line
        assert not os.path.lexists(tmp_path / "to"), line


# Before the signature


MEASURED = """
import resource, sys
from pathlib import Path
from opencode_cache.ship import unbundle
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unbundle.unbundle(Path(sys.argv[1]), Path(sys.argv[2]))
except unbundle.BadInputError as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_two_million_directories(signed, tmp_path):
    """A small file that says so: nobody signed it, and nothing of it is looked at."""
    contents = Parts.of(signed).contents.split(b"\n", 1)[0] + b"\n"
    contents += b"".join(b"d\t755\t-\t%d\n" % number for number in range(2_000_000))
    parts = replace(Parts.of(signed), signature=b"", contents=contents).agreeing()
    bad = packed_again(parts.tar, tmp_path / "bad")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, bad, tmp_path / "to"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2000000 entries are more than the 200000 that there may be" in done.stderr
    assert int(done.stdout) < 150_000  # kB, of which the list itself has 30 MB
    assert not by_sh(bad, tmp_path / "to")


@pytest.mark.parametrize("name", INSTALL)
def test_checksum_of_zstd_itself(name, evil, tmp_path):
    """The last bytes of its frame: everything else is as it should be, the digits included."""
    data = bytearray(evil.read_bytes())
    data[-DIGITS - len(TRAILER) - 1] ^= 1
    data[-DIGITS:] = hashlib.sha256(data[:-DIGITS]).hexdigest().encode()
    (tmp_path / "bad").write_bytes(data)
    assert not INSTALL[name](tmp_path / "bad", tmp_path / "to")
    assert not os.path.lexists(tmp_path / "to")


def test_nothing_is_parsed_before_the_signature(evil, signed, keys, tmp_path, monkeypatch):
    monkeypatch.setattr(file_format, "parse", None)
    monkeypatch.setattr("opencode_cache.ship.reader.parse", None)
    for file in (evil, make_bundle(tmp_path, "2", sign_key=keys / "other")):
        with pytest.raises(BadInputError, match=r"not signed|signed with no key in"):
            unbundle.unbundle(file, tmp_path / "to", trusted=keys / "trusted")


# Files of keys


def signer(signed, lines: str, tmp_path) -> str:
    (tmp_path / "signers").write_bytes(lines.encode())
    parts = Parts.of(signed)
    return signing.check(parts.sums, parts.signature, tmp_path / "signers", signed)


def test_one_key_on_several_lines(signed, keys, tmp_path):
    key = (keys / "key.pub").read_text()
    git = f'git@example namespaces="git" {key}'
    assert signer(signed, git + f'site namespaces="opencode-cache-bundle" {key}', tmp_path) == "site"
    assert signer(signed, f"# nobody\n\n{git}*@example,site {key}", tmp_path) == "*@example"
    with pytest.raises(BadInputError, match="signed with no key in"):
        signer(signed, git, tmp_path)


def test_principals_that_say_who_it_is_not(signed, keys, tmp_path):
    key = (keys / "key.pub").read_text()
    assert signer(signed, f"!bad,site {key}", tmp_path) == "site"
    with pytest.raises(BadInputError, match="signed with no key in"):
        signer(signed, f"!bad {key}", tmp_path)


def test_principals_that_steer_a_terminal(signed, keys, tmp_path):
    name = signer(signed, f"a\x1b[2J\x9b\u202eb {(keys / 'key.pub').read_text()}", tmp_path)
    assert name.isprintable()
    assert name.startswith("a")


@pytest.mark.parametrize("what", ["directory", "fifo", "endless", "long", "missing"])
def test_things_that_are_no_file_of_keys(signed, keys, tmp_path, what):
    place = tmp_path / "place"
    if what == "directory":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "endless":
        place.symlink_to("/dev/zero")
    elif what == "long":
        place.write_bytes(bytes(2 << 20))
    with pytest.raises(BadInputError, match=r"is not a file|so no file of keys"):
        unbundle.unbundle(signed, tmp_path / "to", trusted=place)
    with pytest.raises(BadInputError, match=r"is not a file|so no file of keys"):
        make_bundle(tmp_path / "made", sign_key=place)


# Something else where a file or a directory should be


@pytest.mark.parametrize("name", INSTALL)
@pytest.mark.parametrize("what", ["directory", "fifo", "endless", "missing"])
def test_things_that_are_no_bundle(name, tmp_path, what):
    place = tmp_path / "place"
    if what == "directory":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "endless":
        place.symlink_to("/dev/zero")
    if name == "python":
        assert not by_python(place, tmp_path / "to")
    else:
        words = [*sh_words(), SCRIPT, place, tmp_path / "to"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, done.stderr) == (2, f"install.sh: {place}: is not a file; give a bundle\n")
    assert not os.path.lexists(tmp_path / "to")


@pytest.mark.parametrize("place", ["lib", "lib/opencode-cache", "lib/opencode-cache/generations", "bin"])
@pytest.mark.parametrize("name", INSTALL)
def test_file_where_a_directory_should_be(name, signed, tmp_path, place):
    path = tmp_path / "to" / place
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = everything(tmp_path / "to")
    assert not INSTALL[name](signed, tmp_path / "to")
    assert everything(tmp_path / "to") == before
    done = run_sh(signed, tmp_path / "to")
    said = [line for line in done.stderr.splitlines() if "signed, but" not in line]
    assert len(said) == 1, said
    assert said[0].startswith("install.sh: ")


@pytest.mark.parametrize("place", ["bin/opencode", "lib/opencode-cache/current"])
@pytest.mark.parametrize("name", INSTALL)
def test_directory_where_a_link_should_be(name, signed, tmp_path, place):
    (tmp_path / "to" / place).mkdir(parents=True)
    before = everything(tmp_path / "to")
    assert not INSTALL[name](signed, tmp_path / "to")
    assert everything(tmp_path / "to") == before


def test_environment_of_the_caller_changes_nothing(signed, tmp_path):
    """tar and cd read some of it."""
    environment = {
        "TAR_OPTIONS": "--exclude=*",
        "CDPATH": f"{tmp_path}:/",
        "POSIXLY_CORRECT": "1",
        "LS_COLORS": "x",
    }
    words = [*sh_words(), SCRIPT, signed, tmp_path / "to"]
    subprocess.run(words, env=os.environ | environment, check=True, capture_output=True)
    assert says(tmp_path / "to", tmp_path / "home") == "version 1 hello"
    assert SIGNATURE in {
        path.name for path in (tmp_path / "to/lib/opencode-cache/current").resolve().iterdir()
    }
