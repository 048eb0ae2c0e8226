"""The narHash of a GitHub source, from the program nix-prefetch-github (PyPI, nixpkgs; it needs Nix)."""

from __future__ import annotations

import shutil
import subprocess
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from opencode_cache.base.errors import NetworkError

PROGRAM = "nix-prefetch-github"
_TIMEOUT = 1800


class _Prefetched(BaseModel):
    """What it prints (7.1, presenter/repository_renderer.py); `hash` is that of an unpacked `git archive`."""

    rev: str
    hash: Annotated[str, Field(pattern=r"^sha256-[A-Za-z0-9+/]{43}=$")]


def lacking() -> str | None:
    """Why it cannot be run here, with the mend; None where it can."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not on PATH; run `nix run .#update`, or install it from nixpkgs or PyPI"
    if shutil.which("nix-build") is None:
        return f"{PROGRAM} needs Nix, whose nix-build is not on PATH; install Nix"
    return None


def nar_hash(owner: str, repo: str, rev: str) -> str:
    """The narHash of a commit. Raises NetworkError with the program's own last line."""
    what = f"{PROGRAM} {owner} {repo} --rev {rev}"
    try:
        done = subprocess.run(
            [PROGRAM, owner, repo, "--rev", rev],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"{what} did not end within {_TIMEOUT} s; nothing was changed") from error
    except OSError as error:
        raise NetworkError(f"{what} cannot be run ({error.strerror}); nothing was changed") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = lines[-1][:300] if lines else f"exit status {done.returncode}"
        raise NetworkError(f"{what} failed: {last}; nothing was changed")
    try:
        found = _Prefetched.model_validate_json(done.stdout)
    except ValidationError as error:
        raise NetworkError(
            f"{what} did not print a revision and its hash; version 7 or newer is needed"
        ) from error
    if found.rev != rev:
        raise NetworkError(f"{what} answers for {found.rev[:60]!r}; nothing was changed")
    return found.hash
