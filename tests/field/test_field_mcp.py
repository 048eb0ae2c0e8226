"""Two real MCP servers of npm's, locked today: how long a start waits for them without a network.

Takes minutes and the registry: OPENCODE_CACHE_TEST_FIELD=1.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import time

import isolated
import pytest
from kept import KEPT, field

from opencode_cache import pipeline
from opencode_cache.base.errors import NetworkError
from opencode_cache.formats import manifest, plan
from opencode_cache.opencode import run as opencode

pytestmark = [pytest.mark.usefixtures("isolated"), field]

EVERYTHING, FILES = "@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-filesystem"
SERVERS = {
    "everything": {"type": "local", "command": ["npx", "-y", EVERYTHING]},
    "files": {"type": "local", "command": ["bunx", FILES, "."]},
}
PROGRAMS = ["sh", "env", "ls", "cat", "uname", "mkdir", "ln", "mv", "cp", "rm", "rmdir", "chmod", "cksum"]
STARTS = 3
ORDINARY = 0.6
"""Seconds of `opencode --version` on a machine of ordinary speed with nothing else to do."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(directory))
        patch.setattr(pipeline.store, "downloads", lambda: KEPT / "tarballs")
        wanted = plan.default("1.18.33").model_copy(
            update={"commands": [EVERYTHING, FILES], "providers": [], "systems": ["x86_64-linux"]}
        )
        try:
            yield pipeline.built(pipeline.locked(wanted, is_default=False))[0]
        except NetworkError as error:
            pytest.skip(f"needs the npm registry: {error}")


def listed(built, home, servers, path):
    """(Seconds from the start of the servers to the last answer, at best of some; what was printed last.)

    Afterwards it gives servers that do not end with their input two seconds, and more.
    """
    home.mkdir(exist_ok=True)
    words = ["mcp", "list", "--print-logs", "--log-level", "INFO"]
    done = [
        isolated.run(built.program, words, home, config={"mcp": servers}, env={"PATH": path}, timeout=300)
        for _ in range(STARTS)
    ]
    assert [one.hosts for one in done] == [[]] * STARTS
    took = [at(one, '"disposing instance"') - at(one, "init") for one in done]
    return min(took).total_seconds(), re.sub(r"\x1b\[[0-9;]*m", "", done[-1].stdout)


def at(report, message):
    (said,) = re.findall(rf"timestamp=(\S+)Z .* message={message}(?: |$)", report.stderr, re.MULTILINE)
    return dt.datetime.fromisoformat(said)


@pytest.mark.parametrize("node", [True, False], ids=["with Node.js", "without"])
def test_a_server_is_connected_in_under_a_second(built, tmp_path, node):
    bare = tmp_path / "path"
    bare.mkdir()
    for name in [*PROGRAMS, *(["node"] if node else [])]:
        (bare / name).symlink_to(os.path.realpath(shutil.which(name)))
    began = time.monotonic()
    opencode.version(built.opencode)
    slow = max(1.0, (time.monotonic() - began) / ORDINARY)
    without, _ = listed(built, tmp_path / "without", {}, str(bare))
    seconds, said = listed(built, tmp_path / "with", SERVERS, str(bare))
    versions = {one.spec: one.version for one in manifest.read(built.cache).requests}
    print(  # noqa: T201 - what was measured
        f"\n{versions}\nconnected in {seconds:.2f} s, {len(SERVERS)} servers (without any: {without:.2f} s); "
        f"this machine is {slow:.1f} times as slow as an ordinary one\n{said}"
    )
    assert said.count("connected") == len(SERVERS), said
    assert seconds < 1.0 * slow
