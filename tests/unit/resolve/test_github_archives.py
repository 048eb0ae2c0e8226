"""GitHub's archives are anybody's: each is a package, or refused in one clean sentence with nothing left."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_cache.base import answer, files
from opencode_cache.base.errors import BadInputError, NetworkError, OpencodeCacheError
from opencode_cache.npm.repository import Pin
from opencode_cache.resolve import github

MANY = int(os.environ.get("OPENCODE_CACHE_TEST_MUTANTS", "20"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIN = Pin("owner", "repo", COMMIT)
GOOD = {"name": "mine", "version": "1.0.0", "license": "MIT", "bin": {"mine": "cli.js"}}


def tar(package_json: bytes, *, pax: dict[str, str] | None = None, change=None) -> bytes:
    """A tar as GitHub writes it, not packed. `change` may spoil the member with package.json."""
    packed = BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": COMMIT}
    ) as to:
        for name, content in (("index.js", b"export {}"), ("package.json", package_json)):
            member = tarfile.TarInfo(f"repo-{COMMIT}/{name}")
            member.size = len(content)
            if name == "package.json":
                member.pax_headers = pax or {}
                if change:
                    change(member)
            to.addfile(member, BytesIO(content))
    return packed.getvalue()


def take(monkeypatch, content: bytes, to: Path):
    """What `take` makes of an archive; the error where it refuses it, after looking at that."""

    @contextlib.contextmanager
    def downloaded(*_):
        with files.beside(to / "archive") as place:
            (place / "archive").write_bytes(content)
            yield place / "archive"

    monkeypatch.setattr(github, "downloaded", downloaded)
    try:
        package, path = github.take(PIN, to)
    except OpencodeCacheError as error:
        said = str(error)
        assert said == answer.visible(said)
        assert str(to) not in said
        assert list(to.iterdir()) == []
        return error
    assert list(to.iterdir()) == [path]
    return package


def packed(document: object) -> bytes:
    return gzip.compress(tar(json.dumps(document).encode()))


def test_an_honest_one_is_a_package(monkeypatch, tmp_path):
    package = take(monkeypatch, packed(GOOD), tmp_path)
    assert (package.key, package.bin) == (f"mine@1.0.0+{COMMIT[:12]}", {"mine": "cli.js"})


CASES = {
    "deep": gzip.compress(tar(b"[" * 100_000 + b"]" * 100_000)),
    "deep table": gzip.compress(tar(b'{"name":"x","license":' + b"[" * 3000 + b"]" * 3000 + b"}")),
    "long number": gzip.compress(tar(b'{"name":"x","version":' + b"9" * 5000 + b"}")),
    "long name": packed(GOOD | {"name": "x" * 300}),
    "long version": packed(GOOD | {"version": "1.0.0-" + "x" * 300}),
    "climbing name": packed(GOOD | {"name": "../../x"}),
    "not UTF-8": gzip.compress(tar(b'{"name":"\xff"}')),
    "a list": packed([GOOD]),
    "sparse": gzip.compress(tar(b"{}", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})),
    "size of 5000 digits": gzip.compress(tar(b"{}", pax={"size": "9" * 5000})),
    "path that climbs": gzip.compress(tar(b"{}", pax={"path": "repo/../../package.json"})),
    "long path": gzip.compress(tar(b"{}", pax={"path": "repo/" + "x/" * 5000 + "y"})),
    "control characters": gzip.compress(tar(b"{}", pax={"path": "repo/\x1b]0;x\x07/../../y"})),
    "a device": gzip.compress(tar(b"{}", change=lambda member: setattr(member, "type", tarfile.CHRTYPE))),
    "no package.json": gzip.compress(tar(b"{}", change=lambda member: setattr(member, "name", "repo/x"))),
    "cut": packed(GOOD)[:-20],
    "no archive": b"<html>",
    "empty": b"",
    "a bomb": gzip.compress(tar(b" " * (64 << 20)), 9),
}


@pytest.mark.parametrize("case", CASES)
def test_one_that_cannot_be_used_is_refused(monkeypatch, tmp_path, case):
    error = take(monkeypatch, CASES[case], tmp_path)
    assert isinstance(error, (BadInputError, NetworkError))
    assert str(error).startswith("owner/repo#0123")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["x" * 300, "\ud800", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=MANY)
@given(st.data())
def test_whatever_an_archive_holds(data):
    if data.draw(st.booleans()):
        fields = data.draw(
            st.dictionaries(st.sampled_from([*GOOD, "os", "dependencies"]), VALUES, max_size=3)
        )
        content = packed(GOOD | fields)
    else:
        raw = tar(json.dumps(GOOD).encode())
        outside = data.draw(st.booleans())
        whole = gzip.compress(raw, 1) if outside else raw
        at = data.draw(st.integers(0, len(whole)))
        put = data.draw(st.binary(max_size=12))
        whole = whole[:at] + put + whole[at + data.draw(st.integers(0, 12)) :]
        content = whole if outside else gzip.compress(whole, 1)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as monkeypatch:
        take(monkeypatch, content, Path(directory))
