"""Registry signatures: the real npm, a registry on loopback that signs, and keys of our own."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
import signing

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats.lock import Package
from opencode_cache.resolve import signatures

PACKAGES = [
    Package(name=name, version=version, integrity=f"sha512-{letter * 86}==")
    for name, version, letter in (("a", "1.0.0", "A"), ("a", "2.0.0", "B"), ("@s/b", "1.0.0", "C"))
]


class Registry:
    def __init__(self, keys: list[dict], signed: dict[str, str]) -> None:
        self.answers = {"/-/npm/v1/keys": {"keys": keys}} if keys else {}
        for package in PACKAGES:
            dist = {"integrity": package.integrity, "tarball": "http://127.0.0.1:9/x.tgz"}
            if package.key in signed:
                dist["signatures"] = [{"keyid": signing.NAME, "sig": signed[package.key]}]
            entry = {"name": package.name, "version": package.version, "dist": dist}
            document = self.answers.setdefault(f"/{package.name}", {"name": package.name, "versions": {}})
            document["versions"][package.version] = entry
        answers = self.answers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = answers.get(self.path.replace("%2f", "/"))
                body = json.dumps(found or {}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture(scope="module")
def signed():
    """The public key, and a signature for each package."""
    made = signing.sign(PACKAGES)
    return made.key, made.signatures


@pytest.fixture
def serve(monkeypatch, tmp_path):
    started = []

    def one(keys, signed) -> None:
        registry = Registry(keys, signed)
        started.append(registry.server)
        url = f"http://127.0.0.1:{registry.server.server_port}/"
        for name, value in signing.environment(url, tmp_path).items():
            monkeypatch.setenv(name, value)

    yield one
    for server in started:
        server.shutdown()
        server.server_close()


def test_all_are_verified(serve, signed):
    key, made = signed
    serve([key], made)
    found = signatures.check(PACKAGES)
    assert (found.verified, found.missing, found.unchecked) == (3, (), None)


def test_what_is_not_signed_is_named(serve, signed):
    key, made = signed
    serve([key], {name: text for name, text in made.items() if name != "a@2.0.0"})
    found = signatures.check(PACKAGES)
    assert (found.verified, found.missing) == (2, ("a@2.0.0",))


def test_a_wrong_signature_makes_no_lock(serve, signed):
    key, made = signed
    serve([key], made | {"a@2.0.0": made["a@1.0.0"]})
    with pytest.raises(BadInputError, match=r"signature is wrong for a@2\.0\.0;"):
        signatures.check(PACKAGES)


def test_a_registry_without_keys_is_said_to_have_none(serve):
    serve([], {})
    found = signatures.check(PACKAGES)
    assert found.verified == 0
    assert found.unchecked is not None
    assert "127.0.0.1" not in found.unchecked
