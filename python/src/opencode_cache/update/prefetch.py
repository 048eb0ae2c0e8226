"""The narHash of a GitHub source, from the program nix-prefetch-github (PyPI, nixpkgs; it needs Nix)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

from opencode_cache.base import python
from opencode_cache.base.errors import NetworkError

PROGRAM = "nix-prefetch-github"
_TIMEOUT = 1800


def lacking() -> str | None:
    """Why it cannot be run here, with the fix; None where it can."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not on PATH; run `nix run .#update`, or install it from nixpkgs or PyPI"
    if shutil.which("nix-build") is None:
        return f"{PROGRAM} needs Nix, whose nix-build is not on PATH; install Nix"
    return None


def nar_hash(owner: str, repo: str, rev: str) -> str:
    """The narHash of a commit. Raises NetworkError with the program's own last line."""
    words = [PROGRAM, owner, repo, "--rev", rev]
    what = " ".join(words)
    try:
        with python.empty() as empty:
            done = subprocess.run(
                words,
                cwd=empty,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise NetworkError(f"{what} did not run to its end ({error}); nothing was changed") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = lines[-1][:300] if lines else f"exit status {done.returncode}"
        raise NetworkError(f"{what} failed: {last}; nothing was changed")
    try:  # 7.1, presenter/repository_renderer.py; `hash` is that of an unpacked `git archive`
        told = json.loads(done.stdout)
        digest, revision = str(told["hash"]), str(told["rev"])
    except (ValueError, KeyError, TypeError, RecursionError):
        digest = revision = ""
    if not re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", digest):
        raise NetworkError(f"{what} did not print a revision and its hash; version 7 or newer is needed")
    if revision != rev:
        raise NetworkError(f"{what} answers for {revision[:60]!r}; nothing was changed")
    return digest
