"""Starting the real OpenCode in a private HOME: once for a command, or as a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError, TooSlowError
from opencode_cache.sandbox import foreign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_VERSION = re.compile(r"^(?:opencode )?v?(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)$", re.MULTILINE | re.ASCII)
_LISTENING = re.compile(r"listening on (http://\S+)")
_PLACE = "process.stdout.write(process.execPath)"
VERSION_TIMEOUT = 600
"""Seconds: an end to what hangs, and not to what is slow, as under an emulator."""
_SERVE_TIMEOUT = 600
_STOP_TIMEOUT = 10


@contextmanager
def private_home() -> Iterator[Path]:
    """A HOME that nobody else sees and that is gone afterwards; `work` in it is a directory to start in."""
    with files.scratch() as directory:
        home = directory.resolve()
        (home / "work").mkdir()
        (home / "tmp").mkdir()
        yield home


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment: nothing of the user's but PATH and what programs need to find their libraries."""
    kept = ("PATH", "LD_LIBRARY_PATH", "LOCALE_ARCHIVE", foreign.SYSROOT)
    clean = {name: os.environ[name] for name in kept if name in os.environ}
    # Bun unpacks native parts to $TMPDIR/opencode: a private one cannot collide with anybody's.
    clean |= {"HOME": str(home), "TMPDIR": str(home / "tmp"), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    return clean | dict(extra or {})


def registry_settings(url: str) -> dict[str, str]:
    """Environment that turns the embedded npm and Bun to a registry, at most one try each.

    1.0.61 honours all of these, 1.18.33 those of npm (tried on both).
    """
    return {
        "npm_config_registry": url,
        "BUN_CONFIG_REGISTRY": url,
        "npm_config_fetch_retries": "0",
        "npm_config_audit": "false",
    }


QUIET = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
"""No update check, no catalogue fetch, as far as the version has the switches."""


def write_config(home: Path, config: Mapping[str, Any]) -> None:
    """The user's `opencode.json` in a private HOME."""
    path = home / ".config" / "opencode" / "opencode.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # 1.0.x rewrites a file that has no $schema, so it is always there.
    schema = {"$schema": "https://opencode.ai/config.json"}
    path.write_text(json.dumps(schema | dict(config), indent=2), encoding="utf-8")


def run(
    program: Path,
    arguments: Sequence[str],
    home: Path,
    *,
    extra: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run OpenCode once. Raises subprocess.TimeoutExpired, OSError."""
    return subprocess.run(
        [program.absolute(), *arguments],
        cwd=home / "work",
        env=environment(home, extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


@cache
def image(program: Path) -> Path:
    """The file with OpenCode's own text in it: the program, or what it becomes where it is a wrapper.

    nixpkgs' `bin/opencode` is such a one (pkgs/by-name/op/opencode, wrapProgram), and users wrap it again. A
    program that does not tell is taken for the file itself.
    """
    ask = {"BUN_BE_BUN": "1"}
    with private_home() as home:
        try:
            done = run(program, ["-e", _PLACE], home, extra=ask, timeout=VERSION_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            return program
    path = Path(done.stdout)
    return path if done.returncode == 0 and path.is_absolute() and path.is_file() else program


def read_by(cache: Path, program: Path) -> list[Path]:
    """The files and directories that OpenCode reads, beside the system's, when it is started with a cache."""
    links = [path.resolve() for path in sorted((cache / "tui").glob("*"))]
    return list(dict.fromkeys([cache, *reads(program), *(path for path in links if path.exists())]))


def reads(program: Path) -> list[Path]:
    """The files that a program of OpenCode is made of."""
    paths = dict.fromkeys((program, program.resolve(), image(program)))
    return [path for path in paths if path.exists()]


def version(program: Path, timeout: float = VERSION_TIMEOUT) -> str:
    """What `opencode --version` says. Raises BadInputError where the file is not OpenCode."""
    with private_home() as home:
        try:
            done = run(program, ["--version"], home, timeout=timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = getattr(error, "strerror", None) or "no answer to --version"
            raise BadInputError(
                f"{program}: cannot be run as OpenCode ({reason}); give an OpenCode program for this machine"
            ) from error
    match = _VERSION.search(done.stdout.strip())
    if done.returncode != 0 or not match:
        raise BadInputError(
            f"{program}: not an OpenCode binary (--version ended with {done.returncode}); "
            "give the program from the npm package or the release, never stripped"
        )
    return match[1]


@dataclass(frozen=True)
class Server:
    """A running `opencode serve`."""

    url: str

    def post(self, path: str, body: Mapping[str, Any], timeout: float = 60) -> Any:  # noqa: ANN401
        """POST JSON and return the JSON answer. Raises OSError, ValueError."""
        request = urllib.request.Request(  # noqa: S310 - always the loopback address above
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return json.load(answer)

    def prompt(self, provider: str, model: str, text: str, timeout: float = 60) -> str:
        """Ask a model in a session of its own; the text parts of the answer, or why there is none."""
        try:
            session = self.post("/session", {}, timeout)
            answer = self.post(
                f"/session/{session['id']}/message",
                {
                    "model": {"providerID": provider, "modelID": model},
                    "parts": [{"type": "text", "text": text}],
                },
                timeout,
            )
        except (OSError, ValueError, KeyError) as error:
            return f"error: {error}"
        error_info = (answer.get("info") or {}).get("error")
        if error_info:
            return f"error: {json.dumps(error_info)[:400]}"
        return "".join(part.get("text", "") for part in answer.get("parts", []) if part.get("type") == "text")


@contextmanager
def serve(
    program: Path, home: Path, *, extra: Mapping[str, str] | None = None, timeout: float = _SERVE_TIMEOUT
) -> Iterator[Server]:
    """Run `opencode serve` on a loopback port while the context lasts.

    Raises BadInputError if it ends without listening, TooSlowError if it does not listen within `timeout`.
    """
    with subprocess.Popen(
        [program.absolute(), "serve", "--hostname", "127.0.0.1", "--port", "0"],
        cwd=home / "work",
        env=environment(home, extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        lines: list[str] = []
        address: list[str] = []
        listening = threading.Event()

        def read() -> None:
            # Reading to the end keeps the server from blocking on a full pipe.
            for line in process.stdout or ():
                lines.append(line)
                match = _LISTENING.search(line)
                if match and not address:
                    address.append(match[1])
                    listening.set()
            listening.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            is_over = listening.wait(timeout)
            if not address:
                tail = " ".join("".join(lines).split())[-300:]
                if not is_over:
                    raise TooSlowError(f"{program}: `serve` did not listen within {timeout:.0f} s: {tail}")
                raise BadInputError(
                    f"{program}: `serve` did not start to listen: {tail or 'it said nothing'}"
                )
            yield Server(address[0])
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(_STOP_TIMEOUT)
