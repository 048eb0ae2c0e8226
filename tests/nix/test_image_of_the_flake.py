"""`packages.image`, built: the same each time, read by other people's tools, and started."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

import image_programs
import pytest
from kept import slow
from trees import KEPT, LIBRARIES, LOADER

# $1: the unpacked root, $2: Debian's tree; then the command. Nothing may be written but HOME, /work and /tmp.
# The stand-in's programs have their loader and libraries outside the store; nixpkgs' have not.
ENTER = f"""
set -eu
root=$1 debian=$2
shift 2
mount --bind "$root" "$root"
mkdir -p "$root/dev" "$root/proc" "$root{LIBRARIES}"
touch "$root{LOADER}"
mount --bind "$debian/usr/lib/x86_64-linux-gnu" "$root{LIBRARIES}"
mount --bind "$debian/usr/lib64/ld-linux-x86-64.so.2" "$root{LOADER}"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
for place in home/opencode work tmp; do
  [ "$(stat -c %a "$root/$place")" = 1777 ]
  mount -t tmpfs -o mode=1777 tmpfs "$root/$place"
done
mount -o remount,bind,ro "$root"
cd "$root/work"
exec chroot --userspec=1000:1000 "$root" "$@"
"""


@slow
def test_the_image_is_the_same_each_time_and_starts(flake, machine, default, tmp_path):
    if not flake.value("packages.x86_64-linux", "p: p ? image"):
        pytest.skip("this nixpkgs has no dockerTools")
    if os.geteuid():
        pytest.skip("needs root, to be another user in the image")
    program = flake.build("image")
    flake.build("image", "--rebuild")
    file = tmp_path / "image.tar"
    digests = []
    for _ in range(2):
        machine.run("sh", "-c", f"{program} >{file}", offline=True)
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    assert digests[0] == digests[1]

    tools = image_programs.words()
    layout = tmp_path / "layout"
    subprocess.run(
        [*tools["skopeo"], "--insecure-policy", "copy", f"docker-archive:{file}", f"oci:{layout}:it"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    file.unlink()
    said = subprocess.run(
        [*tools["skopeo"], "inspect", f"oci:{layout}:it"], cwd=tmp_path, capture_output=True, check=True
    )
    labels = json.loads(said.stdout)["Labels"]
    version = flake.value("default", "p: p.version")
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "MIT"

    unpacked = tmp_path / "unpacked"
    subprocess.run(
        [*tools["umoci"], "unpack", "--image", f"{layout}:it", unpacked],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    process = json.loads((unpacked / "config.json").read_text())["process"]
    assert process["args"] == [f"{default}/bin/opencode"]
    assert (process["user"]["uid"], process["cwd"]) == (1000, "/work")
    entry = ["env", "-i", *process["env"], *process["args"]]
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "sh", "-c", ENTER]
    for arguments, says in ((["--version"], version), (["models"], "opencode/")):
        done = subprocess.run(
            [*words, "enter", unpacked / "rootfs", KEPT / "debian", *entry, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert says in done.stdout
        assert done.stderr == ""
    shutil.rmtree(tmp_path, ignore_errors=True)
