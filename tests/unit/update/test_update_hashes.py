"""narHashes of release archives: Nix's own values, and archives that are not what a release is."""

from __future__ import annotations

import struct
import zipfile
import zlib

import pytest
import updating

from opencode_cache.base.errors import NetworkError
from opencode_cache.build.unpack import released
from opencode_cache.formats import nar
from opencode_cache.update import archives

HELLO = b"#!/bin/sh\necho hello\n"
# What `nix hash path` (2.26.3) says of a directory with the file `opencode`: HELLO with its exec bit, and
# eight bytes without one.
HELLO_HASH = "sha256-7K6UPU3hS6XTk0d2vX31iTFJ5WgLuLLNAP1dExl/CbA="
EIGHT_HASH = "sha256-3ijY1IkLOXBPBEyGGVuqk/WcVdrA3VQkZYiFSO+UggQ="


@pytest.mark.parametrize("pieces", [[HELLO], [HELLO[:3], HELLO[3:]], [bytes([byte]) for byte in HELLO]])
def test_the_hash_is_that_of_nix(pieces):
    assert nar.directory_with_file("opencode", len(HELLO), pieces, executable=True) == HELLO_HASH


def test_without_an_exec_bit_the_hash_is_another():
    assert nar.directory_with_file("opencode", 8, [b"12345678"], executable=False) == EIGHT_HASH
    assert nar.directory_with_file("opencode", 8, [b"12345678"], executable=True) != EIGHT_HASH


@pytest.mark.parametrize("size", [7, 9])
def test_content_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match=f"is not {size} bytes long"):
        nar.directory_with_file("opencode", size, [b"12345678"], executable=False)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tar.gz", updating.tar_gz(HELLO)),
        ("a.tar.gz", updating.tar_gz(HELLO, "./opencode")),
        ("a.zip", updating.zipped(HELLO)),
    ],
)
def test_an_archive_with_the_program_alone(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert released.of_archive(tmp_path / name) == HELLO_HASH


def test_the_exec_bit_is_that_of_the_archive(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(updating.tar_gz(b"12345678", mode=0o644))
    (tmp_path / "a.zip").write_bytes(updating.zipped(b"12345678", mode=0o100644))
    assert released.of_archive(tmp_path / "a.tar.gz") == EIGHT_HASH
    assert released.of_archive(tmp_path / "a.zip") == EIGHT_HASH


def damaged(data):
    return data[:45] + bytes([data[45] ^ 1]) + data[46:]


def long_list():
    data = bytearray(updating.zipped(HELLO))
    data[-10:-6] = struct.pack("<L", 500 << 20)
    return bytes(data)


def symbolic_link():
    return updating.zipped(b"/etc/passwd", mode=0o120777)


# Named, since the bytes hold times: two processes must collect the same tests.
NOT_A_RELEASE = {
    "empty": ("a.tar.gz", b""),
    "html": ("a.tar.gz", b"<html>rate limited</html>"),
    "cut": ("a.tar.gz", updating.tar_gz(HELLO)[:-20]),
    "deep": ("a.tar.gz", updating.tar_gz(HELLO, "bin/opencode")),
    "more": ("a.tar.gz", updating.tar_gz(HELLO, "opencode", 0o755, ("README.md", b"hi"))),
    "climbs": ("a.tar.gz", updating.tar_gz(HELLO, "../opencode")),
    "bomb": ("a.tar.gz", zlib.compress(bytes(64 << 20), wbits=31)),
    "empty zip": ("a.zip", b""),
    "html zip": ("a.zip", b"<html>rate limited</html>"),
    "cut zip": ("a.zip", updating.zipped(HELLO)[:-5]),
    "damaged zip": ("a.zip", damaged(updating.zipped(HELLO))),
    "exe zip": ("a.zip", updating.zipped(HELLO, "opencode.exe")),
    "more zip": ("a.zip", updating.zipped(HELLO, "opencode", 0o100755, ("README.md", b"hi"))),
    "link zip": ("a.zip", symbolic_link()),
    "long list zip": ("a.zip", long_list()),
}


@pytest.mark.parametrize(("name", "data"), NOT_A_RELEASE.values(), ids=NOT_A_RELEASE)
def test_anything_else_is_one_sentence_and_is_downloaded_anew(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(NetworkError) as caught:
        released.of_archive(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(name)
    assert not path.exists()


def test_a_program_that_says_less_than_it_is_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("opencode", bytes(1 << 20))
    data = path.read_bytes().replace(struct.pack("<L", 1 << 20), struct.pack("<L", 10))
    path.write_bytes(data)
    with pytest.raises(NetworkError):
        released.of_archive(path)


@pytest.mark.parametrize(("archive", "name"), [("a-b.tar.gz", "a-b"), ("a-b.zip", "a-b")])
def test_npms_package_has_the_name_of_the_archive(archive, name):
    assert archives.package_name(archive) == name
