"""A headless Chromium to look at pages with: this machine's, else Debian's, in a tree of its own.

It is spoken to over a pipe (the DevTools protocol, https://chromedevtools.github.io/devtools-protocol/), and
has no network but its own loopback, where that can be had.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "nix"))
import debian
from kept import KEPT, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator


_NAMES = (
    "chromium-headless-shell",
    "headless_shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
)
_SUITE = "bookworm"
_PACKAGES = ["chromium-headless-shell", "fonts-liberation", "busybox-static", "dash"]
_PLACE = KEPT / "chromium"
_ENTER = REPOSITORY / "tests" / "nix" / "enter.sh"
_FONTS = """\
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <cachedir>/tmp</cachedir>
  <alias><family>monospace</family><prefer><family>Liberation Mono</family></prefer></alias>
  <match><edit name="family" mode="append_last"><string>Liberation Sans</string></edit></match>
</fontconfig>
"""
_WAIT = 60
_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-crash-reporter",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# The protocol wants its two pipes to be 3 and 4.
_PLUMB = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execvp(sys.argv[3], sys.argv[3:])"
)


class CannotError(Exception):
    """Why there is no browser here, as a sentence."""


def command() -> list[str | Path]:
    """The words that start a browser. Raises CannotError."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found:
        return [*_offline(), found]
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CannotError(f"needs one of {', '.join(_NAMES)} on PATH")
    offline = _offline()
    if not offline:
        raise CannotError("needs chromium on PATH, or root or user namespaces to start Debian's")
    try:
        tree = _debians()
    except (debian.CannotError, subprocess.TimeoutExpired) as error:
        raise CannotError(f"needs chromium on PATH, or Debian's: {error}") from error
    fonts = ["busybox", "env", "FONTCONFIG_FILE=/usr/fonts.conf", "HOME=/tmp"]
    return [
        *offline,
        _ENTER,
        tree,
        _PLACE / "room",
        REPOSITORY,
        *fonts,
        "/usr/lib/chromium/chromium-headless-shell",
    ]


def _offline() -> list[str]:
    words = ["unshare", *_USER, "--net"]
    try:
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
    except OSError:
        return []
    return [] if done.returncode else words


def _debians() -> Path:
    """Debian's browser, unpacked and kept; the stamp comes last, so that half a tree never counts."""
    why = debian.why_not()
    if why:
        raise CannotError(f"needs chromium on PATH; to unpack Debian's, it {why}")
    tree, stamp, recipe = _PLACE / "tree", _PLACE / "made", f"{_SUITE} {_PACKAGES} {_FONTS}"
    _PLACE.mkdir(parents=True, exist_ok=True)
    with (_PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == recipe):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(tree, ignore_errors=True)
            debian.unpack(_SUITE, _PACKAGES, tree, _PLACE / "debs")
            (tree / "usr/fonts.conf").write_text(_FONTS)
            stamp.write_text(recipe)
    return tree


@dataclass
class Browser:
    """One page of a browser. `events` is all that it told unasked: (method, parameters)."""

    to: int
    source: int
    session: str = ""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _read: bytes = b""
    _number: int = 0

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A call of the protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append((answer["method"], answer.get("params", {})))
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _WAIT
        while b"\0" not in self._read:
            ready, _, _ = select.select([self.source], [], [], max(0, until - time.monotonic()))
            more = os.read(self.source, 1 << 16) if ready else b""
            if not more:
                raise AssertionError("the browser has ended" if ready else f"no answer within {_WAIT} s")
            self._read += more
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)

    def until(self, method: str) -> None:
        """Wait for the next event of that name."""
        while True:
            message = self._next()
            self.events.append((message["method"], message.get("params", {})))
            if message["method"] == method:
                return

    def show(self, page: Path, width: int, scheme: str = "light") -> None:
        """Load a page anew, that wide and in that colour scheme."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.do("Page.navigate", url=page.as_uri())
        self.until("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth on the page."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        taken = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(taken["data"])


@contextlib.contextmanager
def browser(start: list[str | Path]) -> Iterator[Browser]:
    """A browser with one empty page, started with the words of `command`."""
    theirs_in, ours_out = _pipe()
    ours_in, theirs_out = _pipe()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as profile,
        tempfile.TemporaryFile() as errors,
    ):
        plumb = [sys.executable, "-c", _PLUMB, str(theirs_in), str(theirs_out)]
        process = subprocess.Popen(
            [*plumb, *start, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            one = Browser(ours_out, ours_in)
            target = one.do("Target.createTarget", url="about:blank")["targetId"]
            one.session = one.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                one.do(f"{domain}.enable")
            yield one
            one.session = ""
            one.do("Browser.close")
        except (AssertionError, OSError) as error:
            errors.seek(0)
            error.args = (f"{error}\n{errors.read()[-2000:].decode(errors='replace')}",)
            raise
        finally:
            os.close(ours_in)
            os.close(ours_out)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not among the numbers that the browser wants for itself."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
