"""Measures, and never judges: `./dev bench [--runs N]` prints tables of medians and ratios from one run.

Each thing is measured in turn with what it is compared to, A B A B, so that a slow moment hits both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from opencode_cache import pipeline
from opencode_cache.base import store
from opencode_cache.build import builder, release_binary
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import contents, lock
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.sandbox import netns
from opencode_cache.wrapper import render as wrapper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "offline"))

import archive_bench
import first_run
import isolated
import steps_bench
import wrapper_bench

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT = REPOSITORY / ".cache" / "bench"
LOCK = REPOSITORY / "nix" / "locks" / "opencode-cache.lock.json"
PLUGIN_LOCK = REPOSITORY / "tests" / "offline" / "locks" / "extra-1.18.lock.json"
PARTS = ("builds", "sizes", "archives", "steps", "starts", "wrappers", "nix", "first-run")
NPM_QUIET = ["--no-audit", "--no-fund", "--loglevel=error"]


def seconds(action) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turn(runs: int, **actions) -> dict[str, list[float]]:
    """name -> seconds of each run, the actions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(runs):
        for name, action in actions.items():
            times[name].append(seconds(action))
    return times


def drop_missing_optionals(document: dict) -> None:
    """A registry that lacks an optional package for another system makes `npm ci` call its own lock stale."""
    present = {path.rpartition("node_modules/")[2] for path in document["packages"]}
    for entry in document["packages"].values():
        optional = entry.get("optionalDependencies", {})
        entry["optionalDependencies"] = {n: v for n, v in optional.items() if n in present}


LOCAL_PLUGIN = """import { tool } from "@opencode-ai/plugin"
const local = tool({ description: "x", args: {}, execute: async () => "y" })
export const Local = async () => ({ tool: { local } })
"""


class Bench:
    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
        self.system = platforms.current()
        self.lock = lock.read(LOCK)
        self.tarballs = KEPT / "tarballs"
        self.scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=KEPT))

    def note(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(f"bench: {text}")

    def table(self, title: str, times: dict[str, list[float]], base: str) -> None:
        table = Table("", "median s", "min", "max", f"ratio to {base}", title=title, title_justify="left")
        reference = statistics.median(times[base])
        for name, values in times.items():
            median = statistics.median(values)
            table.add_row(
                name,
                f"{median:.3f}",
                f"{min(values):.3f}",
                f"{max(values):.3f}",
                f"{median / reference:.2f}",
            )
        self.console.print(table)

    def prepare(self) -> None:
        self.note("fetching tarballs and OpenCode (once)")
        pipeline.fetch(self.lock, self.system, self.tarballs)
        package = contents.binary_package(self.lock, self.system)
        self.opencode = release_binary.in_store(package, self.tarballs, store.Store(KEPT / "store"))

    # --- npm's way: the same trees, each as a project with a package-lock

    def npm_projects(self) -> list[Path]:
        projects = []
        for tree in self.lock.trees:
            members = [r for r in self.lock.requests if r.tree == tree]
            project = self.scratch / "npm" / tree.replace("/", "+")
            project.mkdir(parents=True)
            specs = {r.name: r.version for r in members}
            document = npm.package_lock([f"{name}@{version}" for name, version in specs.items()])
            drop_missing_optionals(document)
            (project / "package-lock.json").write_text(json.dumps(document))
            (project / "package.json").write_text(json.dumps({"dependencies": specs}))
            projects.append(project)
        return projects

    def npm_ci(self, projects: list[Path], cache: Path, *more: str) -> None:
        for project in projects:
            shutil.rmtree(project / "node_modules", ignore_errors=True)
            subprocess.run(
                [*npm.command(), "ci", "--ignore-scripts", "--cache", str(cache), *NPM_QUIET, *more],
                cwd=project,
                check=True,
                stdout=subprocess.DEVNULL,
            )

    def build(self, *, keep_all: bool = False) -> Path:
        out = self.scratch / "out"
        if out.exists():
            shutil.rmtree(out)
        builder.build(
            builder.Inputs(self.lock, self.tarballs, self.opencode, self.system, keep_all=keep_all), out
        )
        return out

    def builds(self) -> None:
        self.note("npm: locking the same trees, and filling its cache")
        projects = self.npm_projects()
        warm = self.scratch / "npm-cache"
        self.npm_ci(projects, warm)
        self.note(f"building, {self.runs} times in turn")
        times = in_turn(
            self.runs,
            **{
                "npm ci, warm cache, offline": lambda: self.npm_ci(projects, warm, "--offline"),
                "build": self.build,
                "build --keep-all": lambda: self.build(keep_all=True),
            },
        )
        self.table("Building the default cache from fetched tarballs", times, "npm ci, warm cache, offline")
        self.note("fetching into empty directories, in turn")

        def fetch() -> None:
            to = self.scratch / "fetched"
            shutil.rmtree(to, ignore_errors=True)
            tarball.fetch(contents.packages(self.lock, self.system).values(), to)

        def fetch_and_build() -> None:
            fetch()
            self.build()

        def npm_cold() -> None:
            cold = self.scratch / "npm-cold"
            shutil.rmtree(cold, ignore_errors=True)
            self.npm_ci(projects, cold)

        times = in_turn(
            min(self.runs, 3),
            **{
                "npm ci, empty cache (fetch and unpack)": npm_cold,
                "fetch and build": fetch_and_build,
                "fetch alone": fetch,
            },
        )
        self.table("Fetching", times, "npm ci, empty cache (fetch and unpack)")

    def sizes(self) -> None:
        table = Table("", "files", "MB", title="Content of the default cache", title_justify="left")
        for name, keep_all in (("pruned", False), ("--keep-all", True)):
            out = self.build(keep_all=keep_all)
            files = [p for p in out.rglob("*") if p.is_file() and not p.is_symlink()]
            table.add_row(name, str(len(files)), f"{sum(p.stat().st_size for p in files) / 1e6:.1f}")
        self.console.print(table)

    def archives(self) -> None:
        packages = list(contents.packages(self.lock, self.system).values())
        times = in_turn(
            self.runs,
            **{
                "our reader": lambda: archive_bench.ours(packages, self.tarballs),
                "tarfile": lambda: archive_bench.tarfiles(packages, self.tarballs),
            },
        )
        self.table("Reading the default cache's tarballs", times, "our reader")

    def steps(self) -> None:
        self.note("bundles of a fortnight, locked anew, and ten upgrades (a few minutes)")
        scratch = self.scratch / "steps"
        scratch.mkdir()
        for table in steps_bench.Steps(scratch, self.tarballs, store.Store(KEPT / "store")).measure():
            self.console.print(table)

    # --- starts: isolated.run times the program itself, inside a namespace without a network

    def starts(self) -> None:
        can = netns.available()
        if not can.ok:
            self.console.print(f"Starts are not measured: {can.why}")
            return
        cache = self.build()
        program = wrapper.wrap(cache, self.opencode, self.scratch / "wrapped")
        found = lock.read(PLUGIN_LOCK)
        pipeline.fetch(found, self.system, self.tarballs)
        with_plugin = self.scratch / "with-plugin"
        builder.build(builder.Inputs(found, self.tarballs, self.opencode, self.system), with_plugin)
        plugged = wrapper.wrap(with_plugin, self.opencode, self.scratch / "plugged")
        plugin = {"plugin": ["opencode-gemini-auth"]}

        def start(
            name: str, command: Path, config: dict | None, *arguments: str, project: bool = False, **more
        ) -> float:
            home = self.scratch / "home" / name
            local = home / "work" / ".opencode" / "plugin"
            local.mkdir(parents=True, exist_ok=True) if project else home.mkdir(parents=True, exist_ok=True)
            if project:
                (local / "local.ts").write_text(LOCAL_PLUGIN, encoding="utf-8")
            done = isolated.run(command, arguments, home, config=config, **more)
            if done.returncode or done.seconds < 0:
                raise SystemExit(f"{name}: ended with {done.returncode}, hosts {done.hosts}: {done.stderr}")
            return done.seconds

        measured = {
            "bare": lambda n: start(n, self.opencode, None, "models"),
            "wrapped": lambda n: start(n, program, None, "models"),
            "wrapped, with a plugin": lambda n: start(n, plugged, plugin, "models"),
        }
        self.note(f"opencode models, {self.runs} times in turn, without a network")
        self.table("`opencode models`, no network", self.taken(measured), "bare")
        answer = {
            "provider": {
                "loopback": {
                    "npm": "@ai-sdk/openai-compatible",
                    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
                    "models": {"m": {"name": "m"}},
                }
            }
        }
        ask = ("run", "-m", "loopback/m", "hello")
        measured = {
            "bare": lambda n: start(n, self.opencode, answer, *ask),
            "wrapped, with a plugin, in a project with a local one": lambda n: start(
                n, plugged, answer | plugin, *ask, project=True
            ),
        }
        self.note(f"opencode run, {self.runs} times in turn")
        self.table(
            "`opencode run` to the answer of the loopback model, no network", self.taken(measured), "bare"
        )
        measured = {
            "bare": lambda n: start(n, self.opencode, None, watch=0.5),
            "wrapped, with a plugin": lambda n: start(n, plugged, plugin, watch=0.5),
        }
        self.note(f"first screen, {self.runs} times in turn")
        self.table("First screen of the interface, no network", self.taken(measured), "bare")

    def wrappers(self) -> None:
        """The wrapper alone, with /bin/true in OpenCode's place; first starts; and `opencode --version`."""
        for layout in ("packages", "bun"):
            scratch = self.scratch / f"wrapper-{layout}"
            scratch.mkdir()
            wrapper_bench.Bench(scratch, 300).hot(layout)
        scratch = self.scratch / "wrapper-first"
        scratch.mkdir()
        bench = wrapper_bench.Bench(scratch, 300)
        bench.first()
        bench.version(self.opencode, self.build())

    def first_run(self) -> None:
        """Of the last commit: what is not committed is not in a clone."""
        self.note("first runs, from clone to `opencode models`, in turn with npm's")
        for table in first_run.FirstRun(self.scratch / "first-run", min(self.runs, 3)).measure():
            self.console.print(table)

    def nix(self) -> None:
        """Every tarball of the default lock as a derivation of real Nix, by curl and by npm."""
        import nix_bench  # noqa: PLC0415 - needs Nix, which is got ready here

        self.note("tarballs by Nix, once by curl and once by npm")
        count, times = nix_bench.tarballs(in_turn, 1)
        self.table(
            f"{count} tarballs from a registry on loopback, real Nix, two at a time", times, "curl (default)"
        )

    def taken(self, measured) -> dict[str, list[float]]:
        """As `in_turn`, for actions that tell their own seconds; one start of each, first, is not counted."""
        times: dict[str, list[float]] = {name: [] for name in measured}
        for run in range(self.runs + 1):
            for number, (name, action) in enumerate(measured.items()):
                value = action(f"{id(measured)}-{number}")
                if run:
                    times[name].append(value)
        return times


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("only", nargs="*", choices=[*PARTS, []], help="default: all")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.runs)
    try:
        parts = options.only or PARTS
        if not set(parts) <= {"first-run", "nix"}:
            bench.prepare()
        for part in parts:
            getattr(bench, part.replace("-", "_"))()
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
