"""Renders what OpenCode preloads beside the wrapper: JavaScript from `preload.js` and its companions."""

from __future__ import annotations

import json
import os
import string
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.opencode.versions import LayoutName


class Template(string.Template):
    """Values are `@@{name}`: shell scripts and JavaScript have too many `$` of their own."""

    delimiter = "@@"


def source(name: str) -> str:
    """A file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def path_of(prefix: Path, name: str) -> Path:
    """Where the JavaScript that a wrapper preloads is, below the directory that has `bin/<name>`."""
    return prefix / "libexec" / f"{name}-preload.js"


_TREES = {
    "bun": ('"packages"', "spec"),
    "packages": ('"packages"', "spec"),
    "generations": ('"npm"', 'spec.includes("@", 1) ? spec : `${spec}@latest`, "1"'),
}
"""Layout -> where trees are below the cache, and where the tree of `spec` is there, as JavaScript."""


def render(layout: LayoutName, cache: Path, name: str = "opencode", root: Path | None = None) -> str:
    """The text of the file that OpenCode preloads. `cache` and `root` as in `render`.

    It reads grammars and packages from the cache itself: a link in the user's cache directory could be
    turned by a command that the agent runs.
    """
    if root:
        below = os.path.relpath(cache, path_of(root, name).parent)
        expression = f"join(__dirname, {json.dumps(below)})"
    else:
        expression = json.dumps(str(cache).encode(errors="surrogateescape").decode(errors="replace"))
    trees, tree = _TREES[layout]
    last = "service.js" if layout == "generations" else "configured.js"
    sources = ("preload.js", "machine.js", "programs.js", last, "sessions.js")
    values = {"cache": expression, "trees": trees, "tree": tree, "name": json.dumps(name)}
    return Template("".join(map(source, sources))).substitute(values)
