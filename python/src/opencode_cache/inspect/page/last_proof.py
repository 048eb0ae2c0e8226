"""The last proof on the page: verdict, of what, its limits, every step. The model is `formats/proof.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.formats.proof import verdict, where_and_when
from opencode_cache.inspect.page.markup import Content, facts, h, items, number, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from opencode_cache.formats.proof import Proof, Step
    from opencode_cache.inspect.inventory import Inventory

_MAKE_ONE = (
    "opencode-cache verify --cache CACHE --opencode BIN --json > proof.json",
    "opencode-cache list --cache CACHE --proof proof.json --html FILE",
)
_DIGITS = 12
_KINDS = {
    "ok": ("", "Complete and quiet"),
    "part": ("!", "Complete, not quiet"),
    "slow": ("!", "Too slow to say"),
    "bad": ("\u00d7", "Not proved"),
    "none": ("?", "No proof"),
}
"""The sign and the name of a verdict. The style sheet draws the tick, which many fonts lack."""


def banner(inventory: Inventory) -> Element:
    """The verdict as the first thing on the page: what the proof says, or that there is none."""
    proof = inventory.proof
    kind = _kind(proof)
    sign, title = _KINDS[kind]
    text: list[Element]
    if proof is None:
        link = h("a", "How to make one", href="#proof")
        text = [h("p", "There is no proof that this cache is complete. ", link)]
    else:
        text = [h("p", _sentence(proof)), h("p", _where(inventory, proof), class_="soft")]
        text.append(
            h(
                "p",
                "Cache ",
                h("code", f"{proof.manifest_sha256[:_DIGITS]}\u2026"),
                ", program ",
                h("code", f"{proof.binary_sha256[:_DIGITS]}\u2026"),
                class_="soft",
            )
        )
    headline = h("p", h("span", sign, class_="sign", aria_hidden="true"), h("b", title), class_="headline")
    return h("div", headline, h("div", *text), class_=f"verdict {kind}", role="note", aria_label="Verdict")


def _kind(proof: Proof | None) -> str:
    if proof is None:
        return "none"
    if proof.ok:
        return "ok"
    return "part" if proof.complete else "slow" if proof.too_slow else "bad"


def _sentence(proof: Proof) -> str:
    text = verdict(proof)
    return f"{text[0].upper()}{text[1:]}."


def _where(inventory: Inventory, proof: Proof) -> str:
    what = "Proved" if proof.complete else "Tried"
    return f"{what} {'here' if inventory.proved_here else 'elsewhere'}, on {where_and_when(proof)}"


def section(inventory: Inventory) -> Iterator[Content]:
    """The page's section about the proof: of what it is, its limits and steps, or how to make one."""
    proof = inventory.proof
    if proof is None:
        yield h("p", "There is none for this cache. To make one and put it on this page:")
        yield from (h("p", h("code", line)) for line in _MAKE_ONE)
        return
    yield facts(_of_what(inventory, proof))
    yield h("h3", "What it does not say")
    yield items(_limits(proof))
    yield table(
        "steps",
        f"What was tried: {number(len(proof.steps), 'step')}.",
        ["Step", "Result", "Seconds", "Detail"],
        [[step.name, _result(step), f"{step.seconds:.1f}", step.detail] for step in proof.steps],
        {"Step": "long", "Result": "word", "Seconds": "number", "Detail": "long"},
    )


def _of_what(inventory: Inventory, proof: Proof) -> Iterator[tuple[str, Content]]:
    manifest = inventory.manifest
    requests = number(len(manifest.requests), "request")
    yield "For", f"OpenCode {proof.opencode} on {manifest.system}, with all that answers {requests} (below)"
    yield "Where, when", _where(inventory, proof)
    yield "Cache", h("code", proof.manifest_sha256)
    yield "", h("span", "sha256 of manifest.json, which has the sha512 of every package", class_="soft")
    yield "Program", h("code", proof.binary_sha256)
    yield "", h("span", "sha256 of the file with OpenCode's own code", class_="soft")
    how = "in a network namespace of its own, with the cache mounted read-only"
    yield "How", how if proof.isolated else "without a namespace of its own: a weaker proof"
    if proof.installation_sha256:
        yield "As it ships", h("code", proof.installation_sha256)
        yield (
            "",
            h(
                "span",
                "sha256 of the list of all that was in sight, but a shell and the C library",
                class_="soft",
            ),
        )
    yield "PATH", h("code", ":".join(proof.path))
    yield "Bare start", f"{proof.start_seconds:.2f} s for opencode --version, by which the steps were timed"


def _limits(proof: Proof) -> Iterator[Content]:
    if not proof.isolated:
        yield _weaker(proof.weaker_because or "it was not isolated")
    yield from map(_weaker, proof.unseen)
    yield _limit("Other files.", "A cache or a program with another digest is not proved by it.")
    yield _limit(
        "Your own settings.",
        "OpenCode ran in an empty home, with settings made for the proof. "
        "opencode-cache plan --check compares yours, with your projects and MCP servers.",
    )
    driven = sum(step.name.startswith("answer ") for step in proof.steps)
    answered = f"A stand-in on this machine answered for {number(driven, 'provider')}."
    yield _limit(
        "Real services.",
        f"{answered if driven else 'No provider was asked for an answer.'} No step had a network, so what a "
        "plugin does once a service answers was not seen.",
    )
    yield _limit(
        "What no step tried.",
        "Other models, tools that no model was told to call, the PATH of other machines.",
    )
    yield _limit("Harmless code.", "It says whom the code asked, not what else the code can do.")


def _limit(what: str, why: str) -> Element:
    return h("span", h("b", what), f" {why}")


def _weaker(why: str) -> Element:
    return h("span", f"A weaker proof: {why}.", class_="warn")


def _result(step: Step) -> Element:
    if step.ok:
        return h("span", "ok", class_="good")
    return h("span", "too slow" if step.too_slow else "failed", class_="warn")
