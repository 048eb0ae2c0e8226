"""A private home, caches, and a program that tells how it was started: what the wrapper's tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from opencode_cache.formats import manifest as manifests
from opencode_cache.wrapper.preload import path_of
from opencode_cache.wrapper.render import wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
PACKAGES = ("packages/foo", "packages/@scope/bar", "packages/@scope/plugin@latest")
OTHER = ("packages/foo", "packages/new", "packages/@other/thing")
GENERATIONS = ("models.json", "npm/plug@latest/1", "npm/@s/plug@latest/1", "npm/range@>=1 <2/1")
BUN = ("node_modules", "package.json", "bun.lock", "tui")
PLUGIN = "node_modules/@opencode-ai/plugin"
TIMEOUT = 20
TOOLS = ("mkdir", "ln", "mv", "cp", "chmod", "rm", "rmdir", "readlink", "cat", "ls", "tr", "cksum")

# Kills the wrapper at the tool that is started as number KILL_AT.
DYING = """
n=0; [ ! -e "$COUNT" ] || read -r n <"$COUNT"
echo $((n + 1)) >"$COUNT"
[ $((n + 1)) = "$KILL_AT" ] || exec TOOL "$@"
read -r pid <"$COUNT.pid"
kill -9 "$pid"
exit 1
"""

# Arguments, one to a line; then the environment as it is.
PROGRAM = """#!/bin/sh
[ $# = 0 ] || printf '%s\\n' "$@"
echo "-- environment"
exec /usr/bin/env -0
"""


def shell(name: str) -> list[str]:
    """The words that run a script with the shell, whatever PATH is then; or a skipped test."""
    program, *options = SHELLS[name]
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{name} is not on PATH")
    return [found, *options]


def manifest(layout: str = "packages", **values: Any) -> manifests.Manifest:
    bun = layout == "bun"
    version, links, copies = {
        "bun": ("1.0.61", BUN, ("models.json", "version")),
        "packages": ("1.18.33", PACKAGES, ("models.json",)),
        "generations": ("2.0.32", GENERATIONS, ()),
    }[layout]
    defaults: dict[str, Any] = {
        "builder": "0.1.0",
        "opencode": version,
        "layout": layout,
        "cache_version": "9" if bun else None,
        "system": "x86_64-linux",
        "links": links,
        "copies": copies,
        "requests": (),
        "packages": (),
        "files": 0,
        "bytes": 0,
    }
    return manifests.Manifest(**defaults | values)


@dataclass
class Start:
    """How the program was started and what the wrapper said before."""

    status: int
    args: list[str]
    env: dict[str, str]
    stderr: str


@dataclass
class Lab:
    """A directory with a home, caches and wrappers, and the shell that runs them."""

    top: Path
    shell: list[str] = field(default_factory=lambda: ["sh"])

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)

    @property
    def home(self) -> Path:
        return self.top / "home"

    @property
    def program(self) -> Path:
        return self.top / "real-opencode"

    @property
    def cache_dir(self) -> Path:
        return self.home / ".cache-nix" / "opencode"

    @property
    def config_dir(self) -> Path:
        return self.home / ".config" / "opencode"

    def cache(self, name: str, layout: str = "packages", modules: Sequence[str] = (), **values: Any) -> Path:
        """Make a cache. `modules` are packages for config directories; a copy says whose it is."""
        cache = self.top / name
        cache_manifest = manifest(layout, config="config" if modules else None, **values)
        for link in cache_manifest.links:
            if link in {"package.json", "bun.lock", "models.json"}:
                (cache / link).parent.mkdir(parents=True, exist_ok=True)
                (cache / link).write_text(name)
            else:
                (cache / link).mkdir(parents=True)
        cache.mkdir(exist_ok=True)
        for copy in cache_manifest.copies:
            (cache / copy).write_text(
                cache_manifest.cache_version or "" if copy == "version" else f"catalogue of {name}"
            )
            (cache / copy).chmod(0o444)
        for module in modules:
            (cache / "config/node_modules" / module).mkdir(parents=True)
            (cache / "config/package-lock.json").write_text(f"lock of {name}")
        (cache / manifests.FILE).write_text(manifests.dumps(cache_manifest))
        return cache

    def wrap(self, cache: Path, **options: Any) -> Path:
        return wrap(cache, self.program, self.top / f"wrapped-{cache.name}", **options)

    def environment(self, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        base = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C"}
        return {key: value for key, value in (base | dict(env or {})).items() if value is not None}

    def start(self, wrapper: Path, *args: str, env: Mapping[str, str | None] | None = None) -> Start:
        """Start; `env` adds to a clean environment, and None takes a variable out of it."""
        done = subprocess.run(
            [*self.shell, str(wrapper), *args],
            env=self.environment(env),
            cwd=self.top,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )
        said, _, raw = done.stdout.partition(b"-- environment\n")
        pairs = (os.fsdecode(pair).partition("=") for pair in raw.split(b"\0") if pair)
        return Start(
            status=done.returncode,
            args=os.fsdecode(said).split("\n")[:-1],
            env={key: value for key, _, value in pairs},
            stderr=os.fsdecode(done.stderr),
        )

    def killed(self, dying: Path, step: int) -> int:
        """Start a wrapper whose tools are `dying_tools`; the exit status is -9 if it got to that tool."""
        count = self.top / "count"
        count.unlink(missing_ok=True)
        env = self.environment({"COUNT": str(count), "KILL_AT": str(step)})
        words = ["sh", "-c", 'echo $$ >"$COUNT.pid"; exec "$@"', "sh", *self.shell, str(dying)]
        return subprocess.run(words, env=env, capture_output=True, check=False, timeout=TIMEOUT).returncode

    def tools(self, name: str, script: str, tools: Sequence[str]) -> Path:
        """A directory with stand-ins for `tools`. In the script, TOOL is the real one."""
        directory = self.top / name
        directory.mkdir()
        if "busybox" in self.shell[0]:
            found = subprocess.run([*self.shell, "-c", "command -v ln"], capture_output=True, check=True)
            if not found.stdout.startswith(b"/"):
                pytest.skip(f"needs a shell that takes tools from PATH: {self.shell[0]} has its own")
        for tool in tools:
            real = shutil.which(tool)
            assert real is not None
            (directory / tool).write_text("#!/bin/sh\n" + script.replace("TOOL", real))
            (directory / tool).chmod(0o755)
        return directory


def dying_tools(lab: Lab) -> Path:
    return lab.tools("shims", DYING, TOOLS)


def move_home(source: Lab, to: Lab) -> None:
    """Copy a home. Config links name the home that they were made in, so they are turned to the new one."""
    shutil.copytree(source.home, to.home, symlinks=True)
    for link in [path for path in to.config_dir.rglob("*") if path.is_symlink()]:
        target = str(link.readlink()).replace(str(source.home), str(to.home))
        link.unlink()
        link.symlink_to(target)


def state(directory: Path) -> dict[str, str]:
    """Every path below a directory: `/` for a directory, `-> text` for a link, the text of a file."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = path.read_text()
    return found


def preload(wrapper: Path) -> Path:
    """The file that OpenCode is to preload."""
    return path_of(wrapper.parents[1], wrapper.name)


def holds(lab: Lab, cache: Path) -> None:
    """Assert that every entry of the cache is linked and that nothing leads nowhere or is half made."""
    cache_manifest = manifests.read(cache)
    for link in cache_manifest.links:
        assert (lab.cache_dir / link).samefile(cache / link), link
        assert (lab.cache_dir / link).is_symlink(), link
    for path in lab.cache_dir.rglob("*"):
        assert path.exists(), f"{path} leads nowhere"
        assert not path.name.startswith("stage."), path
    if cache_manifest.layout == "bun":
        assert (lab.cache_dir / "version").read_text() == cache_manifest.cache_version
    assert not list(lab.home.rglob(".opencode-cache.*"))
