"""`list` and the page show the licences of a request's whole tree, not of its root alone."""

from __future__ import annotations

import dataclasses
import json

import paging

from opencode_cache.cli import tables
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest
from opencode_cache.inspect.page import write as page

SAP = "SAP DEVELOPER LICENSE AGREEMENT"


def cached(name, licence):
    return CachedPackage(name=name, version="1.0.0", integrity="", license=licence, specs=("root",))


ROOT = Entry(
    spec="root", kind="provider", name="root", requested="latest", version="1.0.0", tree="packages/root"
)
MADE = Manifest(
    builder="0.1.0",
    opencode="1.18.33",
    layout="packages",
    system="x86_64-linux",
    links=(),
    files=1,
    bytes=1,
    requests=(ROOT,),
    packages=(
        cached("root", "Apache-2.0"),
        cached("again", "Apache-2.0"),
        cached("xssec", SAP),
        cached("silent", None),
        CachedPackage(name="other", version="1.0.0", integrity="", license="MIT", specs=("other",)),
    ),
)


def test_each_licence_of_the_tree_is_named_once():
    assert manifests.licences(MADE, ROOT) == ["Apache-2.0", "not stated", SAP]


def test_list_json_has_them():
    (request,) = json.loads(manifests.dumps_with_licences(MADE))["requests"]
    assert request["licences"] == ["Apache-2.0", "not stated", SAP]


def test_list_shows_them(tmp_path, capsys):
    tables.contents(tmp_path, MADE, None)
    assert SAP in " ".join(capsys.readouterr().out.split())


def test_the_page_shows_them():
    found = dataclasses.replace(paging.inventory(), manifest=MADE, trees=())
    assert f"Apache-2.0, not stated, {SAP}" in page.render(found)
