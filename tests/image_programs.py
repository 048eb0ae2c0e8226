"""skopeo and umoci, which the tests of images ask: those on PATH, else Debian's, kept between runs."""

from __future__ import annotations

import shutil
import subprocess

import debian
import pytest
from kept import KEPT, kept_tree

SUITE = "bookworm"
PROGRAMS = ["skopeo", "umoci"]


def words() -> dict[str, list[str]]:
    """Program -> the words of a command that starts it; or a skipped test."""
    if all(shutil.which(name) for name in PROGRAMS):
        return {name: [name] for name in PROGRAMS}
    if debian.why_not():
        pytest.skip(f"needs skopeo and umoci on PATH; to unpack Debian's, this machine {debian.why_not()}")
    bare = KEPT / "bare"
    try:
        place = kept_tree(
            bare / "-".join([SUITE, *PROGRAMS]),
            lambda to: debian.unpack(SUITE, PROGRAMS, to, bare / "debs"),
        )
    except (debian.CannotError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"needs skopeo and umoci on PATH, or Debian's: {error}")
    libraries = ":".join(map(str, (place / "usr/lib").glob("*-linux-gnu")))
    found = {
        name: ["env", f"LD_LIBRARY_PATH={libraries}", str(place / "usr/bin" / name)] for name in PROGRAMS
    }
    for name, command in found.items():
        if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
            pytest.skip(f"needs {name} on PATH: Debian's does not run on this machine")
    return found
