"""The real OpenCode 2.0.15, the one 2.x program that npm has, with a cache of ours and without a network."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import isolated as box
import making
import pytest
from kept import KEPT, LOCKS, TEST_LOCKS

from opencode_cache import layouts
from opencode_cache.base import store
from opencode_cache.build import builder, release_binary
from opencode_cache.formats import contents, lock
from opencode_cache.npm import platforms
from opencode_cache.opencode import embedded, standalone, versions
from opencode_cache.prove.verify import verify
from opencode_cache.wrapper import render

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("OPENCODE_CACHE_TEST_EVERY"),
        reason="OPENCODE_CACHE_TEST_EVERY is not set; each start of OpenCode 2 takes seconds",
    ),
    pytest.mark.skipif(
        platforms.current().name != "x86_64-linux", reason="the registry has OpenCode 2 for x86_64-linux only"
    ),
]
VERSION = "2.0.15"
PLUGINS = {
    "plug": 'export default { id: "plug", setup: async () => {} }\n',
    "@scope/plug": 'export default { id: "scoped", setup: async () => {} }\n',
    "old": "export default async () => ({})\n",
}


@dataclass(frozen=True)
class Made:
    opencode: Path
    cache: Path
    wrapper: Path


@pytest.fixture(scope="module")
def make_2(tarballs, fetch_packages, make, tmp_path_factory):
    """Plugin specs → a cache with them and the lock's SDK, built with the real program."""
    system = platforms.current()
    locked = lock.read(TEST_LOCKS / "two-2.0.lock.json")
    package = contents.binary_package(locked, system)
    fetch_packages([*contents.packages(locked, system).values(), package])
    opencode = release_binary.in_store(package, tarballs, store.Store(KEPT / "store"))

    def one(*specs: str) -> Made:
        top = tmp_path_factory.mktemp("two")
        (top / "tarballs").mkdir()
        for path in contents.packages(locked, system).values():
            (top / "tarballs" / path.tarball).symlink_to(tarballs / path.tarball)
        # OpenCode 2 has no catalogue in it: that of 1.18.
        models = top / "models.json"
        models.write_text(json.dumps(embedded.catalogue(make(LOCKS / "opencode-cache.lock.json").opencode)))
        document = json.loads(lock.dumps(locked))
        for spec in specs:
            name = spec if "@" not in spec[1:] else spec[: spec.index("@", 1)]
            files = {
                "package.json": json.dumps(
                    {"name": name, "version": "1.0.0", "main": "index.js", "type": "module"}
                )
            }
            data = making.tarball(files | {"index.js": PLUGINS[name]})
            plugin = making.package(name, "1.0.0", data)
            (top / "tarballs" / plugin.tarball).write_bytes(data)
            placed = layouts.named("generations").place(VERSION, "plugin", spec, "1.0.0")
            document["packages"][plugin.key] = plugin.model_dump(mode="json")
            document["trees"][placed.tree] = {f"node_modules/{name}": plugin.key}
            fields = {"name": name, "requested": placed.requested}
            document["requests"].append(making.request("plugin", spec, placed.tree) | fields)
        inputs = builder.Inputs(
            lock.Lock.model_validate(document), top / "tarballs", opencode, system, models=models
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(versions.CONSENT, "1")
            builder.build(inputs, top / "cache")
        return Made(opencode, top / "cache", render.wrap(top / "cache", opencode, top / "wrapped"))

    return one


@pytest.fixture(scope="module")
def made_2(make_2):
    return make_2("plug@^1", "@scope/plug")


@pytest.fixture(autouse=True)
def experimental(monkeypatch, tmp_path):
    monkeypatch.setenv(versions.CONSENT, "1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_it_is_proved_and_quiet(isolated, made_2):
    assert shutil.which("rg")
    proof = verify(made_2.cache, made_2.opencode)
    steps = {step.name: step.detail for step in proof.steps}
    assert [step for step in proof.steps if not step.ok] == []
    assert (proof.ok, proof.hosts) == (True, ())
    assert steps["plugin plug@^1"] == steps["plugin @scope/plug"] == "1.0.0 is active"
    assert steps["answer @ai-sdk/fireworks"] == "answered, and ran a shell tool call"
    assert {"models", "tui", "configuration"} <= set(steps)


def test_a_plugin_of_opencode_1_is_named(isolated, make_2):
    made = make_2("old")
    proof = verify(made.cache, made.opencode)
    assert not proof.ok
    failed = {step.name: step.detail for step in proof.steps if not step.ok}
    assert set(failed) == {"plugin old"}
    assert "must export a default definition with an id" in failed["plugin old"]


def test_commands_of_the_agent_see_the_users_environment(isolated, made_2, tmp_path):
    config = standalone.configuration({"p": ("@ai-sdk/openai-compatible", "@MODELS@/v1")}, ["plug@^1"])
    arguments = ["run", "--standalone", "--auto", "--model", "p/p", "RUN:env:END"]
    env = {"npm_config_fetch_timeout": "7"}
    report = box.run(made_2.wrapper, arguments, tmp_path, config=config, env=env)
    assert report.hosts == []
    (seen,) = report.tool_results
    assert "npm_config_fetch_timeout=7" in seen
    for name in (
        "npm_config_offline",
        "XDG_CACHE_HOME",
        "OPENCODE_MODELS_PATH",
        "BUN_INSPECT",
        "OPENCODE_CACHE",
    ):
        assert name not in seen


SERVICE = """
models() { "$1" models >/dev/null 2>"$HOME/said"; echo "$2 $? $(cat "$HOME/said")"; }
models WRAPPER first
pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/' "$HOME/.local/state/opencode/service.json")
echo "offline $(tr '\\0' '\\n' <"/proc/$pid/environ" | grep -c '^npm_config_offline=true$')"
models WRAPPER again
WRAPPER service stop
echo "marks $(ls "$HOME/.cache-nix/opencode/.nix" | grep -c '^service')"
models PROGRAM bare
models WRAPPER foreign
WRAPPER --version; WRAPPER models --standalone; echo "alone $?"
WRAPPER service stop
models WRAPPER last
WRAPPER service stop
"""


def test_a_service_that_is_not_this_programs_is_told(isolated, made_2, tmp_path):
    script = tmp_path / "script"
    script.write_text(
        SERVICE.replace("WRAPPER", str(made_2.wrapper)).replace("PROGRAM", str(made_2.opencode))
    )
    report = box.run("/bin/sh", [str(script)], tmp_path)
    lines = report.stdout.splitlines()
    said = {line.split()[0]: line for line in lines if line}
    assert said["first"].split() == ["first", "0"]
    assert said["offline"] == "offline 1"
    assert said["again"].split() == ["again", "0"]
    assert said["marks"] == "marks 0"
    assert said["foreign"].startswith("foreign 2 opencode: the background service (process ")
    assert f"OpenCode {VERSION}) was not started by this program" in said["foreign"]
    assert "opencode service stop`, or add --standalone" in said["foreign"]
    assert said["alone"] == "alone 0"
    assert said["last"].split() == ["last", "0"]
    assert report.hosts in ([], ["models.opencode.ai"])  # the bare program's
