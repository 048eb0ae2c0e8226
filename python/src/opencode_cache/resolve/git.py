"""Which commit stands behind a branch or a tag of a GitHub repository: git is asked, nothing is cloned."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from opencode_cache.base import python
from opencode_cache.base.errors import BadInputError, NetworkError

if TYPE_CHECKING:
    from opencode_cache.npm.repository import Pin, Source

_TIMEOUT = 60
_NOT_THERE = ("not found", "could not read username", "authentication failed", "terminal prompts disabled")
"""What git says of a repository that GitHub shows to nobody without a login, in small letters."""


def pinned(source: Source) -> Pin:
    """The commit of a repository, as it is today. Raises BadInputError, NetworkError."""
    if source.pin:
        return source.pin
    git = shutil.which("git")
    if git is None:
        raise BadInputError(
            f"{source.owner}/{source.repo}: git is not on PATH, so no branch can be looked up; "
            "install git, or write '#COMMIT' behind the spec"
        )
    wanted = _names(source.ref)
    lines = _ask(git, source, wanted)
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    commit = next((commits[name] for name in wanted if name in commits), None)
    if commit is None:
        named = f"branch or tag {source.ref!r}" if source.ref else "default branch"
        raise BadInputError(
            f"{source.owner}/{source.repo}: has no {named}; "
            f"give one that `git ls-remote {source.url}` lists, or a whole commit"
        )
    return source.at(commit)


def _names(ref: str) -> tuple[str, ...]:
    """The names under which git may have it, in the order in which they count; `^{}` is what a tag is of."""
    return (f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", ref) if ref else ("HEAD",)


def _ask(git: str, source: Source, names: tuple[str, ...]) -> list[str]:
    try:
        # In a repository git would obey its settings: other addresses, a proxy, programs that it is to start.
        with python.empty() as empty:
            done = subprocess.run(
                [git, "ls-remote", "--quiet", "--", source.url, *names],
                cwd=empty,
                # No question is asked of whoever is at the terminal, or of a program with a window.
                env=os.environ
                | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
                | {"GIT_CEILING_DIRECTORIES": str(empty.parent)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(
            f"{source.owner}/{source.repo}: git got no answer within {_TIMEOUT} s; is github.com reachable?"
        ) from error
    if done.returncode == 0:
        return done.stdout.splitlines()
    output = " ".join(done.stderr.split())
    if any(words in output.lower() for words in _NOT_THERE):
        raise BadInputError(
            f"{source.owner}/{source.repo}: GitHub shows no such repository to the public; fix the spec"
        )
    raise NetworkError(f"{source.owner}/{source.repo}: git cannot ask for it: {output[-200:]}")
