"""Links that lead into the local store from elsewhere: what they lead to is in use.

`$XDG_DATA_HOME/opencode-cache/roots/<key>` is a link to each such link, as Nix's indirect roots are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from opencode_cache.base import files, store
from opencode_cache.base.errors import BadInputError


def _directory() -> Path:
    return store.data_home() / "roots"


def leave(program: Path, link: Path) -> None:
    """A symbolic link to the wrapped program, put in place at once; `gc` minds it. Raises BadInputError."""
    try:
        with files.beside(link) as directory:
            (directory / "link").symlink_to(program)
            (directory / "link").replace(link)
    except OSError as error:
        raise BadInputError(
            f"{link}: no link can be left there ({error.strerror}); choose another --link"
        ) from error
    remember(link)


def remember(link: Path) -> None:
    """Note that `link` leads into the store. Raises BadInputError where that cannot be written."""
    link = link.parent.resolve() / link.name
    note = _directory() / store.key(os.fsencode(link))
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            note.symlink_to(link)
    except OSError as error:
        raise BadInputError(
            f"{note}: cannot be written ({error.strerror}); free some space there, or set XDG_DATA_HOME"
        ) from error


def links(within: store.Store) -> list[Path]:
    """The noted links that are still there and lead into the store. Others are forgotten."""
    paths = []
    for note in sorted(_directory().glob("*")) if _directory().is_dir() else ():
        link = Path(os.readlink(note)) if note.is_symlink() else None  # noqa: PTH115 - a link to a link
        if link and link.is_symlink() and within.entry(link):
            paths.append(link)
        else:
            with contextlib.suppress(OSError):
                note.unlink()
    return paths
