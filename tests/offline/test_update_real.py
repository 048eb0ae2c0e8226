"""`update` on a copy of this repository's files: the real npm and OpenCode, GitHub away or on loopback.

The copy is set back to 1.18.21. The refusal that needs a registry without some of the binaries is skipped
where it has them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from kept import KEPT, REPOSITORY, slow

from opencode_cache.base.errors import NetworkError
from opencode_cache.formats import lock
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms

NOWHERE = "http://127.0.0.1:9"
OLD, NEW = "1.18.21", "1.18.33"
LINUX = "x86_64-linux"
# Public: of the release archives, from a flake.lock elsewhere (1.18.21) and `nix hash path` (1.18.33).
HASHES = {
    OLD: "sha256-B+9E9ycdCBWklrBhzbQw1rirctMN5uzubSy9vPN7Ths=",
    NEW: "sha256-PPIp7te+XkB4qozpleLQxdX0TFQLBHHYmK/HrqT3Fw4=",
}
FILES = ("flake.nix", "flake.lock", "opencode", "nix", "CHANGELOG.md")


@pytest.fixture(scope="module", autouse=True)
def _possible():
    if platforms.current().name != LINUX:
        pytest.skip("needs x86_64 Linux with glibc, whose release npm has under both versions")
    for version in (OLD, NEW):
        try:
            npm.view(f"opencode-linux-x64-baseline@{version}")
        except NetworkError as error:
            pytest.skip(f"needs the npm registry: {error}")


@pytest.fixture(scope="module")
def home():
    """Downloads and proofs, kept between runs."""
    place = KEPT / "update"
    (place / "cache" / "opencode-cache").mkdir(parents=True, exist_ok=True)
    link = place / "cache" / "opencode-cache" / "tarballs"
    if not link.is_symlink():
        (KEPT / "tarballs").mkdir(parents=True, exist_ok=True)
        link.symlink_to(KEPT / "tarballs")
    return {"XDG_CACHE_HOME": str(place / "cache"), "XDG_DATA_HOME": str(place / "data")}


@pytest.fixture
def checkout(tmp_path):
    """This repository's files with every system at the old version."""
    root = tmp_path / "checkout"
    names = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", *FILES], capture_output=True, text=True, check=False
    ).stdout.split()
    for name in names or [
        path.relative_to(REPOSITORY).as_posix()
        for given in FILES
        for path in [REPOSITORY / given, *(REPOSITORY / given).rglob("*")]
        if path.is_file()
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((REPOSITORY / name).read_bytes())
    for name in ("flake.nix", "opencode/flake.nix", "flake.lock", "opencode/flake.lock", "nix/releases.json"):
        text = (root / name).read_text(encoding="utf-8")
        text = re.sub(r"(/releases/download/v)[0-9.]+/", rf"\g<1>{OLD}/", text)
        text = re.sub(r'("version": ")[0-9.]+(")', rf"\g<1>{OLD}\g<2>", text)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def start(checkout, home):
    def popen(*arguments, github=NOWHERE, **more):
        settings = {"OPENCODE_CACHE_GITHUB": github, "OPENCODE_CACHE_GITHUB_API": github, "COLUMNS": "200"}
        return subprocess.Popen(
            [sys.executable, "-m", "opencode_cache", "update", *arguments],
            cwd=checkout,
            env=os.environ | home | settings | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return popen


@pytest.fixture
def run(start):
    def finished(*arguments, **more):
        with start(*arguments, **more) as process:
            out, err = process.communicate(timeout=400)
        assert "Traceback" not in err
        return process.returncode, out, err

    return finished


def contents(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".cache" not in path.parts
    }


def releases(root):
    found = json.loads((root / "nix" / "releases.json").read_text(encoding="utf-8"))
    return {name: entry["version"] for name, entry in found.items()}


def has(name):
    try:
        return bool(npm.view(name))
    except npm.NotInRegistryError:
        return False


def test_what_cannot_be_computed_is_named_and_every_file_is_as_it_was(run, checkout):
    if has(f"opencode-darwin-arm64@{NEW}") or has(f"opencode-linux-arm64@{NEW}"):
        pytest.skip("needs a registry that has not every system's binary")
    before = contents(checkout)
    status, out, err = run("--opencode-version", NEW)
    assert (status, out) == (3, "")
    said = err.splitlines()[-1]
    for word in (
        "tui-darwin-arm64 (aarch64-darwin)",
        "tui-linux-arm64 (aarch64-linux)",
        "nothing was changed",
    ):
        assert word in said
    assert contents(checkout) == before


@slow
def test_one_system_moves_with_its_pins_and_locks_and_twice_is_once(run, checkout):
    before = contents(checkout)
    status, out, err = run("--opencode-version", NEW, "--system", LINUX, "--markdown", "../pr.md")
    assert status == 0, err
    assert releases(checkout) == {"aarch64-darwin": OLD, "aarch64-linux": OLD, LINUX: NEW}
    for word in ("aarch64-darwin 1.18.21: not asked for", "aarch64-linux 1.18.21: not asked for", "nixpkgs"):
        assert f"left as it was: {word}" in out
    assert "| release |" in (checkout.parent / "pr.md").read_text(encoding="utf-8")
    after = contents(checkout)
    assert after["flake.lock"] == after["opencode/flake.lock"]
    nodes = json.loads(after["flake.lock"])["nodes"]
    assert nodes["tui-linux-x64"]["locked"]["narHash"] == HASHES[NEW]
    old_nodes = json.loads(before["flake.lock"])["nodes"]
    assert {name for name in nodes if nodes[name] != old_nodes[name]} == {"tui-linux-x64"}
    for name in ("flake.nix", "opencode/flake.nix"):
        assert after[name].decode().count(f"/v{NEW}/") == 1
        assert after[name].decode().count(f"/v{OLD}/") == 2
    versions = {lock.read(path).opencode.version for path in (checkout / "nix" / "locks").glob("*.lock.json")}
    assert {OLD, NEW, "1.0.61"} <= versions
    status, out, _ = run("--opencode-version", NEW, "--system", LINUX)
    assert (status, out.splitlines()[0]) == (0, f"nothing is newer; OpenCode {NEW}")
    assert contents(checkout) == after


@slow
@pytest.mark.parametrize("delay", [0.4, 2, 6, 15])
def test_ctrl_c_at_any_moment(start, checkout, delay):
    before = contents(checkout)
    with start("--opencode-version", NEW, "--system", LINUX) as process:
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert "Traceback" not in err
    if process.returncode == 130:
        assert contents(checkout) == before
        assert err.splitlines()[-1].endswith("nothing half-made was left behind")
    else:
        assert process.returncode == 0, err
        assert releases(checkout)[LINUX] == NEW
    assert not list((checkout / ".cache" / "update").glob("*"))


@slow
def test_killed_at_any_moment_the_next_run_does_all_of_it(start, run, checkout):
    before = contents(checkout)
    temporary = checkout.parent / "tmp"
    temporary.mkdir()
    arguments, environ = ("--opencode-version", NEW, "--system", LINUX), {"TMPDIR": str(temporary)}
    for delay in (1.5, 5, 12):
        with start(*arguments, **environ) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                assert contents(checkout) == before
    status, _, err = run(*arguments, **environ)
    assert status == 0, err
    assert releases(checkout)[LINUX] == NEW
    nodes = json.loads(contents(checkout)["flake.lock"])["nodes"]
    assert nodes["tui-linux-x64"]["locked"]["narHash"] == HASHES[NEW]
    assert not list((checkout / ".cache" / "update").glob("*"))
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def release(home):
    """GitHub on loopback, with one release that holds npm's bits: (address, what it is asked to spoil)."""
    os.environ.update(home)
    from opencode_cache.fetch import tarballs as tarball  # noqa: PLC0415 - after the environment
    from opencode_cache.update import archives  # noqa: PLC0415

    package = archives.npm_package("opencode-linux-x64-baseline", NEW)
    tarball.fetch([package], KEPT / "tarballs")
    with tarfile.open(KEPT / "tarballs" / package.tarball) as packed:
        program = packed.extractfile("package/bin/opencode").read()
    spoiled = {"": _archive(program), "spoil": _archive(program[:-1] + b"X")}
    name = "opencode-linux-x64-baseline.tar.gz"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            which, _, path = self.path.removeprefix("/").partition("/")
            data = spoiled["spoil" if which == "bad" else ""]
            if path.endswith(f"/tags/v{NEW}"):
                digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
                assets = [{"name": name, "size": len(data), "digest": digest}]
                body = json.dumps({"tag_name": f"v{NEW}", "assets": assets}).encode()
            elif path == f"anomalyco/opencode/releases/download/v{NEW}/{name}":
                body = data
            elif "/commits/" in path:
                body = json.dumps(
                    {"sha": "a" * 40, "commit": {"committer": {"date": "2020-01-01T00:00:00Z"}}}
                ).encode()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _archive(program):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("opencode")
        member.size, member.mode = len(program), 0o755
        archive.addfile(member, io.BytesIO(program))
    return packed.getvalue()


@pytest.fixture
def own_downloads(tmp_path):
    """No archive of another test, but npm's tarballs."""
    (tmp_path / "cache" / "opencode-cache" / "tarballs").mkdir(parents=True)
    for path in (KEPT / "tarballs").glob("opencode-linux-x64-baseline@*.tgz"):
        os.link(path, tmp_path / "cache" / "opencode-cache" / "tarballs" / path.name)
    return str(tmp_path / "cache")


@slow
def test_githubs_archive_and_npms_bits_agree(run, checkout, release, own_downloads):
    before = contents(checkout)
    status, out, err = run(
        *("--opencode-version", NEW, "--system", LINUX, "--check", "--json"),
        github=f"{release}/good",
        XDG_CACHE_HOME=own_downloads,
    )
    assert status == 1, err
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert rows[LINUX]["note"] == "hash from GitHub and npm"
    assert contents(checkout) == before


@slow
def test_one_byte_of_difference_is_refused_with_both_names(run, checkout, release, own_downloads):
    before = contents(checkout)
    status, _, err = run(
        *("--opencode-version", NEW, "--system", LINUX),
        github=f"{release}/bad",
        XDG_CACHE_HOME=own_downloads,
    )
    said = err.splitlines()[-1]
    assert status == 3
    assert f"has {HASHES[NEW]}" in said
    assert "on GitHub has the narHash sha256-" in said
    assert contents(checkout) == before


# A registry that must not be believed; npm is the real one.


class _Registry:
    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


def _reply(handler, body=b"", status=200, length=None, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(length or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _packument(version, **fields):
    name = "opencode-linux-x64-baseline"
    manifest = {"name": name, "version": version, "dist": {"integrity": "sha512-x", "tarball": "http://x/"}}
    found = {"name": name, "dist-tags": {"latest": version}, "versions": {version: manifest | fields}}
    return json.dumps(found).encode()


REGISTRIES = {
    "garbage": lambda h: _reply(h, b"<html>"),
    "empty": _reply,
    "cut": lambda h: _reply(h, _packument(NEW)[:50], length=5000),
    "absent": lambda h: _reply(h, b"{}", 404),
    "broken": lambda h: _reply(h, b"{}", 500),
    "limiting": lambda h: _reply(h, b"{}", 429, Retry_After="3600"),
    "forbidding": lambda h: _reply(h, b"{}", 403),
    "in a circle": lambda h: _reply(h, b"", 302, Location=h.path),
    "elsewhere": lambda h: _reply(h, b"", 302, Location="file:///etc/passwd"),
    "without a hash": lambda h: _reply(h, _packument(NEW)),
    "with another version": lambda h: _reply(h, _packument("1.18.3; rm -rf ~")),
    "with a path for a version": lambda h: _reply(h, _packument("../../../etc")),
    "with a list": lambda h: _reply(h, _packument(NEW, dist=[], license=[{"type": ["x"]}])),
}


@pytest.mark.parametrize("name", sorted(REGISTRIES))
def test_a_registry_that_must_not_be_believed(run, checkout, tmp_path, name):
    before = contents(checkout)
    registry = _Registry(REGISTRIES[name])
    try:
        status, out, err = run(
            *("--opencode-version", NEW, "--system", LINUX),
            npm_config_registry=registry.url,
            npm_config_fetch_retries="0",
            XDG_CACHE_HOME=str(tmp_path / "cache"),
            XDG_DATA_HOME=str(tmp_path / "data"),
        )
    finally:
        registry.server.shutdown()
        registry.server.server_close()
    assert (status, out) == (3, ""), err
    assert len(err.splitlines()[-1]) < 600
    assert contents(checkout) == before
    assert not Path(checkout / ".cache").exists()
