"""What `run` takes from the store, and what it makes anew."""

from __future__ import annotations

import making
import pytest

from opencode_cache import pipeline
from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import OPENCODE, Host, Step
from opencode_cache.prove import on_file


def test_what_another_state_of_the_program_made_is_not_taken(tmp_path, monkeypatch):
    (tmp_path / "layouts").mkdir()
    for name in ("pipeline.py", "layouts/bun.py", "wrapper.sh"):
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(pipeline, "__file__", str(tmp_path / "pipeline.py"))
    first = pipeline._this_program()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/bun.pyc").write_text("of no account")
    assert pipeline._this_program() == first
    (tmp_path / "layouts/bun.py").write_text("two")
    assert pipeline._this_program() != first


@pytest.fixture
def proving(tmp_path, monkeypatch):
    """A cache, the proof that `verify` makes of it, and how often that was called."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(tmp_path / "locks"))
    made = manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        opencode_sha256="b" * 64,
        layout="packages",
        system="x86_64-linux",
        links=(),
        requests=(),
        packages=(),
        files=0,
        bytes=0,
    )
    (tmp_path / "locks").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / manifest.FILE).write_text(manifest.dumps(made))
    proof = making.proof(**on_file.identity(tmp_path / "cache", made).model_dump())
    calls = []

    def verify(*_, **__):
        calls.append(proof)
        on_file.put(proof)
        return proof

    monkeypatch.setattr(pipeline, "verify", verify)
    return tmp_path / "cache", proof, calls


def prove(cache, *, again=False, is_new=True):
    pipeline._prove(cache, cache / "opencode", again=again, is_new=is_new)


def test_what_was_proved_by_hand_is_not_proved_again(proving, capsys):
    cache, proof, calls = proving
    on_file.put(proof)
    prove(cache)
    assert (calls, capsys.readouterr().err) == ([], "")


def test_what_was_proved_nowhere_is_proved_once(proving):
    cache, proof, calls = proving
    prove(cache)
    prove(cache)
    assert calls == [proof]


def test_a_proof_that_came_along_starts_at_once_with_a_line_that_says_where_it_was_made(
    proving, tmp_path, capsys
):
    cache, proof, calls = proving
    (tmp_path / "locks" / "x.x86_64-linux.proof.json").write_text(on_file.dumps(proof))
    prove(cache)
    assert calls == []
    assert capsys.readouterr().err == (
        "opencode-cache: proved elsewhere, on x86_64, 2 CPUs, Linux 6.1.0, 2026-11-26 01:02 UTC, "
        "by opencode-cache 0.1.0; `opencode-cache run --prove` does it here\n"
    )
    prove(cache, is_new=False)
    assert capsys.readouterr().err == ""
    prove(cache, again=True)
    assert calls == [proof]


@pytest.mark.parametrize("field", ["manifest_sha256", "binary_sha256"])
def test_a_proof_of_something_else_that_came_along_proves_nothing(proving, tmp_path, field):
    cache, proof, calls = proving
    other = proof.model_copy(update={field: "c" * 64})
    (tmp_path / "locks" / "x.x86_64-linux.proof.json").write_text(on_file.dumps(other))
    prove(cache)
    assert calls == [proof]


@pytest.mark.parametrize(
    ("slow", "said"), [(False, "not proved: failed: tui (no)"), (True, "too slow: tui (no); be more patient")]
)
def test_what_does_not_hold_is_not_started(proving, monkeypatch, slow, said):
    cache, proof, _ = proving
    step = Step(name="tui", ok=False, seconds=1, detail="no", too_slow=slow)
    failed = proof.model_copy(update={"steps": (step,), "ok": False})
    monkeypatch.setattr(pipeline, "verify", lambda *_, **__: failed)
    with pytest.raises(CheckFailedError) as raised:
        prove(cache)
    assert said in str(raised.value)
    assert ("failed" in str(raised.value)) is not slow


def test_a_plugins_own_question_is_a_line_and_no_refusal(proving, monkeypatch, capsys):
    cache, proof, calls = proving
    asked = (Host(name="h.example", count=1, step="serve", who="plugin x"),)
    noisy = making.proof(**(proof.model_dump() | {"hosts": asked, "ok": False, "quiet": False}))
    monkeypatch.setattr(
        pipeline, "verify", lambda *_, **__: calls.append(noisy) or on_file.put(noisy) or noisy
    )
    line = "h.example: plugin x asks for it, not OpenCode"
    prove(cache)
    assert line in capsys.readouterr().err
    prove(cache, is_new=False)
    assert line in capsys.readouterr().err
    assert calls == [noisy]


def test_opencodes_own_question_is_a_refusal(proving, monkeypatch):
    cache, proof, _ = proving
    asked = (Host(name="h.example", count=1, step="serve", who=OPENCODE),)
    fields = {"hosts": asked, "ok": False, "quiet": False, "complete": False}
    monkeypatch.setattr(pipeline, "verify", lambda *_, **__: making.proof(**(proof.model_dump() | fields)))
    with pytest.raises(CheckFailedError, match=r"asked for: h\.example"):
        prove(cache)
