"""Small packages, tarballs, locks and a stand-in for OpenCode, made on the fly."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from opencode_cache.formats.lock import Lock, Package
from opencode_cache.formats.proof import Proof, Step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def integrity(data: bytes) -> str:
    """npm's notation of a sha512."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def package(name: str, version: str = "1.0.0", content: bytes | None = None, **fields: Any) -> Package:
    """A package with the integrity of that content (or of its own key, where nobody will look)."""
    data = f"{name}@{version}".encode() if content is None else content
    return Package(name=name, version=version, integrity=integrity(data), **fields)


def tarball(files: Mapping[str, str | bytes], modes: Mapping[str, int] | None = None) -> bytes:
    """A .tgz as `npm pack` writes it: everything below `package/`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(data)
            member.mode = (modes or {}).get(path, 0o644)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=0)


def npm_package(name: str, version: str = "1.0.0", **fields: Any) -> tuple[Package, bytes]:
    """A package that can be unpacked, and its tarball."""
    manifest = {"name": name, "version": version, "main": "index.js"}
    if "bin" in fields:
        manifest["bin"] = fields["bin"]
    files = {"package.json": json.dumps(manifest), "index.js": f"module.exports = {json.dumps(name)}\n"}
    files |= dict.fromkeys(fields.get("bin", {}).values(), "#!/usr/bin/env node\n")
    data = tarball(files)
    return package(name, version, data, size=len(data), **fields), data


def request(kind: str, spec: str, tree: str, version: str = "1.0.0", **fields: Any) -> dict[str, Any]:
    """One of a lock's requests."""
    name = spec if spec.rfind("@") < 1 else spec[: spec.rfind("@")]
    return {
        "kind": kind,
        "spec": spec,
        "name": name,
        "requested": "latest",
        "version": version,
        "tree": tree,
    } | fields


def lock(
    packages: list[Package],
    trees: Mapping[str, Mapping[str, str]],
    requests: list[dict[str, Any]],
    **opencode: Any,
) -> Lock:
    """A lock for OpenCode 1.18.33, unless told otherwise."""
    about = {
        "version": "1.18.33",
        "layout": "packages",
        "bundled": [],
        "binaries": {"x86_64-linux": package("opencode-linux-x64-baseline", "1.18.33")},
    }
    return Lock.model_validate(
        {
            "opencode": about | opencode,
            "packages": {found.key: found for found in packages},
            "trees": trees,
            "requests": requests,
        }
    )


def opencode_stand_in(path: Path, version: str = "1.18.33") -> Path:
    """A program that answers `--version` as OpenCode does, and nothing else."""
    path.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def proof(**fields: Any) -> Proof:
    """A proof that holds, with one step, unless told otherwise."""
    about = {
        "manifest_sha256": "a" * 64,
        "binary_sha256": "b" * 64,
        "tool": "0.1.0",
        "opencode": "1.18.33",
        "time": "2026-11-26T01:02:03Z",
        "machine": "x86_64, 2 CPUs",
        "kernel": "Linux 6.1.0",
        "start_seconds": 0.5,
        "path": ("/usr/bin", "/bin"),
        "isolated": True,
        "steps": (Step(name="models", ok=True, seconds=2.76, detail="8 listed"),),
        "hosts": (),
        "ok": True,
    }
    return Proof.model_validate(about | fields)
