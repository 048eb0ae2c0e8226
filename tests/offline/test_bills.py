"""Bills and licences of the caches that are shipped, and of the bundles and images made of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression

from opencode_cache.formats import manifest, redistribution
from opencode_cache.inspect import sbom
from opencode_cache.ship import installation


@pytest.fixture(scope="module", params=["made_118", "made_10"])
def made(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def bills(made):
    """(CycloneDX, SPDX) as texts: of the cache, and of what a bundle or an image holds."""
    contents = manifest.read(made.cache)
    bill = sbom.take(contents, made.cache)
    beside = shutil.which("busybox")  # any program that stands alone will do for ripgrep
    choices = installation.Choices(ripgrep=beside and Path(beside).resolve())
    held = installation.installation(contents, made.cache, made.opencode, choices)
    return [
        (sbom.dumps(sbom.cyclonedx(bill)), sbom.dumps(sbom.spdx(bill))),
        tuple(held[name].data.decode() for name in (installation.CYCLONEDX, installation.SPDX)),
    ]


def test_they_conform(bills, tmp_path):
    reason = "needs cyclonedx-python-lib, spdx-tools and ntia-conformance-checker"
    checker = pytest.importorskip("ntia_conformance_checker.ntia_checker", reason=reason)
    parser = pytest.importorskip("spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser", reason=reason)
    validator = pytest.importorskip("spdx_tools.spdx.validation.document_validator", reason=reason)
    validators = pytest.importorskip("cyclonedx.validation.json", reason=reason)
    version = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    for cyclonedx, spdx in bills:
        assert validators.JsonStrictValidator(version).validate_str(cyclonedx) is None
        document = parser.JsonLikeDictParser().parse(json.loads(spdx))
        assert [str(problem) for problem in validator.validate_full_spdx_document(document)] == []
    # What is shipped has all that is in the cache.
    file = tmp_path / "shipped.spdx.json"
    file.write_text(bills[1][1], encoding="utf-8")
    found = checker.NTIAChecker(str(file))
    assert found.compliant, found.table_elements


def test_all_that_is_shipped_may_be_passed_on(made):
    """Each package states a licence that SPDX knows, or somebody read one that stands elsewhere."""
    packages = manifest.read(made.cache).packages
    assert redistribution.forbidden(packages) == {}
    licences = {package.name: redistribution.licence(package) for package in packages}
    assert [name for name, licence in licences.items() if licence is None] == []
    for licence in set(licences.values()):
        canonicalize_license_expression(licence)


def test_what_somebody_read_of_a_licence_is_in_both_bills(bills, made):
    read = {
        package.name: found
        for package in manifest.read(made.cache).packages
        if (found := redistribution.read_elsewhere(package))
    }
    if made.lock.opencode.layout == "bun":
        assert "@openauthjs/openauth" in read
    for cyclonedx, spdx in bills:
        parts = {
            f"{part.get('group', '')}/{part['name']}".lstrip("/"): part
            for part in json.loads(cyclonedx)["components"]
        }
        packages = {package["name"]: package for package in json.loads(spdx)["packages"]}
        for name, found in read.items():
            assert parts[name]["copyright"] == packages[name]["copyrightText"] == found.copyright
            assert parts[name]["licenses"] == [
                {"license": {"id": found.licence, "acknowledgement": "concluded"}}
            ]
            assert packages[name]["licenseConcluded"] == found.licence
            assert packages[name]["licenseDeclared"] == "NOASSERTION"
            assert found.source in packages[name]["licenseComments"]
