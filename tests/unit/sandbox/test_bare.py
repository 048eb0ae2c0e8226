"""A root with nothing in it but what ships, and what every machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from opencode_cache.base import python
from opencode_cache.sandbox import netns

LOOK = """
import json, os, shutil, subprocess, sys
from pathlib import Path
from opencode_cache.sandbox import netns
netns.enter(bare=Path(sys.argv[1]))
os.environ["PATH"] = "/usr/bin:/bin"
import xml.dom.minidom  # modules are there, for whoever looks on

def tried(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return True
print(json.dumps({
    "tools": [one for one in ("sh", "ln", "readlink", "node", "rg", "git", "python3") if shutil.which(one)],
    "root": sorted(os.listdir("/")),
    "said": subprocess.run(["/opt/opencode/bin/opencode"], capture_output=True, text=True).stdout,
    "brought": subprocess.run(["/opt/opencode/libexec/path/brought"]).returncode,
    "writes": [tried(lambda p=p: Path(p, "x").touch()) for p in ("/opt/opencode", "/usr/bin", "/tmp")],
    "null": tried(lambda: Path("/dev/null").write_text("x")),
    "hosts": Path("/etc/hosts").read_text(),
    "here": os.path.exists(sys.argv[2]),
}))
"""


@pytest.fixture
def seen(tmp_path):
    can = netns.available()
    if not can.ok:
        pytest.skip(f"needs a namespace of its own: {can.why}")
    program = tmp_path / "installation/bin/opencode"
    program.parent.mkdir(parents=True)
    brought = tmp_path / "installation/libexec/path/brought"
    brought.parent.mkdir(parents=True)
    shutil.copy(shutil.which("true"), brought)
    program.write_text("#!/bin/sh\necho started by $0\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "installation", tmp_path],
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_has_the_installation_and_a_shell_and_nothing_of_this_machine(seen):
    assert seen["said"] == "started by /opt/opencode/bin/opencode\n"
    assert seen["tools"] == ["sh", "ln", "readlink"]
    assert {"boot", "media", "sbin", "old"}.isdisjoint(seen["root"])
    assert seen["hosts"].startswith("127.0.0.1 localhost\n")
    assert not seen["here"]
    assert seen["brought"] == 0


def test_only_tmp_can_be_written(seen):
    assert seen["writes"] == ["Read-only file system", "Read-only file system", True]
    assert seen["null"] is True
