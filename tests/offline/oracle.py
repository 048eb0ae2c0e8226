"""npm itself as the judge of our trees: what it installs from a lock, and what we make of that."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from opencode_cache.build import assemble as assembling
from opencode_cache.build.assemble import Job, Stats
from opencode_cache.build.unpack.bins import link_bins
from opencode_cache.formats.lock import Package

_QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_TIMEOUT = 600
_UNREACHABLE = re.compile(r"npm error code (?:ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|ENOTCACHED)")


class NoRegistryError(Exception):
    """npm could not reach its registry."""


def npm(*arguments: str, cwd: Path) -> str:
    """Run npm with the umask of most machines and return what it printed."""
    done = subprocess.run(
        ["npm", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        umask=0o022,
    )
    if _UNREACHABLE.search(done.stderr):
        raise NoRegistryError(done.stderr[-500:])
    if done.returncode:
        raise AssertionError(f"npm {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def resolve(spec: str, locks: Path) -> Path:
    """A project directory with package.json and package-lock.json for one spec, resolved once and kept."""
    project = locks / spec.replace("/", "+")
    if not (project / "package-lock.json").exists():
        locks.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=locks) as made:
            (Path(made) / "package.json").write_text("{}\n")
            npm("install", "--package-lock-only", *_QUIET, spec, cwd=Path(made))
            shutil.rmtree(project, ignore_errors=True)
            shutil.copytree(made, project)
    return project


def install(project: Path, root: Path) -> dict[str, Package]:
    """Let npm install a project's lock at `root`; returns what it put there, by path."""
    root.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(project / name, root / name)
    try:
        npm("install", "--prefer-offline", *_QUIET, cwd=root)
    except AssertionError as error:
        if "ETARGET" not in str(error):
            raise
        # What npm remembers of the registry is older than the lock.
        npm("install", "--prefer-online", *_QUIET, cwd=root)
    hidden = root / "node_modules/.package-lock.json"
    nodes = json.loads(hidden.read_text())["packages"]
    hidden.unlink()
    return {
        path: Package(
            name=node.get("name") or path.rpartition("node_modules/")[2],
            version=node["version"],
            integrity=node["integrity"],
            bin=node.get("bin") or {},
        )
        for path, node in nodes.items()
        # A bundled package comes out of the tarball of the one that bundles it.
        if not node.get("inBundle")
    }


def assemble(nodes: dict[str, Package], tarballs: Path, root: Path) -> Stats:
    """Our tree of the same packages, with everything kept."""
    jobs = {root / path: Job(package) for path, package in nodes.items()}
    stats = assembling.assemble(jobs, tarballs, keep_all=True)
    link_bins(root, nodes)
    return stats


def listing(root: Path) -> dict[str, str]:
    """Everything below `root`: kind, mode, and content or target. No times."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                what = f"link to {path.readlink()}"
            elif stat.S_ISDIR(status.st_mode):
                what = f"directory {stat.S_IMODE(status.st_mode):o}"
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                what = f"file {stat.S_IMODE(status.st_mode):o} {digest}"
            found[str(path.relative_to(root))] = what
    return found
