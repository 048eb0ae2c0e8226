"""Registry signatures: the real npm, a registry on loopback that signs, and keys of our own."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats.lock import Package
from opencode_cache.npm import client as npm
from opencode_cache.resolve import signatures

SIGN = """
const crypto = require("node:crypto")
const { publicKey, privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" })
const messages = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
console.log(JSON.stringify({
  key: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
  signatures: messages.map((m) => crypto.createSign("SHA256").update(m).sign(privateKey, "base64")),
}))
"""
# npm asks sigstore's repository for keys first, which no test can reach; that has none for this registry.
NO_SIGSTORE = """
const Module = require("node:module")
const load = Module._load
Module._load = function (name, ...more) {
  if (name !== "@sigstore/tuf") return load.call(this, name, ...more)
  const none = () => Promise.reject(Object.assign(new Error("none"), { code: "TUF_FIND_TARGET_ERROR" }))
  return { initTUF: async () => ({ getTarget: none }) }
}
"""
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
                dist["signatures"] = [{"keyid": "one", "sig": signed[package.key]}]
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
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def signed():
    """The public key, and a signature for each package as npm's registry makes them."""
    npms = npm.command()
    node = npms[0] if len(npms) > 1 else shutil.which("node")
    if node is None:
        pytest.skip("needs node on PATH")
    messages = json.dumps([f"{package.key}:{package.integrity}" for package in PACKAGES])
    made = json.loads(
        subprocess.run([node, "-e", SIGN], input=messages, capture_output=True, text=True, check=True).stdout
    )
    key = {"keyid": "one", "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256"}
    return key | {"key": made["key"], "expires": None}, dict(
        zip((package.key for package in PACKAGES), made["signatures"], strict=True)
    )


@pytest.fixture
def serve(monkeypatch, tmp_path):
    started = []

    def one(keys, signed) -> None:
        registry = Registry(keys, signed)
        started.append(registry.server)
        preload = tmp_path / "no-sigstore.cjs"
        preload.write_text(NO_SIGSTORE)
        monkeypatch.setenv("NODE_OPTIONS", f"--require={preload}")
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{registry.server.server_port}/")
        monkeypatch.setenv("npm_config_userconfig", str(Path("/dev/null")))

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
