"""Every `-m` example of the README, with the real OpenCode, against a model server on loopback."""

from __future__ import annotations

import json
import re

import isolated
import pytest
from kept import REPOSITORY, slow

from opencode_cache.formats import manifest
from opencode_cache.opencode import embedded
from opencode_cache.sandbox.loopback import ANSWER
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

SECTION = (REPOSITORY / "README.md").read_text().split("## Providers", 1)[1].split("\n## ", 1)[0]
EXAMPLES = re.findall(r"`-m ([\w-]+)/(\S+)`", SECTION)
OWN = "company"
OF_A_KIND = {"anthropic", "amazon-bedrock", "github-copilot", OWN}
"""One with a key, one that signs, one that logs in, one of the user's own; the others are like the first."""


@pytest.fixture(scope="module")
def models(made_118):
    return embedded.catalogue(made_118.opencode)


@pytest.fixture(scope="module")
def program(made_118, tmp_path_factory):
    return wrapper.wrap(made_118.cache, made_118.opencode, tmp_path_factory.mktemp("wrapped"))


def config(provider: str) -> dict:
    """The user's settings, with the loopback model server in place of the provider's own address."""
    loopback = {"baseURL": "@MODELS@/v1", "apiKey": "loopback"}
    if provider == OWN:
        (block,) = [text for text in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL) if OWN in text]
        found = json.loads(block)
        found["provider"][OWN]["options"] = loopback
        return found
    return {"provider": {provider: {"options": loopback}}}


def test_there_are_examples():
    assert OF_A_KIND | {"openai"} <= {one for one, _ in EXAMPLES}


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        pytest.param(*example, id=example[0], marks=[] if example[0] in OF_A_KIND else slow)
        for example in EXAMPLES
    ],
)
def test_example_of_the_readme_answers(provider, model, program, models, made_118, tmp_path):
    (row,) = [line for line in SECTION.splitlines() if f"`-m {provider}/" in line]
    known = models.get(provider, {}).get("env", [])
    for name in re.findall(r"`([A-Z][A-Z_]+)`", row):
        assert name in known, f"{provider} does not read {name}"
    done = isolated.run(
        program,
        ["run", "-m", f"{provider}/{model}", "hello"],
        tmp_path,
        config=config(provider),
        env=dict.fromkeys(known, "loopback"),
        read_only=[made_118.cache],
    )
    assert ANSWER in done.stdout, done.stderr
    assert model in done.models
    assert done.hosts == []


def test_sdks_said_to_be_in_the_cache_are_those(made_118, models):
    """Of the rows that say so, and no others."""
    cached = {entry.name for entry in manifest.read(made_118.cache).requests if entry.kind == "provider"}
    for provider, _ in EXAMPLES:
        (row,) = [line for line in SECTION.splitlines() if f"`-m {provider}/" in line]
        npm = models.get(provider, {}).get("npm")
        assert ("the cache" in row) == (npm in cached), row
