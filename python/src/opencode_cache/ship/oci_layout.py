"""Writes an OCI image layout (https://github.com/opencontainers/image-spec, 1.1) as a tar."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import BadInputError
from opencode_cache.ship import oci_base
from opencode_cache.ship.file_format import BLOCK, END, tar_header
from opencode_cache.ship.items import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_LEVEL = 6


def tar(items: Mapping[str, Item]) -> Iterator[bytes]:
    """The pieces of a layer's tar: path -> item, directories before what is in them."""
    for path in sorted(items, key=lambda path: path.split("/")):
        item = items[path]
        if item.target:
            yield tar_header(path, b"2", item.mode, 0, item.target)
        elif item.file is None and item.data is None:
            yield tar_header(path, b"5", item.mode, 0)
        else:
            size = len(item.data) if item.data is not None else _size(item.file)
            yield tar_header(path, b"0", item.mode, size)
            left = size
            for piece in item.pieces():
                left -= len(piece)
                yield piece
            if left:
                raise BadInputError(f"{item.file}: changed while it was read; make the image again")
            yield bytes(-size % BLOCK)
    yield END


def _size(file: Path | None) -> int:
    return file.stat().st_size if file else 0


class Layout:
    """Blobs in a directory, and what refers to them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "blobs"
        self._directory.mkdir()
        self._documents: dict[str, bytes] = {}
        self.layers: list[dict[str, Any]] = []
        self.diff_ids: list[str] = []
        self.history: list[dict[str, Any]] = []

    def add_layer(self, pieces: Iterable[bytes], what: str) -> None:
        """Pack a tar. A gzip header of zlib's own has no time in it."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        plain = hashlib.sha256()

        def packed() -> Iterator[bytes]:
            for piece in pieces:
                plain.update(piece)
                yield packer.compress(piece)
            yield packer.flush()

        digest, size = self._blob(packed())
        self.layers.append(
            {"mediaType": f"{oci_base.LAYER}+gzip", "digest": f"sha256:{digest}", "size": size}
        )
        self.diff_ids.append(f"sha256:{plain.hexdigest()}")
        self.history.append({"created_by": f"opencode-cache image: {what}"})

    def copy_blob(self, blob: oci_base.Layer) -> None:
        """Add it as it is. Raises BadInputError where its digest is another."""
        self._blob(blob.pieces())

    def copy_layer(self, layer: oci_base.Layer) -> None:
        """Add a layer of the base image as it is. Raises BadInputError where its digest is another."""
        self.copy_blob(layer)
        self.layers.append(layer.descriptor)
        self.diff_ids.append(layer.diff_id)

    def finish(self, config: dict[str, Any], annotations: dict[str, str], name: str) -> str:
        """Add the configuration, the manifest and an index that calls it `name`; the manifest's digest."""
        config = config | {
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            "history": self.history,
        }
        document = {
            "schemaVersion": 2,
            "mediaType": oci_base.MANIFEST,
            "config": self._document(config, oci_base.CONFIG),
            "layers": self.layers,
            "annotations": annotations,
        }
        descriptor = self._document(document, oci_base.MANIFEST)
        platform = {"architecture": config["architecture"], "os": config["os"]}
        self._name(descriptor | {"platform": platform}, name)
        return str(descriptor["digest"])

    def finish_index(self, images: Sequence[dict[str, Any]], name: str) -> str:
        """Add an index of these images, whose blobs are here, and call it `name`; its digest."""
        descriptor = self._document(_index(images), oci_base.INDEX)
        self._name(descriptor, name)
        return str(descriptor["digest"])

    def _name(self, descriptor: dict[str, Any], name: str) -> None:
        labels = {"annotations": {"org.opencontainers.image.ref.name": name}}
        self._documents["index.json"] = _json(_index([descriptor | labels]))
        self._documents["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})

    def write(self, to: Path) -> int:
        """Write the layout as a tar; its length."""
        blobs = {
            f"blobs/sha256/{path.name}": Item(file=path, mode=0o644) for path in self._directory.iterdir()
        }
        documents = {name: Item(data=data, mode=0o644) for name, data in self._documents.items()}
        with to.open("xb") as file:
            for piece in tar({"blobs": Item(), "blobs/sha256": Item(), **blobs, **documents}):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _document(self, document: dict[str, Any], kind: str) -> dict[str, Any]:
        digest, size = self._blob([_json(document)])
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}

    def _blob(self, pieces: Iterable[bytes]) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        making = self._directory / ".making"
        with making.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        making.rename(self._directory / digest.hexdigest())
        return digest.hexdigest(), size


def _index(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": oci_base.INDEX, "manifests": list(images)}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
