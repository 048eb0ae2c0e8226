"""Settings for everybody who uses a bundle or an image: looked at as a user's own configuration is."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from opencode_cache.base import console, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.config import judge, offer, read
from opencode_cache.config.mistakes import mistakes
from opencode_cache.formats import manifest
from opencode_cache.inspect import configured

if TYPE_CHECKING:
    from pathlib import Path

_BESIDE = re.compile(r"\{file:(?![/~])([^}]*)\}")


def checked(preset: Path | None, cache: Path, opencode: Path) -> bytes | None:
    """The preset's text, if it works with that cache on another machine.

    Raises BadInputError for one with which OpenCode does not start, or that asks for what the cache lacks.
    """
    if preset is None:
        return None
    configuration, contents = read.read_files([preset], os.environ, []), manifest.read(cache)
    environment = {"PATH": str(opencode.absolute().parent)}
    for mistake in mistakes(
        configuration, lambda: configured.catalogue(environment, cache, []), opencode=contents.opencode
    ):
        if mistake.certain:
            raise BadInputError(f"{mistake.where}: {mistake.text}; {mistake.fix}")
        console.step(f"{mistake.where}: {mistake.text}; {mistake.fix}")
    if contents.layout != "packages":
        raise BadInputError(
            f"--preset {preset}: OpenCode {contents.opencode} reads no settings for everybody; "
            "take 1.14 or newer, or name the file in OPENCODE_CONFIG"
        )
    for one in judge.lacking(judge.judge(configuration, offer.of_cache(contents))):
        if one.certain:
            raise BadInputError(f"{preset}: {one.shown}: {one.reason}; {one.fix}")
        console.step(f"not covered: {one.shown}: {one.reason}; {one.fix}")
    text = files.read_text(preset, files.SETTINGS)
    beside = _BESIDE.search(text)
    if beside:
        raise BadInputError(
            f"{preset}: {beside[0]} lies beside it, and other machines have it not; write an absolute path"
        )
    return text.encode()
