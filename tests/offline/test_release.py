"""What a release is made of, by its own scripts, with the real OpenCode (OPENCODE_CACHE_TEST_EVERY=1)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from kept import REPOSITORY, slow

from opencode_cache.formats import shipped
from opencode_cache.npm import platforms

COMMAND = """#!/bin/sh
export OPENCODE_CACHE_LOCKS='@LOCKS@'
exec '@PYTHON@' -I -c 'import sys
from opencode_cache.__main__ import main
sys.argv[0] = "opencode-cache"
main()' "$@"
"""


@slow
@pytest.mark.usefixtures("isolated")
def test_the_bundle_and_the_image_of_a_release(tarballs, tmp_path):
    if not (REPOSITORY / ".git").exists() or not shutil.which("zstd"):
        pytest.skip("needs the repository's commits, and zstd on PATH")
    command = tmp_path / "command"
    text = COMMAND.replace("@LOCKS@", str(REPOSITORY / "nix/locks")).replace("@PYTHON@", sys.executable)
    command.write_text(text)
    command.chmod(0o755)
    env = os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "cache/opencode-cache").mkdir(parents=True)
    (tmp_path / "cache/opencode-cache/tarballs").symlink_to(tarballs)
    parts, dist = tmp_path / "parts", tmp_path / "dist"
    parts.mkdir()
    for script, *words in (("build-bundle", parts / "part"), ("collect-release", dist, parts)):
        subprocess.run([REPOSITORY / ".ci" / script, *words, command], env=env, cwd=tmp_path, check=True)
    version = shipped.default_version()
    name = f"opencode-{version}-{platforms.current().name}"
    assert sorted(path.name for path in dist.iterdir()) == sorted(
        ["SHA256SUMS", f"opencode-{version}.oci.tar"]
        + [f"{name}.{end}" for end in ("bill.cdx.json", "bill.spdx.json", "proof.json", "tar.zst")]
    )
    assert json.loads((dist / f"{name}.bill.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    assert json.loads((dist / f"{name}.proof.json").read_text())
    words = [command, "unbundle", dist / f"{name}.tar.zst", "--to", tmp_path / "prefix"]
    subprocess.run(words, env=env, cwd=tmp_path, check=True)
    assert (tmp_path / "prefix/bin/opencode").exists()
