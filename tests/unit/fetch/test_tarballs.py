"""Downloads, against a registry on loopback that answers what a table says and rejects everything else."""

from __future__ import annotations

import dataclasses
import http.server
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field

import making
import pytest

from opencode_cache.base import http_exchange
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.npm import client as npm

DATA = bytes(range(256)) * 64
LONG = bytes(range(251)) * 4000
CUT = 700_000


@dataclass
class Answer:
    """`cut`: that many bytes of the body are sent, then the connection ends."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    cut: int | None = None


def whole(data):
    """An ordinary server's answer to a request with these headers."""

    def answer(headers):
        start = headers.get("Range")
        if start is None:
            return Answer(data)
        start = int(start.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            return Answer(status=416)
        return Answer(data[start:], 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    return answer


class Loopback:
    """A server with a table: path -> what to answer, one after the other, the last one from then on."""

    def __init__(self):
        self.table = {}
        self.asked = []
        self.unexpected = []
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer._reply(self)

            do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def serve(self, package, *answers):
        path = f"/{package.name}/-/{package.name.rpartition('/')[2]}-{package.version}.tgz"
        self.table[path] = list(answers)
        return path

    def headers(self, name):
        """That header of each request."""
        return [headers.get(name) for _, headers in self.asked]

    def _reply(self, handler):
        with self.lock:
            answers = self.table.get(handler.path)
            if answers is None:
                self.unexpected.append(handler.path)
                handler.send_error(500)
                return
            self.asked.append((handler.path, dict(handler.headers)))
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(dict(handler.headers))
        handler.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(answer.body[: answer.cut])

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def servers(monkeypatch):
    monkeypatch.setattr(http_exchange, "_SLICE", 0.02)
    ordinary = tarball.client
    monkeypatch.setattr(tarball, "client", lambda: dataclasses.replace(ordinary(), pause=0, silence=1))
    started = []

    def start():
        started.append(Loopback())
        return started[-1]

    yield start
    for server in started:
        server.close()
    assert [server.unexpected for server in started if server.unexpected] == []


@pytest.fixture
def server(servers, configure):
    started = servers()
    configure(started.url)
    return started


@pytest.fixture
def configure(monkeypatch):
    """npm's configuration."""

    def set_to(url, **settings):
        fields = {"scopes": {}, "credentials": {}, "cafile": None} | settings
        monkeypatch.setattr(npm, "registry", lambda: npm.Registry(url, **fields))

    return set_to


def there(directory):
    """What is in the directory, apart from what is hidden."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


@pytest.fixture
def one():
    """One package whose tarball is DATA."""
    return making.package("@scope/one", "1.0.0", DATA, size=len(DATA))


@pytest.fixture
def long():
    """One package whose tarball is LONG."""
    return making.package("long", "1.0.0", LONG, size=len(LONG))


def test_tarballs_arrive_under_their_names_and_nothing_else_is_left(server, tmp_path, one):
    two = making.package("two", "2.0.0", b"two")
    server.serve(one, whole(DATA))
    server.serve(two, whole(b"two"))
    done, told = [], []
    tarball.fetch(
        [one, two, one], tmp_path / "new" / "t", on_bytes=told.append, on_done=lambda p: done.append(p.key)
    )
    assert there(tmp_path / "new" / "t") == ["@scope+one@1.0.0.tgz", "two@2.0.0.tgz"]
    assert (tmp_path / "new" / "t" / one.tarball).read_bytes() == DATA
    assert sorted(done) == [one.key, two.key]
    assert sum(told) == len(DATA) + 3
    assert sorted(path for path, _ in server.asked) == ["/@scope/one/-/one-1.0.0.tgz", "/two/-/two-2.0.0.tgz"]


def test_a_tarball_with_the_wrong_hash_is_tried_once_more_and_refused_with_both_hashes(server, tmp_path, one):
    server.serve(one, whole(b"other"))
    with pytest.raises(NetworkError) as caught:
        tarball.fetch([one], tmp_path)
    assert making.integrity(b"other") in str(caught.value)
    assert one.integrity in str(caught.value)
    assert one.key in str(caught.value)
    assert len(server.asked) == 2
    assert there(tmp_path) == []


def test_a_tarball_that_was_wrong_once_is_taken_when_it_is_right(server, tmp_path, one):
    server.serve(one, Answer(b"other"), whole(DATA))
    tarball.fetch([one], tmp_path)
    assert (tmp_path / one.tarball).read_bytes() == DATA


def assert_resumed(header):
    """Only what had not arrived was asked for, give or take a block."""
    assert 0 < int(header.removeprefix("bytes=").removesuffix("-")) <= CUT


def test_a_download_that_was_cut_goes_on_where_it_ended(server, tmp_path, long):
    server.serve(long, Answer(LONG, cut=CUT), whole(LONG))
    told = []
    tarball.fetch([long], tmp_path, on_bytes=told.append)
    assert (tmp_path / long.tarball).read_bytes() == LONG
    first, second = server.headers("Range")
    assert first is None
    assert_resumed(second)
    assert sum(told) == len(LONG)
    assert there(tmp_path) == [long.tarball]


def test_the_next_run_goes_on_where_the_last_one_ended(server, tmp_path, long):
    server.serve(long, Answer(LONG, cut=CUT), Answer(status=503))
    with pytest.raises(NetworkError, match="run the same command again to resume"):
        tarball.fetch([long], tmp_path)
    assert there(tmp_path) == [f"{long.tarball}.part"]
    server.asked.clear()
    server.serve(long, whole(LONG))
    told = []
    tarball.fetch([long], tmp_path, on_bytes=told.append)
    (header,) = server.headers("Range")
    assert_resumed(header)
    assert sum(told) == len(LONG)
    assert there(tmp_path) == [long.tarball]


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(server, tmp_path, long):
    server.serve(long, Answer(LONG, cut=CUT), Answer(LONG))
    tarball.fetch([long], tmp_path)
    assert_resumed(server.headers("Range")[1])
    assert (tmp_path / long.tarball).read_bytes() == LONG


@pytest.mark.parametrize(
    ("part", "requests"), [(DATA, 1), (DATA + b"more", 2), (b"x" * len(DATA), 2), (b"x" * 10, 2), (b"", 1)]
)
def test_whatever_an_earlier_run_left_the_tarball_comes_right(server, tmp_path, one, part, requests):
    server.serve(one, whole(DATA))
    (tmp_path / f"{one.tarball}.part").write_bytes(part)
    tarball.fetch([one], tmp_path)
    assert (tmp_path / one.tarball).read_bytes() == DATA
    assert there(tmp_path) == [one.tarball]
    assert len(server.asked) == requests


@pytest.mark.parametrize("status", [401, 403, 404, 400, 410])
def test_a_registry_that_refuses_is_asked_once_and_its_status_told(server, tmp_path, one, status):
    server.serve(one, Answer(status=status))
    with pytest.raises(NetworkError, match=f"{one.key}: .*{status}") as caught:
        tarball.fetch([one], tmp_path)
    assert caught.value.exit_status == 3
    assert len(server.asked) == 1
    assert there(tmp_path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failure_that_may_pass_is_tried_again(server, tmp_path, one, status):
    server.serve(one, Answer(status=status), Answer(status=status), whole(DATA))
    tarball.fetch([one], tmp_path)
    assert len(server.asked) == 3


def test_a_failure_that_does_not_pass_is_told_with_its_status(server, tmp_path, one):
    server.serve(one, Answer(status=503))
    with pytest.raises(NetworkError, match="503"):
        tarball.fetch([one], tmp_path)


def test_a_registry_that_nobody_serves_cannot_be_reached(servers, configure, tmp_path, one):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        configure(f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(NetworkError, match="the registry cannot be reached") as caught:
            tarball.fetch([one], tmp_path)
    assert caught.value.exit_status == 3
    assert len(str(caught.value).splitlines()) == 1


def test_a_tarball_that_is_there_is_not_asked_for_again(server, tmp_path, one):
    (tmp_path / one.tarball).write_bytes(DATA)
    done = []
    tarball.fetch([one], tmp_path, on_done=done.append)
    assert done == [one]
    assert server.asked == []


def test_with_everything_there_npm_is_not_needed(monkeypatch, tmp_path, one):
    monkeypatch.setattr(npm, "registry", lambda: pytest.fail("npm was asked"))
    (tmp_path / one.tarball).write_bytes(DATA)
    tarball.fetch([one], tmp_path)


@pytest.mark.parametrize("size", [len(DATA), None])
@pytest.mark.parametrize("content", [b"\0" * len(DATA), DATA[:-1] + b"x", b"", DATA[:100]])
def test_a_tarball_that_was_damaged_since_is_fetched_again(server, tmp_path, one, size, content):
    server.serve(one, whole(DATA))
    (tmp_path / one.tarball).write_bytes(content)
    tarball.fetch([one.model_copy(update={"size": size})], tmp_path)
    assert (tmp_path / one.tarball).read_bytes() == DATA


def test_several_tarballs_come_at_once_and_not_too_many(server, tmp_path):
    together = threading.Barrier(4)
    active, most, lock = 0, 0, threading.Lock()

    def answer(data):
        def reply(_):
            nonlocal active, most
            with lock:
                active += 1
                most = max(most, active)
            together.wait(5)
            time.sleep(0.005)
            with lock:
                active -= 1
            return Answer(data)

        return reply

    packages = [making.package(f"p{n}", "1.0.0", b"%d" % n) for n in range(16)]
    for number, package in enumerate(packages):
        server.serve(package, answer(b"%d" % number))
    tarball.fetch(packages, tmp_path)
    assert len(there(tmp_path)) == 16
    assert 4 <= most <= 8


def test_two_fetches_into_one_directory_do_not_cut_each_other(server, tmp_path, one):
    def slowly(_):
        time.sleep(0.05)
        return Answer(DATA)

    server.serve(one, slowly)
    failed = []

    def run():
        try:
            tarball.fetch([one], tmp_path)
        except (BadInputError, NetworkError) as error:
            failed.append(error)

    both = [threading.Thread(target=run) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(10)
    assert failed == []
    assert there(tmp_path) == [one.tarball]
    assert len(server.asked) == 1


def test_after_ctrl_c_there_are_whole_tarballs_and_parts_only(server, tmp_path):
    packages = [making.package(f"p{n}", "1.0.0", LONG + b"%d" % n) for n in range(6)]
    interrupted = threading.Event()

    def late(_):
        # Nobody is done before the signal has come; the rest comes too late.
        interrupted.wait(5)
        return Answer(LONG, cut=CUT)

    for number, package in enumerate(packages):
        server.serve(package, whole(LONG + b"%d" % number) if number < 3 else late)
    done = []

    def on_done(package):
        done.append(package)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Timer(0.1, interrupted.set).start()

    with pytest.raises(KeyboardInterrupt):
        tarball.fetch(packages, tmp_path, on_done=on_done)
    names = set(there(tmp_path))
    assert {p.tarball for p in packages[:3]} <= names
    assert names <= {p.tarball for p in packages[:3]} | {f"{p.tarball}.part" for p in packages[3:]}
    server.serve(packages[3], whole(LONG + b"3"))
    tarball.fetch(packages[:4], tmp_path)
    assert all(tarball.integrity(tmp_path / p.tarball) == p.integrity for p in packages[:4])


def test_a_directory_that_cannot_be_made_or_written_is_told(server, tmp_path, one):
    server.serve(one, whole(DATA))
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be made"):
        tarball.fetch([one], tmp_path / "file" / "t")
    (tmp_path / "t" / f"{one.tarball}.part").mkdir(parents=True)
    with pytest.raises(BadInputError, match=r"t: cannot be written"):
        tarball.fetch([one], tmp_path / "t")


# Credentials and proxies


def test_the_registry_gets_npms_credentials_whatever_netrc_says(
    server, configure, tmp_path, monkeypatch, one
):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login wrong password wrong\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    configure(server.url, credentials={f"{server.url.partition('//')[2]}/": "Bearer abc"})
    server.serve(one, whole(DATA))
    tarball.fetch([one], tmp_path / "t")
    assert server.headers("Authorization") == ["Bearer abc"]


def test_another_host_that_the_registry_points_to_gets_no_credentials(
    server, servers, configure, tmp_path, one
):
    other = servers()
    path = other.serve(one, whole(DATA))
    configure(server.url, credentials={f"{server.url.partition('//')[2]}/": "Bearer abc"})
    server.serve(one, Answer(status=302, headers={"Location": other.url + path}))
    tarball.fetch([one], tmp_path)
    assert server.headers("Authorization") == ["Bearer abc"]
    assert other.headers("Authorization") == [None]


def test_the_proxy_of_npm_is_used(servers, configure, tmp_path, one):
    proxy = servers()
    proxy.table["http://registry.test/@scope/one/-/one-1.0.0.tgz"] = [whole(DATA)]
    configure("http://registry.test", proxies={"http": proxy.url})
    tarball.fetch([one], tmp_path)
    assert len(proxy.asked) == 1


def test_a_host_that_npm_asks_without_the_proxy_is_asked_without_it(
    server, servers, configure, tmp_path, one
):
    proxy = servers()
    configure(server.url, proxies={"http": proxy.url}, no_proxy="127.0.0.1")
    server.serve(one, whole(DATA))
    tarball.fetch([one], tmp_path)
    assert len(server.asked) == 1


# Sizes


def test_sizes_are_what_the_registry_tells(server):
    known, gone, unsaid = (making.package(name) for name in ("known", "gone", "unsaid"))
    server.serve(known, Answer(DATA))
    server.serve(gone, Answer(status=404))
    server.serve(unsaid, Answer(headers={"Content-Length": "many"}))
    assert tarball.sizes([known, gone, unsaid]) == {known.key: len(DATA)}


def test_sizes_of_a_registry_that_is_down_are_left_out(servers, configure, one):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        configure(f"http://127.0.0.1:{free.getsockname()[1]}")
        assert tarball.sizes([one]) == {}
