"""The first minutes: a clean clone and an empty home, against npm's own OpenCode."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.table import Table

from opencode_cache.formats import lock
from opencode_cache.npm import client as npm

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = REPOSITORY / "nix" / "locks" / "opencode-cache.lock.json"
PARTS = {
    "environment": "",
    "fetch": "fetching ",
    "build": "unpacking",
    "warm-up": "warming up",
    "proof": "verifying",
}
"""Part -> how the line begins that the command says when it comes to it."""


class FirstRun:
    """Each run is made in directories of its own, which are removed after it."""

    def __init__(self, scratch: Path, runs: int) -> None:
        self.scratch, self.runs = scratch, runs
        self.version = lock.read(LOCK).opencode.version
        self.parts: dict[str, list[float]] = {name: [] for name in PARTS}
        self.totals: dict[str, list[float]] = {"ours": [], "npm": []}
        self.megabytes = 0.0

    def environment(self, home: Path) -> dict[str, str]:
        """This machine's, with another home; the user's npmrc stays, which says where the registry is."""
        home.mkdir(parents=True)
        userconfig = subprocess.run(
            [*npm.command(), "config", "get", "userconfig"], capture_output=True, text=True, check=True
        ).stdout.strip()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "OPENCODE", "VIRTUAL_ENV", "PYTHON"))
        }
        return kept | {"HOME": str(home), "npm_config_userconfig": userconfig}

    def ours(self) -> None:
        place = self.scratch / "ours"
        clone = place / "clone"
        environment = self.environment(place / "home")
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
        began = time.perf_counter()
        at = {"environment": began}
        command = ["./dev", "run", "--", "models"]
        with subprocess.Popen(
            command, cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            said = []
            for line in process.stderr:
                said.append(line)
                words = line.partition("opencode-cache: ")[2]
                for name, beginning in PARTS.items():
                    if beginning and words.startswith(beginning):
                        at.setdefault(name, time.perf_counter())
            listed = process.stdout.read()
        ended = time.perf_counter()
        if process.returncode or "opencode/" not in listed:
            raise SystemExit(f"./dev run ended with {process.returncode}: {''.join(said)}")
        self.totals["ours"].append(ended - began)
        begins = sorted(at.items(), key=lambda item: item[1])
        for (name, start), end in zip(begins, [*(start for _, start in begins[1:]), ended], strict=True):
            self.parts[name].append(end - start)
        files = [path for path in (clone / ".venv").rglob("*") if path.is_file() and not path.is_symlink()]
        self.megabytes = sum(path.stat().st_size for path in files) / 1e6
        self.remove(place)

    def npms(self) -> None:
        place = self.scratch / "npm"
        environment = self.environment(place / "home")
        project = place / "project"
        project.mkdir()
        began = time.perf_counter()
        install = ["install", "--no-audit", "--no-fund", "--loglevel=error", f"opencode-ai@{self.version}"]
        for command in ([*npm.command(), *install], [project / "node_modules/.bin/opencode", "models"]):
            subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
        self.totals["npm"].append(time.perf_counter() - began)
        self.remove(place)

    @staticmethod
    def remove(place: Path) -> None:
        subprocess.run(["chmod", "-R", "u+w", place], check=True)
        shutil.rmtree(place)

    def measure(self) -> list[Table]:
        for _ in range(self.runs):
            self.ours()
            self.npms()
        table = Table(
            "",
            "median s",
            "min",
            "max",
            title=f"First run of OpenCode {self.version}: clean clone, empty home, {self.runs} in turn",
            title_justify="left",
        )
        rows = [
            ("./dev run -- models", self.totals["ours"]),
            *((f"  {name}", values) for name, values in self.parts.items() if values),
            ("npm install opencode-ai && opencode models", self.totals["npm"]),
        ]
        for name, values in rows:
            table.add_row(name, *(f"{n:.1f}" for n in (statistics.median(values), min(values), max(values))))
        ratio = statistics.median(self.totals["ours"]) / statistics.median(self.totals["npm"])
        more = Table("", "", title="The command", title_justify="left", show_header=False)
        more.add_row("ratio to npm", f"{ratio:.2f}")
        more.add_row("size of .venv", f"{self.megabytes:.0f} MB")
        more.add_row("opencode-cache --version", f"{self.cpu('--version'):.2f} s of CPU")
        more.add_row("opencode-cache --help", f"{self.cpu('--help'):.2f} s of CPU")
        return [table, more]

    def cpu(self, *arguments: str) -> float:
        """The median of several starts, in seconds of user and system time."""
        program = "import sys; from opencode_cache.__main__ import main; main()"
        times = []
        for _ in range(9):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, "-I", "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return statistics.median(times)
