"""Popular plugins, locked today: `run` starts, and the model is offered what a bare OpenCode offers it.

The bare one has the registry, a HOME of its own and the same plugins in its opencode.json. Takes minutes and
the registry: OPENCODE_CACHE_TEST_FIELD=1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import isolated
import pytest
from kept import KEPT, field

from opencode_cache import pipeline
from opencode_cache.base.errors import CheckFailedError, NetworkError
from opencode_cache.formats import manifest, plan
from opencode_cache.opencode import run as opencode
from opencode_cache.prove import on_file
from opencode_cache.sandbox.loopback import ModelServer

pytestmark = [pytest.mark.usefixtures("isolated"), field]

VERSION = "1.18.33"
DCP, SLIM, WAKATIME, BEADS = (
    "@tarquinen/opencode-dcp@latest",
    "oh-my-opencode-slim",
    "opencode-wakatime",
    "opencode-beads",
)
PLANS = {
    "omo": (["oh-my-openagent"], {"oh-my-openagent": {"mcp.context7.com", "mcp.grep.app"}}),
    "slim": ([SLIM], {SLIM: {"mcp.context7.com", "mcp.grep.app"}}),
    "dcp": ([DCP], {}),
    "wakatime": ([WAKATIME], {WAKATIME: {"github.com"}}),
    "four": (
        [DCP, SLIM, WAKATIME, BEADS],
        {SLIM: {"mcp.context7.com", "mcp.grep.app"}, WAKATIME: {"github.com"}},
    ),
}
"""Name -> plugins, and plugin -> hosts that it asks for among others."""
SERVED = {
    "provider": {
        "extra": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
            "models": {"mock-model": {"name": "mock-model"}},
        }
    },
    "share": "disabled",
}
PROMPT = ["run", "--model", "extra/mock-model", "hello"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A store of its own; what is downloaded is kept."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "opencode-cache").mkdir(parents=True)
    (KEPT / "tarballs").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache" / "opencode-cache" / "tarballs").symlink_to(KEPT / "tarballs")


def made(plugins):
    """What `run` makes of a plan with these plugins: proved, or CheckFailedError."""
    wanted = plan.default(VERSION).model_copy(
        update={"plugins": plugins, "systems": ["x86_64-linux"], "providers": []}
    )
    try:
        return pipeline.ready_for(wanted, is_default=False)
    except NetworkError as error:
        pytest.skip(f"needs the npm registry: {error}")


def offered_by_a_bare_one(program, plugins, home):
    """The tools that OpenCode with the registry offers; it installs the plugins itself."""
    registry = subprocess.run(
        [shutil.which("npm"), "config", "get", "registry"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (home / "work").mkdir(parents=True)
    (home / "tmp").mkdir()
    extra = {"npm_config_registry": registry, "BUN_CONFIG_REGISTRY": registry}
    with ModelServer() as models:
        served = {"baseURL": f"{models.url}/v1", "apiKey": "loopback"}
        providers = {"extra": SERVED["provider"]["extra"] | {"options": served}}
        opencode.write_config(home, SERVED | {"provider": providers, "plugin": plugins})
        done = opencode.run(program, PROMPT, home, extra=extra | opencode.QUIET, timeout=900)
        assert done.returncode == 0, done.stderr[-500:]
        return sorted({name for request in models.requests for name in request.tools})


@pytest.mark.parametrize("name", PLANS)
def test_run_starts_and_the_model_is_offered_the_same_tools(name, data, tmp_path):
    plugins, wanted = PLANS[name]
    built = made(plugins)
    proof = on_file.find(on_file.identity(built.cache, manifest.read(built.cache), built.opencode)).proof
    print("\n".join(f"{step.name}: {step.detail}" for step in proof.steps))  # noqa: T201
    asked = {(host.name, host.who, host.fix) for host in proof.hosts}
    print("\n".join(" | ".join(map(str, one)) for one in sorted(asked, key=str)))  # noqa: T201
    assert proof.complete
    assert [host for host in proof.hosts if host.is_opencodes] == []
    for plugin, hosts in wanted.items():
        assert hosts <= {host.name for host in proof.hosts if f"plugin {plugin}" in (host.who or "")}
    home = tmp_path / "home"
    config = SERVED | {"plugin": plugins}
    starts = [isolated.run(built.program, PROMPT, home, config=config, timeout=600) for _ in range(2)]
    assert [one.returncode for one in starts] == [0, 0], starts[0].stderr[-500:]
    bare = offered_by_a_bare_one(built.opencode, plugins, tmp_path / "bare")
    assert "bash" in bare
    assert starts[0].tools == starts[1].tools == bare
    print(f"{len(bare)} tools: {' '.join(bare)}")  # noqa: T201


def test_a_plugin_that_renames_itself_is_refused_with_its_other_name(data):
    with pytest.raises(CheckFailedError, match="name it oh-my-openagent in the plan"):
        made(["oh-my-opencode"])


def refused(tmp_path, text):
    """What `opencode-cache run --plan` says of a plan that nobody can fulfil; nothing is started."""
    (tmp_path / "my.toml").write_text(f'opencode = "{VERSION}"\nsystems = ["x86_64-linux"]\n{text}')
    done = subprocess.run(
        [sys.executable, "-m", "opencode_cache", "run", "--plan", tmp_path / "my.toml", "--", "models"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot be had" not in done.stderr and "depends on" not in done.stderr:
        pytest.skip(f"needs the npm registry: {done.stderr[-300:]}")
    assert (done.returncode, done.stdout) == (3, "")
    return done.stderr.splitlines()[-1]


def test_of_seven_plugins_the_one_that_lacks_a_dependency_is_named(data, tmp_path):
    others = [DCP, SLIM, WAKATIME, BEADS, "opencode-lmstudio@latest", "opencode-supermemory@latest"]
    said = refused(tmp_path, f"providers = []\nplugins = {[*others, 'opencode-swarm-plugin']!r}\n")
    assert "plugin opencode-swarm-plugin: it depends on swarm-queue@" in said
    assert "which the registry does not have; --allow-missing goes on without it" in said
    assert not [one for one in others if one in said]


def test_slips_of_the_pen_are_named_together_with_what_was_meant(data, tmp_path):
    plugin, provider, tool = "opencode-bead", "@ai-sdk/cohera", "pyrigth"
    said = refused(
        tmp_path,
        f'providers = []\nplugins = ["{plugin}"]\nextra_providers = ["{provider}"]\ntools = ["{tool}"]\n',
    )
    for kind, spec, meant in (
        ("plugin", plugin, "opencode-beads"),
        ("provider", provider, "@ai-sdk/cohere"),
        ("tool", tool, "pyright"),
    ):
        assert re.search(rf"{kind} {spec}: [^|]*did you mean {meant}\?", said), said
