"""Programs of another system: by an emulator that is named, and with libraries of that system."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError
from opencode_cache.sandbox import foreign

ENTER = """
import os, sys
from pathlib import Path
from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.sandbox import foreign
emulator, sysroot, *command = sys.argv[1:]
try:
    foreign.enter("aarch64-linux", Path(emulator) if emulator else None, Path(sysroot) if sysroot else None)
except OpencodeCacheError as error:
    sys.exit(f"refused: {error}")
os.execvp(command[0], command)
"""


def entered(emulator, sysroot, *command, **options):
    done = subprocess.run(
        [sys.executable, "-c", ENTER, str(emulator or ""), str(sysroot or ""), *map(str, command)],
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    if done.stderr.startswith("refused: "):
        pytest.skip(f"needs a kernel that lets a user do it: {done.stderr.strip()}")
    return done


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not Path("/lib").is_dir(), reason="needs Linux, with a /lib"
)


@pytest.fixture
def sysroot(tmp_path):
    """A library beside, one that the machine has too, and nothing else."""
    for name in ("lib", "usr/lib"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/lib/ld-nobodys.so.1").write_text("loader")
    (tmp_path / "root/usr/lib/libnobodys.so").write_text("library")
    return tmp_path / "root"


def test_libraries_stand_where_a_loader_looks_and_nothing_is_taken_away(sysroot, tmp_path):
    before = sorted(path.name for path in Path("/lib").iterdir())
    script = "cat /lib/ld-nobodys.so.1 /lib/libnobodys.so; ls -a /lib; pwd"
    done = entered(None, sysroot, "sh", "-c", script, cwd=tmp_path)
    text, *names = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert text.startswith("loaderlibrary")
    assert set(before) < {text.removeprefix("loaderlibrary"), *names}
    assert names[-1] == str(tmp_path)
    assert sorted(path.name for path in Path("/lib").iterdir()) == before
    assert (sysroot / "lib/ld-nobodys.so.1").exists()


def test_an_emulator_starts_programs_whoever_starts_them(tmp_path, sysroot):
    program = tmp_path / "program"
    program.write_bytes(struct.pack("<7s9xHH", b"\x7fELF\x02\x01\x01", 2, 183).ljust(64, b"\0"))
    program.chmod(0o755)
    script = f"env {program} two words; echo $QEMU_LD_PREFIX; cat $QEMU_LD_PREFIX/lib/ld-nobodys.so.1"
    done = entered(shutil.which("echo"), sysroot, "sh", "-c", script)
    assert done.stdout == f"{program} two words\n/.sysroot\nloader", done.stderr
    with pytest.raises(OSError, match="Exec format"):  # nobody else's
        subprocess.run([program], check=False)


def test_what_is_neither_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(BadInputError, match=r"--emulator .*: not a program"):
        foreign.enter("aarch64-linux", tmp_path / "gone", None)
    with pytest.raises(BadInputError, match=r"--sysroot .*: has no lib in it"):
        foreign.enter("aarch64-linux", None, tmp_path)
