"""On a machine that has nothing but /nix, as NixOS: no /lib64, no /lib, and little in /usr and /bin."""

from __future__ import annotations

import machine as machines
import pytest
from consumer_lab import TOOLS
from kept import slow


@pytest.fixture
def only_nix(machine):
    if isinstance(machine, machines.Host):
        pytest.skip("such a machine is made with Debian's Nix only; leave out --nix host")

    def run(*command, **how):
        return machine.run(*command, offline=True, only_nix=True, **how)

    return run


@pytest.fixture
def as_bare_as_can_be(machine):
    """On such a machine, or on the host as it is."""
    bare = {} if isinstance(machine, machines.Host) else {"only_nix": True}

    def run(*command, **how):
        return machine.run(*command, offline=True, **bare, **how)

    return run


def test_there_is_nothing_else(only_nix):
    there = only_nix("/bin/sh", "-c", "for name in /*; do echo $name; done").stdout.split()
    assert not {"/lib", "/lib64", "/sbin"} & set(there)
    assert only_nix("/bin/sh", "-c", "echo /usr/* /usr/bin/*").stdout.split() == ["/usr/bin", "/usr/bin/env"]


def test_opencode_starts_loads_a_plugin_and_lists_its_models(as_bare_as_can_be, consumer, users):
    """With the configuration that the home module makes."""
    config = {"OPENCODE_CONFIG": users.build("config")}
    said = as_bare_as_can_be(f"{consumer.build('plugged')}/bin/opencode", "models", environment=config)
    assert "opencode/" in said.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_runs(only_nix, consumer, machine, tool):
    path = consumer.build("plugged")
    program = machine.run("cat", f"{path}/bin/opencode").stdout
    (node,) = [line.split(":")[1] for line in program.splitlines() if "only-node" in line and "*:" in line]
    cache = consumer.value("plugged", "p: p.cache.outPath")
    command = f"{cache}/packages/{tool}/node_modules/.bin/{TOOLS[tool]}"
    done = only_nix(command, "--version", environment={"PATH": node}, check=False)
    assert done.returncode == 0, done.stderr
    assert any(letter.isdigit() for letter in done.stdout)


@slow
@pytest.mark.parametrize("which", ["tooled", "plugged", "field"])
def test_every_tool_and_plugin_is_proved_in_such_a_sandbox(consumer, which):
    """The sandbox of these tests has no /lib64, no /lib and no /usr/bin/env."""
    consumer.build(f"{which}.tests.offline", timeout=1800)
