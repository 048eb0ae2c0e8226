"""The real OpenCode, wrapped, with an empty HOME and no network: it starts, answers, and asks for no host."""

from __future__ import annotations

import json
import shutil

import isolated
import pytest
from kept import slow

from opencode_cache.opencode import ask
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

KNOWN_10 = {"models.dev"}
"""1.0.x fetches the catalogue at every start and has no switch for it."""

MOCK = {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
    "models": {"mock-model": {"name": "mock-model"}},
}


@pytest.fixture(scope="module", autouse=True)
def ripgrep_on_path():
    if shutil.which("rg") is None:
        pytest.skip("needs ripgrep on PATH (1.0.x downloads it otherwise): install Debian's ripgrep")


@pytest.fixture(scope="module")
def program_118(made_extra, tmp_path_factory):
    return wrapper.wrap(made_extra.cache, made_extra.opencode, tmp_path_factory.mktemp("wrapped"))


@pytest.fixture(scope="module")
def program_10(made_10, tmp_path_factory):
    return wrapper.wrap(made_10.cache, made_10.opencode, tmp_path_factory.mktemp("wrapped"))


def test_118_lists_models_in_an_empty_home(program_118, made_extra, tmp_path):
    done = isolated.run(program_118, ["models"], tmp_path, read_only=[made_extra.cache])
    assert done.returncode == 0, done.stderr
    assert "opencode/" in done.stdout
    assert done.hosts == []


def test_118_plugin_costs_no_registry_timeout(program_118, made_extra, tmp_path):
    done = isolated.run(
        program_118,
        ["models", "--print-logs"],
        tmp_path,
        config={"plugin": ["opencode-gemini-auth"]},
        read_only=[made_extra.cache],
    )
    assert done.returncode == 0, done.stderr
    assert done.hosts == []
    assert done.seconds < 30  # npm's retries take over 70
    assert "background dependency install failed" not in done.stderr


def test_118_interface_idles_without_asking_for_a_host(program_118, made_extra, tmp_path):
    done = isolated.run(
        program_118,
        [],
        tmp_path,
        config={"plugin": ["opencode-gemini-auth"]},
        read_only=[made_extra.cache],
        watch=15,
    )
    assert (done.returncode, done.stderr, done.hosts) == (0, "", [])
    assert "Ask anything" in done.stdout


@slow
def test_which_sdks_a_binary_has_is_found_by_asking_it(made_118, made_10):
    assert ask.bundles(made_118.opencode, "@ai-sdk/anthropic")
    assert ask.bundles(made_118.opencode, "@ai-sdk/cohere")
    assert not ask.bundles(made_118.opencode, "@ai-sdk/fireworks")
    assert not ask.bundles(made_10.opencode, "@ai-sdk/anthropic")


BUNDLED = ("@ai-sdk/anthropic", "@ai-sdk/openai-compatible")


@pytest.mark.parametrize(
    "npm", ["@ai-sdk/fireworks", *(pytest.param(bundled, marks=slow) for bundled in BUNDLED)]
)
def test_118_answers_and_runs_a_bash_tool_call(program_118, made_extra, tmp_path, npm):
    done = isolated.run(
        program_118,
        ["run", "-m", "extra/mock-model", "RUN:printf the-%s tool:END"],
        tmp_path,
        config={"provider": {"extra": MOCK | {"npm": npm}}, "plugin": ["opencode-gemini-auth"]},
        read_only=[made_extra.cache],
    )
    assert (done.returncode, done.hosts) == (0, [])
    assert "the-tool" in json.dumps(done.tool_results)
    assert "LOOPBACK-OK" in done.stdout
    assert done.models == ["mock-model"]


def test_10_lists_models_in_an_empty_home(program_10, made_10, tmp_path):
    done = isolated.run(program_10, ["models"], tmp_path, read_only=[made_10.cache])
    assert done.returncode == 0, done.stderr
    assert set(done.hosts) <= KNOWN_10
    assert "opencode/" in done.stdout


def test_10_anthropic_answers(program_10, made_10, tmp_path):
    config = {"provider": {"anthropic": {"options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"}}}}
    done = isolated.run(
        program_10,
        ["run", "-m", "anthropic/claude-sonnet-4-5", "hello"],
        tmp_path,
        config=config,
        read_only=[made_10.cache],
    )
    assert done.returncode == 0, done.stderr
    assert "LOOPBACK-OK" in done.stdout
    assert set(done.hosts) <= KNOWN_10


def test_10_runs_a_bash_tool_call(program_10, made_10, tmp_path):
    done = isolated.run(
        program_10,
        ["run", "-m", "extra/mock-model", "RUN:printf the-%s tool:END"],
        tmp_path,
        config={"provider": {"extra": MOCK}},
        read_only=[made_10.cache],
    )
    assert done.returncode == 0, done.stderr
    assert "the-tool" in json.dumps(done.tool_results)
    assert set(done.hosts) <= KNOWN_10


def test_10_without_the_cache_cannot_even_list_models(made_10, tmp_path):
    """What the cache is for: the same command on the bare program."""
    done = isolated.run(made_10.opencode, ["models"], tmp_path)
    assert done.returncode != 0
