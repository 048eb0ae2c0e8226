"""OCI images: what is in them, that they are the same twice, and hostile bases."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

import bundle_lab
import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest
from opencode_cache.formats import proof as proofs
from opencode_cache.ship import image, proving
from opencode_cache.ship.installation import Choices


@pytest.fixture(autouse=True)
def _epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")


@pytest.fixture
def parts(tmp_path):
    """A cache for x86_64 Linux and a program."""
    cache = bundle_lab.make_cache(tmp_path / "cache")
    made = manifest.read(cache).model_copy(update={"system": "x86_64-linux"})
    (cache / manifest.FILE).write_text(manifest.dumps(made))
    return cache, bundle_lab.make_program(tmp_path / "opencode")


def members(file):
    with tarfile.open(file, "r:") as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}


class Read:
    """An image as a reader sees it; every digest and size is looked at."""

    def __init__(self, file):
        self.files = members(file)
        self.index = json.loads(self.files["index.json"])
        (self.descriptor,) = self.index["manifests"]
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.layers = [self.layer(one) for one in self.manifest["layers"]]
        used = {self.descriptor["digest"], self.manifest["config"]["digest"]}
        used |= {one["digest"] for one in self.manifest["layers"]}
        named = {name.replace("blobs/sha256/", "sha256:") for name in self.files if "/" in name}
        assert named == used

    def blob(self, descriptor):
        data = self.files[descriptor["digest"].replace("sha256:", "blobs/sha256/")]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    def layer(self, descriptor):
        data = gzip.decompress(self.blob(descriptor))
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" in self.config["rootfs"]["diff_ids"]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {one.name: one for one in tar}


def rebuilt(file, to, change):
    """A layout whose members went through `change`."""
    files = change(members(file))
    with tarfile.open(to, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return to


def test_the_same_twice_whatever_the_umask_the_place_and_the_zone(parts, tmp_path, monkeypatch):
    cache, program = parts
    first = image.image(cache, program, tmp_path / "one/x.oci.tar")
    before = os.umask(0o077)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    try:
        second = image.image(cache, program, tmp_path / "two/y.oci.tar")
    finally:
        os.umask(before)
    assert first.file.read_bytes() == second.file.read_bytes()
    assert first.digest == second.digest
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["y.oci.tar"]


def test_what_is_in_it(parts, tmp_path):
    made = image.image(*parts, tmp_path / "x.oci.tar")
    read = Read(made.file)
    assert read.files["oci-layout"] == b'{\n "imageLayoutVersion": "1.0.0"\n}\n'
    assert read.descriptor["digest"] == made.digest
    assert read.descriptor["platform"] == {"architecture": "amd64", "os": "linux"}
    assert read.config["created"] == "2026-09-21T14:13:20Z"
    config = read.config["config"]
    assert (config["User"], config["WorkingDir"]) == ("1000:1000", "/work")
    assert config["Entrypoint"] == ["/opt/opencode/bin/opencode"]
    assert "HOME=/home/opencode" in config["Env"]
    program, rest = read.layers
    assert [name for name, one in program.items() if one.isfile()] == ["opt/opencode/libexec/opencode"]
    # Every directory is named: engines give others a mode of their own.
    for layer in read.layers:
        assert all(name.rpartition("/")[0] in {"", *layer} for name in layer)
    assert {one.uid for layer in read.layers for one in layer.values()} == {0}
    assert rest["home/opencode"].mode == rest["work"].mode == 0o1777
    assert not any(
        one.mode & 0o022 for name, one in rest.items() if name.startswith("opt") and not one.issym()
    )
    annotations = read.manifest["annotations"]
    data = gzip.decompress(read.blob(read.manifest["layers"][1]))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        text = tar.extractfile(annotations["opencode-cache.bill"].removeprefix("/")).read()
    assert (
        read.manifest["annotations"]["opencode-cache.bill.digest"]
        == f"sha256:{hashlib.sha256(text).hexdigest()}"
    )
    assert json.loads(text)["bomFormat"] == "CycloneDX"


def test_the_proof_has_an_annotation(parts, tmp_path):
    cache, program = parts
    proof = making.proof(**proofs.of(cache, proofs.sha256(program)).model_dump())
    read = Read(image.image(cache, program, tmp_path / "x.oci.tar", Choices(prove=lambda _: proof)).file)
    annotations = read.manifest["annotations"]
    data = gzip.decompress(read.blob(read.manifest["layers"][1]))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        text = tar.extractfile(annotations["opencode-cache.proof"].removeprefix("/")).read()
    assert annotations["opencode-cache.proof.digest"] == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_a_preset_is_where_opencode_reads_it(parts, tmp_path):
    read = Read(image.image(*parts, tmp_path / "x.oci.tar", Choices(preset=b"{}\n")).file)
    mine = read.layers[-1]
    assert (mine["etc/opencode/opencode.json"].size, mine["etc/opencode/opencode.json"].mode) == (3, 0o444)
    assert mine["etc/opencode"].mode == 0o755
    assert not [name for name in mine if name.startswith("opt/opencode/etc")]


def test_a_preset_is_proved_with_the_rest(parts, tmp_path):
    """And an image with another one is not proved by that."""
    cache, program = parts
    identity, digests = proofs.of(cache, proofs.sha256(program)), []

    def prove(items):
        digests.append(proving._digest(items))
        return making.proof(**identity.model_dump())

    for preset in (b"{}\n", b'{"share": "disabled"}\n', None):
        image.image(cache, program, tmp_path / "x.oci.tar", Choices(prove=prove, preset=preset))
    assert len(set(digests)) == 3


def test_a_root_directory_is_one_layer_below(parts, tmp_path):
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/sh").write_text("sh")
    (root / "usr/bin/sh").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "dev").mkdir()
    os.mkfifo(root / "dev/initctl")
    read = Read(image.image(*parts, tmp_path / "x.oci.tar", base=root).file)
    base = read.layers[0]
    assert set(base) == {"usr", "usr/bin", "usr/bin/sh", "bin", "tmp", "dev"}
    assert (base["tmp"].mode, base["usr/bin/sh"].mode, base["bin"].linkname) == (0o1777, 0o755, "usr/bin")
    os.mkfifo(root / "tmp/fifo")
    with pytest.raises(BadInputError, match=r"fifo: neither a file"):
        image.image(*parts, tmp_path / "y.oci.tar", base=root)
    assert not (tmp_path / "y.oci.tar").exists()


@pytest.fixture
def base(parts, tmp_path):
    """An image to build on, as a tar."""
    root = tmp_path / "base-root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text("NAME=base\n")
    return image.image(*parts, tmp_path / "base.oci.tar", base=root).file


@pytest.mark.parametrize("unpacked", [False, True])
def test_an_image_is_a_base_layer_by_layer(parts, base, tmp_path, unpacked):
    given = Read(base)
    if unpacked:
        with tarfile.open(base) as tar:
            tar.extractall(tmp_path / "layout")  # noqa: S202 - our own
        base = tmp_path / "layout"
    read = Read(image.image(*parts, tmp_path / "x.oci.tar", base=base).file)
    assert read.manifest["layers"][:3] == given.manifest["layers"]
    assert len(read.layers) == 5
    assert read.manifest["annotations"]["org.opencontainers.image.base.digest"] == given.descriptor["digest"]
    assert read.config["config"]["Env"][0].startswith("PATH=/opt/opencode/bin:/opt/opencode/bin:/usr/local")


def flipped(files, name):
    data = bytearray(files[name])
    data[len(data) // 2] ^= 1
    return files | {name: bytes(data)}


def damaged_layer(files):
    return flipped(files, max(files, key=lambda name: len(files[name])))


def damaged_manifest(files):
    digest = json.loads(files["index.json"])["manifests"][0]["digest"]
    return flipped(files, digest.replace("sha256:", "blobs/sha256/"))


def index(change):
    def changed(files):
        document = json.loads(files["index.json"])
        change(document)
        return files | {"index.json": json.dumps(document).encode()}

    return changed


HOSTILE = {
    "a damaged layer": (damaged_layer, "checksum mismatch"),
    "a damaged manifest": (damaged_manifest, "checksum mismatch"),
    "no oci-layout": (lambda files: {k: v for k, v in files.items() if k != "oci-layout"}, "oci-layout"),
    "no index": (
        lambda files: {k: v for k, v in files.items() if k != "index.json"},
        "index.json is missing",
    ),
    "not JSON": (lambda files: files | {"index.json": b"[" * 100_000}, "cannot be used"),
    "a list": (lambda files: files | {"index.json": b"[]"}, "is no object"),
    "too long": (lambda files: files | {"index.json": b" " * (5 << 20)}, "bytes"),
    "two images": (index(lambda one: one["manifests"].append(one["manifests"][0])), "2 images"),
    "none": (index(lambda one: one["manifests"].clear()), "0 images"),
    "another system": (
        index(lambda one: one["manifests"][0]["platform"].update(architecture="arm64")),
        "0 images for linux/amd64",
    ),
    "a path for a digest": (
        index(lambda one: one["manifests"][0].update(digest="sha256:../../../etc/passwd")),
        "a digest is not sha256's",
    ),
    "a kind that is none": (index(lambda one: one["manifests"][0].update(mediaType="x")), "0 images"),
    "numbers": (index(lambda one: one.update(manifests=7)), "cannot be used"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_base_that_is_none_is_one_sentence(parts, base, tmp_path, name):
    change, says = HOSTILE[name]
    bad = rebuilt(base, tmp_path / "bad.tar", change)
    with pytest.raises(BadInputError) as caught:
        image.image(*parts, tmp_path / "out/x.oci.tar", base=bad)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("system", ["aarch64-darwin", "sparc-linux"])
def test_only_linux_has_images(parts, tmp_path, system):
    cache, program = parts
    made = manifest.read(cache).model_copy(update={"system": system})
    (cache / manifest.FILE).write_text(manifest.dumps(made))
    with pytest.raises(BadInputError, match=system):
        image.image(cache, program, tmp_path / "x.oci.tar")


def test_other_things_that_cannot_be_are_one_sentence(parts, tmp_path):
    for out, base, says in (
        (tmp_path, None, "is a directory"),
        (tmp_path / "x", tmp_path / "nowhere", "neither a file nor a directory"),
        (tmp_path / "x", parts[1], "no tar"),
        (parts[1] / "x", None, "cannot be made"),
    ):
        with pytest.raises(BadInputError, match=says):
            image.image(*parts, out, base=base)


def for_arm(cache, program, out):
    made = manifest.read(cache).model_copy(update={"system": "aarch64-linux"})
    (cache / manifest.FILE).write_text(manifest.dumps(made))
    return image.image(cache, program, out).file


def test_images_of_several_machines_are_one_index(parts, tmp_path):
    """Each as it was, to the byte; what is the same is there once; in any order the same file."""
    one = image.image(*parts, tmp_path / "amd64.oci.tar").file
    two = for_arm(*parts, tmp_path / "arm64.oci.tar")
    index = image.join([one, two], tmp_path / "x.oci.tar")
    assert index.machines == ("linux/amd64", "linux/arm64")
    assert image.join([two, one], tmp_path / "y.oci.tar").file.read_bytes() == index.file.read_bytes()
    inside = members(index.file)
    document = json.loads(inside["index.json"])
    (descriptor,) = document["manifests"]
    assert descriptor["digest"] == index.digest
    listed = json.loads(inside[index.digest.replace("sha256:", "blobs/sha256/")])["manifests"]
    assert [entry["platform"]["architecture"] for entry in listed] == ["amd64", "arm64"]
    for file, entry in zip((one, two), listed, strict=True):
        assert entry["digest"] == Read(file).descriptor["digest"]
        assert all(inside[name] == data for name, data in members(file).items() if "/" in name)
    # An index is a base as well, and what was joined can be joined.
    assert image.image(*parts, tmp_path / "z.oci.tar", base=index.file).layers == 4
    assert image.join([index.file], tmp_path / "again.oci.tar").digest == index.digest


@pytest.mark.parametrize("name", ["the same machine", "another version", "no image", "a damaged layer"])
def test_images_that_cannot_be_joined_are_one_sentence(parts, tmp_path, name):
    cache, program = parts
    one = image.image(cache, program, tmp_path / "one.oci.tar").file
    made = manifest.read(cache).model_copy(update={"opencode": "9.9.9"})
    two, says = {
        "the same machine": (lambda: one, "is for linux/amd64, as is"),
        "another version": (
            lambda: (
                (cache / manifest.FILE).write_text(manifest.dumps(made))
                and for_arm(cache, program, tmp_path / "two.oci.tar")
            ),
            "is not of the version of the others",
        ),
        "no image": (lambda: program, "cannot be used"),
        "a damaged layer": (
            lambda: rebuilt(
                for_arm(cache, program, tmp_path / "two.oci.tar"), tmp_path / "bad.tar", damaged_layer
            ),
            "checksum mismatch",
        ),
    }[name]
    with pytest.raises(BadInputError, match=says) as caught:
        image.join([one, two()], tmp_path / "out/x.oci.tar")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
