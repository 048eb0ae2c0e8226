"""Measures how Nix gets every tarball of the default lock, and never judges: by curl and by npm, in one run.

The registry is on loopback and has all of them, so that the network costs nothing. Each download is a
fixed-output derivation in the real sandbox, two at a time.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "nix"), str(TESTS)]

from flake_lab import LOCKS, SUITE, Registry, copy_of_the_project, flake_on, get, machine_of  # noqa: E402

from opencode_cache.formats import contents, lock  # noqa: E402
from opencode_cache.npm import platforms  # noqa: E402

_WAYS = {"curl (default)": "false", "npm (withNpm)": "true"}


def tarballs(in_turn, runs: int) -> tuple[int, dict[str, list[float]]]:
    """How many tarballs, and way -> seconds for all of them, of each run."""
    packages = contents.packages(
        lock.read(LOCKS / "opencode-cache.lock.json"), platforms.named("x86_64-linux")
    ).values()
    get(packages)
    with tempfile.TemporaryDirectory() as scratch, Registry(*packages) as registry:
        machine = machine_of(SUITE)
        flake = flake_on(machine, copy_of_the_project(Path(scratch) / "project"), Path(scratch))
        environment = {"NPM_CONFIG_REGISTRY": registry.url} | dict.fromkeys(
            ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), ""
        )
        actions = {}
        for name, with_npm in _WAYS.items():
            select = f"c: map (t: t.path.drvPath) (c.override {{ withNpm = {with_npm}; }}).tarballs"
            derivations = [f"{path}^*" for path in flake.value("opencode-cache", select)]
            # Once, uncounted, for one of them: what all need.
            machine.nix("build", "--no-link", *derivations, environment=environment)

            def again(derivations: list[str] = derivations) -> None:
                registry.asked.clear()
                machine.nix(
                    *("build", "--rebuild", "--no-link", "--keep-going", *derivations),
                    environment=environment,
                    timeout=3600,
                )
                missing = len(derivations) - len({path for path in registry.asked if path.endswith(".tgz")})
                if missing:
                    raise RuntimeError(
                        f"{missing} tarballs were not asked for: {json.dumps(derivations[:3])}"
                    )

            actions[name] = again
        return len(packages), in_turn(runs, **actions)
