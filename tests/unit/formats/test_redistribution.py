"""What may not be passed on: known by name or by what it states; in no default that is shipped."""

from __future__ import annotations

from pathlib import Path

import making
import pytest

from opencode_cache.formats import lock, redistribution, shipped

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "licence", "title"),
    [
        ("@sap/xssec", "SAP DEVELOPER LICENSE AGREEMENT", "SAP Developer License"),
        ("@sap/xsenv", "SEE LICENSE IN LICENSE", "SAP Developer License"),
        ("@sap/other", "SAP Developer  License Agreement", "SAP Developer License"),
        ("intelephense", "SEE LICENSE IN LICENSE.txt", "Intelephense Licence"),
        ("private", "UNLICENSED", "UNLICENSED"),
        ("free", "Unlicense", None),
        ("silent", None, None),
        ("@sap-cloud-sdk/util", "Apache-2.0", None),
    ],
)
def test_what_forbids_passing_a_package_on(name, licence, title):
    found = redistribution.terms(making.package(name, license=licence))
    assert (found and found.title) == title


def test_every_row_says_where_it_stands_and_whom_it_is_for():
    for terms in redistribution.TABLE:
        assert terms.source
        assert terms.names or terms.stated
        assert all(text == text.upper() for text in terms.stated)


@pytest.mark.parametrize(
    ("name", "stated", "licence"),
    [
        ("@openauthjs/openauth", None, "MIT"),
        ("@openauthjs/openauth", "ISC", "ISC"),
        ("opencode-anthropic-auth", None, "MIT"),
        ("silent", None, None),
    ],
)
def test_what_stands_elsewhere_is_taken_where_nothing_is_stated(name, stated, licence):
    package = making.package(name, license=stated)
    assert redistribution.licence(package) == licence
    assert bool(redistribution.read_elsewhere(package)) is (stated is None and licence is not None)


def test_what_was_read_says_where_and_whose_it_is():
    for read in redistribution.READ.values():
        assert read.licence
        assert "LICENSE" in read.source
        assert read.copyright.startswith("Copyright ")


def test_the_sentence_names_the_package_or_what_it_brings():
    terms = redistribution.TABLE[0]
    assert redistribution.reason("provider", "a", {"@sap/xssec": terms}) == (
        "its dependency @sap/xssec may not be passed on (SAP Developer License); "
        "name it yourself with --provider to lock it for yourself"
    )
    assert redistribution.reason("config", "a", {"a": terms}).startswith("it may not be passed on (SAP")
    assert redistribution.note("a", {"b": terms, "c": terms}) == (
        "its dependencies b and c may not be passed on (SAP Developer License); "
        "`bundle` takes it with --accept-licence b --accept-licence c alone"
    )


@pytest.mark.parametrize("path", sorted(ROOT.glob(f"nix/locks/*{shipped.LOCK}")), ids=lambda p: p.name)
def test_nothing_in_a_shipped_lock_may_not_be_passed_on(path):
    found = lock.read(path)
    assert redistribution.forbidden([*found.packages.values(), *found.opencode.binaries.values()]) == {}
    assert [package.key for package in found.packages.values() if not redistribution.licence(package)] == []
    reached = {key for nodes in found.trees.values() for key in nodes.values()}
    grammars = {key for pin in found.languages.values() for key in pin.packages}
    assert set(found.packages) == reached | grammars
    assert lock.dumps(found) == path.read_text(encoding="utf-8")
