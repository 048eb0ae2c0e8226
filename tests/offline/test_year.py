"""A year of small steps on bare machines, with the real OpenCode of each version; prints what it took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import bare
import pytest

from opencode_cache.formats import manifest
from opencode_cache.npm import client as npm
from opencode_cache.ship import pack

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = [f"1.18.{number}" for number in range(3, 35)]
STEPS = int(os.environ.get("OPENCODE_CACHE_TEST_YEAR") or 26)
UNDONE, CUT = (STEPS // 3, STEPS * 2 // 3), STEPS // 2
"""After which steps it goes back once, and in which one the installer is killed, as by a power cut."""
OWN = (
    ".config/opencode/AGENTS.md",
    "work/notes.txt",
    ".cache-nix/opencode/packages/mine@1.0.0/node_modules/mine/index.js",
)
"""Files of the user's."""
PREFIX = "/opt/opencode"
BASE = f"{PREFIX}/lib/opencode-cache"
FIRST = f'zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" {PREFIX}'
AGAIN = f'sh {BASE}/current/install.sh "$f" {PREFIX}'
# The installer is killed while it makes the new OpenCode out of the old one.
KILLED = f"""
sh {BASE}/current/install.sh "$f" {PREFIX} & pid=$!
until ls {BASE}/.new-sh-*/tree/libexec/opencode >/dev/null 2>&1; do sleep 0.05 || sleep 1; done
kill -9 $pid
"""
MOCK = {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
    "models": {"mock-model": {"name": "mock-model"}},
}
CONFIG = {"provider": {"extra": MOCK}}
HELLO = ["run", "-m", "extra/mock-model", "hello"]
MACHINES = {
    "debian": ("x86_64-linux", "opencode-linux-x64", bare.debian_tree),
    "musl": ("x86_64-linux-musl", "opencode-linux-x64-musl", bare.musl_tree),
}

pytestmark = [
    pytest.mark.usefixtures("isolated"),
    pytest.mark.skipif(
        not (os.environ.get("OPENCODE_CACHE_TEST_EVERY") or os.environ.get("OPENCODE_CACHE_TEST_YEAR")),
        reason="takes minutes: needs OPENCODE_CACHE_TEST_EVERY=1, or OPENCODE_CACHE_TEST_YEAR=UPGRADES",
    ),
]


def package_of(name: str, version: str, tarballs: Path) -> Path | None:
    """The npm package of an OpenCode; None where the registry has none of that version."""
    kept = tarballs / f"{name}@{version}.tgz"
    if not kept.exists():
        words = [*npm.command(), "pack", "--silent", "--ignore-scripts", f"{name}@{version}"]
        done = subprocess.run(words, cwd=tarballs, capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        (tarballs / done.stdout.strip()).rename(kept)
    return kept


def unpacked(package: Path, to: Path) -> Path:
    """The program in it."""
    with tarfile.open(package) as archive, to.open("wb") as file:
        shutil.copyfileobj(archive.extractfile("package/bin/opencode"), file, 1 << 20)
    to.chmod(0o755)
    return to


class Year:
    """One machine, and the one that makes the bundles for it."""

    def __init__(self, machine: bare.Machine, system: str, cache: Path, scratch: Path, packages) -> None:
        self.machine, self.system, self.cache, self.scratch = machine, system, cache, scratch
        self.packages = packages
        """Version -> its npm package, oldest first."""
        self.program = scratch / "opencode"
        self.media = machine.root / "media/opencode.tar.zst"
        self.count = 0

    def unpack(self, version: str) -> None:
        """The program of a version takes the place of the last one."""
        unpacked(self.packages[version], self.program)

    def tree(self, version: str) -> pack.Tree:
        """A cache of which a fortnight has changed a plugin, beside OpenCode."""
        cache = self.scratch / "cache"
        if cache.exists():
            subprocess.run(["chmod", "-R", "u+w", cache], check=True)
            shutil.rmtree(cache)
        shutil.copytree(self.cache, cache, symlinks=True)
        subprocess.run(["chmod", "-R", "u+w", cache], check=True)
        made = manifest.read(cache).model_copy(update={"opencode": version, "system": self.system})
        (cache / manifest.FILE).write_text(manifest.dumps(made))
        plugin = next(iter(sorted(cache.glob("packages/*/node_modules/*/package.json"))))
        plugin.write_text(json.dumps({**json.loads(plugin.read_text()), "version": f"99.0.{self.count}"}))
        self.count += 1
        return pack.tree(cache, self.program, serial=self.count)

    def whole(self, version: str) -> int:
        """A whole bundle goes on the medium; its length."""
        return pack.bundle([self.tree(version)], self.media).packed

    def step(self, version: str) -> int:
        """A step from the generation that was installed last goes on the medium; its length."""
        older = self.machine.root / BASE[1:] / "history" / str(self.newest)
        return pack.bundle([self.tree(version)], self.media, since=older).packed

    @property
    def newest(self) -> int:
        return max(int(path.name) for path in (self.machine.root / BASE[1:] / "history").iterdir())

    def installs(self, script: str) -> None:
        done = self.machine.sh(script, root=True, timeout=500)
        assert (done.returncode, done.stdout) == (0, f"{PREFIX}/bin/opencode\n"), done.stderr
        assert done.hosts == []

    def says(self, version: str) -> None:
        done = self.machine.run(f"{PREFIX}/bin/opencode", "--version", timeout=300)
        assert (done.returncode, done.stdout.strip()) == (0, version), done.stderr

    def answers(self, program: str) -> list[str]:
        """The hosts that it asked for beside that."""
        done = self.machine.run(program, *HELLO, config=CONFIG, timeout=500)
        assert done.returncode == 0, done.stderr
        assert "LOOPBACK-OK" in done.stdout
        return done.hosts

    def disk(self) -> float:
        """Of the prefix, in MB, as `du` counts."""
        words = ["du", "-sk", self.machine.root / PREFIX[1:]]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]) / 1e3

    def of_the_user(self) -> dict[str, bytes]:
        """What is the user's own, and sessions, of which OpenCode makes more."""
        assert list((self.machine.home / ".local/share/opencode").glob("*.db"))
        return {name: (self.machine.home / name).read_bytes() for name in OWN}


@pytest.fixture(params=MACHINES)
def year(request, made_extra, tarballs, tmp_path) -> Year:
    for program in ("unshare", "zstd"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} on PATH")
    system, name, make_tree = MACHINES[request.param]
    try:
        machine = bare.Machine.at(tmp_path / "machine", make_tree())
    except bare.CannotError as error:
        pytest.skip(str(error))
    packages = {version: package_of(name, version, tarballs) for version in VERSIONS}
    there = {version: package for version, package in packages.items() if package}
    if len(there) <= STEPS:
        pytest.skip(f"needs {STEPS + 1} versions of {name}, and the registry has {len(there)}")
    (tmp_path / "builder").mkdir()
    return Year(
        machine, system, made_extra.cache, tmp_path / "builder", dict(list(there.items())[-STEPS - 1 :])
    )


def give_the_user_files(year: Year) -> None:
    for name in OWN:
        (year.machine.home / name).parent.mkdir(parents=True, exist_ok=True)
        (year.machine.home / name).write_text(f"{{}} // {name}\n")


def test_a_year(year, capsys):
    first_version, *others = year.packages
    year.unpack(first_version)
    shutil.copy(year.program, year.machine.root / "opt/bare-opencode")
    first = year.whole(first_version)
    year.installs(FIRST)
    year.says(first_version)
    assert year.answers(f"{PREFIX}/bin/opencode") == []
    give_the_user_files(year)
    users, sizes, disks = year.of_the_user(), [], {0: year.disk()}
    stands = first_version
    for number, version in enumerate(others, 1):
        year.unpack(version)
        sizes.append(year.step(version))
        if number == CUT:
            assert year.machine.sh(KILLED, root=True, timeout=500).stdout == ""
            year.says(stands)
        year.installs(AGAIN)
        year.says(version)
        before, stands = stands, version
        if number in UNDONE:
            year.installs(f"sh {BASE}/current/install.sh --undo {PREFIX}")
            year.says(before)
            stands = before
        disks[number] = year.disk()
        say(capsys, f"{year.system}: {version}: {sizes[-1] / 1e6:.2f} MB, disk {disks[number]:.0f} MB")
    last = year.whole(version)
    year.installs(AGAIN.replace("install.sh ", "install.sh --keep 2 "))
    assert year.answers(f"{PREFIX}/bin/opencode") == []
    assert year.of_the_user() == users
    kept = year.disk()

    done = year.machine.sh(f"sh {BASE}/current/install.sh --remove {PREFIX}", root=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list((year.machine.root / PREFIX[1:]).rglob("*")) == []
    year.answers("/opt/bare-opencode")  # which asks for its catalogue, as it does without the wrapper
    assert year.of_the_user() == users
    looks = (0, 1, min(10, STEPS), STEPS)
    say(
        capsys,
        f"{year.system}: {STEPS} upgrades from {first_version} to {version}: "
        f"{sum(sizes) / 1e6:.1f} MB in steps, {min(sizes) / 1e6:.2f} to {max(sizes) / 1e6:.2f} MB each; "
        f"whole bundles have {first / 1e6:.1f} to {last / 1e6:.1f} MB; "
        f"disk after {', '.join(map(str, looks))} upgrades: "
        f"{', '.join(f'{disks[after]:.0f}' for after in looks)} MB, with --keep 2: {kept:.0f} MB",
    )
    assert max(sizes) < 0.45 * first


def say(capsys, text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
