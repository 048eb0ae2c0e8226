"""An OpenCode 2.x that serves this process alone, and commands that are put to it.

Upstream (anomalyco/opencode, branch v2, `packages/cli/src/services/standalone.ts`; tried on 2.0.15): `serve
--stdio` says in one line of JSON where it is, and lives as long as its stdin. Clients take `--server` and
OPENCODE_PASSWORD. Without these, a command asks the background service, which may be anybody's.
"""

from __future__ import annotations

import json
import select
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError, TooSlowError
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

AISDK = "aisdk:"
"""What stands before a provider's package in 2.x, where that is one of the AI SDK's."""
_PASSWORD = {"OPENCODE_PASSWORD": "loopback"}
_STOP_TIMEOUT = 10


def configuration(providers: Mapping[str, tuple[str, str]], plugins: Sequence[str]) -> dict[str, Any]:
    """An `opencode.json` of 2.x: for each provider an SDK's package and address, and one model.

    Without `aisdk:` a package is one that exports a `model`, or a kind of provider that is compiled in.
    """
    return {
        "providers": {
            name: {
                "name": name,
                "package": f"{AISDK}{package}",
                "settings": {"baseURL": address, "apiKey": "loopback"},
                "models": {name: {"name": name}},
            }
            for name, (package, address) in providers.items()
        },
        "plugins": list(plugins),
        "update": "disable",
    }


@dataclass(frozen=True)
class Standalone:
    """A running one."""

    program: Path
    home: Path
    url: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def run(self, command: str, *words: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command that it answers. Raises subprocess.TimeoutExpired, OSError."""
        arguments = [command, "--server", self.url, *words]
        return opencode.run(self.program, arguments, self.home, extra=self.extra, timeout=timeout)

    def plugins(self, timeout: float) -> list[dict[str, Any]]:
        """What it says of its plugins. Raises CheckFailedError where it says nothing that can be read."""
        done = self.run("api", "plugin.list", timeout=timeout)
        try:
            return list(json.loads(done.stdout)["data"])
        except (ValueError, KeyError, TypeError) as error:
            said = " ".join((done.stderr or done.stdout).split())[-200:]
            raise CheckFailedError(
                f"`opencode api plugin.list` ended with {done.returncode}: {said}"
            ) from error


@contextmanager
def serve(program: Path, home: Path, extra: Mapping[str, str], timeout: float) -> Iterator[Standalone]:
    """Start one, for as long as the context lasts. Raises TooSlowError, CheckFailedError."""
    settings = dict(extra) | _PASSWORD
    with subprocess.Popen(
        [program.absolute(), "serve", "--stdio", "--port", "0"],
        cwd=home / "work",
        env=opencode.environment(home, settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for mypy
        assert process.stdin is not None  # noqa: S101
        try:
            if not select.select([process.stdout], [], [], timeout)[0]:
                raise TooSlowError(f"`serve --stdio` said nothing within {timeout:.0f} s")
            line = process.stdout.readline()
            try:
                url = str(json.loads(line)["url"])
            except (ValueError, KeyError, TypeError) as error:
                raise CheckFailedError(f"`serve --stdio` does not say where it is: {line[:200]!r}") from error
            yield Standalone(program, home, url, settings)
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
