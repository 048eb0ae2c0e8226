"""Bills of materials: valid for the libraries of both formats, the same every time, nothing left out."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import sys
import types

import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue.document import Catalogue
from opencode_cache.formats.lock import Unavailable
from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest
from opencode_cache.inspect import sbom

LICENCES = [
    ("MIT", {"license": {"id": "MIT"}}, "MIT"),
    ("apache-2.0", {"license": {"id": "Apache-2.0"}}, "Apache-2.0"),
    ("(AFL-2.1 OR BSD-3-Clause)", {"expression": "(AFL-2.1 OR BSD-3-Clause)"}, "(AFL-2.1 OR BSD-3-Clause)"),
    ("GPL-2.0+", {"expression": "GPL-2.0+"}, "GPL-2.0+"),
    ("SEE LICENSE IN LICENSE", {"license": {"name": "SEE LICENSE IN LICENSE"}}, "LicenseRef-SEE-"),
    ("LicenseRef-theirs", {"license": {"name": "LicenseRef-theirs"}}, "LicenseRef-LicenseRef-theirs-"),
    ("MIT OR", {"license": {"name": "MIT OR"}}, "LicenseRef-MIT-OR-"),
    (None, None, "NOASSERTION"),
]


def cached(name, version="1.0.0", specs=("@scope/sdk",), licence="MIT"):
    integrity = making.integrity(f"{name}@{version}".encode())
    return CachedPackage(name=name, version=version, integrity=integrity, license=licence, specs=specs)


def entry(spec, name=None, version="1.0.0", kind="provider"):
    name = name or spec
    return Entry(
        spec=spec, kind=kind, name=name, requested="latest", version=version, tree=f"packages/{spec}"
    )


def manifest(packages, requests, **fields):
    about = {"builder": "0.1.0", "opencode": "1.18.33", "layout": "packages", "system": "x86_64-linux"}
    about |= {"links": (), "files": 1, "bytes": 1}
    return Manifest(**about | fields, packages=tuple(packages), requests=tuple(requests))


SMALL = manifest(
    [
        cached("@scope/sdk", "2.0.0+build", licence="Apache-2.0"),
        cached("shared", specs=("@scope/sdk", "plugin", "plugin@latest")),
        cached("shared", "2.0.0", specs=("plugin@latest",)),
        cached("plugin", specs=("plugin", "plugin@latest")),
        *(cached(f"licence-{n}", licence=licence) for n, (licence, _, _) in enumerate(LICENCES)),
    ],
    [
        entry("@scope/sdk", version="2.0.0+build"),
        entry("plugin", kind="plugin"),
        entry("plugin@latest", "plugin", kind="plugin"),
    ],
    catalogue=Catalogue(source="file", sha256="ab" * 32, providers=1, models=2),
    unavailable=(Unavailable(spec="gone", kind="provider", reason="the registry has none"),),
)
BUN = manifest(
    [cached("a", specs=("a", "b")), cached("b", specs=("a", "b"))], [entry("a"), entry("b")], layout="bun"
)
EMPTY = manifest([], [])
OWN = ["opencode", "wrapper", "preload"]
"""OpenCode's program, and this program's own files."""
ALL = pytest.mark.parametrize("made", [SMALL, BUN, EMPTY], ids=["small", "bun", "empty"])


@pytest.fixture(autouse=True)
def _no_epoch(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.mark.parametrize(
    ("name", "version", "purl"),
    [
        ("plain", "1.0.0", "pkg:npm/plain@1.0.0"),
        ("@scope/name.x", "1.0.0-rc.1+b_1", "pkg:npm/%40scope/name.x@1.0.0-rc.1%2Bb_1"),
        ("~tilde", "1.0.0", "pkg:npm/~tilde@1.0.0"),
    ],
)
def test_a_package_has_the_name_that_purl_gives_it(name, version, purl):
    assert sbom.purl(name, version) == purl


@pytest.fixture(scope="module")
def json_validators():
    """CycloneDX's own. Its grammar of IRIs takes longer to load than all else: loaded where one is met."""

    def is_valid_syntax(term, value):
        sys.modules.pop("rfc3987_syntax", None)
        return importlib.import_module("rfc3987_syntax").is_valid_syntax(term, value)

    lazy = types.ModuleType("rfc3987_syntax")
    lazy.is_valid_syntax = is_valid_syntax
    sys.modules.setdefault("rfc3987_syntax", lazy)
    yield pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib[json-validation] is not installed"
    )
    if sys.modules.get("rfc3987_syntax") is lazy:
        del sys.modules["rfc3987_syntax"]


@ALL
def test_cyclonedx_is_valid(json_validators, made):
    version = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    text = sbom.dumps(sbom.cyclonedx(made))
    assert json_validators.JsonStrictValidator(version).validate_str(text) is None


@ALL
def test_spdx_is_valid(made):
    reason = "spdx-tools is not installed"
    parser = pytest.importorskip("spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser", reason=reason)
    validator = pytest.importorskip("spdx_tools.spdx.validation.document_validator", reason=reason)
    document = parser.JsonLikeDictParser().parse(json.loads(sbom.dumps(sbom.spdx(made))))
    assert [str(problem) for problem in validator.validate_full_spdx_document(document)] == []


def test_hashes_are_those_of_the_tarballs():
    digest = hashlib.sha512(b"plugin@1.0.0").hexdigest()
    (plugin,) = [c for c in sbom.cyclonedx(SMALL)["components"] if c["name"] == "plugin"]
    assert plugin["hashes"] == [{"alg": "SHA-512", "content": digest}]
    (package,) = [p for p in sbom.spdx(SMALL)["packages"] if p["name"] == "plugin"]
    assert package["checksums"] == [{"algorithm": "SHA512", "checksumValue": digest}]
    assert base64.b64encode(bytes.fromhex(digest)).decode() in SMALL.packages[3].integrity


def test_names_are_split_and_referred_to():
    (sdk,) = [c for c in sbom.cyclonedx(SMALL)["components"] if c["name"] == "sdk"]
    assert (sdk["group"], sdk["version"]) == ("@scope", "2.0.0+build")
    assert sdk["purl"] == sdk["bom-ref"] == "pkg:npm/%40scope/sdk@2.0.0%2Bbuild"
    (package,) = [p for p in sbom.spdx(SMALL)["packages"] if p["name"] == "@scope/sdk"]
    assert package["externalRefs"][0]["referenceLocator"] == sdk["purl"]
    assert (package["versionInfo"], package["downloadLocation"]) == ("2.0.0+build", "NOASSERTION")


@pytest.mark.parametrize("number", range(len(LICENCES)))
def test_a_licence_is_an_id_an_expression_or_a_name(number):
    text, cyclonedx, spdx = LICENCES[number]
    (component,) = [c for c in sbom.cyclonedx(SMALL)["components"] if c["name"] == f"licence-{number}"]
    assert component.get("licenses") == (cyclonedx and [cyclonedx])
    document = sbom.spdx(SMALL)
    (package,) = [p for p in document["packages"] if p["name"] == f"licence-{number}"]
    assert package["licenseDeclared"].startswith(spdx)
    known = {found["licenseId"]: found["extractedText"] for found in document["hasExtractedLicensingInfos"]}
    assert known.get(package["licenseDeclared"], text) == text


def test_the_graph_goes_from_the_cache_over_the_requests_to_the_packages():
    graph = {d["ref"]: d["dependsOn"] for d in sbom.cyclonedx(SMALL)["dependencies"]}
    sdk, plugin = "pkg:npm/%40scope/sdk@2.0.0%2Bbuild", "pkg:npm/plugin@1.0.0"
    shared = ["pkg:npm/shared@1.0.0", "pkg:npm/shared@2.0.0"]
    assert graph["opencode-cache"] == [sdk, plugin, "models.json", *OWN]
    assert graph["wrapper"] == ["opencode", "preload"]
    assert graph[plugin] == shared
    assert graph[sdk] == [f"pkg:npm/licence-{n}@1.0.0" for n in range(len(LICENCES))] + shared[:1]
    assert {tuple(graph[ref]) for ref in set(graph) - {"opencode-cache", "wrapper", sdk, plugin}} == {()}
    document = sbom.spdx(SMALL)
    names = {p["SPDXID"]: (p["name"], p.get("versionInfo")) for p in document["packages"]}
    edges = {
        (names[r["spdxElementId"]], names[r["relatedSpdxElement"]])
        for r in document["relationships"]
        if r["relationshipType"] == "DEPENDS_ON"
    }
    assert (("plugin", "1.0.0"), ("shared", "2.0.0")) in edges
    assert len(edges) == sum(map(len, graph.values()))


def test_one_tree_for_all_requests_does_not_say_who_needs_what():
    graph = {d["ref"]: d["dependsOn"] for d in sbom.cyclonedx(BUN)["dependencies"]}
    packages = ["pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0"]
    own = {"opencode": [], "wrapper": ["opencode", "preload"], "preload": []}
    assert graph == {"opencode-cache": [*packages, *OWN]} | {ref: [] for ref in packages} | own


@ALL
def test_every_package_is_there_once_and_every_reference_leads_to_one(made):
    cyclonedx, spdx = sbom.cyclonedx(made), sbom.spdx(made)
    refs = [component["bom-ref"] for component in cyclonedx["components"]]
    data = 1 if made.catalogue else 0
    assert len(set(refs)) == len(refs) == len(made.packages) + data + len(OWN)
    assert {d["ref"] for d in cyclonedx["dependencies"]} == {*refs, "opencode-cache"}
    ids = [package["SPDXID"] for package in spdx["packages"]]
    assert len(set(ids)) == len(ids) == len(refs) + 1
    assert {r["relatedSpdxElement"] for r in spdx["relationships"]} <= set(ids)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in ids)


def test_what_is_unavailable_is_told():
    properties = sbom.cyclonedx(SMALL)["metadata"]["properties"]
    unavailable = "provider gone: the registry has none"
    assert {"name": "opencode-cache:unavailable", "value": unavailable} in properties


@pytest.mark.parametrize("form", [sbom.cyclonedx, sbom.spdx])
def test_a_manifest_has_one_bill_and_another_one_another(form):
    text = sbom.dumps(form(SMALL))
    shuffled = SMALL.model_copy(update={"packages": SMALL.packages[::-1]})
    assert sbom.dumps(form(shuffled)) == text
    other = SMALL.model_copy(update={"builder": "0.1.1"})
    identity = r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert set(re.findall(identity, text)).isdisjoint(re.findall(identity, sbom.dumps(form(other))))
    assert len(re.findall(identity, text)) == 1


def test_the_time_is_the_one_that_is_asked_for(monkeypatch):
    assert sbom.cyclonedx(SMALL)["metadata"]["timestamp"] == "1970-01-01T00:00:01Z"
    assert sbom.spdx(SMALL)["creationInfo"]["created"] == "1970-01-01T00:00:01Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1782924028")
    assert sbom.cyclonedx(SMALL)["metadata"]["timestamp"] == "2026-07-01T16:40:28Z"
    assert sbom.spdx(SMALL)["creationInfo"]["created"] == "2026-07-01T16:40:28Z"


@pytest.mark.parametrize("text", ["now", "1e9", "9" * 30, "1.5"])
def test_a_time_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(BadInputError, match=r"SOURCE_DATE_EPOCH: .* is not a time in seconds"):
        sbom.cyclonedx(SMALL)


# What stands beside the packages, and what the packages' own files say


def test_opencode_and_our_own_files_are_in_both():
    made = manifest([], [], opencode_sha256="cd" * 32)
    parts = {part["bom-ref"]: part for part in sbom.cyclonedx(made)["components"]}
    assert parts["opencode"]["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert parts["opencode"]["purl"] == "pkg:github/anomalyco/opencode@v1.18.33"
    assert parts["wrapper"]["version"] == parts["preload"]["version"] == made.builder
    named = {package["name"]: package for package in sbom.spdx(made)["packages"]}
    assert named["opencode"]["checksums"] == [{"algorithm": "SHA256", "checksumValue": "cd" * 32}]
    assert {"opencode-cache wrapper (bin/opencode)", "opencode-cache preload"} <= set(named)


TEXT = "SOME LICENCE\n\nYou may look at it.\n"


@pytest.fixture
def cache(tmp_path):
    """A cache with a tree: root -> inner -> outer, and lonely, which nothing leads to."""
    inside = {
        "node_modules/root": {"author": "Ann Author <ann@example.com>", "dependencies": {"inner": "1"}},
        "node_modules/inner": {
            "repository": {"url": "git+https://github.com/somebody/inner.git"},
            "dependencies": {"outer": "1", "not-there": "1"},
        },
        "node_modules/outer": {"author": {"name": "O (\u001b[31m)"}},
        "node_modules/lonely": {},
    }
    tree = tmp_path / "packages" / "root"
    for place, fields in inside.items():
        directory = tree / place
        directory.mkdir(parents=True)
        document = {"name": directory.name, "version": "1.0.0"} | fields
        (directory / "package.json").write_text(json.dumps(document))
    (tree / "node_modules/inner/LICENSE").write_text(TEXT)
    return tmp_path


TREE = manifest(
    [
        cached("root", specs=("root",)),
        cached("inner", specs=("root",), licence="SEE LICENSE IN LICENSE"),
        cached("outer", specs=("root",)),
        cached("lonely", specs=("root",)),
    ],
    [entry("root")],
)


def test_the_packages_own_files_tell_supplier_text_and_dependencies(cache):
    bill = sbom.take(TREE, cache)
    document = sbom.cyclonedx(bill)
    parts = {part["name"]: part for part in document["components"]}
    suppliers = {name: parts[name]["supplier"]["name"] for name in ("root", "inner", "outer", "lonely")}
    assert suppliers == {
        "root": "Ann Author",
        "inner": "github.com/somebody",
        "outer": "O",
        "lonely": "the publishers of lonely on npm",
    }
    (licence,) = parts["inner"]["licenses"]
    assert licence["license"]["text"]["content"] == TEXT
    graph = {d["ref"]: d["dependsOn"] for d in document["dependencies"]}
    names = [f"pkg:npm/{name}@1.0.0" for name in ("root", "inner", "outer", "lonely")]
    assert [graph[name] for name in names] == [[names[1]], [names[2]], [], []]
    assert graph["opencode-cache"] == [names[0], names[3], *OWN]
    assert document["compositions"][0]["aggregate"] == "complete"
    (text,) = sbom.spdx(bill)["hasExtractedLicensingInfos"]
    assert (text["name"], text["extractedText"]) == ("SEE LICENSE IN LICENSE", TEXT)


def test_everything_that_is_listed_is_reached_from_the_cache(cache):
    graph = sbom.take(TREE, cache).graph
    seen, waiting = set(), ["opencode-cache"]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += graph[one]
    assert seen == set(graph)


@pytest.mark.parametrize("with_cache", [True, False])
def test_the_minimum_elements_are_there(cache, tmp_path, json_validators, with_cache):
    checker = pytest.importorskip(
        "ntia_conformance_checker.ntia_checker", reason="ntia-conformance-checker is not installed"
    )
    bill = sbom.take(TREE if with_cache else SMALL, cache if with_cache else None)
    file = tmp_path / "bom.spdx.json"
    file.write_text(sbom.dumps(sbom.spdx(bill)))
    found = checker.NTIAChecker(str(file))
    assert found.compliant, found.table_elements
    version = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    text = sbom.dumps(sbom.cyclonedx(bill))
    assert json_validators.JsonStrictValidator(version).validate_str(text) is None
    # The same elements by its rules, of the format that it does not read.
    document = json.loads(text)
    assert document["metadata"]["authors"]
    assert document["metadata"]["timestamp"]
    for part in (document["metadata"]["component"], *document["components"]):
        assert part["name"]
        assert part["version"]
        assert part["bom-ref"]
        assert part["supplier"]["name"]
