"""The warm-up: the real OpenCode runs on the new cache, beside a registry that has nothing to give.

Whoever asks that registry names what the cache lacks, and the build fails with that name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache import layouts
from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, CacheLacksError, CheckFailedError
from opencode_cache.formats import manifest
from opencode_cache.formats.plan import words
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import ask, tools
from opencode_cache.opencode import run as opencode
from opencode_cache.sandbox import netns
from opencode_cache.sandbox.loopback import TripwireRegistry
from opencode_cache.wrapper import render as wrapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.formats.manifest import Manifest

DEFAULT = ("models",)
"""Lists the models: loads the catalogue, every configured plugin and the config directory."""

_LOGGED = ("--print-logs",)
_TIMEOUT = 600
"""Seconds: an end to what hangs, and not to what is slow."""
_SAID = 200


def warm_up(cache: Path, binary: Path, commands: Sequence[str] = DEFAULT) -> None:
    """Run each command (OpenCode's arguments in one string, split as a shell splits) on the cache.

    Confined in a namespace where the kernel allows it. Raises CacheLacksError that names what was asked
    for, CheckFailedError where a command fails though nothing was asked for.
    """
    cache, binary = cache.resolve(), binary.absolute()
    if not netns.available().ok:
        _run_all(cache, binary, commands)
        return
    child = python.command("-m", __name__, cache.absolute(), binary.absolute(), json.dumps(list(commands)))
    with python.empty() as empty:
        done = subprocess.run(
            netns.command(opencode.read_by(cache, binary), child, confined=True),
            cwd=empty,
            env=os.environ | python.path(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        # The child's last line is the sentence of the same error.
        lines = done.stderr.strip().splitlines() or [f"the warm-up ended with {done.returncode}"]
        kinds = {kind.exit_status: kind for kind in (CacheLacksError, BadInputError)}
        raise kinds.get(done.returncode, CheckFailedError)(lines[-1])


def _run_all(cache: Path, binary: Path, commands: Sequence[str]) -> None:
    known = manifest.read(cache)
    for command in commands:
        with opencode.private_home() as home, TripwireRegistry() as registry:
            plugins = [entry.spec for entry in known.requests if entry.kind == "plugin"]
            opencode.write_config(home, {"plugin": plugins})
            program = wrapper.wrap(cache, binary, home / "wrapped")
            try:
                done = opencode.run(
                    program,
                    [*words(command), *_LOGGED, *layouts.named(known.layout).alone],
                    home,
                    extra=opencode.registry_settings(registry.url),
                    timeout=_TIMEOUT,
                )
            except subprocess.TimeoutExpired as error:
                raise CheckFailedError(
                    f"warm-up: `opencode {command}` did not end within {_TIMEOUT} s; choose another --warmup"
                ) from error
            _judge(command, done, registry.asked, known)


def _judge(command: str, done: subprocess.CompletedProcess[str], asked: set[str], known: Manifest) -> None:
    wanted = asked | ask.not_installed(done.stdout + done.stderr).keys()
    # What the registry did not have when the lock was made is not news.
    tolerated = {split_spec(gone.spec)[0] for gone in known.unavailable}
    tolerated |= layouts.named(known.layout).tolerated(known.opencode)
    lacking = sorted(wanted - tolerated)
    if lacking:
        options = " ".join(_option(name) for name in lacking)
        raise CacheLacksError(
            f"`opencode {command}` asked the registry for {', '.join(lacking)}, which the cache lacks; "
            f"lock again with {options} (or --provider for an SDK)"
        )
    if done.returncode:
        output = " ".join((done.stderr or done.stdout).split())[-_SAID:]
        raise CheckFailedError(f"warm-up: `opencode {command}` ended with {done.returncode}: {output}")


def _option(name: str) -> str:
    if name == "@opencode-ai/plugin":
        return f"`config = ['{name}']` in the plan"
    return f"{'--tool' if name in tools.TOOLS else '--plugin'} '{name}'"


def main(arguments: Sequence[str]) -> int:
    """The child of `warm_up`, already isolated: CACHE BINARY COMMANDS-AS-JSON. Returns the exit status."""
    cache, binary, commands = arguments
    try:
        _run_all(Path(cache), Path(binary), json.loads(commands))
    except (CacheLacksError, CheckFailedError, BadInputError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
