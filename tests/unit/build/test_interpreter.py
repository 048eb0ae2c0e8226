"""The loader that an ELF program asks for, and giving it another one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.base import elf
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import interpreter

PROGRAM = Path(sys.executable).resolve()

needs_elf = pytest.mark.skipif(
    sys.platform != "linux" or elf.loader(PROGRAM) is None, reason="needs a Python that is ELF"
)


@needs_elf
def test_a_program_names_its_loader():
    found = elf.loader(PROGRAM)
    assert found is not None
    assert found.name.startswith("ld-")
    assert found.exists()


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_program_names_none(tmp_path_factory, content, is_elf):
    path = tmp_path_factory.mktemp("elf") / "file"
    path.write_bytes((b"\x7fELF\x02\x01" if is_elf else b"") + content)
    elf.loader(path)  # an answer, whatever it is


def test_scripts_and_libraries_are_left_alone(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env node\n")
    script.chmod(0o755)
    (tmp_path / "link").symlink_to("/nowhere")
    assert interpreter.give(tmp_path, Path("/nix/ld.so")) == []


@needs_elf
def test_a_program_for_another_libc_is_left_alone(tmp_path):
    shutil.copy2(PROGRAM, tmp_path / "program")
    assert interpreter.give(tmp_path, Path("/lib/ld-musl-x86_64.so.1")) == []


@needs_elf
def test_without_patchelf_a_sentence_names_the_program(tmp_path, monkeypatch):
    shutil.copy2(PROGRAM, tmp_path / "program")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    name = elf.loader(PROGRAM).name
    with pytest.raises(BadInputError, match="program: needs another ELF interpreter; put patchelf on PATH"):
        interpreter.give(tmp_path, Path("/elsewhere") / name)


@needs_elf
@pytest.mark.skipif(not shutil.which("patchelf"), reason="needs patchelf on PATH")
def test_a_program_asks_for_the_new_loader(tmp_path):
    program = tmp_path / "program"
    shutil.copy2(PROGRAM, program)
    old = elf.loader(PROGRAM)
    new = tmp_path / old.name
    new.symlink_to(old)
    assert interpreter.give(tmp_path, new) == [program]
    assert elf.loader(program) == new
    assert interpreter.give(tmp_path, new) == []
    assert subprocess.run([program, "--version"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("first", "becomes"),
    [
        ("#!/usr/bin/env node", "#!/nix/store/x/bin/node"),
        ("#! /usr/bin/env node", "#!/nix/store/x/bin/node"),  # svelte-language-server
        ("#!/usr/bin/env  node \r", "#!/nix/store/x/bin/node"),
        ("#!/usr/bin/env -S node --no-warnings", "#!/nix/store/x/bin/node --no-warnings"),
        ("#!/usr/bin/env -S node --a --b", None),
        ("#!/usr/bin/env nodejs", None),
        ("#!/bin/sh\n#!/usr/bin/env node", None),
    ],
)
def test_a_script_for_node_is_started_with_the_one_that_is_given(tmp_path, first, becomes):
    script = tmp_path / "script"
    script.write_bytes(f"{first}\nconsole.log(1)\n".encode())
    script.chmod(0o555)
    interpreter.give_node(tmp_path, Path("/nix/store/x/bin/node"))
    assert script.read_bytes() == f"{becomes or first}\nconsole.log(1)\n".encode()


@pytest.mark.parametrize("node", ["bin/node", "/a b/node", f"/{'x' * 300}/node"])
def test_a_node_that_no_kernel_would_start_is_refused(tmp_path, node):
    with pytest.raises(BadInputError, match="cannot start scripts"):
        interpreter.give_node(tmp_path, Path(node))
