"""OpenCode's cache layouts, one module each; `eras.py` says which version of OpenCode has which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.layouts.bun import BUN
from opencode_cache.layouts.packages import PACKAGES
from opencode_cache.opencode.versions import layout_name

if TYPE_CHECKING:
    from opencode_cache.layouts.layout import Layout

_ALL: tuple[Layout, ...] = (BUN, PACKAGES)


def for_version(version: str) -> Layout:
    """The layout that this version of OpenCode reads. Raises BadInputError that names the supported range."""
    return named(layout_name(version))


def named(name: str) -> Layout:
    """The layout of that name, as a lock or a manifest has it."""
    return next(layout for layout in _ALL if layout.name == name)
