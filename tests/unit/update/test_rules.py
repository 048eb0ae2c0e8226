"""nix/rules.json is what this package says; the Nix side is held against its examples in nix/module-tests."""

from __future__ import annotations

from pathlib import Path

from opencode_cache.update import rules


def test_the_file_that_nix_reads_is_what_this_package_says():
    found = (Path(__file__).parents[3] / "nix" / "rules.json").read_text()
    assert found == rules.dumps(), "python -m opencode_cache.update.rules >nix/rules.json writes it anew"
