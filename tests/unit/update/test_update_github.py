"""GitHub on loopback: slow, cut, limiting, redirecting, malformed and hostile answers."""

from __future__ import annotations

import hashlib
import itertools
import socket
import tracemalloc

import pytest
import updating
from updating import Answer, document

from opencode_cache.base import http_exchange
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.http import AbsentError, Client, UnreachableError
from opencode_cache.update import github
from opencode_cache.update.github import Asset, GitHub

LIST = "/repos/anomalyco/opencode/releases?per_page=30&page=1"
TAGS = "/repos/anomalyco/opencode/releases/tags/v1.18.33"
HEAD = "/repos/NixOS/nixpkgs/commits/nixpkgs-unstable"
QUICK = Client(
    connect=1, silence=1, total=4, longest_pause=2, pause=0, tries=3, most=1 << 20, login="GITHUB_TOKEN"
)
ARCHIVE = "/anomalyco/opencode/releases/download/v1.18.33/a.tar.gz"
DATA = bytes(range(251)) * 4000


@pytest.fixture
def server():
    made = updating.Server()
    yield made
    made.close()


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setattr(http_exchange, "_SLICE", 0.02)
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return GitHub(QUICK, server.url, server.url)


def release(version, **fields):
    return {"tag_name": f"v{version}", "assets": [{"name": "a.tar.gz", "size": 3}]} | fields


def commit(sha=updating.NEW_REV, date="2026-10-01T12:00:00Z"):
    return {"sha": sha, "commit": {"committer": {"date": date, "name": "x"}, "message": "y"}}


def asset(data=DATA, *, digest=True, name="a.tar.gz"):
    found = f"sha256:{hashlib.sha256(data).hexdigest()}" if digest else None
    return Asset(name=name, size=len(data), digest=found)


# Ordinary answers


def test_releases_are_told_newest_first_and_only_real_ones(hub, server):
    server.table[LIST] = document(
        [
            release("1.18.9"),
            release("1.18.33"),
            release("1.18.10"),
            release("1.19.0", draft=True),
            release("1.20.0", prerelease=True),
            release("1.18.34-beta.1"),
            {"tag_name": "vscode-v0.0.13"},
            {"tag_name": "v1.18.99; rm -rf /"},
            {"tag_name": "v1.18.99\n"},
            {"tag_name": "v../../etc"},
            {"tag_name": "v\u0661.\u0661\u0668.\u0663"},
        ]
    )
    assert [found.version for found in hub.releases()] == ["1.18.33", "1.18.10", "1.18.9"]


def test_a_page_without_versions_leads_to_the_next(hub, server):
    server.table[LIST] = document([{"tag_name": "vscode-v1"}] * 30)
    server.table[LIST.replace("page=1", "page=2")] = document([release("1.18.33")])
    assert [found.version for found in hub.releases()] == ["1.18.33"]


def test_pages_without_end_are_not_followed(hub, server):
    for page in range(1, 100):
        server.table[LIST.replace("page=1", f"page={page}")] = document([{"tag_name": "x"}] * 30)
    assert hub.releases() == []
    assert len(server.asked) == 3


def test_the_newest_commit(hub, server):
    server.table[HEAD] = document(commit())
    found = hub.newest("NixOS", "nixpkgs", "nixpkgs-unstable")
    assert (found.rev, found.last_modified, found.day) == (updating.NEW_REV, 1_790_856_000, "2026-10-01")


def test_the_token_goes_to_the_api_alone(hub, server, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    server.table[TAGS] = document(release("1.18.33"))
    server.table[ARCHIVE] = Answer(DATA)
    hub.release("1.18.33")
    hub.archive("1.18.33", asset(), tmp_path)
    assert [headers.get("Authorization") for _, headers in server.asked] == ["Bearer secret", None]


def test_a_token_that_is_no_header_is_not_told(hub, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "secret\nX: y")
    with pytest.raises(NetworkError) as caught:
        hub.release("1.18.33")
    assert "secret" not in str(caught.value)


# Archives


def test_an_archive_is_downloaded_once(hub, server, tmp_path):
    server.table[ARCHIVE] = Answer(DATA)
    path = hub.archive("1.18.33", asset(), tmp_path)
    assert path.read_bytes() == DATA
    assert hub.archive("1.18.33", asset(), tmp_path) == path
    assert len(server.asked) == 1


def whole_or_rest(headers):
    start = int(headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    return Answer(DATA[start:], 206 if start else 200)


def test_an_archive_that_broke_off_is_resumed(hub, server, tmp_path):
    cut = Answer([DATA[:500_000]], headers={"Content-Length": str(len(DATA))})
    answers = iter([cut])
    server.table[ARCHIVE] = lambda headers: next(answers, None) or whole_or_rest(headers)
    assert hub.archive("1.18.33", asset(), tmp_path).read_bytes() == DATA
    assert server.asked[1][1]["Range"].startswith("bytes=")


def test_what_had_arrived_is_kept_for_the_next_run(hub, server, tmp_path):
    server.table[ARCHIVE] = Answer([DATA[:500_000]], headers={"Content-Length": str(len(DATA))})
    with pytest.raises(NetworkError, match="gave no complete answer"):
        hub.archive("1.18.33", asset(), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    server.table[ARCHIVE] = whole_or_rest
    assert hub.archive("1.18.33", asset(), tmp_path).read_bytes() == DATA


def test_a_server_that_knows_no_ranges_starts_over(hub, server, tmp_path):
    server.table[ARCHIVE] = Answer([DATA[:500_000]], headers={"Content-Length": str(len(DATA))})
    with pytest.raises(NetworkError):
        hub.archive("1.18.33", asset(), tmp_path)
    server.table[ARCHIVE] = Answer(DATA)
    assert hub.archive("1.18.33", asset(), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (DATA[::-1], "is not what GitHub's list of the release says"),
        (DATA + b"more", f"sent more than the expected {len(DATA)} bytes"),
        (DATA[:-1], f"sent {len(DATA) - 1} of {len(DATA)} bytes"),
    ],
)
def test_an_archive_that_is_not_the_listed_one_is_refused(hub, server, tmp_path, body, said):
    server.table[ARCHIVE] = lambda headers: (
        Answer(status=206, body=b"") if "Range" in headers else Answer(body)
    )
    with pytest.raises(NetworkError, match=said):
        hub.archive("1.18.33", asset(), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".part"]


def test_a_damaged_archive_in_the_cache_is_downloaded_again(hub, server, tmp_path):
    server.table[ARCHIVE] = Answer(DATA)
    path = hub.archive("1.18.33", asset(), tmp_path)
    path.write_bytes(DATA[::-1])
    assert hub.archive("1.18.33", asset(), tmp_path).read_bytes() == DATA


def test_an_endless_archive_is_not_even_begun(hub, server, tmp_path):
    huge = Asset(name="a.tar.gz", size=1 << 40)
    with pytest.raises(NetworkError, match="has 1099511627776 bytes"):
        hub.archive("1.18.33", huge, tmp_path)
    assert server.asked == []


@pytest.mark.parametrize("name", ["../a.tar.gz", "/etc/passwd", "a b", ".a", "a\n", "a$(id)"])
def test_a_hostile_file_name_reaches_no_path(hub, server, tmp_path, name):
    with pytest.raises(NetworkError, match="is not a file name"):
        hub.archive("1.18.33", asset(name=name), tmp_path / "to")
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "version", ["1.18", "v1.18.33", "1.18.33;id", "../1.18.33", "1.18.33\n", "", "1.18.33-b"]
)
def test_a_hostile_version_reaches_no_address(hub, server, tmp_path, version):
    with pytest.raises(BadInputError, match="is not an OpenCode version"):
        hub.release(version)
    with pytest.raises(BadInputError, match="is not an OpenCode version"):
        hub.archive(version, asset(), tmp_path / "to")
    assert server.asked == []


# Bad answers


def endless(_):
    return Answer(itertools.repeat(b" " * 65536, 16384))


BAD = {
    "silent": (Answer(silent=3), "did not answer in time"),
    "dripping": (Answer(drip=0.05), "did not finish its answer in time|too slow"),
    "1 GB": (endless, "sent more than the expected 1048576 bytes"),
    "cut": (document(release("1.18.33"), length=5000), "gave no complete answer"),
    "no JSON": (Answer(b"<html>"), "does not answer as GitHub does"),
    "empty": (Answer(b""), "does not answer as GitHub does"),
    "another shape": (document({"message": "hi"}), "does not answer as GitHub does"),
    "a list": (document([1, 2]), "does not answer as GitHub does"),
    "not UTF-8": (Answer(b'{"tag_name": "\xff"}'), "does not answer as GitHub does"),
    "deep": (Answer(b"[" * 200_000), "does not answer as GitHub does"),
    "negative": (document(release("1.18.33", assets=[{"name": "a", "size": -1}])), "does not answer as"),
    "digest": (
        document(release("1.18.33", assets=[{"name": "a", "size": 1, "digest": "md5:x"}])),
        "does not answer as",
    ),
    "500": (Answer(status=500), "answers 500"),
    "401": (Answer(status=401), "answers 401 .*check GITHUB_TOKEN"),
    "403": (Answer(status=403), "answers 403"),
    "403 limited": (
        Answer(status=403, headers={"X-RateLimit-Remaining": "0"}),
        r"limits how often it may be asked \(403\); try again later, or set GITHUB_TOKEN",
    ),
    "403 later": (Answer(status=403, headers={"Retry-After": "3600"}), "wait 3600 s"),
    "429 later": (Answer(status=429, headers={"Retry-After": "86400"}), "wait 86400 s"),
    "429 some day": (Answer(status=429, headers={"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}), "limits"),
    "429 never": (Answer(status=429, headers={"Retry-After": "9" * 400}), "limits"),
    "redirect to http": (Answer(status=302, headers={"Location": "http://example.com/"}), "not https"),
    "redirect to a file": (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "not https"),
    "redirect in a circle": (Answer(status=302, headers={"Location": TAGS}), "redirects too many times"),
    "redirect to nonsense": (
        Answer(status=302, headers={"Location": "https://[::1"}),
        "gave no complete answer",
    ),
    "half a status": (Answer(status=199), "answers 199|gave no complete answer"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_answer_is_one_sentence_in_bounded_time_and_memory(hub, server, name):
    server.table[TAGS], said = BAD[name]
    tracemalloc.start()
    try:
        with pytest.raises(NetworkError, match=said) as caught:
            hub.release("1.18.33")
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert not isinstance(caught.value, UnreachableError)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize("status", [403, 429])
def test_a_short_limit_is_waited_for(hub, server, status):
    limited = Answer(status=status, headers={"Retry-After": "0"})
    server.table[TAGS] = [limited, limited, document(release("1.18.33"))]
    assert hub.release("1.18.33").version == "1.18.33"
    assert len(server.asked) == 3


def test_a_server_that_was_unwell_is_asked_again(hub, server):
    server.table[TAGS] = [
        Answer(status=502),
        document(release("1.18.33"), length=9999),
        document(release("1.18.33")),
    ]
    assert hub.release("1.18.33").version == "1.18.33"


def test_a_redirect_is_followed(hub, server):
    server.table[TAGS] = Answer(status=301, headers={"Location": "/there"})
    server.table["/there"] = document(release("1.18.33"))
    assert hub.release("1.18.33").version == "1.18.33"


def test_what_is_not_there_is_told_apart(hub):
    with pytest.raises(AbsentError, match="has nothing at"):
        hub.release("1.18.33")


@pytest.mark.parametrize(
    "answer",
    [
        commit(sha="main"),
        commit(sha="a" * 39 + "\n"),
        commit(sha="$(id)" + "a" * 35),
        commit(date="yesterday"),
        commit(date="2026-10-01T12:00:00"),
        {"sha": updating.NEW_REV},
    ],
)
def test_a_commit_that_is_none_is_refused(hub, server, answer):
    server.table[HEAD] = document(answer)
    with pytest.raises(NetworkError, match="does not answer as GitHub does"):
        hub.newest("NixOS", "nixpkgs", "nixpkgs-unstable")


def test_nobody_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"^127.0.0.1 cannot be reached$"):
            GitHub(QUICK, url, url).release("1.18.33")


def test_a_name_that_is_not_known_is_unreachable(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnreachableError, match=r"^api.github.com cannot be reached$"):
        GitHub(QUICK).release("1.18.33")


@pytest.mark.parametrize(
    "base", ["http://example.com", "ftp://127.0.0.1", "github.com", "https://", "https://[::1"]
)
def test_other_addresses_than_https_and_loopback_are_refused(monkeypatch, base):
    monkeypatch.setenv("OPENCODE_CACHE_GITHUB_API", base)
    with pytest.raises(BadInputError, match="OPENCODE_CACHE_GITHUB_API is"):
        GitHub()


def test_from_the_world_nobody_is_sent_to_this_machine(monkeypatch, server):
    answer = type(
        "Answer", (), {"is_redirect": True, "headers": {"location": server.url}, "close": lambda _: None}
    )
    monkeypatch.setattr(http_exchange.requests.Session, "request", lambda *_, **__: answer())
    with pytest.raises(NetworkError, match="not https"):
        QUICK.read("https://api.github.com/x")
    assert server.asked == []


def test_dates_are_those_of_utc():
    assert github.Revision("x", 0).day == "1970-01-01"
