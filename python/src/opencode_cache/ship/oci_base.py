"""Reads OCI image layouts, as a directory or in a tar: the base of an image, and images to be joined.

(https://github.com/opencontainers/image-spec, 1.1: image-layout.md, manifest.md, config.md.) Nothing of it is
unpacked; every blob is checked by its digest, and every document is small.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, cast

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
_LARGEST_DOCUMENT = 4 << 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_DEPTH = 4
"""Of indexes in indexes."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A layer, or another blob, as it stands there."""

    descriptor: dict[str, Any]
    diff_id: str
    pieces: Callable[[], Iterator[bytes]]
    """Its bytes; raises BadInputError at the end where they are not those of its digest."""


@dataclass(frozen=True)
class Base:
    """What is taken of the base image."""

    layers: tuple[Layer, ...] = ()
    digest: str = ""
    """Of its manifest."""
    env: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = field(default=())


def is_layout(path: Path) -> bool:
    """Whether it is, or is to be, an OCI layout: a file, or a directory that says so."""
    return path.is_file() or (path / "oci-layout").is_file()


def read(path: Path, architecture: str) -> Base:
    """The image in a layout, for that architecture. Raises BadInputError for what cannot be a base."""
    layout = _Layout(path)
    try:
        index = layout.document("index.json")
        descriptor = layout.image(index, architecture)
        manifest = layout.blob(descriptor)
        config = layout.blob(manifest["config"])
        diff_ids, given = config["rootfs"]["diff_ids"], manifest["layers"]
        if len(diff_ids) != len(given):
            raise layout.refused("its configuration has other layers than its manifest")
        if (config.get("os"), config.get("architecture")) != ("linux", architecture):
            raise layout.refused(f"is not for linux/{architecture}")
        return Base(
            layers=tuple(layout.layer(one, diff_id) for one, diff_id in zip(given, diff_ids, strict=True)),
            digest=descriptor["digest"],
            env=tuple(map(str, (config.get("config") or {}).get("Env") or ())),
            history=tuple(dict(one) for one in config.get("history") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise layout.refused(f"{type(error).__name__}: {error}") from error


def parts(path: Path) -> tuple[list[dict[str, Any]], list[Layer], str]:
    """The images of a layout as its index names them, with their platforms; every blob; what it is called.

    Raises BadInputError for what is no layout.
    """
    layout = _Layout(path)
    try:
        index = layout.document("index.json")
        images = layout.images(index)
        (name,) = {str(one["annotations"]["org.opencontainers.image.ref.name"]) for one in index["manifests"]}
        blobs = []
        for descriptor in images:
            manifest = layout.blob(descriptor)
            blobs += [layout.part(one) for one in (descriptor, manifest["config"], *manifest["layers"])]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise layout.refused(f"{type(error).__name__}: {error}") from error
    return images, blobs, name


class _Layout:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        if path.is_file():
            try:
                self._tar = tarfile.open(path, "r:")  # noqa: SIM115 - layers are read later
                self._members = {one.name.removeprefix("./"): one for one in self._tar if one.isfile()}
            except (tarfile.TarError, OSError, ValueError) as error:
                raise self.refused("no tar, or a compressed one") from error
            if "oci-layout" not in self._members:
                raise self.refused("it has no `oci-layout`")

    def refused(self, why: str) -> BadInputError:
        return BadInputError(
            f"{self.path}: cannot be used ({why}); give an OCI layout, as `skopeo copy` writes it to "
            "`oci-archive:FILE` or `oci:DIR`, or for a base a directory with a root file system"
        )

    def opened(self, name: str) -> tuple[IO[bytes], int]:
        if self._tar is None:
            try:
                file = (self.path / name).open("rb")
                return file, os.fstat(file.fileno()).st_size
            except OSError as error:
                raise self.refused(f"{name}: {error.strerror}") from error
        if name not in self._members:
            raise self.refused(f"{name} is missing")
        member = self._members[name]
        return cast("IO[bytes]", self._tar.extractfile(member)), member.size

    def document(self, name: str, digest: str = "") -> dict[str, Any]:
        file, size = self.opened(name)
        with file:
            data = file.read(_LARGEST_DOCUMENT + 1)
        if len(data) > _LARGEST_DOCUMENT:
            raise self.refused(f"{name} has {size} bytes")
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise self.refused(f"{name}: checksum mismatch")
        parsed = json.loads(data)
        if not isinstance(parsed, dict):
            raise self.refused(f"{name} is no object")
        return parsed

    def hexadecimal(self, descriptor: dict[str, Any]) -> str:
        match = _DIGEST.fullmatch(str(descriptor["digest"]))
        if not match:
            raise self.refused(f"a digest is not sha256's: {str(descriptor['digest'])[:80]}")
        return match[1]

    def blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        digest = self.hexadecimal(descriptor)
        return self.document(f"blobs/sha256/{digest}", digest)

    def image(self, index: dict[str, Any], architecture: str, depth: int = 0) -> dict[str, Any]:
        """The descriptor of the one image that fits."""
        fitting = [one for one in index["manifests"] if self._fits(one, architecture)]
        if len(fitting) != 1 or depth > _DEPTH:
            raise self.refused(f"it has {len(fitting)} images for linux/{architecture}, and not one")
        (descriptor,) = fitting
        if descriptor["mediaType"] == INDEX:
            return self.image(self.blob(descriptor), architecture, depth + 1)
        return dict(descriptor)

    def _fits(self, descriptor: dict[str, Any], architecture: str) -> bool:
        platform = descriptor.get("platform") or {"os": "linux", "architecture": architecture}
        return descriptor["mediaType"] in (INDEX, MANIFEST) and (
            (platform["os"], platform["architecture"]) == ("linux", architecture)
        )

    def images(self, index: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
        """The descriptors of all images."""
        descriptors: list[dict[str, Any]] = []
        for one in index["manifests"]:
            if one["mediaType"] == INDEX and depth < _DEPTH:
                descriptors += self.images(self.blob(one), depth + 1)
            elif one["mediaType"] == MANIFEST:
                kept = ("mediaType", "digest", "size", "platform")
                descriptors.append({key: one[key] for key in kept})
        return descriptors

    def layer(self, descriptor: dict[str, Any], diff_id: str) -> Layer:
        if not str(descriptor["mediaType"]).startswith(LAYER) or not _DIGEST.fullmatch(str(diff_id)):
            raise self.refused(f"a layer is of the kind {str(descriptor['mediaType'])[:80]}")
        return self.part(descriptor, diff_id)

    def part(self, descriptor: dict[str, Any], diff_id: str = "") -> Layer:
        """A blob, whatever it is."""
        digest = self.hexadecimal(descriptor)
        kept = {key: descriptor[key] for key in ("mediaType", "digest", "size")}

        def pieces() -> Iterator[bytes]:
            actual, size = hashlib.sha256(), 0
            file, _ = self.opened(f"blobs/sha256/{digest}")
            with file:
                while piece := file.read(_CHUNK):
                    actual.update(piece)
                    size += len(piece)
                    yield piece
            if (actual.hexdigest(), size) != (digest, descriptor["size"]):
                raise self.refused(f"blob {digest}: checksum mismatch")

        return Layer(kept, diff_id, pieces)
