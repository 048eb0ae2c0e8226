"""The loopback servers, talked to as their clients do."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import urllib.error
import urllib.request
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.sandbox.dns_logger import DnsLogger
from opencode_cache.sandbox.loopback import ANSWER, NO_SUCH_PATH, ModelServer, TripwireRegistry

PROMPT = "please RUN:echo a 'b':END"
COMMAND = "echo a 'b'"
RESULT = "what the tool said"


@pytest.fixture
def model():
    with ModelServer() as server:
        yield server


@pytest.fixture
def registry():
    with TripwireRegistry() as server:
        yield server


def fetch(url, body=None, method=None, headers=None):
    """Status, content type and body, whatever the status."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def events(body):
    """The JSON documents of a server-sent event stream."""
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def frames(body):
    """(event type, payload) of Amazon's event stream; both checksums of each frame are checked."""
    found = []
    while body:
        total, header_size, prelude = struct.unpack(">III", body[:12])
        assert zlib.crc32(body[:8]) == prelude
        assert zlib.crc32(body[: total - 4]) == struct.unpack(">I", body[total - 4 : total])[0]
        headers, kinds = body[12 : 12 + header_size], {}
        while headers:
            name = headers[1 : 1 + headers[0]]
            value_at = 1 + headers[0] + 3
            (size,) = struct.unpack(">H", headers[value_at - 2 : value_at])
            kinds[name], headers = headers[value_at : value_at + size], headers[value_at + size :]
        found.append((kinds[b":event-type"].decode(), json.loads(body[12 + header_size : total - 4])))
        body = body[total:]
    return found


BASH = {"name": "bash"}
# dialect: path, the request's body, what offers the tool, a message with the tool's result
DIALECTS = {
    "anthropic": (
        "/v1/messages",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]},
        {"tools": [BASH]},
        ("messages", {"role": "user", "content": [{"type": "tool_result", "content": RESULT}]}),
    ),
    "chat": (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": PROMPT}]},
        {"tools": [{"type": "function", "function": BASH}]},
        ("messages", {"role": "tool", "content": RESULT}),
    ),
    "responses": (
        "/v1/responses",
        {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]},
        {"tools": [{"type": "function"} | BASH]},
        ("input", {"type": "function_call_output", "output": RESULT}),
    ),
    "google": (
        "/v1beta/models/m:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
        {"tools": [{"functionDeclarations": [BASH]}]},
        ("contents", {"parts": [{"functionResponse": {"name": "bash", "response": {"content": RESULT}}}]}),
    ),
    "bedrock": (
        "/model/m/converse",
        {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]},
        {"toolConfig": {"tools": [{"toolSpec": BASH}]}},
        ("messages", {"role": "user", "content": [{"toolResult": {"content": [{"text": RESULT}]}}]}),
    ),
}


def ask(server, dialect, *, stream, tools=True, result=False):
    path, body, offer, (talk, message) = DIALECTS[dialect]
    body = json.loads(json.dumps(body)) | (offer if tools else {})
    if result:
        body[talk].append(message)
    if stream:
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        path = path.replace("/converse", "/converse-stream")
        body["stream"] = True
    status, kind, answer = fetch(server.url + path, body)
    assert status == 200
    return kind, answer


def strings(node):
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list | tuple):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def documents(kind, answer):
    if kind == "application/json":
        return [json.loads(answer)]
    return events(answer) if kind == "text/event-stream" else frames(answer)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
class TestModelServer:
    def test_answers_text_when_no_tool_is_offered(self, model, dialect, stream):
        kind, answer = ask(model, dialect, stream=stream, tools=False)
        assert ANSWER in strings(documents(kind, answer))
        assert not any("RUN" in text or COMMAND in text for text in strings(documents(kind, answer)))

    def test_asks_for_the_bash_tool(self, model, dialect, stream):
        kind, answer = ask(model, dialect, stream=stream)
        said = strings(documents(kind, answer))
        assert "bash" in said
        # Arguments are an object in some dialects, JSON in a string in others.
        assert COMMAND in said or json.dumps(COMMAND) in "".join(said)
        assert ANSWER not in said

    def test_takes_the_tool_result_and_answers(self, model, dialect, stream):
        kind, answer = ask(model, dialect, stream=stream, result=True)
        assert ANSWER in strings(documents(kind, answer))
        assert [RESULT in result for result in model.tool_results] == [True]
        assert model.tool_results_of("m") == model.tool_results
        assert model.tool_results_of("other") == ()

    def test_records_the_request(self, model, dialect, stream):
        ask(model, dialect, stream=stream)
        ask(model, dialect, stream=stream, tools=False)
        assert [(r.method, r.model, "bash" in r.tools) for r in model.requests] == [
            ("POST", "m", True),
            ("POST", "m", False),
        ]


def test_a_path_of_no_api_is_a_recorded_404(model):
    status, _, body = fetch(model.url + "/v1/embeddings", {"model": "m"})
    assert status == 404
    assert NO_SUCH_PATH in body.decode()
    assert [(r.method, r.path, r.model) for r in model.requests] == [("POST", "/v1/embeddings", "")]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\x00"])
def test_a_body_that_is_no_object_is_a_404(model, body):
    assert fetch(model.url + "/v1/messages", body)[0] == 404


def test_a_chunked_body_is_read(model):
    connection = http.client.HTTPConnection("127.0.0.1", int(model.url.rpartition(":")[2]), timeout=5)
    body = json.dumps({"model": "chunky", "messages": []}).encode()
    for _ in range(2):  # a second request on the same connection finds its beginning
        connection.request(
            "POST",
            "/messages",
            iter([body[:7], body[7:]]),
            encode_chunked=True,
            headers={"transfer-encoding": "chunked"},
        )
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()
    assert [request.model for request in model.requests] == ["chunky", "chunky"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": str(64 * 1024 * 1024 + 1)}, 413),
        ({"content-length": "-1"}, 413),
        ({"content-length": "many"}, 400),
        ({"transfer-encoding": "chunked"}, 400),
    ],
)
def test_a_body_without_bounds_is_refused(model, headers, status):
    connection = http.client.HTTPConnection("127.0.0.1", int(model.url.rpartition(":")[2]), timeout=5)
    connection.putrequest("POST", "/messages")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"no chunk\r\n")
    answer = connection.getresponse()
    assert answer.status == status
    assert answer.read()
    connection.close()
    assert fetch(model.url + "/messages", {"model": "m", "messages": []})[0] == 200


def test_a_client_that_hangs_up_does_no_harm(model):
    with socket.create_connection(("127.0.0.1", int(model.url.rpartition(":")[2])), timeout=5) as client:
        client.sendall(b"POST /messages HTTP/1.1\r\ncontent-length: 100\r\n\r\nshort")
    assert fetch(model.url + "/messages", {"model": "m", "messages": []})[0] == 200


def test_a_server_is_gone_when_its_context_ends():
    with ModelServer() as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        idle = socket.create_connection(address, timeout=5)
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/left-pad", "left-pad"),
        ("/@scope%2fname", "@scope/name"),
        ("/@scope%2Fname", "@scope/name"),
        ("/@scope/name/-/name-1.2.3.tgz", "@scope/name"),
        ("/left-pad/latest", "left-pad"),
        ("/left-pad?write=true", "left-pad"),
    ],
)
def test_the_registry_remembers_the_package(registry, path, name):
    status, kind, body = fetch(registry.url + path)
    assert (status, kind) == (404, "application/json")
    assert json.loads(body)["error"]
    assert registry.asked == {name}
    assert registry.requests == (("GET", path.partition("?")[0]),)


def test_the_registry_keeps_audits_apart(registry):
    fetch(registry.url + "/-/npm/v1/security/advisories/bulk", {"left-pad": ["1.0.0"]})
    fetch(registry.url + "/-/ping")
    assert registry.asked == set()
    assert registry.security_requests == (("POST", "/-/npm/v1/security/advisories/bulk"),)
    assert registry.requests == (("GET", "/-/ping"),)


def test_the_registry_answers_head_without_a_body(registry):
    assert fetch(registry.url + "/left-pad", method="HEAD")[2] == b""
    assert fetch(registry.url + "/left-pad", b"{}", method="PUT")[0] == 404


def test_as_a_proxy_the_registry_remembers_hosts(registry):
    host, _, port = registry.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.request("GET", "http://Plain.Example:80/a")
    assert connection.getresponse().status == 404
    connection.close()
    tunnel = http.client.HTTPSConnection(host, int(port), timeout=5)
    tunnel.set_tunnel("secret.example", 443)
    with pytest.raises(OSError, match="404"):
        tunnel.connect()
    tunnel.close()
    assert registry.hosts == ("plain.example", "secret.example")
    assert registry.asked == set()


def query(name, kind, identity=b"\x12\x34"):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return identity + b"\x01\x00\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack(">HH", kind, 1)


@pytest.fixture
def dns():
    with DnsLogger(port=0) as server:
        yield server


@pytest.fixture
def client(dns):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.connect(("127.0.0.1", dns.port))
        yield udp


def test_dns_knows_no_name_and_remembers_each(dns, client):
    for name, kind in (("Some.Example", 1), ("some.example", 28), ("other.example", 999)):
        client.send(query(name, kind))
        answer = client.recv(512)
        assert answer[:2] == b"\x12\x34"
        assert answer[2] & 0x80
        assert answer[3] & 0x0F == 3
        assert answer[12:] == query(name, kind)[12:]
    assert dns.names == (("some.example", "A"), ("some.example", "AAAA"), ("other.example", "999"))


MALFORMED = [
    b"",
    b"\0",
    b"\0" * 11,
    b"\0" * 12,
    query("a.example", 1)[:-1],
    query("a.example", 1)[:20],
    b"\x12\x34\x81\x80" + query("answer.example", 1)[4:],
    b"\x12\x34\x01\x00\0\2" + query("two.questions", 1)[6:],
    b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
    b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + b"\x3f" + b"x" * 10,
    b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + (b"\x3f" + b"x" * 63) * 5 + b"\0\0\1\0\1",
]


def test_dns_survives_malformed_packets(dns, client):
    for packet in MALFORMED:
        client.send(packet)
    client.send(query("fine.example", 1))
    assert client.recv(512)[3] & 0x0F == 3
    assert dns.names == (("fine.example", "A"),)


@given(st.binary(max_size=600))
def test_dns_reads_any_packet(packet):
    answer = DnsLogger(port=0)._answer(packet)
    assert answer is None or answer[:2] == packet[:2]


def test_dns_refuses_tcp(dns):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", dns.port), timeout=5)


def test_dns_says_when_its_port_is_taken(dns):
    with pytest.raises(OSError, match="in use"), DnsLogger(port=dns.port):
        pass
