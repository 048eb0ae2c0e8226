"""Inventories to draw pages of: every text in them is the caller's, as a hostile registry would have it."""

from __future__ import annotations

import datetime as dt

import making

from opencode_cache.catalogue.document import Catalogue
from opencode_cache.formats.lock import Signatures, Unavailable
from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest
from opencode_cache.formats.proof import Host, Step
from opencode_cache.inspect.difference import Change, Difference
from opencode_cache.inspect.inventory import Inventory, Tree
from opencode_cache.inspect.sbom.on_disk import Facts


def inventory(text="x", *, proof=True, shared=False):
    """Three packages in two trees (or in one), one request that cannot be answered, a failed proof.

    `text` stands in every free text, each time with a number of its own.
    """
    numbers = iter(range(1000))

    def say():
        return f"{text}{next(numbers):03}"

    specs = (say(), say())
    packages = tuple(
        CachedPackage(
            name=name,
            version=version,
            integrity=making.package("p").integrity,
            license=licence,
            github=say() if number else None,
            specs=specs[: 1 + number % 2],
        )
        for number, (name, version, licence) in enumerate(
            [(say(), say(), say()), (say(), say(), say()), (say(), say(), None)]
        )
    )
    entries = tuple(
        Entry.model_construct(  # unchecked: the page must hold whatever a manifest does
            spec=spec,
            kind="plugin",
            name=package.name,
            requested=say(),
            version=package.version,
            tree=f"packages/{number}",
            note=say(),
        )
        for number, (spec, package) in enumerate(zip(specs, packages, strict=False))
    )
    made = Manifest.model_construct(
        builder=say(),
        opencode=say(),
        layout="packages",
        system=say(),
        catalogue=Catalogue(source="file", sha256=say(), providers=2, models=1234),
        catalogue_why=say(),
        links=(),
        requests=entries,
        packages=packages,
        unavailable=(Unavailable(spec=say(), kind="provider", reason=say()),),
        languages=(say(), say()),
        languages_fetched=(say(),),
        signatures=Signatures(verified=2, missing=(say(),), keys={say(): say()}),
        accept={say(): (say(),)},
        files=1234,
        bytes=10_000_000,
    )
    sizes = {packages[0]: 5_000_000, packages[2]: 900}
    trees = (Tree("a", entries[:1], sizes), Tree("b", entries[1:], {packages[1]: 3_000_000}))
    if shared:
        trees = (Tree(".", entries, sizes | {packages[1]: 3_000_000}),)
    told = a_proof(say) if proof else None
    facts = {package: Facts(None, None, say()) for package in packages[:2]}
    return Inventory(made, trees, dt.date(2026, 7, 1), told, facts=facts)


def difference(text="x"):
    """One change of each kind of row."""
    return Difference(
        f"{text}since",
        (
            Change("package", f"{text}new", None, "1.0.0"),
            Change("package", f"{text}gone", "1.0.0", None),
            Change("content", f"{text}other", f"{text}before", f"{text}after"),
        ),
    )


def a_proof(say):
    """A proof that failed, with all that one can have."""
    return making.proof(
        tool=say(),
        opencode=say(),
        machine=say(),
        kernel=say(),
        isolated=False,
        weaker_because=say(),
        unseen=(say(),),
        steps=(
            Step(name=say(), ok=True, seconds=1.25, detail=say()),
            Step(name=say(), ok=False, seconds=0, detail=say()),
        ),
        hosts=(
            Host(name=say(), count=2, step=say(), who=say(), known=say()),
            Host(name=say(), count=1, step=say(), ports=(say(),), fix=say()),
        ),
        ok=False,
    )


def texts(found):
    """Every free text of an inventory that a reader of its page should see."""
    made, proof = found.manifest, found.proof
    seen = [made.builder, made.opencode, made.system, made.catalogue_why, made.catalogue.sha256]
    seen += [*made.languages, *made.languages_fetched, *made.signatures.missing]
    seen += [*made.signatures.keys, *made.signatures.keys.values()]
    seen += [text for who, hosts in made.accept.items() for text in (who, *hosts)]
    seen += [line.strip() for told in found.facts.values() for line in told.licence_text.splitlines()]
    for package in made.packages:
        seen += [
            package.name,
            package.version,
            *package.specs,
            *filter(None, [package.license, package.github]),
        ]
    for entry in made.requests:
        seen += [entry.spec, entry.version, entry.note]
    for gone in made.unavailable:
        seen += [gone.spec, gone.reason]
    if proof:
        seen += [proof.tool, proof.opencode, proof.machine, proof.kernel, proof.weaker_because, *proof.unseen]
    for step in proof.steps if proof else ():
        seen += [step.name, step.detail]
    for host in proof.hosts if proof else ():
        seen += [host.name, host.step, host.known or host.fix, *host.ports, *filter(None, [host.who])]
    return seen
