"""Where the wrapper puts things: OpenCode's cache and config directories of the user whose environment it is.

`wrapper.sh` has the same rules in its first lines (`hot_path._ROOT`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUTS = ("packages", "bun")
"""Names of the links in `.nix` that lead to a cache."""


def cache(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/opencode`, else `~/.cache-nix/opencode`. BadInputError where HOME is no path."""
    own = environ.get("XDG_CACHE_HOME", "")
    if own.startswith("/"):
        return Path(own) / "opencode"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise BadInputError(f"HOME is {home!r}, not an absolute path; set HOME, or XDG_CACHE_HOME")
    return Path(home) / ".cache-nix" / "opencode"


def config(environ: Mapping[str, str]) -> Path | None:
    """`$XDG_CONFIG_HOME/opencode`, else `~/.config/opencode`; None where the wrapper knows of none."""
    own = environ.get("XDG_CONFIG_HOME", "")
    home = environ.get("HOME", "")
    if own.startswith("/"):
        return Path(own) / "opencode"
    return Path(home) / ".config" / "opencode" if not own and home.startswith("/") else None
