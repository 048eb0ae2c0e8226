"""The HTTP client and all who use it, against servers that mean ill: one sentence, bounded time and disk."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import itertools
import time

import making
import pytest
from hostile import Hostile, certificates, in_turn, says

from opencode_cache.base import http, http_exchange
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.fetch import github as plugins
from opencode_cache.fetch import tarballs
from opencode_cache.npm import client as npm
from opencode_cache.npm import repository
from opencode_cache.update.github import Asset, GitHub

SIZE = 1000
ORDINARY = http.Client
QUICK = functools.partial(ORDINARY, connect=0.5, silence=0.3, total=2, pause=0)
COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(http_exchange, "_SLICE", 0.02)
    monkeypatch.setattr(http, "Client", QUICK)


@pytest.fixture
def start():
    started = []

    def one(answer, tls=None):
        started.append(Hostile(answer, tls))
        return started[-1]

    yield one
    for server in started:
        server.close()


# Those who use it


def _tarball(url, to, monkeypatch):
    package = making.package("long", "1.0.0", b"x" * SIZE, size=SIZE)
    monkeypatch.setattr(npm, "registry", lambda: npm.Registry(url, {}, {}, None))
    tarballs.fetch([package], to)


def _plugin(url, to, monkeypatch):
    monkeypatch.setenv(repository.ARCHIVES, url)
    package = making.package("p", "1.0.0", b"x" * SIZE, size=SIZE, github=f"o/r#{COMMIT}")
    plugins.fetch([package], to)


def _plugin_for_the_first_time(url, to, monkeypatch):
    monkeypatch.setenv(repository.ARCHIVES, url)
    with plugins.downloaded(repository.Pin("o", "r", COMMIT), to, SIZE):
        pass


def _release(url, to, monkeypatch):
    GitHub(http.Client(), url, url).archive("1.18.33", Asset(name="a.tar.gz", size=SIZE), to)


def _releases(url, to, monkeypatch):
    GitHub(http.Client(most=SIZE), url, url).releases()


USERS = {
    user.__name__.strip("_"): user
    for user in (_tarball, _plugin, _plugin_for_the_first_time, _release, _releases)
}


@pytest.fixture(params=sorted(USERS))
def fetch(request, tmp_path, monkeypatch):
    """Fetch from an address, as one of those who do. Nothing that it leaves is longer than what was due."""

    def call(url):
        begun = time.monotonic()
        try:
            USERS[request.param](url, tmp_path / "to", monkeypatch)
        finally:
            assert time.monotonic() - begun < 10
            left = [path for path in (tmp_path / "to").rglob("*") if path.is_file()]
            assert sum(path.stat().st_size for path in left) <= SIZE

    return call


# What they meet


def endless(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(4096):  # 256 MB, where nobody hangs up
        connection.sendall(b"x" * 65536)


def endless_in_chunks(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(4096):
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def dripping(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


def dripping_in_chunks(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.05)


def dripping_headers(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        connection.sendall(b"X-%d: y\r\n" % number if number % 9 else b"X")
        time.sleep(0.05)


def endless_headers(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        connection.sendall(b"X-%d: %b\r\n" % (number, b"y" * 1000))


def continuing(connection, _):
    for _ in range(1000):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


BOMB = gzip.compress(bytes(64 << 20))

HOSTILE = {
    "an endless stream": (endless, "sent more than the expected 1000 bytes"),
    "an endless stream in chunks": (endless_in_chunks, "sent more than the expected 1000 bytes"),
    "a length that is too long": (says("200 OK", b"x" * 2000), "sent more than the expected 1000 bytes"),
    "a byte now and then": (dripping, "is too slow|did not answer in time|did not finish its answer in time"),
    "a chunk now and then": (dripping_in_chunks, "is too slow|did not finish its answer in time"),
    "a header now and then": (dripping_headers, "is too slow|did not finish its answer in time"),
    "headers without end": (endless_headers, "gave no complete answer"),
    "a promise without end": (continuing, "is too slow|gave no complete answer|in time"),
    "gzip": (
        says("200 OK", gzip.compress(b"x"), "Content-Encoding: gzip"),
        r"sent a compressed answer \('gzip'\)",
    ),
    "a gzip bomb": (says("200 OK", BOMB, "Content-Encoding: gzip"), r"sent a compressed answer \('gzip'\)"),
    "brotli": (says("200 OK", b"x", "Content-Encoding: br"), "sent a compressed answer"),
    "a redirect to http": (says("302 Found", b"", "Location: http://example.com/"), "not https"),
    "a redirect to a file": (says("302 Found", b"", "Location: file:///etc/passwd"), "not https"),
    "a redirect to nonsense": (
        says("302 Found", b"", "Location: https://[::1"),
        "gave no complete answer|not https",
    ),
    "a redirect to itself": (says("302 Found", b"", "Location: ?"), "redirects too many times"),
    "401": (says("401 Unauthorized"), "401"),
    "403": (says("403 Forbidden"), "403"),
    "407": (says("407 Proxy Authentication Required"), "407"),
    "500": (says("500 Oh"), "500"),
    "no answer": (lambda *_: None, "gave no complete answer"),
    "no HTTP": (
        lambda connection, _: connection.sendall(b"SSH-2.0-x\r\n" * 9),
        "gave no complete answer",
    ),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_server_gets_one_sentence_and_no_disk(start, fetch, kind):
    answer, said = HOSTILE[kind]
    server = start(answer)
    with pytest.raises(NetworkError, match=said) as caught:
        fetch(server.url)
    assert len(str(caught.value).splitlines()) == 1
    assert "127.0.0.1" in str(caught.value) or "registry" in str(caught.value)
    assert len(server.asked) <= 8


def test_netrc_is_nobodys_login(start, fetch, tmp_path, monkeypatch):
    server = start(says("404 Not Found"))
    redirecting = start(says("302 Found", b"", f"Location: {server.url}/there"))
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with pytest.raises((NetworkError, BadInputError)):
        fetch(redirecting.url)
    assert server.header("Authorization") == redirecting.header("Authorization") == [None]


# The client itself


def test_a_login_stays_with_its_host_and_does_not_come_back(start):
    last = start(says("200 OK", b"here"))
    other = start(says("302 Found", b"", f"Location: {last.url}/c"))
    first = start(says("302 Found", b"", f"Location: {other.url}/b"))
    last.answer = says("302 Found", b"", f"Location: {first.url}/end")
    first.answer = in_turn(first.answer, says("200 OK", b"here"))
    assert QUICK().read(f"{first.url}/a", {"Authorization": "Bearer abc"}) == b"here"
    assert first.header("Authorization") == ["Bearer abc", None]
    assert other.header("Authorization") == last.header("Authorization") == [None]


def test_a_login_stays_with_its_host_when_that_redirects_to_itself(start):
    server = start(in_turn(says("302 Found", b"", "Location: /b"), says("200 OK", b"here")))
    assert QUICK().read(f"{server.url}/a", {"Authorization": "Bearer abc"}) == b"here"
    assert server.header("Authorization") == ["Bearer abc"] * 2


def test_nobody_is_led_from_https_to_http_even_where_http_is_allowed(start, tmp_path):
    context, authority = certificates(tmp_path)
    plain = start(says("200 OK", b"here"))
    secure = start(says("302 Found", b"", f"Location: {plain.url}/"), context)
    with pytest.raises(NetworkError, match="not https"):
        QUICK(verify=str(authority)).read(secure.url)
    assert plain.asked == []


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://127.0.0.1/", "file:///etc/passwd", "//x", ""])
def test_only_https_and_loopback_are_asked(url):
    with pytest.raises(NetworkError, match="is not an https address"):
        QUICK().read(url)


def test_http_is_for_hosts_that_the_settings_name_so(start):
    proxy = start(says("200 OK", b"here"))
    client = QUICK(plain=frozenset({"registry.test"}), proxies=lambda _: {"http": proxy.url})
    assert client.read("http://registry.test/x") == b"here"
    with pytest.raises(NetworkError, match="is not an https address"):
        client.read("http://elsewhere.test/x")


def test_a_login_in_an_address_is_in_no_sentence(start):
    server = start(says("403 Forbidden"))
    with pytest.raises(NetworkError) as caught:
        QUICK().read(server.url.replace("//", "//me:secret@") + "/x")
    assert "secret" not in str(caught.value)
    assert server.header("Authorization") == [None]


def test_cookies_are_not_kept(start):
    server = start(says("200 OK", b"here", "Set-Cookie: a=b"))
    client = QUICK()
    for _ in range(2):
        client.read(server.url)
    assert server.header("Cookie") == [None, None]


def test_connections_are_used_again(start):
    count = []

    def answer(connection, _):
        count.append(connection)
        for number in itertools.count():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
            with contextlib.suppress(TimeoutError):
                if number > 5 or not connection.recv(4096):
                    return

    server = start(answer)
    client = QUICK()
    assert [client.read(server.url) for _ in range(4)] == [b"x"] * 4
    assert len(count) == 1


def test_a_host_that_answered_before_may_be_away_for_a_moment(start):
    server = start(says("200 OK", b"here"))
    client = QUICK()
    client.read(server.url)
    server.close()
    waited = []
    with pytest.raises(http.UnreachableError):
        ORDINARY(connect=1, pause=0, answered=client.answered, on_wait=waited.append).read(server.url)
    assert len(waited) == 3


@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content"])
def test_what_was_there_is_kept_only_where_the_host_goes_on_from_it(start, status):
    server = start(says(status, b"cd" if status[:3] == "206" else b"abcd"))
    file = io.BytesIO(b"ab")
    QUICK().save(server.url, file, most=4, size=4)
    assert file.getvalue() == b"abcd"
    assert server.header("Range") == ["bytes=2-"]


def test_a_certificate_that_nobody_trusts_is_said_to_be_one(start, tmp_path):
    context, authority = certificates(tmp_path)
    server = start(says("200 OK", b"here"), context)
    with pytest.raises(http.UnreachableError) as caught:
        QUICK().read(server.url)
    assert caught.value.why == "certificate"
    assert "certificate" in str(caught.value)
    assert QUICK(verify=str(authority)).read(server.url) == b"here"


def test_a_setting_of_requests_does_not_take_the_place_of_npms(start, tmp_path, monkeypatch):
    context, authority = certificates(tmp_path)
    (tmp_path / "other.pem").write_bytes(authority.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    server = start(says("200 OK", b"here"), context)
    assert QUICK(verify=str(authority)).read(server.url) == b"here"
