"""OpenCode's cache layouts, one module each; `opencode/versions.py` says which version has which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.layouts.bun import BUN
from opencode_cache.layouts.generations import GENERATIONS
from opencode_cache.layouts.packages import PACKAGES
from opencode_cache.opencode.versions import check_experimental, layout_name

if TYPE_CHECKING:
    from opencode_cache.formats.lock import Lock
    from opencode_cache.layouts.layout import Layout

_ALL: tuple[Layout, ...] = (BUN, PACKAGES, GENERATIONS)


def for_version(version: str) -> Layout:
    """The layout that this version of OpenCode reads. Raises BadInputError that names the supported range."""
    return named(layout_name(version))


def named(name: str) -> Layout:
    """The layout of that name, as a lock or a manifest has it."""
    return next(layout for layout in _ALL if layout.name == name)


def check(lock: Lock) -> None:
    """Raises BadInputError where a tree is not where OpenCode looks for what the lock has it for.

    Also for a version that is an experiment, unless that was asked for.
    """
    check_experimental(lock.opencode.version)
    layout, version = named(lock.opencode.layout), lock.opencode.version
    for request in lock.requests:
        tree = layout.place(version, request.kind, request.spec, request.version).tree
        if request.tree != tree:
            raise BadInputError(
                f"requests: {request.spec}: OpenCode {version} looks for this {request.kind} in {tree!r}, "
                f"the lock has it in {request.tree!r}; make the lock again"
            )
    asked_for = {request.tree for request in lock.requests}
    for tree in lock.trees:
        if tree not in asked_for:
            raise BadInputError(f"trees: nothing asks for {tree!r}; make the lock again")
