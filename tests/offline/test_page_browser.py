"""The page of `list --html` in a real browser: headless, and without a network."""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
import zlib
from pathlib import Path

import chromium
import pytest

from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Proof, Step
from opencode_cache.inspect import difference, inventory
from opencode_cache.inspect.page import write as page
from opencode_cache.prove import on_file

sys.path.append(str(Path(__file__).parents[1] / "unit"))
import paging
from kept import KEPT, LOCKS

HOSTILE = (
    "</style></script><img src=http://h.example/x onerror=pwned=1><script>pwned=1</script>\"'>&lt;\u202e"
)
SCHEMES = ("light", "dark")
WIDTHS = (390, 1280)
PICTURES = KEPT / "screenshots"
"""What the tests saw, for people to look at."""

# WCAG 2: the ratio of a text's luminance to that of what lies below it, for every text that is seen.
CONTRAST = r"""(() => {
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((value) => value / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const below = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (parts(colour).length === 3) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    seen += 1;
    const [a, b] = [light(getComputedStyle(element).color), light(below(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([element.tagName, element.className, ratio]);
  }
  return { bad, seen };
})()"""

# WCAG 2, 1.4.11: what shows a cell and its kind against what is beside it.
CELL_CONTRAST = r"""(() => {
  const light = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map((value) => value / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const paper = style("html").backgroundColor;
  const [asked, needed] = [style(".cell.asked"), style(".cell:not(.asked)")];
  const edge = needed.boxShadow.match(/rgba?\([^)]*\)/)[0];
  return {
    ratios: [
      ratio(asked.backgroundColor, paper), ratio(edge, paper), ratio(edge, needed.backgroundColor),
      ratio(asked.backgroundColor, needed.backgroundColor),
    ],
    corner: asked.backgroundImage.startsWith("linear-gradient") && needed.backgroundImage === "none",
  };
})()"""

# Areas of the map's cells in a tree, against the bytes in their titles, are compared in Python.
CELLS = r"""[...document.querySelectorAll(".cell")].map((cell) => {
  const own = cell.getBoundingClientRect(), map = document.querySelector(".map").getBoundingClientRect();
  const inside = own.left >= map.left - 1 && own.right <= map.right + 1 && own.top >= map.top - 1
    && own.bottom <= map.bottom + 1;
  return { tree: cell.closest(".tree").id, area: own.width * own.height, inside, title: cell.title };
})"""


@pytest.fixture(scope="module")
def browser():
    try:
        start = chromium.command()
    except chromium.CannotError as why:
        pytest.skip(str(why))
    with chromium.browser(start) as started:
        yield started


@pytest.fixture(scope="module")
def real(made_118, tmp_path_factory):
    """The default cache, with a proof as `verify --json` writes it."""
    identity = on_file.identity(made_118.cache, manifest.read(made_118.cache))
    proof = Proof(
        **identity.model_dump(),
        tool="0.1.0",
        opencode="1.18.33",
        time="2026-11-26T01:02:03Z",
        machine="x86_64, 2 CPUs",
        kernel="Linux 6.1.0",
        start_seconds=0.5,
        path=("/usr/bin", "/bin"),
        isolated=True,
        steps=(Step(name="models", ok=True, seconds=2.76, detail="8 listed"),),
        hosts=(),
        ok=True,
    )
    file = tmp_path_factory.mktemp("proof") / "proof.json"
    file.write_text(proof.model_dump_json())
    return inventory.take(made_118.cache, file)


@pytest.fixture
def show(browser, tmp_path, request):
    """Show a page; afterwards it must not have asked for anything, nor complained."""

    def one(text, width=1280, scheme="light"):
        # Debian's browser sees /tmp and this repository.
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        browser.show(file, width, scheme)
        return browser

    yield one
    asked = [told["request"]["url"] for name, told in browser.events if name == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:///", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:///")]) == 1
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [told for name, told in browser.events if name in complaints] == []


def pixels(png):
    """Width, height and how many different bytes there are, of a picture as Chromium makes them."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind in (2, 6)) == (8, True)
    data, place = b"", 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    size = 3 if kind == 2 else 4
    raw, stride = zlib.decompress(data), width * size + 1
    assert len(raw) == stride * height
    return width, height, len(set(raw))


def keep(name, data):
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / name).write_bytes(data)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_can_be_read(show, real, width, scheme):
    shown = show(page.render(real), width, scheme)
    assert shown.value("document.documentElement.scrollWidth") <= width
    assert shown.value("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
    # What the page paints is dark or light indeed.
    paper = [
        int(n)
        for n in re.findall(r"\d+", shown.value("getComputedStyle(document.documentElement).backgroundColor"))
    ]
    assert (max(paper) < 64) if scheme == "dark" else (min(paper) > 192)
    contrast = shown.value(CONTRAST)
    assert contrast["bad"] == []
    assert contrast["seen"] > 600  # of a hundred packages
    picture = shown.picture()
    keep(f"page-{scheme}-{width}.png", picture)
    picture_width, picture_height, variety = pixels(picture)
    assert picture_width == width
    assert picture_height > 3000
    assert variety > 32


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cells_are_told_apart_without_their_colours(show, real, scheme):
    cells = show(page.render(real), 1280, scheme).value(CELL_CONTRAST)
    assert min(cells["ratios"]) >= 3, cells
    assert cells["corner"]


def test_on_paper_no_column_is_cut_and_nothing_is_folded(show, real):
    """A4 with the margins of the style sheet is 688 pixels wide."""
    changes = difference.take(real.manifest, LOCKS / "opencode-cache-1.18.21.lock.json")
    assert changes.changes
    shown = show(page.render(real, changes), 688)
    # How much higher each folded part is than its heading, which on paper may be left out.
    inside = (
        "[...document.querySelectorAll('details')].map((d) => Math.round("
        "d.getBoundingClientRect().height - d.firstChild.getBoundingClientRect().height))"
    )
    folded = shown.value(inside)
    assert len(folded) > 10
    assert max(folded) < 16
    shown.do("Emulation.setEmulatedMedia", media="print")
    try:
        wide = (
            "[...document.querySelectorAll('.scroll, main, header')]"
            ".filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent.slice(0, 60))"
        )
        assert shown.value(wide) == []
        assert shown.value("document.documentElement.scrollWidth") <= 688
        assert min(shown.value(inside)) > 16
        for part in ("nav", ".skip", "#filtering"):
            assert shown.value(f"document.querySelector('{part}').checkVisibility()") is False
        keep("page-print.png", shown.picture())
        printed = shown.do("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
    finally:
        shown.do("Emulation.setEmulatedMedia", media="")
    pdf = base64.b64decode(printed["data"])
    keep("page.pdf", pdf)
    assert pdf.startswith(b"%PDF-")


@pytest.mark.parametrize("width", WIDTHS)
def test_areas_are_sizes(show, real, width):
    shown = show(page.render(real), width)
    cells = shown.value(CELLS)
    assert len(cells) > 100
    assert all(cell["inside"] for cell in cells)
    by_tree = {}
    for cell in cells:
        megabytes = float(re.search(r": ([\d.]+) MB", cell["title"])[1])
        by_tree.setdefault(cell["tree"], []).append((megabytes, cell["area"]))
    assert len(by_tree) == len(real.trees)
    for found in by_tree.values():
        large = [(size, area) for size, area in found if size >= 1]
        ratios = [area / size for size, area in large]
        assert not ratios or max(ratios) / min(ratios) < 1.15


def test_the_filter_narrows_the_table(show, real):
    shown = show(page.render(real))
    count = (
        "[...document.querySelectorAll('#packages tbody tr')].filter((row) => row.checkVisibility()).length"
    )
    assert shown.value(count) == len(real.manifest.packages)
    shown.value("document.getElementById('filter').focus()")
    shown.do("Input.insertText", text="ZOD mit")
    named = [p for p in real.manifest.packages if "zod" in p.name]
    assert 0 < shown.value(count) < 10
    assert shown.value("document.getElementById('shown').textContent").endswith(
        f" of {len(real.manifest.packages)}"
    )
    assert len(named) <= shown.value(count)


def test_without_javascript_all_is_there_but_the_filter(show, browser, real):
    browser.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        shown = show(page.render(real))
        rows = "document.querySelectorAll('#packages tbody tr').length"
        assert shown.value(rows) == len(real.manifest.packages)
        assert shown.value("document.getElementById('filtering').checkVisibility()") is False
        assert shown.value("document.querySelector('.cell').getBoundingClientRect().width") > 20
    finally:
        browser.do("Emulation.setScriptExecutionDisabled", value=False)


def test_the_keyboard_gets_everywhere_and_is_seen(show, real):
    shown = show(page.render(real), 390)
    assert shown.value("document.querySelector('.skip').getBoundingClientRect().right") < 0
    reached = set()
    for press in range(60):
        for kind in ("keyDown", "keyUp"):
            shown.do("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        tag, outline = shown.value(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(tag)
        if not press:  # what leads past the sections' names comes first, and is seen then
            assert shown.value("document.activeElement.className") == "skip"
            assert shown.value("document.querySelector('.skip').getBoundingClientRect().left") >= 0
        assert tag == "BODY" or outline == "solid", tag
    assert {"A", "DIV", "SUMMARY", "INPUT"} <= reached


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_values_stay_values(show, width, shared):
    found = paging.inventory(HOSTILE, shared=shared)
    shape = "[...document.querySelectorAll('*')].map((e) => e.tagName)"
    plain = show(page.render(paging.inventory(shared=shared)), width).value(shape)
    shown = show(page.render(found), width)
    assert shown.value("typeof pwned") == "undefined"
    assert shown.value(shape) == plain
    assert shown.value("document.documentElement.scrollWidth") <= width
    assert json.dumps(HOSTILE[:20])[1:-1] in json.dumps(shown.value("document.body.innerText"))
