"""What is in bundles and images: the wrapper, OpenCode, its cache and the programs beside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import proof as proofs
from opencode_cache.inspect import sbom
from opencode_cache.prove import on_file
from opencode_cache.ship import licences
from opencode_cache.ship.file_format import CACHE, DATA_MODE, OPENCODE, PROGRAM, PROGRAM_MODE, TOOLS
from opencode_cache.ship.items import Item, program, tree
from opencode_cache.wrapper import preload
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.formats.proof import Proof

PRESET = "etc/opencode/opencode.json"
"""Settings for everybody, where `machine.js` looks for them."""
CYCLONEDX, SPDX = "bill.cdx.json", "bill.spdx.json"
_PROGRAMS = {
    "rg": ("ripgrep", "Andrew Gallant, github.com/BurntSushi/ripgrep", "Unlicense OR MIT"),
    "node": ("nodejs", "the OpenJS Foundation, github.com/nodejs/node", "MIT"),
}
"""Name, supplier and licence of what has an option of its own; others are known by their file's name."""
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_UNKNOWN = "whoever made the bundle"
Prover: TypeAlias = "Callable[[Mapping[str, Item]], Proof]"
"""Gives the proof that travels with what ships."""
_ROOT = Path("/bundle")
"""Stands for wherever it is unpacked; not a word of it is in the wrapper."""
_PRELOAD = str(preload.path_of(Path(), "opencode"))


@dataclass(frozen=True)
class Choices:
    """What is chosen of an installation, beside OpenCode and its cache."""

    ripgrep: Path | None = None
    node: Path | None = None
    programs: Mapping[str, Path] = field(default_factory=dict)
    """Name -> file: OpenCode finds these three at the end of PATH."""
    offline: bool = True
    """As in `wrapper.render`."""
    prove: Prover | None = None
    accept_licences: Collection[str] = ()
    """Names of packages that are taken although they may not be passed on."""
    preset: bytes | None = None
    """An opencode.json for everybody who uses it."""


def installation(manifest: Manifest, cache: Path, opencode: Path, choices: Choices) -> dict[str, Item]:
    """Path -> where its content comes from, directories included.

    Raises BadInputError for a cache that is not whole, for what may not be passed on, for programs that run
    nowhere else, and for a proof of something else.
    """
    licences.check(manifest, choices.accept_licences)
    given = {"rg": choices.ripgrep, "node": choices.node, **_named(choices.programs)}
    better = {"rg": "ripgrep as one static binary", "node": "Node.js's own build"}
    beside = {
        f"{TOOLS}/{name}": program(path, better.get(name, f"{name} as one program"), manifest.system)
        for name, path in given.items()
        if path
    }
    items = {
        PROGRAM: Item(
            data=_wrapper(manifest, offline=choices.offline, tools=bool(beside)), mode=PROGRAM_MODE
        ),
        _PRELOAD: Item(
            data=preload.render(manifest.layout, _ROOT / CACHE, root=_ROOT).encode(), mode=DATA_MODE
        ),
        OPENCODE: program(opencode, "OpenCode's release binary", manifest.system),
        **beside,
    }
    if choices.preset is not None:
        items |= {"etc": Item(), "etc/opencode": Item(), PRESET: Item(data=choices.preset, mode=DATA_MODE)}
    items |= _bills(manifest, cache, items)
    items |= dict(tree(cache.resolve(), CACHE, opencode.resolve()))
    lacking = [entry for entry in (*manifest.links, *manifest.copies) if f"{CACHE}/{entry}" not in items]
    if lacking:
        raise BadInputError(f"{cache}: {lacking[0]} is missing; build the cache again")
    for path in list(items):
        items |= {str(above): items.get(str(above), Item()) for above in Path(path).parents if above.name}
    if choices.prove:
        proof = choices.prove(items)
        wanted = proofs.of(cache, items[OPENCODE].sha256())
        proofs.check(proof, Path(proofs.FILE), manifest.opencode, wanted)
        items[proofs.FILE] = Item(data=on_file.dumps(proof).encode(), mode=DATA_MODE)
    return items


def _named(programs: Mapping[str, Path]) -> Mapping[str, Path]:
    for name, path in programs.items():
        if name in {"rg", "node", "opencode"} or not _NAME.fullmatch(name):
            options = {"rg": "; give --ripgrep", "node": "; give --node"}
            hint = options.get(name, "; write it as NAME=FILE, such as gopls=./gopls")
            raise BadInputError(f"--program {name}={path}: {name!r} cannot be its name{hint}")
    return programs


def _bills(manifest: Manifest, cache: Path, items: Mapping[str, Item]) -> dict[str, Item]:
    """The bills of materials of all that is shipped."""
    names = {sbom.OPENCODE: OPENCODE, sbom.WRAPPER: PROGRAM, sbom.PRELOAD: _PRELOAD}
    beside = [
        sbom.program_part(name, name, supplier, items[path].sha256(), licence)
        for path, (name, supplier, licence) in {
            path: _PROGRAMS.get(Path(path).name, (Path(path).name, _UNKNOWN, None))
            for path in items
            if path.startswith(f"{TOOLS}/")
        }.items()
    ]
    digests = {part: items[path].sha256() for part, path in names.items()}
    bill = sbom.take(manifest, cache, digests=digests, beside=beside)
    documents = {CYCLONEDX: sbom.cyclonedx(bill), SPDX: sbom.spdx(bill)}
    return {
        name: Item(data=sbom.dumps(document).encode(), mode=DATA_MODE) for name, document in documents.items()
    }


def _wrapper(manifest: Manifest, *, offline: bool, tools: bool) -> bytes:
    return wrapper.render(
        manifest,
        _ROOT / CACHE,
        _ROOT / OPENCODE,
        _ROOT / _PRELOAD,
        offline=offline,
        extra_path=[str(_ROOT / TOOLS)] if tools else [],
        root=_ROOT,
    ).encode()
