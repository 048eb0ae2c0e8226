"""Plugins that are files of the user's: OpenCode imports them where they lie; what they need is locked."""

from __future__ import annotations

import json

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import user_files
from opencode_cache.npm import spec as npm_spec


def is_local(spec: str) -> bool:
    """Whether a plugin is a file or a directory of the user's, as OpenCode tells them apart."""
    return spec.startswith(("./", "../", "/", "~/", "file:"))


def dependencies(path: str) -> list[str]:
    """The npm specs that a local plugin needs beside it, from its package.json; a lone file has none.

    Raises BadInputError.
    """
    directory = user_files.expanded(path.removeprefix("file://"))
    if not directory.exists():
        raise BadInputError(f"plugins: {path!r}: no such file or directory; paths are relative to the plan")
    manifest = directory / "package.json"
    if not manifest.is_file():
        return []
    try:
        needed = json.loads(files.read_text(manifest, files.SETTINGS)).get("dependencies", {})
        specs = [f"{name}@{wanted}" if wanted else name for name, wanted in sorted(needed.items())]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise BadInputError(
            f"plugins: {manifest}: cannot be read as a package.json ({why}); fix it"
        ) from error
    for spec in specs:
        npm_spec.check(f"plugins: {manifest}: dependencies", spec)
    return specs
