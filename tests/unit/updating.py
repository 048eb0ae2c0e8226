"""For the tests of `update`: a small checkout, archives of releases, and a server that may behave badly."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import making

from opencode_cache.formats import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

ARCHIVES = {
    "aarch64-darwin": ("tui-darwin-arm64", "opencode-darwin-arm64.zip"),
    "aarch64-linux": ("tui-linux-arm64", "opencode-linux-arm64.tar.gz"),
    "x86_64-linux": ("tui-linux-x64", "opencode-linux-x64-baseline.tar.gz"),
}
OLD_REV, NEW_REV = "1" * 40, "2" * 40
OLD_HASH = "sha256-" + "A" * 43 + "="
NIX_HASH = "sha256-" + "N" * 43 + "="


def url(version: str, archive: str) -> str:
    return f"https://github.com/anomalyco/opencode/releases/download/v{version}/{archive}"


def some_lock(version: str = "1.18.21", plugin: str = "1.0.0", **fields: Any) -> lock.Lock:
    """A lock for that OpenCode with one package in it."""
    package = making.package("@opencode-ai/plugin", plugin, size=1_000_000, **fields)
    return making.lock(
        [package],
        {"config": {"node_modules/@opencode-ai/plugin": package.key}},
        [making.request("config", "@opencode-ai/plugin", "config", plugin)],
        version=version,
        binaries={"x86_64-linux": making.package("opencode-linux-x64-baseline", version)},
    )


def repository(root: Path, version: str = "1.18.21") -> Path:
    """A checkout whose systems all have that version."""
    flake = "{{\n  inputs = {{\n{}  }};\n  outputs = import {}/nix/outputs.nix;\n}}\n"
    inputs = "".join(
        f'    {name} = {{\n      url = "{url(version, archive)}";\n      flake = false;\n    }};\n'
        for name, archive in ARCHIVES.values()
    )
    nodes: dict[str, Any] = {"root": {"inputs": {}}}
    for name, archive in ARCHIVES.values():
        place = {"type": "tarball", "url": url(version, archive)}
        nodes[name] = {"flake": False, "locked": place | {"narHash": OLD_HASH}, "original": place}
    for name, owner, repo in (("nixpkgs", "NixOS", "nixpkgs"), ("models-dev", "anomalyco", "models.dev")):
        source = {"owner": owner, "repo": repo, "type": "github"}
        pin = {"lastModified": 1_780_000_000, "narHash": OLD_HASH, "rev": OLD_REV}
        nodes[name] = {"locked": source | pin, "original": source}
    nodes["nixpkgs"]["original"] |= {"ref": "nixpkgs-unstable"}
    nodes["root"]["inputs"] = {name: name for name in nodes if name != "root"}
    releases = {system: {"input": name, "version": version} for system, (name, _) in ARCHIVES.items()}
    write(
        root,
        {
            "flake.nix": flake.format(inputs, "."),
            "opencode/flake.nix": flake.format(inputs, ".."),
            "flake.lock": dumps({"nodes": nodes, "root": "root", "version": 7}),
            "opencode/flake.lock": dumps({"nodes": nodes, "root": "root", "version": 7}),
            "nix/releases.json": dumps(releases),
            "nix/locks/opencode-cache.lock.json": lock.dumps(some_lock(version)),
            "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n* The first thing.\n",
        },
    )
    return root


def dumps(document: object) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a checkout but those that are ignored."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".cache" not in path.parts
    }


def tar_gz(content: bytes, name: str = "opencode", mode: int = 0o755, *more: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, data in ((name, content), *more):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def zipped(content: bytes, name: str = "opencode", mode: int = 0o100755, *more: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in ((name, content), *more):
            member = zipfile.ZipInfo(path)
            member.create_system, member.external_attr = 3, mode << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@dataclass
class Answer:
    """`drip`: seconds between the bytes of an endless body; `length`: what Content-Length claims."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    drip: float | None = None
    silent: float = 0


def document(data: object, **fields: Any) -> Answer:
    return Answer(json.dumps(data).encode(), **fields)


class Server:
    """A table: path -> answer, several one after the other, or a function of the request's headers."""

    def __init__(self) -> None:
        self.table: dict[str, Answer | list[Answer] | Callable[[Any], Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.unexpected: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    outer.reply(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, dict(handler.headers)))
        found = self.table.get(handler.path)
        if found is None:
            self.unexpected.append(handler.path)
            found = Answer(status=404)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        answer = found if isinstance(found, Answer) else found(handler.headers)
        time.sleep(answer.silent)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        body = answer.body if isinstance(answer.body, bytes) else None
        if body is not None and answer.drip is None:
            handler.send_header("Content-Length", str(answer.length or len(body)))
        handler.end_headers()
        while answer.drip is not None:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(answer.drip)
        for piece in [body] if body is not None else answer.body:
            handler.wfile.write(piece)  # type: ignore[arg-type]
