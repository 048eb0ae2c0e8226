"""Machines as they are, each a root of its own: noexec /tmp, nobody's uid, no home, or a read-only one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import isolated
import pytest
from kept import slow
from test_bundle_offline import CONFIG, HELLO, tree

from opencode_cache.ship.installation import PRESET
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["tree"]
pytestmark = pytest.mark.usefixtures("isolated")
ANYBODY = 12345
"""No root here has an /etc/passwd."""
PROGRAM = "/opt/opencode/bin/opencode"

# $1: the root directory, $2: the Debian tree, $3: the prefix, $4: who to be, $5: what /tmp and $6: what the
# home is mounted with, $7: where the configuration is; then the environment and the command.
ENTER = """
set -eu
root=$1 tree=$2 prefix=$3 user=$4 tmp=$5 home=$6 at=$7
shift 7
mount --bind "$root" "$root"
mount --bind "$tree/usr" "$root/usr"
mount --bind "$prefix" "$root/opt/opencode"
mount --bind "$root/config/.config/opencode" "$root/$at"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o "remount,bind,ro" "$root"
mount --bind "$root/config/tmp" "$root/tmp"
mount -o "remount,bind,rw,$tmp" "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/scratch"
mount -t tmpfs -o mode=1777 tmpfs "$root/home/user"
mount -o "remount,$home" "$root/home/user"
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i -C /scratch PATH=/usr/bin:/bin "$@"
"""


PRESETS = str(PurePath(PRESET).parent)


@dataclass
class Root:
    """A root directory with OpenCode in /opt/opencode, the model server as configured in /etc/opencode."""

    root: Path
    tree: Path
    prefix: Path

    def run(
        self, *command: str, env=(), tmp="rw", home="rw", at="etc/opencode", program=PROGRAM, watch=None
    ) -> isolated.Report:
        is_root = os.geteuid() == 0
        words = [] if is_root else ["--user", "--map-root-user"]
        words = ["unshare", *words, "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c"]
        words += [ENTER, "enter", str(self.root), str(self.tree), str(self.prefix)]
        words += [str(ANYBODY if is_root else 0), tmp, home, at, *env, program, *command]
        return isolated.run(words[0], words[1:], self.root / "config", config=CONFIG, watch=watch)

    def native_parts(self) -> list[Path]:
        """What was left in /tmp, with the process killed or not."""
        return list((self.root / "config/tmp").rglob("*.so"))


@pytest.fixture(scope="module")
def prefix(made_extra, tmp_path_factory) -> Path:
    """An installation that can be moved."""
    prefix = tmp_path_factory.mktemp("prefix")
    shutil.copytree(made_extra.cache, prefix / "cache", symlinks=True)
    for name in ("libexec", PRESETS):
        (prefix / name).mkdir(parents=True)
    shutil.copy(made_extra.opencode, prefix / "libexec/opencode")
    wrapper.wrap(prefix / "cache", prefix / "libexec/opencode", prefix, relocatable=True)
    prefix.chmod(0o755)
    return prefix


@pytest.fixture
def root(tree, prefix, tmp_path) -> Root:
    if shutil.which("unshare") is None:
        pytest.skip("needs util-linux's unshare")
    root = tmp_path / "root"
    for name in ["usr", "dev", "proc", "tmp", "scratch", "home/user", "opt/opencode", "etc/opencode"]:
        (root / name).mkdir(parents=True)
    for name in ("config/.config/opencode", "config/tmp"):
        (root / name).mkdir(parents=True)
    (root / "config/tmp").chmod(0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    # A user that nobody knows reads the configuration and the root, which pytest made for its own user.
    for path in (root, *root.parents):
        if path.stat().st_uid == os.geteuid() and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o055)
    return Root(root, tree, prefix)


def test_the_interface_starts_where_nothing_in_tmp_may_be_mapped(root):
    """As a user without an entry in passwd. Counter-test: bare OpenCode ends there."""
    env = ["HOME=/home/user"]
    drawn = root.run(env=env, tmp="noexec", watch=1)
    assert drawn.stderr == "", drawn.stdout
    assert "1.18." in drawn.stdout
    bare = root.run(env=env, tmp="noexec", program="/opt/opencode/libexec/opencode", watch=1)
    assert "failed to map segment" in bare.stdout


@slow
def test_an_interface_that_is_killed_leaves_no_native_part(root):
    """A closed terminal, say. (`test_wrapper_offline.py` has what bare OpenCode leaves.)"""
    drawn = root.run(env=["HOME=/home/user"], watch=1)
    assert "1.18." in drawn.stdout
    assert root.native_parts() == []


SCRATCH = "XDG_CACHE_HOME=/scratch/cache"
HOMELESS = {
    "no HOME": ([], "rw", "HOME is not set to an absolute path; set HOME, or XDG_CACHE_HOME"),
    "HOME=/": (["HOME=/"], "rw", "/.cache-nix/opencode cannot be set up"),
    "a read-only home": (["HOME=/home/user"], "ro", "/home/user/.cache-nix/opencode cannot be set up"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "no HOME" else slow) for name in HOMELESS]
)
def test_without_a_home_to_write_to_one_variable_does(root, name):
    env, home, says = HOMELESS[name]
    refused = root.run(*HELLO, env=env, home=home)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "XDG_CACHE_HOME" in refused.stderr
    done = root.run(*HELLO, env=[*env, SCRATCH], tmp="noexec", home=home)
    assert (done.returncode, done.hosts) == (0, []), done.stderr
    assert "LOOPBACK-OK" in done.stdout


def test_the_preset_of_a_prefix_is_everybodys_and_the_agent_sees_nothing_of_it(root):
    asked = ["run", "-m", "extra/mock-model", "RUN:env:END"]
    done = root.run(*asked, env=["HOME=/home/user"], at=f"opt/opencode/{PRESETS}")
    assert (done.returncode, done.hosts) == (0, []), done.stderr
    (said,) = done.tool_results
    assert "HOME=/home/user" in said
    assert "MANAGED_CONFIG" not in said
