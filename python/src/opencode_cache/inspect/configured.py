"""What `doctor` says of the user's configuration: its mistakes, and what the caches lack of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.config import judge, offer
from opencode_cache.config import read as configuration
from opencode_cache.config.mistakes import mistakes
from opencode_cache.formats import shipped
from opencode_cache.opencode import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opencode_cache.formats.manifest import Manifest

State = Literal["note", "wrong"]


def findings(
    environ: Mapping[str, str], cwd: Path, directory: Path, held: Sequence[tuple[Path, Manifest]]
) -> Iterator[tuple[State, str, str, str]]:
    """What is wrong in the configuration, and what of it the caches lack: state, where, what, what to do."""
    read = configuration.read(environ, [cwd])
    opencode = held[0][1].opencode if held else shipped.default_version()
    caches = [cache for cache, _ in held]
    for one in mistakes(read, lambda: catalogue(environ, directory, caches), opencode=opencode):
        state: State = "wrong" if one.certain else "note"
        yield state, one.where, one.text, one.fix
    offers = [offer.of_cache(manifest, directory) for _, manifest in held]
    offers = offers or [offer.Offer(shipped.default_version())]
    for same in zip(*(judge.judge(read, each) for each in offers), strict=True):
        worst = judge.worst(same)
        if worst.word == "not covered" or worst.fix:
            state = "wrong" if worst.word == "not covered" and worst.certain else "note"
            yield state, worst.entry.where, f"{worst.shown} {worst.reason}", worst.fix


def catalogue(environ: Mapping[str, str], directory: Path, caches: Sequence[Path]) -> dict[str, Any]:
    """The catalogue that OpenCode will read; empty where neither a file nor a program at hand tells."""
    for path in (directory / "models.json", *(cache / "models.json" for cache in caches)):
        try:
            document = json.loads(files.read_text(path, files.DOCUMENT))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    on_path = shutil.which("opencode", path=environ.get("PATH"))
    data = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME', '')}/.local/share"
    kept = sorted(Path(data).glob("opencode-cache/store/*-opencode-*/bin/opencode"), key=os.path.getmtime)
    for program in ([Path(on_path)] if on_path else []) + kept[-1:]:
        try:
            return embedded.catalogue(program)
        except (BadInputError, OSError, subprocess.SubprocessError, ValueError):
            continue  # then nothing is said of models
    return {}
