"""The workflows: who may write, what an update may change."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
STAGE = REPOSITORY / ".ci" / "stage-update"

if not WORKFLOWS or not shutil.which("git"):
    pytest.skip("needs git, and .github of the repository beside the tests", allow_module_level=True)


def jobs(path):
    """name -> text of each job of a workflow."""
    parts = re.split(r"^  ([\w-]+):\n", path.read_text().partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_the_release_behind(path):
    uses = re.findall(r"uses: (.*)", path.read_text())
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one) for one in uses), uses


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_who_has_a_secret_or_may_write_runs_nothing_unreviewed(path):
    for name, text in jobs(path).items():
        code = re.findall(
            r"\./dev\b|\.ci/(?:build|collect|run)|tests/nix/run|\bnix (?:run|build|flake|develop)\b", text
        )
        if "secrets." in text or re.search(r"^ +[\w-]+: write\b", text, re.MULTILINE):
            assert not code, name
        if "secrets." in text:
            assert "actions/checkout" not in text, name
            assert "github.event_name == 'push' && github.ref == 'refs/heads/main'" in text, name


def test_nothing_is_allowed_to_all_jobs():
    for path in WORKFLOWS:
        assert "\npermissions: {}\n" in path.read_text(), path


def test_a_release_is_built_from_the_commit_with_the_pinned_backend(tmp_path):
    """`.ci/build-release`, and the check before it is published: the same bytes again, nothing else."""
    pytest.importorskip("hatchling")
    script = REPOSITORY / ".ci" / "build-release"
    tree = tmp_path / "tree"
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs the repository's commits")
    command = ["git", "clone", "--quiet", "--depth=1", REPOSITORY.as_uri(), tree]
    subprocess.run(command, check=True, capture_output=True)
    (tree / "python" / "src" / "opencode_cache" / "untracked.py").write_text("not in git\n")
    shutil.copy(script, tree / ".ci" / "build-release")
    made = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        out = tmp_path / name
        subprocess.run(
            [tree / ".ci" / "build-release", out, sys.executable],
            check=True,
            capture_output=True,
            preexec_fn=lambda umask=umask: os.umask(umask),
        )
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0] == made[1]
    assert sorted(re.sub(r"-[0-9][0-9.]*(\.dev\d+)?", "-N", name) for name in made[0]) == [
        "SHA256SUMS",
        "opencode_cache-N-py3-none-any.whl",
        "opencode_cache-Ntar.gz",
    ]
    (wheel,) = (tmp_path / "one").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "opencode_cache/pipeline.py" in names
    assert "opencode_cache/locks/opencode-cache.lock.json" in names
    assert not [name for name in names if "untracked" in name]
    step = re.search(
        r"no others\n +run: \|\n((?: {10}.*\n)+)", (WORKFLOWS[0].parent / "release.yml").read_text()
    )
    check = ["bash", "-e", "-c", step[1]]
    (tmp_path / "one").rename(tmp_path / "dist")
    subprocess.run(check, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "dist" / "more.whl").touch()
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode
    (tmp_path / "dist" / "more.whl").unlink()
    (tmp_path / "dist" / wheel.name).write_bytes(b"other")
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode


def part(directory, contents):
    directory.mkdir(parents=True)
    for name, text in contents.items():
        (directory / name).write_text(text)
    files = sorted(directory.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (directory / "SHA256SUMS").write_text("".join(sums))


def collect(tmp_path):
    command = tmp_path / "command"
    command.write_text(
        '#!/bin/sh\nfor out; do :; done\nshift\nwhile [ "$1" = --join ]; do cat "$2"; shift 2; done >"$out"\n'
    )
    command.chmod(0o755)
    words = [REPOSITORY / ".ci" / "collect-release", tmp_path / "dist", tmp_path / "parts", command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_release_has_what_was_built_for_it_and_one_image(tmp_path):
    parts, dist = tmp_path / "parts", tmp_path / "dist"
    part(parts / "part-source", {"a.whl": "wheel"})
    for machine in ("x86_64", "aarch64"):
        name = f"opencode-1.2.3-{machine}-linux"
        part(parts / machine, {f"{name}.tar.zst": machine, f"{name}.oci.tar": f"{machine}\n"})
    assert collect(tmp_path).returncode == 0
    assert sorted(path.name for path in dist.iterdir()) == [
        "SHA256SUMS",
        "a.whl",
        "opencode-1.2.3-aarch64-linux.tar.zst",
        "opencode-1.2.3-x86_64-linux.tar.zst",
        "opencode-1.2.3.oci.tar",
    ]
    assert (dist / "opencode-1.2.3.oci.tar").read_text().split() == ["aarch64", "x86_64"]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True)
    assert (dist / "SHA256SUMS").read_text().count("\n") == 4


@pytest.mark.parametrize("change", ["more", "damaged", "missing"])
def test_what_was_not_built_for_a_release_is_in_none(tmp_path, change):
    file = tmp_path / "parts/x/opencode-1.2.3-x86_64-linux.oci.tar"
    part(file.parent, {file.name: "x"})
    if change == "more":
        (file.parent / ".other").write_text("")
    elif change == "damaged":
        file.write_text("y")
    else:
        file.unlink()
    assert collect(tmp_path).returncode == 1
    assert not (tmp_path / "dist").exists()


def test_the_build_of_a_release_installs_nothing_without_a_hash():
    text = (REPOSITORY / ".ci" / "build-release").read_text()
    for word in (
        "--require-hashes",
        "--only-binary :all:",
        "python/requirements/build.txt",
        "--no-isolation",
    ):
        assert word in text
    release = (WORKFLOWS[0].parent / "release.yml").read_text()
    assert "secrets." not in release
    assert re.findall(r"(\S+): write", jobs(WORKFLOWS[0].parent / "release.yml")["build"]) == []


@pytest.fixture
def git(tmp_path, monkeypatch):
    """A repository with a few files of ours, and a clone of it in which a patch is made."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    def run(*arguments, at="theirs"):
        return subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *arguments],
            cwd=tmp_path / at,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    ours = tmp_path / "ours"
    for file in ("flake.lock", "nix/locks/a.lock.json", "nix/x.nix", ".github/workflows/ci.yml", "dev"):
        (ours / file).parent.mkdir(parents=True, exist_ok=True)
        (ours / file).write_text(f"{file}\n" * 9)
    run("init", "--quiet", at="ours")
    run("add", "--all", at="ours")
    run("commit", "--quiet", "--message", "x", at="ours")
    run("clone", "--quiet", "ours", "theirs", at=".")
    return run


def staged(git, tmp_path):
    """What becomes of the patch of `theirs`: (exit status, stderr, what the index of `ours` then changes)."""
    git("add", "--all")
    (tmp_path / "patch").write_text(git("diff", "--cached", "--binary", "-M"))
    done = subprocess.run(
        [STAGE, tmp_path / "patch"], cwd=tmp_path / "ours", capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr, git("diff", "--cached", "--name-status", at="ours").split()


def test_pins_are_taken(git, tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "flake.lock").write_text("new\n")
    (theirs / "nix/locks/b.lock.json").write_text("new\n")
    (theirs / "nix/locks/a.lock.json").unlink()
    assert staged(git, tmp_path) == (
        0,
        "",
        ["M", "flake.lock", "D", "nix/locks/a.lock.json", "A", "nix/locks/b.lock.json"],
    )
    assert (tmp_path / "ours/flake.lock").read_text() != "new\n"  # the work tree is not touched


def rename_out_of_workflows(theirs):
    (theirs / ".github/workflows/ci.yml").rename(theirs / "nix/locks/ci.lock.json")


def link_in_the_place_of_a_pin(theirs):
    (theirs / "flake.lock").unlink()
    (theirs / "flake.lock").symlink_to("dev")


def new_link(theirs):
    (theirs / "nix/locks/b.lock.json").symlink_to("../../dev")


def executable(theirs):
    (theirs / "flake.lock").chmod(0o755)


def removed(theirs):
    (theirs / "flake.lock").unlink()


def other_file(theirs):
    (theirs / "nix/x.nix").write_text("builtins.exec\n")


def other_beside_a_pin(theirs):
    (theirs / "flake.lock").write_text("new\n")
    (theirs / "dev").write_text("echo hello\n")


def new_workflow(theirs):
    (theirs / ".github/workflows/z.yml").write_text("on: push\n")


def deeper(theirs):
    (theirs / "nix/locks/x").mkdir()
    (theirs / "nix/locks/x/b.lock.json").write_text("{}\n")


def odd_name(theirs):
    (theirs / "nix/locks/a\nM\tflake.lock").write_text("{}\n")


def new_requirements(theirs):
    (theirs / "python/requirements").mkdir(parents=True)
    (theirs / "python/requirements/x.txt").write_text("x\n")


@pytest.mark.parametrize(
    "change",
    [
        rename_out_of_workflows,
        link_in_the_place_of_a_pin,
        new_link,
        executable,
        removed,
        other_file,
        other_beside_a_pin,
        new_workflow,
        deeper,
        odd_name,
        new_requirements,
    ],
    ids=lambda change: change.__name__,
)
def test_anything_else_is_refused_in_a_sentence(git, tmp_path, change):
    change(tmp_path / "theirs")
    status, said, index = staged(git, tmp_path)
    assert (status, index) == (1, [])
    assert re.fullmatch(
        r"stage-update: .+ (is not a file that an update writes|is removed, added, or .*)\n", said
    )


def test_an_empty_or_broken_patch_is_refused(git, tmp_path):
    assert staged(git, tmp_path)[0] == 1
    (tmp_path / "theirs/flake.lock").write_text("new\n")
    (tmp_path / "ours/flake.lock").write_text("other\n")
    git("commit", "--all", "--quiet", "--message", "y", at="ours")
    status, said, index = staged(git, tmp_path)
    assert (status, index) == (1, [])
    assert said.endswith("stage-update: git cannot apply the patch\n")
