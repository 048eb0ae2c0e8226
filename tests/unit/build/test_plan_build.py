"""What a plan says of the build reaches it through the lock alone: files, catalogue, warm-up."""

from __future__ import annotations

import json
import stat

import making
import pytest

from opencode_cache import pipeline
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import builder
from opencode_cache.catalogue import document as catalogue
from opencode_cache.formats import manifest
from opencode_cache.formats.lock import Lock
from opencode_cache.npm import platforms
from opencode_cache.prove import warm_up

CATALOGUE = {"p": {"models": {"m": {}}}}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a lock without packages; what is returned is the cache and what the warm-up was told to run."""
    opencode = making.opencode_stand_in(tmp_path / "opencode")
    ran = []
    monkeypatch.setattr(warm_up, "warm_up", lambda cache, binary, commands: ran.append(list(commands)))

    def one(commands=None, models=None, **said):
        made = making.lock([], {}, []).model_copy(update=said)
        # As it is read back from its file.
        made = Lock.model_validate_json(made.model_dump_json())
        inputs = builder.Inputs(made, tmp_path, opencode, platforms.named("x86_64-linux"), models=models)
        out = tmp_path / f"cache{len(list(tmp_path.glob('cache*')))}"
        pipeline.build(inputs, out, commands)
        return out, ran

    return one


def test_files_stand_at_their_places_and_are_linked(build):
    cache, _ = build(files={"skills/a/note.md": "é\n", "top.txt": ""})
    note = cache / "skills" / "a" / "note.md"
    assert note.read_text(encoding="utf-8") == "é\n"
    assert stat.S_IMODE(note.stat().st_mode) == 0o644
    assert {stat.S_IMODE(path.stat().st_mode) for path in (note.parent, note.parent.parent)} == {0o755}
    assert note.stat().st_mtime == note.parent.stat().st_mtime == builder.MTIME
    assert {"skills/a/note.md", "top.txt"} <= set(manifest.read(cache).links)


@pytest.mark.parametrize("place", ["packages/x", "manifest.json", "bin/rg", ".hidden", "/etc/x", "a/../b"])
def test_a_lock_with_a_file_in_a_wrong_place_is_no_lock(place):
    document = json.loads(making.lock([], {}, []).model_dump_json()) | {"files": {place: ""}}
    with pytest.raises(ValueError, match=r"files"):
        Lock.model_validate(document)


def test_the_catalogue_of_the_plan_must_be_given(build, tmp_path):
    wanted = catalogue.describe(CATALOGUE, "file").sha256
    right, other = tmp_path / "api.json", tmp_path / "other.json"
    right.write_text(json.dumps(CATALOGUE, indent=4))
    other.write_text('{"q": {"models": {}}}')
    cache, _ = build(catalogue=wanted, models=right)
    assert manifest.read(cache).catalogue.sha256 == wanted
    for models, named in ((None, "--models"), (other, str(other))):
        with pytest.raises(BadInputError) as caught:
            build(catalogue=wanted, models=models)
        assert str(caught.value).startswith(named)
        assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("said", "commands", "ran"),
    [
        (None, None, [["models"]]),
        (("agent list",), None, [["agent list"]]),
        (("agent list",), ["models"], [["models"]]),
        (("agent list",), [], []),
        ((), None, []),
    ],
)
def test_the_warm_up_of_the_lock_runs_unless_the_command_line_says_another(build, said, commands, ran):
    assert build(commands, warmup=said)[1] == ran
