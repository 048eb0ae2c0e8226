"""Every plan of the documentation that names packages of npm's, locked today and proved.

Takes minutes each and the registry: OPENCODE_CACHE_TEST_FIELD=1.
"""

from __future__ import annotations

import re

import pytest
from kept import KEPT, REPOSITORY, field

from opencode_cache import pipeline
from opencode_cache.base.errors import NetworkError
from opencode_cache.formats import manifest, plan
from opencode_cache.prove import on_file

pytestmark = [pytest.mark.usefixtures("isolated"), field]

PLACEHOLDERS = ("my-grammars", "owner/repo")
PLANS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    for number, text in enumerate(
        re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    if not any(word in text for word in PLACEHOLDERS)
]


def test_there_are_plans_with_each_kind_of_package():
    texts = "".join(one.values[0] for one in PLANS)
    assert all(f"\n{key} = " in texts for key in ("plugins", "tools", "languages"))
    assert "commands = " in texts


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_of_the_documentation_is_locked_and_proved(text, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(pipeline.store, "downloads", lambda: KEPT / "tarballs")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/house-style.md").write_text("# House style\n")
    (tmp_path / "my.toml").write_text(text)
    wanted = plan.read(tmp_path / "my.toml").model_copy(update={"systems": ["x86_64-linux"]})
    try:
        built = pipeline.ready_for(wanted, is_default=False)
    except NetworkError as error:
        pytest.skip(f"needs the npm registry: {error}")
    found = on_file.find(on_file.identity(built.cache, manifest.read(built.cache), built.opencode))
    assert found.proof.complete
    print({one.spec: one.version for one in manifest.read(built.cache).requests})  # noqa: T201 - of today
