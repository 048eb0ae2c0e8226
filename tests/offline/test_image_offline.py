"""The OCI image with the real OpenCode: other people's tools read it, and it runs as anybody, anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import bundle_lab
import image_programs
import isolated
import pytest
from kept import slow
from test_bundle_offline import CONFIG, HELLO, tree

from opencode_cache.formats import manifest
from opencode_cache.formats import proof as proofs
from opencode_cache.formats.proof import Proof
from opencode_cache.ship import image, installation, oci_layout

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["tree"]
pytestmark = pytest.mark.usefixtures("isolated")
ANYBODY = 12345

# $1: the unpacked root, $2: who to be, $3: the configuration; then the command. Nothing may be written but
# HOME and /tmp, and nothing there may be mapped as a program, as docker's `--tmpfs` has it.
ENTER = """
set -eu
root=$1 user=$2 config=$3
shift 3
mount --bind "$root" "$root"
mount --bind "$config" "$root/etc/opencode"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o noexec,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o noexec,mode=1777 tmpfs "$root/home/opencode"
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i -C /work "$@"
"""


@pytest.fixture(scope="module")
def made(made_extra, tree, tmp_path_factory) -> image.Image:
    """On what Debian's packages make of a root directory; packed less, which takes a third of the time."""
    out = tmp_path_factory.mktemp("image") / "opencode.oci.tar"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(oci_layout, "_LEVEL", 1)
        return image.image(made_extra.cache, made_extra.opencode, out, base=tree)


@pytest.fixture(scope="module")
def tools() -> dict[str, list[str]]:
    return image_programs.words()


def test_skopeo_and_umoci_read_it(made, tools, tmp_path):
    said = subprocess.run(
        [*tools["skopeo"], "inspect", f"oci-archive:{made.file}"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["Digest"], found["Architecture"], len(found["Layers"])) == (made.digest, "amd64", 3)
    assert found["Labels"]["org.opencontainers.image.version"] == made.version
    layout = tmp_path / "layout"
    with tarfile.open(made.file) as tar:
        tar.extractall(layout)  # noqa: S202 - our own
    words = [*tools["umoci"], "unpack", *([] if os.geteuid() == 0 else ["--rootless"])]
    done = subprocess.run(
        [*words, "--image", f"{layout}:{made.version}", tmp_path / "unpacked"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    starts(tmp_path / "unpacked/rootfs", json.loads((tmp_path / "unpacked/config.json").read_text()))


def test_skopeo_takes_what_fits_out_of_several(tools, tmp_path):
    cache, program = bundle_lab.make_cache(tmp_path / "cache"), bundle_lab.make_program(tmp_path / "opencode")
    images = []
    for system in ("aarch64-linux", "x86_64-linux"):
        made = manifest.read(cache).model_copy(update={"system": system})
        (cache / manifest.FILE).write_text(manifest.dumps(made))
        images.append(image.image(cache, program, tmp_path / f"{system}.oci.tar"))
    index = image.join([one.file for one in images], tmp_path / "x.oci.tar")
    copied = tmp_path / "copied"
    for name in ("arm64", "amd64"):
        words = [*tools["skopeo"], "--override-arch", name, "inspect", f"oci-archive:{index.file}"]
        found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        assert (found["Architecture"], len(found["Layers"])) == (name, 2)
    words = [
        *tools["skopeo"],
        "--insecure-policy",
        "copy",
        "--all",
        f"oci-archive:{index.file}",
        f"oci:{copied}:x",
    ]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    names = {path.name for path in (copied / "blobs/sha256").iterdir()}
    assert {one.digest.removeprefix("sha256:") for one in images} < names


def starts(root: Path, config: dict, *, draws: bool = False) -> None:
    """As somebody whom nobody knows, with a model server and nothing else, with a read-only root.

    `draws`: the interface as well, which `test_machines.py` starts on a root like this one each time.
    """
    process = config["process"]
    assert process["user"]["uid"] == 1000
    for name in ("dev", "proc", "tmp", "etc/opencode"):
        (root / name).mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    for path in root.parents:
        if path.stat().st_uid == os.geteuid() and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o055)
    (program,) = process["args"]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    number = str(ANYBODY if os.geteuid() == 0 else 0)
    outside = root.parent / "outside"
    (outside / ".config/opencode").mkdir(parents=True)
    words = [*user, "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", ENTER, "enter"]
    words += [str(root), number, str(outside / ".config/opencode"), *process["env"], program]
    done = isolated.run("unshare", [*words, *HELLO], outside, config=CONFIG)
    assert (done.returncode, done.hosts) == (0, []), done.stderr
    assert "LOOPBACK-OK" in done.stdout
    if draws:
        drawn = isolated.run("unshare", [*words], outside, config=CONFIG, watch=1)
        assert "1.18." in drawn.stdout


@contextmanager
def opened(file: Path):
    """The manifest of an image, its configuration, and what opens each layer, from below."""
    with tarfile.open(file) as tar:
        index = json.load(tar.extractfile("index.json"))

        def blob(descriptor):
            return tar.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))

        described = json.load(blob(index["manifests"][0]))
        config = json.load(blob(described["config"]))["config"]

        def layer(one):
            return tarfile.open(fileobj=blob(one), mode="r:gz")

        yield described, config, [partial(layer, one) for one in described["layers"]]


@slow
def test_it_runs_as_anybody_with_a_read_only_root_and_nothing_executable_in_tmp(made, tmp_path):
    """Unpacked by Python, where there is no umoci."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("needs Linux and util-linux's unshare")
    with opened(made.file) as (_, config, layers):
        for layer in layers:
            with layer() as inner:
                inner.extractall(tmp_path / "root")  # noqa: S202 - our own
    process = {"user": {"uid": 1000}, "args": config["Entrypoint"], "env": config["Env"]}
    starts(tmp_path / "root", {"process": process}, draws=True)


PROVED_PATH = ("/usr/bin", "/bin", "/opt/opencode/libexec/path")
"""Of the root in which it is proved: what every machine has, then what ships."""


@slow
def test_the_command_proves_it_as_it_ships_and_the_second_time_takes_the_proof(made_118, tree, tmp_path):
    ripgrep = shutil.which("rg")
    if not ripgrep:
        pytest.skip("needs ripgrep on PATH: install Debian's ripgrep")
    words = ["--cache", made_118.cache, "--opencode", made_118.opencode, "--base", tree, "--ripgrep", ripgrep]

    def command(name):
        done = subprocess.run(
            [sys.executable, "-m", "opencode_cache", "image", *words, "-o", tmp_path / name],
            env=os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "SOURCE_DATE_EPOCH": "1790000000"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "verifying what ships" in command("first")
    files = {}
    with opened(tmp_path / "first") as (described, config, layers):
        assert len(layers) == 3
        for layer in layers[1:]:
            with layer() as tar:
                files |= {
                    one.name: (one, tar.extractfile(one).read() if one.isfile() else b"") for one in tar
                }
    text = files[described["annotations"]["opencode-cache.proof"].removeprefix("/")][1]
    digest = described["annotations"]["opencode-cache.proof.digest"]
    assert digest == f"sha256:{hashlib.sha256(text).hexdigest()}"
    proof = Proof.model_validate_json(text)
    assert (proof.complete, proof.isolated, proof.path) == (True, True, PROVED_PATH)
    assert {"models", "serve", "run", "tui", "second start"} <= {step.name for step in proof.steps}
    # It is of what lies in these layers above the base.
    assert proof.installation_sha256 == installation_sha256(files)
    assert proof.binary_sha256 == hashlib.sha256(files["opt/opencode/libexec/opencode"][1]).hexdigest()
    (path,) = (one.removeprefix("PATH=").split(":") for one in config["Env"] if one.startswith("PATH="))
    # The wrapper, which is first on the image's PATH, adds what ships at the end, as where it was proved.
    assert path[0] == "/opt/opencode/bin"
    assert set(proof.path) - set(path) == {"/opt/opencode/libexec/path"}
    own = {name for name in files if name.startswith(("opt/opencode/bin/", "opt/opencode/libexec/path/"))}
    assert own == {"opt/opencode/bin/opencode", "opt/opencode/libexec/path/rg"}
    assert "verifying" not in command("again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


def installation_sha256(files) -> str:
    """As the proof counts it, from the image: without itself and the bills, which say when they were made."""
    top, digest = "opt/opencode/", hashlib.sha256()
    left_out = {proofs.FILE, installation.CYCLONEDX, installation.SPDX}
    for name, (member, data) in sorted(files.items()):
        path = name.removeprefix(top)
        if name.startswith(top) and path not in left_out:
            content = hashlib.sha256(data).hexdigest()
            digest.update(f"{path}\0{member.mode:o}\0{member.linkname}\0{content}\n".encode())
    return digest.hexdigest()
