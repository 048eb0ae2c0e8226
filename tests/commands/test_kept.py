"""What tests keep between runs is made once, whole, whoever else wants it at that moment."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import kept
import pytest


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "KEPT", tmp_path)


def test_many_that_want_a_tree_at_once_make_it_once(tmp_path):
    filled = []

    def fill(to):
        filled.append(to)
        (to / "first").touch()
        time.sleep(0.05)
        (to / "last").touch()

    with ThreadPoolExecutor(4) as pool:
        trees = list(pool.map(lambda _: kept.kept_tree(tmp_path / "bare/debian", fill), range(4)))
    assert len(filled) == 1
    assert {len(list(tree.iterdir())) for tree in trees} == {2}


def test_half_a_tree_is_none(tmp_path):
    def fill(to):
        (to / "first").touch()
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        kept.kept_tree(tmp_path / "debian", fill)
    assert not (tmp_path / "debian").exists()
    assert not list(kept.kept_tree(tmp_path / "debian", lambda _: None).iterdir())
