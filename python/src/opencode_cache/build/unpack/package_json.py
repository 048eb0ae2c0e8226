"""What package.json says about the files of a package: which of its strings name something to load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

_CONDITIONS = frozenset(
    """
    node import require default module module-sync node-addons bun browser development production deno
    worker workerd edge-light edge-routine netlify electron react-native react-server commonjs esm
    es2015 script
    """.split()  # noqa: SIM905 - the same words, one to a line, are two pages
)
"""What Node, Bun or another runtime sets without being asked: the conditions that Node's documentation lists,
and WinterCG's runtime keys. A package's own, like `@zod/source`, has to be given on the command line.
"""

_METADATA = frozenset(
    """
    types typings typesVersions tsd files scripts source directories repository keywords homepage bugs
    author contributors maintainers license licenses description name version engines os cpu libc
    dependencies devDependencies peerDependencies peerDependenciesMeta optionalDependencies
    bundleDependencies overrides resolutions sideEffects jest nyc ava mocha c8 tap vitest eslintConfig
    prettier standard xo typedoc tsup size-limit bundlesize lint-staged husky release np publishConfig
    workspaces man readme funding zshy tshy unbuild rollup babel targets browserslist nx turbo wireit
    knip auto-changelog testling greenkeeper changelog
    """.split()  # noqa: SIM905 - as above
)
"""Fields by which no program loads a file. Every other one, known or not, counts."""


def parse(content: bytes | mmap.mmap | None) -> dict[str, object]:
    """The fields of a package.json, none where it cannot be read."""
    try:
        value = json.loads(bytes(content)) if content is not None else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def load_targets(fields: dict[str, object]) -> Iterator[str]:
    """Every string by which a program may load a file: paths, patterns, and plain words too."""
    for field, value in fields.items():
        if field in ("exports", "imports"):
            yield from _conditional(value)
        elif field not in _METADATA:
            yield from strings(value)
    if "main" not in fields and "exports" not in fields:
        yield "./index"


def type_targets(fields: dict[str, object]) -> Iterator[str]:
    """Every string by which TypeScript may find a package's declarations."""
    for field in ("types", "typings", "typesVersions", "exports"):
        yield from strings(fields.get(field))
    yield "index.d.ts"


def strings(value: object) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def _conditional(value: object) -> Iterator[str]:
    """The targets of `exports` or `imports` that a runtime's own conditions lead to: not those of `types`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.startswith((".", "#")) or key in _CONDITIONS:
                yield from _conditional(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _conditional(inner)
    elif isinstance(value, str):
        yield value
