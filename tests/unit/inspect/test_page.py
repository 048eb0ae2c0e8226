"""The page of `list --html`: what it says, that nothing in it can be markup, and that it asks for nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import sys
from collections import Counter
from html.parser import HTMLParser

import making
import paging
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opencode_cache.cli import main as cli
from opencode_cache.formats import manifest
from opencode_cache.formats.lock import Signatures
from opencode_cache.formats.proof import Host, Step
from opencode_cache.inspect.difference import Difference
from opencode_cache.inspect.inventory import Inventory, Tree
from opencode_cache.inspect.page import markup, size_map
from opencode_cache.inspect.page import write as page
from opencode_cache.inspect.sbom.on_disk import Facts
from opencode_cache.prove import on_file

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)' x=\"",
    "--><svg/onload=alert(1)>",
    "]]></title></td></table><h1>",
    "&lt;b&gt;&#60;",
    "\x00\x1b[31m\u202eback\u2066\r\n\u2028",
    "</script><!--<script>",
    "{}}#t0{background:url(x)}",
    "\ud800",
]


class Page(HTMLParser):
    """A page taken apart: elements, in order, and the text outside of style and script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.said, self.parts = [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["style"], ["script"]):
            self.parts[self.open[-1]] = self.parts.get(self.open[-1], "") + data
        else:
            self.said.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def inside(self, identifier):
        """The elements of a section."""
        ids = [number for number, (tag, _) in enumerate(self.elements) if tag == "section"]
        start = next(n for n in ids if self.elements[n][1]["id"] == identifier)
        return self.elements[start : next((n for n in ids if n > start), None)]

    @property
    def shape(self):
        return Counter((tag, *sorted(attributes)) for tag, attributes in self.elements)

    @property
    def text(self):
        return "".join(self.said)


def a_page(found, difference=None):
    return Page(page.render(found, difference))


# Hostile values


@given(st.text(max_size=40))
@pytest.mark.parametrize("proof", [True, False])
def test_whatever_a_value_holds_the_page_has_the_same_shape(proof, text):
    found = paging.inventory(text, proof=proof)
    changed = paging.difference(text)
    drawn = a_page(found, changed)
    plain = a_page(paging.inventory(proof=proof), paging.difference())
    assert drawn.shape == plain.shape
    assert drawn.parts == plain.parts
    rows = [value for one in changed.changes for value in (one.name, one.old, one.new) if value]
    for value in [*paging.texts(found), changed.since, *rows]:
        assert markup.visible(value) in drawn.text


for one in HOSTILE:
    test_whatever_a_value_holds_the_page_has_the_same_shape = example(one)(
        test_whatever_a_value_holds_the_page_has_the_same_shape
    )


@given(st.text())
def test_what_has_no_shape_is_replaced(text):
    shown = markup.visible(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert all(a == b or b in " \ufffd" for a, b in zip(text, shown, strict=True))
    shown.encode()


def test_ordinary_text_stays_as_it_is():
    assert markup.visible("naïve 日本語 @scope/name") == "naïve 日本語 @scope/name"
    assert markup.visible("a\tb\nc\u00a0d") == "a b c d"
    assert markup.visible("\u202eexe.\u2066") == "\ufffdexe.\ufffd"


@pytest.mark.parametrize("text", ["a</style>", "<!-- a", "</"])
def test_a_style_that_would_end_itself_is_refused(text):
    with pytest.raises(ValueError, match="would end"):
        markup.raw("style", text)


# What it asks for


def test_nothing_is_asked_for():
    drawn = a_page(paging.inventory())
    links = [a[key] for _, a in drawn.elements for key in ("href", "src", "action", "srcset") if key in a]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"url\(|@import|https?:|fetch|XMLHttp|innerHTML", "".join(drawn.parts.values()))
    tags = {tag for tag, _ in drawn.elements}
    assert tags.isdisjoint({"img", "iframe", "object", "embed", "base", "form", "svg", "template"})
    assert not any(key.startswith("on") or key == "style" for _, a in drawn.elements for key in a)


def test_the_policy_allows_its_own_style_and_script_alone():
    drawn = a_page(paging.inventory())
    (policy,) = [a["content"] for _, a in drawn.elements if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name, text in drawn.parts.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert set(drawn.parts) == {"style", "script"}
    # The policy comes before all that it speaks of.
    assert [tag for tag, _ in drawn.elements[:4]] == ["html", "head", "meta", "meta"]


# What it says


def test_every_identifier_is_there_once_and_every_reference_leads_somewhere():
    drawn = a_page(paging.inventory())
    names = Counter(a["id"] for _, a in drawn.elements if "id" in a)
    assert set(names.values()) == {1}
    for _, attributes in drawn.elements:
        for key in ("aria-labelledby", "for"):
            assert attributes.get(key, "packages") in names
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in names


def test_the_figures():
    text = a_page(paging.inventory()).text
    for wanted in ("10.0 MB", "1,234", "2 providers, 1,234 models", "2026-07-01", "5.00", "<0.01"):
        assert wanted in text


def test_a_failed_proof_says_what_failed():
    text = a_page(paging.inventory()).text
    assert "Not proved: failed: " in text
    assert "A weaker proof: " in text
    assert "not known; " in text


def test_a_good_proof_is_told_from_where_it_comes_and_of_what_it_is():
    proof = making.proof()
    found = paging.inventory()
    for here, where in (
        (True, "Proved here, on x86_64, 2 CPUs, Linux 6.1.0, 2026-11-26 01:02 UTC, by opencode-cache 0.1.0"),
        (False, "Proved elsewhere, on x86_64, 2 CPUs"),
    ):
        drawn = a_page(Inventory(found.manifest, found.trees, None, proof, here))
        assert where in drawn.text
        assert proof.manifest_sha256 in drawn.text
        assert proof.binary_sha256 in drawn.text
        assert "Proved: OpenCode 1.18.33 asked for no host." in drawn.text
        assert "Hosts asked for: none, in 1 step." in drawn.text

        assert "warn" not in [a.get("class") for _, a in drawn.inside("proof")]


def test_without_a_proof_the_page_says_how_to_make_one():
    text = a_page(paging.inventory(proof=False)).text
    assert "There is no proof" in text
    assert "opencode-cache verify --cache CACHE --opencode BIN --json > proof.json" in text


def test_what_the_proof_does_not_say_stands_beside_it():
    text = a_page(paging.inventory()).text
    for limit in (
        "Other files.",
        "Your own settings.",
        "Real services.",
        "What no step tried.",
        "Harmless code.",
    ):
        assert limit in text


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "Complete and quiet"),
        ({"hosts": (Host(name="h", count=1, step="s", who="plugin x"),), "ok": False}, "Complete, not quiet"),
        ({"steps": (Step(name="s", ok=False, seconds=1, detail="d"),), "ok": False}, "Not proved"),
        (
            {"steps": (Step(name="s", ok=False, seconds=1, detail="d", too_slow=True),), "ok": False},
            "Too slow to say",
        ),
        (None, "No proof"),
    ],
)
def test_the_first_thing_is_the_verdict(fields, title):
    proof = None if fields is None else making.proof(**fields)
    found = dataclasses.replace(paging.inventory(), proof=proof)
    said = a_page(found).text
    assert title in said
    assert said.index(title) < said.index("requests answered")


def test_what_is_not_covered_is_told():
    text = a_page(paging.inventory()).text
    assert "What OpenCode may ask for and this cache does not have." in text
    assert "Packages whose licence nobody states: " in text
    assert "What no cache can hold" in text
    found = paging.inventory()
    whole = found.manifest.model_copy(update={"unavailable": ()})
    assert "Everything that the plan named is in this cache." in a_page(Inventory(whole, found.trees)).text


@pytest.mark.parametrize(
    ("signatures", "said"),
    [
        (None, "Nothing is recorded of the registry's signatures."),
        (Signatures(unchecked="npm could not look"), "Signatures were not checked: npm could not look."),
        (Signatures(verified=3), "npm verified the registry's signature of 3 packages"),
        (Signatures(verified=1, missing=("a@1.0.0",)), "Without a signature: a@1.0.0."),
        (Signatures(verified=1, keys={"SHA256:x": "d" * 64}), "d" * 64),
    ],
)
def test_the_state_of_the_signatures(signatures, said):
    found = paging.inventory()
    made = found.manifest.model_copy(update={"signatures": signatures})
    assert said in a_page(Inventory(made, found.trees)).text


def test_licences_come_with_their_texts_each_once():
    found = paging.inventory()
    one, two, three = found.manifest.packages
    facts = {
        one: Facts(None, None, "One text\nof two lines"),
        two: Facts(None, None, "One text\nof two lines\n"),
    }
    text = a_page(dataclasses.replace(found, facts=facts)).text
    assert text.count("One text\nof two lines") == 1
    assert "1 text of 2 packages" in text
    assert f"Without a text of their own: {three.name} {three.version}" in text


def test_what_may_not_be_passed_on_is_named():
    found = paging.inventory()
    assert "No package here has a licence that is known to forbid" in a_page(found).text
    sap = found.manifest.packages[0].model_copy(update={"name": "@sap/xssec"})
    silent = found.manifest.packages[0].model_copy(update={"name": "@openauthjs/openauth", "license": None})
    made = found.manifest.model_copy(update={"packages": (sap, silent)})
    text = a_page(Inventory(made, found.trees)).text
    assert "@sap/xssec: SAP Developer License" in text
    assert "@openauthjs/openauth: MIT, by LICENSE of github.com/anomalyco/openauth" in text


def test_changes_come_first_and_other_bytes_are_a_warning():
    found = paging.inventory()
    drawn = a_page(found, paging.difference())
    assert drawn.text.index("What changed") < drawn.text.index("Proof")
    assert "xother has other bytes than in xsince, under the same version." in drawn.text
    assert "What changed" not in a_page(found).text
    assert "Nothing is different since old." in a_page(found, Difference("old", ())).text


def test_a_shared_tree_is_explained():
    assert "requests share a tree" in a_page(paging.inventory(shared=True)).text
    assert "requests share a tree" not in a_page(paging.inventory()).text


def test_an_empty_cache_has_a_page():
    made = paging.inventory().manifest.model_copy(
        update={"requests": (), "packages": (), "unavailable": (), "catalogue": None, "files": 0, "bytes": 0}
    )
    text = a_page(Inventory(made, ())).text
    assert "the OpenCode program itself" in text


def test_long_lists_can_be_folded():
    found = paging.inventory()
    more = tuple(found.manifest.packages[0].model_copy(update={"name": f"n{n:02}"}) for n in range(20))
    made = found.manifest.model_copy(update={"packages": more})
    drawn = a_page(Inventory(made, found.trees))
    assert "details" in [tag for tag, _ in drawn.elements]
    assert "n00 " in drawn.text


def test_the_same_cache_and_proof_give_the_same_page():
    assert page.render(paging.inventory()) == page.render(paging.inventory())


# The map


def cells(found):
    drawing, rules = size_map.draw(found)
    drawn = [(e.get("id"), e.get("class"), e.get("title")) for e in drawing.iter() if e.get("id")]
    return drawing, rules, drawn


def test_the_map_has_a_box_for_every_package_and_rules_for_every_box():
    drawing, rules, drawn = cells(paging.inventory())
    assert [(name, kind) for name, kind, _ in drawn] == [
        ("t0", "tree"),
        ("c0-0", "cell asked"),
        ("c0-1", "cell"),
        ("t1", "tree"),
        ("c1-0", "cell asked"),
        ("t2", "tree"),
        ("c2-0", "cell"),
    ]
    assert [title.split(": ")[1].split(",")[0] for _, _, title in drawn if title] == [
        "5.0 MB",
        "0.0 MB",
        "3.0 MB",
        "2.0 MB",
    ]
    for name, _, _ in drawn:
        assert rules.count(f"#{name}{{") == 2
    assert "The tables have the same figures." in drawing.get("aria-label")


def test_the_map_is_as_large_as_the_style_sheet_says():
    style = a_page(paging.inventory()).parts["style"]
    heights = re.findall(r"\.map \{[^}]*?height: (\d+)px", style)
    assert heights[:2] == [str(size_map._WIDE.height), str(size_map._NARROW.height)]


def test_the_smallest_share_a_box():
    found = paging.inventory()
    first = found.manifest.packages[0]
    tiny = {first.model_copy(update={"name": f"tiny{n}"}): 100 for n in range(300)}
    tree = Tree("a", found.manifest.requests[:1], {first: 9_900_000} | tiny)
    _, _, drawn = cells(Inventory(found.manifest, (tree,)))
    assert [title for _, _, title in drawn][2:3] == ["300 smaller packages: 0.0 MB"]
    assert len([name for name, _, _ in drawn if name.startswith("c0")]) == 2


def test_trees_of_many_requests_have_a_short_name():
    entry = paging.inventory().manifest.requests[0]
    assert size_map.tree_name(Tree(".", (entry,) * 3, {})) == "3 requests together"
    assert size_map.tree_name(Tree(".", (entry,), {})) == entry.spec


# The command


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    made = manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        opencode_sha256="b" * 64,
        layout="packages",
        system="x86_64-linux",
        links=(),
        requests=(),
        packages=(
            manifest.CachedPackage(
                name="a", version="1.0.0", integrity=making.package("a").integrity, specs=()
            ),
        ),
        files=0,
        bytes=0,
    )
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / manifest.FILE).write_text(manifest.dumps(made))

    def main(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["opencode-cache", "list", "--cache", str(tmp_path / "cache"), *arguments]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return main


def test_the_command_writes_the_page_and_says_nothing(run, tmp_path):
    file = tmp_path / "new" / "page.html"
    proof = tmp_path / "proof.json"
    made = manifest.read(tmp_path / "cache")
    identity = on_file.identity(tmp_path / "cache", made)
    proof.write_text(making.proof(opencode=made.opencode, **identity.model_dump()).model_dump_json())
    assert run("--html", str(file), "--proof", str(proof)) == (0, "", "")
    text = file.read_text()
    assert Page(text).text.count("Proved: OpenCode 1.18.33 asked for no host.") == 1
    assert str(tmp_path) not in text
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--html", "{tmp}/p.html", "--json"], "give only one of"),
        (["--html", "{tmp}/p.html", "--format", "spdx"], "give only one of"),
        (["--json", "--proof", "{tmp}/proof.json"], "is for the page and the table"),
        (["--html", "{tmp}/p.html", "--proof", "{tmp}/none"], "cannot be read as a proof"),
        (["--json", "--since", "{tmp}/old"], "is for the page; give --html FILE as well"),
        (["--html", "{tmp}/p.html", "--since", "{tmp}/none"], "cannot be read as a lock file"),
        (["--html", "{tmp}/p.html", "--since", "{tmp}"], "not a cache made by"),
        (["--html", "{tmp}/cache/manifest.json/p.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_no_page(run, tmp_path, arguments, said):
    status, out, err = run(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "p.html").exists()


def test_the_command_compares_with_another_cache(run, tmp_path):
    file, cache = tmp_path / "page.html", tmp_path / "cache"
    old = manifest.read(cache).model_copy(update={"opencode": "1.18.21"})
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / manifest.FILE).write_text(manifest.dumps(old))
    assert run("--html", str(file), "--since", str(tmp_path / "old")) == (0, "", "")
    said = Page(file.read_text()).text
    assert "Since old." in said
    assert "1.18.21" in said
