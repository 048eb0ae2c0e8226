"""A bundle takes nothing along that may not be passed on, unless a person accepts that by name."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import bundle_lab
import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats import proof as proofs
from opencode_cache.formats.manifest import CachedPackage
from opencode_cache.prove import on_file
from opencode_cache.ship import image, licences, unbundle
from opencode_cache.ship.installation import Choices


@pytest.fixture
def cache(tmp_path):
    cache = bundle_lab.make_cache(tmp_path / "cache")
    made = manifests.read(cache)
    held = CachedPackage(
        name="@sap/xssec", version="4.15.0", integrity="", license="SEE LICENSE", specs=("foo",)
    )
    made = made.model_copy(update={"packages": (*made.packages, held)})
    (cache / manifests.FILE).write_text(manifests.dumps(made), encoding="utf-8")
    return cache


def bundle(cache, directory, **options):
    program = bundle_lab.make_program(directory / "opencode")
    return bundle_lab.bundled(cache, program, directory / "out.tar.zst", **options)


def test_a_bundle_with_what_may_not_be_passed_on_is_refused(cache, tmp_path):
    words = r"@sap/xssec \(SAP Developer License\).*--accept-licence @sap/xssec"
    with pytest.raises(BadInputError, match=words):
        bundle(cache, tmp_path)
    assert not list(tmp_path.glob("*.zst"))


def test_who_accepts_it_by_name_gets_it(cache, tmp_path):
    assert bundle(cache, tmp_path, accept_licences=["@sap/xssec"]).file.exists()


@pytest.mark.parametrize("name", ["@sap/xsenv", "", "foo"])
def test_a_name_that_there_is_nothing_to_accept_of_is_refused(cache, name):
    with pytest.raises(BadInputError, match="it holds @sap/xssec"):
        licences.check(manifests.read(cache), ["@sap/xssec", name])


@pytest.fixture
def proof(tmp_path):
    """Of the small bundle's cache and program."""
    cache = bundle_lab.make_cache(tmp_path / "proved")
    program = bundle_lab.make_program(tmp_path / "opencode")
    return making.proof(**proofs.of(cache, proofs.sha256(program)).model_dump())


@pytest.mark.parametrize("ship", ["bundle", "image"])
def test_the_proof_travels_and_speaks_for_the_same_digests_elsewhere(proof, tmp_path, ship):
    program, out = bundle_lab.make_program(tmp_path / "opencode"), tmp_path / "out"
    if ship == "bundle":
        bundle_lab.bundled(tmp_path / "proved", program, out, prove=lambda _: proof)
        unbundle.unbundle(out, tmp_path / "to")
        root = tmp_path / "to/lib/opencode-cache/current"
        assert f"  {proofs.FILE}\n" in (root / "SHA256SUMS").read_text()  # which is what is signed
    else:
        image.image(tmp_path / "proved", program, out, Choices(prove=lambda _: proof))
        root = tmp_path / "root/opt/opencode"
        with tarfile.open(out) as archive:
            layers = [archive.extractfile(one).read() for one in archive if one.isfile()]
        for data in [one for one in layers if one.startswith(b"\x1f\x8b")]:
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as layer:
                layer.extractall(tmp_path / "root", filter="data")
    identity = proofs.of(root / "cache", proofs.sha256(root / "libexec/opencode"))
    assert on_file.find(identity, root / "cache") == on_file.Found(proof, here=False)
    assert on_file.find(identity) is None


@pytest.mark.parametrize("field", ["manifest_sha256", "binary_sha256", "opencode"])
def test_no_proof_of_something_else_travels(proof, tmp_path, field):
    other = proof.model_copy(update={field: "1.0.0" if field == "opencode" else "c" * 64})
    with pytest.raises(BadInputError, match=r"proof\.json: is "):
        bundle(tmp_path / "proved", tmp_path, prove=lambda _: other)


def test_a_bundle_has_the_bills_of_all_that_is_in_it(tmp_path):
    cache = bundle_lab.make_cache(tmp_path / "cache")
    ripgrep = bundle_lab.make_program(tmp_path / "rg")
    file = bundle(cache, tmp_path, ripgrep=ripgrep, node=ripgrep).file
    with tarfile.open(fileobj=io.BytesIO(bundle_lab.unpacked_tar(file))) as archive:
        held = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        digests = {name: hashlib.sha256(data.read()).hexdigest() for name, data in held.items()}
        cyclonedx = json.load(archive.extractfile("bill.cdx.json"))
        spdx = json.load(archive.extractfile("bill.spdx.json"))
    said = {
        part["bom-ref"]: one["content"]
        for part in cyclonedx["components"]
        for one in part["hashes"]
        if one["alg"] == "SHA-256"
    }
    assert said.pop("preload") in digests.values()
    assert said == {
        "opencode": digests["libexec/opencode"],
        "wrapper": digests["bin/opencode"],
        "ripgrep": digests["libexec/path/rg"],
        "nodejs": digests["libexec/path/node"],
    }
    sums = {one["checksumValue"] for package in spdx["packages"] for one in package.get("checksums", ())}
    assert set(said.values()) <= sums
