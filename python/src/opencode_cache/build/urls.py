"""Writes a lock's texts that have addresses into a cache: each under its sha256, and which it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opencode_cache.build import user_files
from opencode_cache.formats import urls
from opencode_cache.formats.urls import DIRECTORY, INDEX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(texts: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Write them into the cache; address -> sha256. Raises OSError."""
    digests = urls.digests(texts)
    if texts:
        written = {f"{DIRECTORY}/{digests[url]}": text for url, text in texts.items()}
        user_files.write(written | {INDEX: json.dumps(digests, indent=2) + "\n"}, cache)
    return digests
