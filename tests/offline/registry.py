"""A registry on loopback with the packages of some locks, out of the tarballs that are kept."""

from __future__ import annotations

import http.server
import json
import tarfile
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opencode_cache.formats.lock import Package


class Registry:
    """npm's documents and tarballs; whatever else is asked for is not there."""

    def __init__(self, packages: Iterable[Package], tarballs: Path) -> None:
        self.packages = {package.key: package for package in packages}
        self.tarballs = tarballs
        self.documents: dict[str, bytes] = {}
        self.keys: list[Mapping[str, object]] = []
        self.signatures: dict[str, list[Mapping[str, str]]] = {}
        """Of each `name@version`, as npm's registry shows them."""
        self.times: dict[str, str] = {}
        """When each `name@version` was published."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.answer(unquote(self.path.partition("?")[0]).removeprefix("/"))
                self.send_response(200 if body else 404)
                body = body or b"{}"
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True  # the client was killed

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> bytes | None:
        if path == "-/npm/v1/keys":
            return json.dumps({"keys": self.keys}).encode() if self.keys else None
        name, _, file = path.partition("/-/")
        if file:
            version = file[len(name.rpartition("/")[2]) + 1 : -len(".tgz")]
            package = self.packages.get(f"{name}@{version}")
            return (self.tarballs / package.tarball).read_bytes() if package else None
        if name not in self.documents:
            here = [package for package in self.packages.values() if package.name == name]
            if not here:
                return None
            self.documents[name] = json.dumps(self._document(name, here)).encode()
        return self.documents[name]

    def _document(self, name: str, packages: list[Package]) -> dict[str, object]:
        versions = {}
        for package in packages:
            with tarfile.open(self.tarballs / package.tarball) as archive:
                manifest = next(
                    member for member in archive if member.name.partition("/")[2] == "package.json"
                )
                versions[package.version] = json.load(archive.extractfile(manifest)) | {
                    "name": name,
                    "version": package.version,
                    "dist": {
                        "integrity": package.integrity,
                        "tarball": f"{self.url}/{name}/-/{name.rpartition('/')[2]}-{package.version}.tgz",
                    },
                }
                if package.key in self.signatures:
                    versions[package.version]["dist"]["signatures"] = self.signatures[package.key]
        newest = max(versions, key=lambda version: [int(n) for n in version.partition("-")[0].split(".")])
        times = {
            package.version: self.times[package.key] for package in packages if package.key in self.times
        }
        return {"name": name, "dist-tags": {"latest": newest}, "versions": versions, "time": times}
