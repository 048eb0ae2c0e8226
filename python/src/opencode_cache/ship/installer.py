"""Runs `install.sh`, which knows all about prefixes: what is in use, what was, the way back, the way out."""

from __future__ import annotations

import os
import pwd
import subprocess
from importlib import resources
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.ship.file_format import INSTALLER

if TYPE_CHECKING:
    from pathlib import Path


def check_rights(prefix: Path) -> None:
    """Raises BadInputError where an installation is another user's, and this one may not change it."""
    for directory in (prefix / "lib" / "opencode-cache", prefix / "bin"):
        if directory.is_dir() and not os.access(directory, os.W_OK):
            owner = directory.stat().st_uid
            if owner != os.geteuid():
                raise BadInputError(
                    f"{prefix}: belongs to another user ({_name(owner)}), who has to do it; "
                    "or choose a directory of your own"
                )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def run(words: list[str], prefix: Path) -> None:
    """Run the installer on a prefix. What it says is the error, and its exit status says which."""
    check_rights(prefix)
    with resources.as_file(resources.files(__package__).joinpath(INSTALLER)) as script:
        process = subprocess.Popen(
            ["/bin/sh", str(script), *words, str(prefix)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, output = process.communicate()
        except BaseException:
            process.terminate()  # It leaves nothing half done, if it is asked.
            process.wait()
            raise
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines() or [
            f"it ended with {process.returncode}"
        ]
        sentence = "".join(char if char.isprintable() else "?" for char in lines[-1])
        kind = CheckFailedError if process.returncode == CheckFailedError.exit_status else BadInputError
        raise kind(sentence.removeprefix(f"{INSTALLER}: "))
