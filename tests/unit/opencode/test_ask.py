"""Asking a binary when a lock is made: nothing that it does meanwhile reaches anybody."""

from __future__ import annotations

import socket
import sys

import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.opencode import ask
from opencode_cache.sandbox import netns


@pytest.fixture
def caller(tmp_path):
    """A program that starts like OpenCode 1.0 and calls a server of this machine; and that server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        # Not when it is asked, as a Bun, where its own text lies: that answers before it starts.
        call = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        path = tmp_path / "opencode"
        path.write_text(
            "#!/bin/sh\n"
            'mkdir -p "$HOME/.cache/opencode" && printf 9 >"$HOME/.cache/opencode/version"\n'
            f'[ "$1" != models ] || {sys.executable} -c "{call}" 2>/dev/null || true\n'
        )
        path.chmod(0o755)
        yield path, server


def test_a_binary_that_is_asked_reaches_nobody(caller):
    can = netns.available()
    if not can.ok:
        pytest.skip(f"needs a network namespace of its own: {can.why}")
    path, server = caller
    assert ask.bun_facts(path, {}) == ask.BunFacts("9", ())
    with pytest.raises(TimeoutError):
        server.accept()


def test_without_a_namespace_it_is_asked_all_the_same(caller, monkeypatch):
    monkeypatch.setattr(netns, "available", lambda: netns.Capability(ok=False, why="no"))
    path, server = caller
    assert ask.bun_facts(path, {}) == ask.BunFacts("9", ())
    server.accept()[0].close()


def test_what_cannot_be_asked_is_one_sentence(tmp_path):
    path = tmp_path / "opencode"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    with pytest.raises(BadInputError, match="wrote no cache version at its first start") as raised:
        ask.bun_facts(path, {})
    assert "\n" not in str(raised.value)
