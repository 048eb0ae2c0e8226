"""What `run` takes from the store, and what it makes anew."""

from __future__ import annotations

from opencode_cache import pipeline


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
