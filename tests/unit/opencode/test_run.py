"""Which file has OpenCode's text in it. OpenCode is a small shell script here."""

from __future__ import annotations

import pytest

from opencode_cache.opencode import run as opencode


@pytest.fixture
def script(tmp_path):
    def make(name, body):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def test_the_program_behind_wrappers_is_found(script):
    real = script(".opencode-wrapped", '[ "$BUN_BE_BUN" = 1 ] && printf %s "$0"')
    inner = script("inner", f'export PATH="/nowhere:$PATH"\nexec {real} "$@"')
    outer = script("opencode", f'exec {inner} "$@"')
    assert opencode.image(outer) == real
    assert opencode.image(real) == real


@pytest.mark.parametrize(
    "body", ["exit 1", "", "echo opencode", "echo relative/opencode", "printf /nowhere/at/all"]
)
def test_a_program_that_does_not_tell_is_taken_for_the_file_itself(script, body):
    program = script("opencode", body)
    assert opencode.image(program) == program


def test_what_cannot_be_started_is_taken_for_the_file_itself(tmp_path):
    (tmp_path / "opencode").write_bytes(b"\x7fELF of another system")
    (tmp_path / "opencode").chmod(0o755)
    assert opencode.image(tmp_path / "opencode") == tmp_path / "opencode"
    assert opencode.image(tmp_path / "nowhere") == tmp_path / "nowhere"
