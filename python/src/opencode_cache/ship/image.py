"""Writes an OCI image of an installation: an image layout in a tar, without a daemon.

(https://github.com/opencontainers/image-spec, 1.1.) Layers, from below: those of the base, or one of a root
directory; one for OpenCode, which is another with each version; one for the cache, the wrapper and the bill
of materials. The same input and SOURCE_DATE_EPOCH give the same bytes wherever zlib packs alike; the layers'
`diff_ids` are the same even where it does not.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats import proof as proofs
from opencode_cache.ship import oci_base, source_date
from opencode_cache.ship.file_format import OPENCODE, PROGRAM
from opencode_cache.ship.installation import CYCLONEDX, PRESET, Choices, installation
from opencode_cache.ship.items import Item
from opencode_cache.ship.oci_layout import Layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opencode_cache.formats.manifest import Manifest

ROOT = "opt/opencode"
"""Where it lies in the image."""
_ANNOTATED = {CYCLONEDX: "opencode-cache.bill", proofs.FILE: "opencode-cache.proof"}
"""Documents in the image -> the annotation that says where; another one has the digest."""
HOME = "/home/opencode"
USER = "1000:1000"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ANYBODYS = 0o1777
_ANYBODYS_DIRECTORIES = ("home/opencode", "work")
"""What whoever runs it may write to, with any user id."""
_MOUNTED = ("dev", "proc", "sys")
"""What an engine mounts over: nothing of it is taken from a root directory."""


@dataclass(frozen=True)
class Image:
    """An image that was written."""

    file: Path
    digest: str
    """Of its manifest: `sha256:` and hexadecimal digits."""
    version: str
    size: int
    """The file's length, in bytes."""
    layers: int


@dataclass(frozen=True)
class Index:
    """Images of several machines in one file."""

    file: Path
    digest: str
    version: str
    size: int
    machines: tuple[str, ...]
    """Such as `linux/arm64`."""


def image(
    cache: Path, opencode: Path, out: Path, choices: Choices | None = None, *, base: Path | None = None
) -> Image:
    """Write the image of a cache and an OpenCode program to `out`, at once or not at all.

    `base` is an OCI layout (a directory, or a tar), or a directory with a root file system, of which owners,
    times and extended attributes are not kept. Raises BadInputError for what cannot be in an image, and where
    `out` cannot be written.
    """
    choices = choices or Choices()
    manifest = manifests.read(cache)
    architecture = _architecture(manifest)
    items = installation(manifest, cache, opencode, choices)
    # Proved with the rest, where the wrapper finds it; in an image it lies where OpenCode itself looks.
    preset = {path: items.pop(path) for path in list(items) if path.split("/")[0] == PRESET.split("/")[0]}
    annotated = {name: items[name].data or b"" for name in _ANNOTATED if name in items}
    program = {f"{ROOT}/{OPENCODE}": items.pop(OPENCODE)}
    mine = {f"{ROOT}/{path}": item for path, item in items.items()}
    mine |= {path: Item(mode=_ANYBODYS) for path in _ANYBODYS_DIRECTORIES}
    mine |= preset
    with _written(out) as (layout, write):
        under = _base(layout, base, architecture)
        layout.add_layer(tar(_with_parents(program)), "OpenCode")
        layout.add_layer(tar(_with_parents(mine)), "its cache and wrapper")
        config, annotations = _documents(manifest, under, architecture, annotated)
        digest = layout.finish(config, annotations, manifest.opencode)
        size = write()
    return Image(out, digest, manifest.opencode, size, len(layout.layers))


def join(images: Sequence[Path], out: Path) -> Index:
    """Write images of several machines, each what `image` wrote, as one index to `out`.

    Raises BadInputError for what is no image, for two of one machine or of two versions, and where `out`
    cannot be written.
    """
    with _written(out) as (layout, write):
        of: dict[str, Path] = {}
        all_descriptors, names = [], set()
        for path in images:
            descriptors, blobs, name = oci_base.parts(path)
            names.add(name)
            for one in descriptors:
                machine = f"{one['platform']['os']}/{one['platform']['architecture']}"
                if machine in of:
                    raise BadInputError(
                        f"{path}: is for {machine}, as is {of[machine]}; leave one of the two out"
                    )
                of[machine] = path
            all_descriptors += descriptors
            for blob in blobs:
                layout.copy_blob(blob)
        if len(names) != 1:
            raise BadInputError(
                f"{images[0]}: is not of the version of the others ({', '.join(sorted(names))}); "
                "join images of one OpenCode"
            )
        all_descriptors.sort(key=lambda one: str(one["platform"]["architecture"]))
        (name,) = names
        digest = layout.finish_index(all_descriptors, name)
        size = write()
    return Index(out, digest, name, size, tuple(sorted(of)))


@contextmanager
def _written(out: Path) -> Iterator[tuple[Layout, Callable[[], int]]]:
    """A layout to fill, and what puts it at `out`, at once or not at all. Raises BadInputError."""
    if out.is_dir():
        raise BadInputError(f"{out}: is a directory; give the name of a file, such as {out / 'x.oci.tar'}")
    try:
        with files.beside(out) as beside:
            layout = Layout(beside)

            def write() -> int:
                size = layout.write(beside / "image")
                (beside / "image").replace(out)
                return size

            yield layout, write
    except OSError as error:
        raise BadInputError(
            f"{out}: the image cannot be made ({error.filename or out}: {error.strerror}); "
            "make room there, or choose another place"
        ) from error


def _architecture(manifest: Manifest) -> str:
    machine, _, rest = manifest.system.partition("-")
    if not rest.startswith("linux") or machine not in _ARCHITECTURES:
        raise BadInputError(
            f"the cache is for {manifest.system}, and images are for Linux; build it for that"
        )
    return _ARCHITECTURES[machine]


def _base(layout: Layout, base: Path | None, architecture: str) -> oci_base.Base:
    if base is None:
        return oci_base.Base()
    if oci_base.is_layout(base):
        base_image = oci_base.read(base, architecture)
        for layer in base_image.layers:
            layout.copy_layer(layer)
        layout.history += base_image.history
        return base_image
    if not base.is_dir():
        raise BadInputError(f"{base}: neither a file nor a directory; give an OCI layout or a root directory")
    layout.add_layer(tar(dict(_root(base))), f"the root directory {base.name}")
    return oci_base.Base()


def _root(base: Path) -> Iterator[tuple[str, Item]]:
    for directory, directories, names in os.walk(base):
        below = Path(directory).relative_to(base).as_posix()
        if below in _MOUNTED:
            directories.clear()
            continue
        for name in (*directories, *names):
            path = Path(directory) / name
            own = name if below == "." else f"{below}/{name}"
            if not _utf8(own):
                raise BadInputError(f"{str(path)!r}: a name that is not UTF-8; take it out of the base")
            status = path.lstat()
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                yield own, Item(target=os.readlink(path), mode=mode)  # noqa: PTH115 - its text as it is
            elif stat.S_ISDIR(status.st_mode):
                yield own, Item(mode=mode)
            elif stat.S_ISREG(status.st_mode):
                yield own, Item(file=path, mode=mode)
            else:
                raise BadInputError(
                    f"{path}: neither a file, a directory nor a link; take it out of the base"
                )


def _utf8(text: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in text)


def _with_parents(items: Mapping[str, Item]) -> dict[str, Item]:
    """An engine makes a directory that no layer names with a mode of its own, in some with 0600."""
    above = {str(parent) for path in items for parent in PurePosixPath(path).parents if parent.name}
    return {**dict.fromkeys(above, Item()), **items}


def _documents(
    manifest: Manifest, base: oci_base.Base, architecture: str, documents: Mapping[str, bytes]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration, but for the layers, and the manifest's annotations."""
    labels = {
        "org.opencontainers.image.title": "OpenCode with its cache",
        "org.opencontainers.image.version": manifest.opencode,
        "org.opencontainers.image.created": source_date.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    annotations = dict(labels)
    for name, data in documents.items():
        key = _ANNOTATED[name]
        annotations[key] = f"/{ROOT}/{name}"
        annotations[f"{key}.digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if base.digest:
        annotations["org.opencontainers.image.base.digest"] = base.digest
    config = {
        "created": labels["org.opencontainers.image.created"],
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": USER,
            "Env": _environment(base.env),
            "Entrypoint": [f"/{ROOT}/{PROGRAM}"],
            "WorkingDir": "/work",
            "Labels": labels,
        },
    }
    return config, annotations


def _environment(base: Iterable[str]) -> list[str]:
    """The base's, with our program first on PATH, and a HOME that anybody may write to."""
    given = dict(one.partition("=")[::2] for one in base)
    ours = {"PATH": f"/{ROOT}/bin:{given.get('PATH') or _PATH}", "HOME": HOME}
    return [f"{name}={value}" for name, value in (given | ours).items()]
