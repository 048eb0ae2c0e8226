"""stream-image.py IMAGE.json STORE-PATH…: an image for `docker load`, on standard output."""

import hashlib
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

MOMENT = 1


class Sink:
    """Takes what is written to it; knows its length and digest."""

    def __init__(self, to=None):
        self.to, self.size, self.digest = to, 0, hashlib.sha256()

    def write(self, block):
        self.size += len(block)
        self.digest.update(block)
        if self.to:
            self.to.write(block)
        return len(block)


def member(tar, path, name):
    info = tar.gettarinfo(path, name)
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = MOMENT
    # A second name of a file would depend on what the store has optimised.
    if info.type == tarfile.LNKTYPE:
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.lstat(path).st_size
    if info.isfile():
        with Path(path).open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def layer(path, name, sink):
    """A store path at its place; or, without a name, a layer that is made already."""
    if not name:
        with Path(path).open("rb") as file:
            shutil.copyfileobj(file, sink)
        return
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for directory in ("nix", "nix/store"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, MOMENT
            tar.addfile(info)
        member(tar, path, name)
        for directory, below, files in os.walk(path):
            below.sort()
            for one in sorted([*below, *files]):
                whole = Path(directory, one)
                member(tar, whole, f"{name}/{os.path.relpath(whole, path)}")


def main(image, *paths):
    wanted = json.loads(Path(image).read_bytes())
    places = [(path, path.lstrip("/")) for path in paths if path != wanted["top"]] + [(wanted["top"], "")]
    sinks = []
    for path, name in places:
        sinks.append(Sink())
        layer(path, name, sinks[-1])
    digests = [sink.digest.hexdigest() for sink in sinks]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:01Z",
            "config": wanted["config"],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": "1970-01-01T00:00:01Z", "comment": path} for path, _ in places],
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    layers = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": name, "RepoTags": [wanted["tag"]], "Layers": layers}]).encode()
    out = sys.stdout.buffer
    for (path, place), file, sink in zip(places, layers, sinks, strict=True):
        out.write(header(file, sink.size))
        layer(path, place, out)
        out.write(bytes(-sink.size % tarfile.BLOCKSIZE))
    for file, content in ((name, config), ("manifest.json", manifest)):
        out.write(header(file, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE))
    out.write(bytes(tarfile.RECORDSIZE))


def header(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, MOMENT
    return info.tobuf(tarfile.GNU_FORMAT)


main(*sys.argv[1:])
