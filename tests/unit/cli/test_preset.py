"""`--preset`: what OpenCode would end with, or ask the network for, is said before it is shipped."""

from __future__ import annotations

import bundle_lab
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import preset
from opencode_cache.formats import manifest

GATEWAY = """{
  // The company's gateway, and nothing that calls home.
  "share": "disabled", "autoupdate": false,
  "provider": { "company": {
    "npm": "@ai-sdk/openai-compatible",
    "options": { "baseURL": "https://models.example.com/v1", "apiKey": "{env:COMPANY_API_KEY}" },
    "models": { "our-model": {} }
  } }
}
"""
REFUSED = {
    '{"plugin": ["never-heard-of"]}': "never-heard-of.*is not in the cache",
    '{"share": "disabled",': "preset.json: ",
    '{"lsp": {"mine": {}}}': "lsp.mine has no command",
    '{"theme": "{file:./theme}"}': "lies beside it",
    '{"instructions": ["https://example.com/rules.md"]}': "is not in the cache",
}


@pytest.fixture
def parts(tmp_path):
    cache = bundle_lab.make_cache(tmp_path / "cache")
    return cache, bundle_lab.make_program(tmp_path / "opencode")


def written(tmp_path, text):
    file = tmp_path / "preset.json"
    file.write_text(text)
    return file


def test_a_gateway_is_taken_as_it_stands(parts, tmp_path):
    assert preset.checked(written(tmp_path, GATEWAY), *parts) == GATEWAY.encode()
    assert preset.checked(None, *parts) is None


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_work_there_is_one_sentence(parts, tmp_path, text):
    (tmp_path / "theme").write_text("system")
    with pytest.raises(BadInputError, match=REFUSED[text]) as caught:
        preset.checked(written(tmp_path, text), *parts)
    assert "\n" not in str(caught.value)


def test_a_version_that_reads_none_is_said(parts, tmp_path):
    cache, program = parts
    made = manifest.read(cache)
    changed = made.model_copy(update={"layout": "bun", "opencode": "1.0.61", "cache_version": "9"})
    (cache / manifest.FILE).write_text(manifest.dumps(changed))
    with pytest.raises(BadInputError, match=r"OpenCode 1\.0\.61 reads no settings for everybody"):
        preset.checked(written(tmp_path, "{}"), cache, program)
