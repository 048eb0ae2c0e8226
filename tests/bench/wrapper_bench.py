"""Measures the wrapper, and never judges: medians of starts that take turns, from one run on one machine.

    python tests/bench/wrapper_bench.py [--starts N] [--opencode BIN --cache DIR]

The hot path is measured with a stand-in cache and /bin/true; with --opencode and --cache, the bare and the
wrapped `opencode --version` are measured too.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "wrapper"))

from wrapper_lab import Lab  # noqa: E402

from opencode_cache.wrapper.render import wrap  # noqa: E402

PACKAGES = [f"packages/{name}" for name in ("a", "b", "c", "@s/d", "@s/e", "@t/f")]
CROWD = 100
CATALOGUE = 425_332  # bytes of the models.json in the default 1.0 cache


def seconds(command: list[str], env: dict[str, str]) -> float:
    """Of one start, from the spawn to the end. posix_spawn adds the least of its own."""
    began = time.perf_counter()
    child = os.posix_spawn(
        command[0], command, env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)]
    )
    _, status = os.waitpid(child, 0)
    took = time.perf_counter() - began
    if status != 0:
        raise SystemExit(f"{command[0]} ended with wait status {status}")
    return took


def in_turn(starts: int, commands: dict[str, tuple[list[str], dict[str, str]]]) -> dict[str, list[float]]:
    """name -> seconds of each start; every round starts each once, in any order: a slow moment hits all."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for name, (command, env) in commands.items():
        for _ in range(3):
            seconds(command, env)
        times[name].clear()
    order = list(commands)
    for _ in range(starts):
        random.shuffle(order)  # whoever comes after a big one finds cold caches
        for name in order:
            times[name].append(seconds(*commands[name]))
    return times


class Bench:
    def __init__(self, scratch: Path, starts: int) -> None:
        self.scratch, self.starts = scratch, starts
        self.console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
        self.shell = shutil.which("dash") or "/bin/sh"

    def table(self, title: str, times: dict[str, list[float]], base: str) -> None:
        table = Table("", "median ms", "min ms", f"ratio to {base}", "minus it, ms", title=title)
        reference = statistics.median(times[base])
        for name, values in times.items():
            median = statistics.median(values)
            row = (median * 1e3, min(values) * 1e3, median / reference, (median - reference) * 1e3)
            table.add_row(name, f"{row[0]:.3f}", f"{row[1]:.3f}", f"{row[2]:.3f}", f"{row[3]:.3f}")
        self.console.print(table)

    def hot(self, layout: str) -> None:
        """/bin/true in OpenCode's place."""
        lab = Lab(self.scratch / layout)
        truth = Path(shutil.which("true") or "/bin/true")
        bun = layout == "bun"
        cache = (
            lab.cache("cache", layout)
            if bun
            else lab.cache("cache", links=PACKAGES, modules=["@opencode-ai/plugin"])
        )
        ours = wrap(cache, truth, lab.top / "wrapped", shell=self.shell)
        theirs = lab.top / "home-of-the-original"
        theirs.mkdir()
        original_cache = lab.cache("original", "bun")
        for catalogue in (original_cache / "models.json", cache / "models.json"):
            catalogue.chmod(0o644)
            catalogue.write_bytes(b"x" * CATALOGUE)
        env = {"HOME": str(lab.home), "PATH": "/usr/bin:/bin"}
        original = env | {"HOME": str(theirs), "CACHE": str(original_cache), "OPENCODE": str(truth)}
        bare_shell = lab.top / "bare-shell"
        bare_shell.write_text(f'#!{self.shell}\nexec {truth} "$@"\n', encoding="utf-8")
        bare_shell.chmod(0o755)
        name = "the original's wrapper"
        times = in_turn(
            self.starts,
            {
                name: ([str(HERE / "original_wrapper.sh")], original),
                f"ours ({Path(self.shell).name})": ([str(ours)], env),
                "a shell that only execs": ([str(bare_shell)], env),
                "/bin/true": ([str(truth)], env),
            },
        )
        self.table(f"{self.starts} hot starts, {layout} layout, /bin/true as the program", times, name)

    def first(self) -> None:
        """An empty home each time, alone and as a crowd of two generations."""
        lab = Lab(self.scratch / "first")
        caches = [
            lab.cache(name, links=PACKAGES[n:], modules=["@opencode-ai/plugin"])
            for n, name in enumerate("AB")
        ]
        wrappers = [lab.wrap(cache, shell=self.shell) for cache in caches]
        alone = []
        for n in range(20):
            env = {"HOME": str(lab.top / f"alone-{n}"), "PATH": "/usr/bin:/bin"}
            Path(env["HOME"]).mkdir()
            alone.append(seconds([str(wrappers[0])], env))
        self.console.print(f"First start in an empty home: median {statistics.median(alone) * 1e3:.1f} ms")
        for n in range(5):
            env = {"HOME": str(lab.top / f"crowd-{n}"), "PATH": "/usr/bin:/bin"}
            Path(env["HOME"]).mkdir()
            began = time.perf_counter()
            running = [
                subprocess.Popen(
                    [str(wrappers[k % 2])], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                for k in range(CROWD)
            ]
            ended = [(process.communicate()[1], process.returncode) for process in running]
            took = time.perf_counter() - began
            failed = [said for said, status in ended if status]
            own = Path(env["HOME"]) / ".cache-nix/opencode"
            stray = [*own.rglob("*stage.*"), *Path(env["HOME"]).rglob(".opencode-cache.*")]
            broken = [path for path in own.rglob("*") if not path.exists()]
            self.console.print(
                f"{CROWD} first starts at once, two generations: {took:.1f} s; {len(failed)} failed, "
                f"{sum(bool(said) for said, _ in ended)} said something, {len(stray)} temporary files left, "
                f"{len(broken)} links that lead nowhere"
            )
            for said in failed[:3]:
                self.console.print(said.decode(errors="replace").strip())

    def version(self, opencode: Path, cache: Path) -> None:
        home = self.scratch / "version"
        home.mkdir()
        program = wrap(cache, opencode, home / "wrapped", shell=self.shell)
        env = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin"}
        commands = {
            "bare": ([str(opencode.absolute()), "--version"], env),
            "bare, once more": ([str(opencode.absolute()), "--version"], env),  # how much of it is noise
            "wrapped": ([str(program), "--version"], env),
        }
        self.table("opencode --version", in_turn(max(40, self.starts // 5), commands), "bare")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=300)
    parser.add_argument("--opencode", type=Path)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wrapper-bench-") as directory:
        bench = Bench(Path(directory), options.starts)
        bench.hot("packages")
        bench.hot("bun")
        bench.first()
        if options.opencode and options.cache:
            bench.version(options.opencode, options.cache)


if __name__ == "__main__":
    main()
