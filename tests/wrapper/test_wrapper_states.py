"""Random sequences of what happens to a home, and the wrapper killed before any of its system calls.

OPENCODE_CACHE_TEST_EVERY=1 tries every system call, and many more sequences; that takes minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kept import EVERY
from wrapper_lab import BUN, OTHER, PACKAGES, PLUGIN, TIMEOUT, Lab, dying_tools, holds, move_home, shell

from opencode_cache.wrapper.render import wrap

POINTS = 12  # system calls of each layout that are tried where not all of them are
MODULES = ("@opencode-ai/plugin", "zod")
PLACES = (
    "packages/foo",
    "packages/new/file",
    "packages/mine/node_modules/mine/index.js",
    "packages/@scope/bar",
    "packages/@other",
    "models.json",
    ".nix/mine",
)
CONFIG_PLACES = ("opencode.json", "package.json", "node_modules/zod/mine", "node_modules/own/mine")


def wrong(lab: Lab, cache: Path) -> None:
    holds(lab, cache)
    linked = [path for path in (lab.cache_dir / "packages").glob("*") if path.is_symlink()]
    lacks = {*PACKAGES, *OTHER} - {*(OTHER if cache.name == "B" else PACKAGES)}
    ours = [path for path in linked if f"packages/{path.name}" in lacks and ".nix" in str(path.readlink())]
    assert ours == [], "links of another generation"


class Home(RuleBasedStateMachine):
    """A home that two generations, the user and OpenCode work on. No byte of the user's may get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="wrapper-states-")
        self.lab = Lab(Path(self.directory.name) / "lab", shell("dash"))
        self.texts: set[str] = set()
        self.written = 0

    @initialize()
    def prepare(self) -> None:
        self.caches = {
            "A": self.lab.cache("A", modules=MODULES),
            "B": self.lab.cache("B", links=OTHER, modules=[*MODULES, "more"]),
        }
        self.wrappers = {name: self.lab.wrap(cache) for name, cache in self.caches.items()}
        self.shims = dying_tools(self.lab)
        self.dying = {
            name: wrap(cache, self.lab.program, self.lab.top / f"dying-{name}", tools=str(self.shims))
            for name, cache in self.caches.items()
        }

    @rule(name=st.sampled_from("AB"))
    def start(self, name: str) -> None:
        started = self.lab.start(self.wrappers[name])
        assert started.status == 0, started.stderr
        wrong(self.lab, self.caches[name])

    @rule(name=st.sampled_from("AB"), step=st.integers(1, 40))
    def killed(self, name: str, step: int) -> None:
        self.lab.killed(self.dying[name], step)

    def write(self, path: Path) -> None:
        """As the user's editor or another program would: never through a link into the cache."""
        for parent in [*path.parents][::-1]:
            if parent.is_relative_to(self.lab.home) and (parent.is_symlink() or parent.is_file()):
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path /= "mine"
        self.forget(path)
        path.unlink(missing_ok=True)
        self.written += 1
        text = f"{{}} mine {self.written}"
        path.write_text(text)
        self.texts.add(text)

    def forget(self, path: Path) -> None:
        """What the user overwrites or deletes is meant to be gone."""
        if path.is_symlink() or not path.exists():
            return
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        for one in files:
            if not one.is_symlink():
                self.texts.discard(one.read_text())

    @rule(place=st.sampled_from(PLACES))
    def user_writes(self, place: str) -> None:
        self.write(self.lab.cache_dir / place)

    @rule(place=st.sampled_from(CONFIG_PLACES))
    def user_configures(self, place: str) -> None:
        self.write(self.lab.config_dir / place)

    @rule(place=st.sampled_from((*PLACES, ".", ".nix", ".nix/packages", "packages")))
    def user_deletes(self, place: str) -> None:
        path = self.lab.cache_dir / place
        self.forget(path)
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)

    @rule()
    def opencode_updates_its_catalogue(self) -> None:
        if self.lab.cache_dir.is_dir():
            beside = self.lab.cache_dir / "models.json.1.2.tmp"
            beside.write_text("fetched")
            self.forget(self.lab.cache_dir / "models.json")
            if not (self.lab.cache_dir / "models.json").is_dir():
                beside.replace(self.lab.cache_dir / "models.json")
            beside.unlink(missing_ok=True)

    @invariant()
    def no_byte_is_lost(self) -> None:
        files = [path for path in self.lab.home.rglob("*") if path.is_file() and not path.is_symlink()]
        there = {path.read_text() for path in files}
        assert self.texts <= there, self.texts - there

    def teardown(self) -> None:
        if hasattr(self, "wrappers"):
            for name in "AB":
                self.start(name)
            self.no_byte_is_lost()
        self.directory.cleanup()


TestHome = pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not on PATH")(Home.TestCase)
Home.TestCase.settings = settings(
    max_examples=150 if EVERY else 5,
    stateful_step_count=25 if EVERY else 10,
    deadline=None,
    derandomize=not EVERY,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("layout", ["packages", "bun"])
def test_killed_before_any_system_call(layout, tmp_path):
    """A new generation with the user's things in its way; the shell is killed before its Nth call."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not on PATH: install it to try every system call")
    lab = Lab(tmp_path / "lab", shell("dash"))
    links = {"packages": (PACKAGES, OTHER), "bun": (BUN, BUN[:-1])}[layout]
    more = {"modules": MODULES} if layout == "packages" else {}
    old = lab.cache("A", layout, links=links[0], **more)
    new = lab.cache("B", layout, links=links[1], **more)
    wrappers = [lab.wrap(old), lab.wrap(new)]
    first = Lab(lab.top / "pristine", lab.shell)
    first.start(wrappers[0])
    in_the_way = first.cache_dir / ("packages/new" if layout == "packages" else "tui")
    if in_the_way.is_symlink():
        in_the_way.unlink()
    in_the_way.mkdir()
    (in_the_way / "mine").write_text("mine")
    log = lab.top / "strace"

    def run(*options: str) -> int:
        shutil.rmtree(lab.home)
        move_home(first, lab)
        command = [strace, "-qq", "-o", str(log), *options, *lab.shell, str(wrappers[1])]
        done = subprocess.run(
            command, env=lab.environment(), capture_output=True, check=False, timeout=TIMEOUT
        )
        return done.returncode

    if run() != 0:
        pytest.skip("strace cannot trace here")
    calls = log.read_text().splitlines()
    begin = next(n for n, call in enumerate(calls) if "# Starts OpenCode" in call or str(wrappers[1]) in call)
    end = next(n for n, call in enumerate(calls) if f'execve("{lab.program}"' in call)
    step = 1 if EVERY else max(1, (end - begin) // POINTS)
    for number in range(begin, end, step):
        run(f"--inject=all:signal=KILL:when={number + 1}")
        pair = list(zip(wrappers, (old, new), strict=True))
        for wrapper, cache in pair if number % 2 else pair[::-1]:
            started = lab.start(wrapper)
            assert started.status == 0, (number, calls[number], started.stderr)
            holds(lab, cache)
            if layout == "packages":
                assert (lab.config_dir / PLUGIN).samefile(cache / "config" / PLUGIN), (number, calls[number])
        kept = [path.read_text() for path in lab.home.rglob("mine")]
        assert kept == ["mine"], (number, calls[number])
