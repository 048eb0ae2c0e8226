"""`opencode-cache plan`, and what `run` takes from a configuration."""

from __future__ import annotations

import pytest

from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.cli import configuration
from opencode_cache.formats import lock, plan, shipped

CONFIG = """{
  // mine
  "plugin": ["a", ["@s/b@1.2.3", {"key": "secret"}]],
  "provider": {"x": {"npm": "@ai-sdk/fireworks"}, "y": {"npm": "@ai-sdk/openai"}},
  "mcp": {"clock": {"type": "local", "command": ["uvx", "mcp-server-time\\n[x]"]}},
  "lsp": true,
}"""


@pytest.fixture
def user(home, monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home.project)
    return home


def test_a_plan_is_what_a_person_would_have_written(user, tmp_path, capsys):
    user.write(".config/opencode/opencode.jsonc", CONFIG)
    user.write("work/.opencode/package.json", {"dependencies": {"ms": "^2"}})
    user.write("work/x.py", "")
    configuration.plan_command(output=tmp_path / "plan.toml")
    text = (tmp_path / "plan.toml").read_text()
    made = plan.read(tmp_path / "plan.toml")
    assert made.plugins == ["a", "@s/b@1.2.3"]
    assert made.extra_providers == ["@ai-sdk/fireworks"]
    assert made.tools == ["pyright"]
    assert made.config == ["@opencode-ai/plugin", "ms@^2"]
    assert made.providers == plan.CATALOGUE
    assert "~/.config/opencode/opencode.jsonc" in text
    assert "# * mcp.clock 'uvx mcp-server-time\\n[x]'" in text
    assert "@ai-sdk/openai" in text.split("Compiled into OpenCode.")[1]
    assert "secret" not in text
    configuration.plan_command()
    assert capsys.readouterr().out == text


def test_no_configuration_is_the_default_plan(user, tmp_path):
    configuration.plan_command(output=tmp_path / "plan.toml")
    assert plan.read(tmp_path / "plan.toml") == plan.default(shipped.default_version())


def test_one_node_modules_has_one_version(user, tmp_path):
    user.write(".config/opencode/package.json", {"dependencies": {"ms": "^1"}})
    user.write("work/.opencode/package.json", {"dependencies": {"ms": "^2", "zod": "^4"}})
    configuration.plan_command(output=tmp_path / "plan.toml")
    assert plan.read(tmp_path / "plan.toml").config == ["@opencode-ai/plugin", "ms@^1", "zod@^4"]
    assert "asks for another version than 'ms@^1'" in (tmp_path / "plan.toml").read_text()


def test_check_is_a_table_and_a_status(user, tmp_path, capsys):
    user.config({"plugin": ["a"], "mcp": {"docs": {"type": "remote", "url": "https://x.example"}}})
    configuration.plan_command(check=True)
    assert "will be locked" in capsys.readouterr().out
    path = shipped.lock_for(shipped.default_version())
    with pytest.raises(CheckFailedError, match="not covered: plugin 'a': is not in the cache"):
        configuration.plan_command(check=True, lock_file=path)
    assert "--plugin" in capsys.readouterr().out
    user.config({"plugin": ["a"], "permissions": []})
    with pytest.raises(CheckFailedError, match="permissions is a key of OpenCode 2"):
        configuration.plan_command(check=True)


def test_only_what_opencode_surely_lacks_can_be_made_to_count(user):
    """A container's image may be on the machine; a package that `npx` asks for is in the cache or nowhere."""
    server = {"type": "local", "command": ["docker", "run", "-i", "mcp/time"]}
    user.config({"mcp": {"time": server}})
    with pytest.raises(CheckFailedError, match=r"docker pulls mcp/time if it is not there; load the image"):
        configuration.plan_command(check=True)
    configuration.plan_command(check=True, certain=True)
    user.config({"mcp": {"time": server, "notes": {"type": "local", "command": ["npx", "my-notes"]}}})
    lock_file = shipped.lock_for(shipped.default_version())
    with pytest.raises(CheckFailedError, match=r"mcp.notes 'npx my-notes': is not in the cache; .*commands"):
        configuration.plan_command(check=True, certain=True, lock_file=lock_file)


def test_what_opencode_would_end_with_ends_the_plan(user):
    user.config("{")
    with pytest.raises(BadInputError, match="is not JSON at line 1; fix it"):
        configuration.plan_command()
    with pytest.raises(BadInputError, match="give --check as well"):
        configuration.plan_command(cache=user.home)
    with pytest.raises(BadInputError, match="is not a directory"):
        configuration.plan_command(project=[user.home / "gone"])


def test_a_mistake_is_told_and_stands_in_the_plan(user, capsys):
    user.config({"lsp": {"typescript": {}}})
    configuration.plan_command()
    told = capsys.readouterr()
    assert "lsp.typescript has no command" in told.err
    assert "# Mistakes in the configuration." in told.out


def test_run_takes_what_the_shipped_lock_lacks(user, capsys):
    base = plan.default(shipped.default_version())
    path = shipped.lock_for(shipped.default_version())
    known = next(request.spec for request in lock.read(path).requests if request.kind == "provider")
    user.config(
        {
            "provider": {"a": {"npm": known}, "b": {"npm": "@ai-sdk/openai"}},
            "plugin": ["opencode-copilot-auth"],
            "mcp": {"clock": {"type": "local", "command": ["uvx", "time"]}},
        }
    )
    assert configuration.with_configuration(base, path) == base
    told = capsys.readouterr().err
    assert "not covered: mcp.clock 'uvx time'" in told
    assert "OpenCode has this built in; take it out" in told
    user.config({"plugin": ["a"], "provider": {"a": {"npm": "other-sdk"}}})
    made = configuration.with_configuration(base, path)
    assert (made.plugins, made.extra_providers) == (["a"], ["other-sdk"])
    assert made.providers == base.providers
