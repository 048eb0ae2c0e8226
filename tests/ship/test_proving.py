"""What ships is proved once, whenever it is shipped, and something else that ships is proved anew."""

from __future__ import annotations

import bundle_lab
import making
import pytest

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats import proof as proofs
from opencode_cache.formats.proof import Step
from opencode_cache.prove import on_file
from opencode_cache.ship import installation, proving
from opencode_cache.ship.items import Item


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return bundle_lab.make_cache(tmp_path / "cache")


@pytest.fixture
def proved(cache, tmp_path, monkeypatch):
    """Where what was to be proved lay, and what was in it; `fields` is what its proof says."""
    seen, fields = [], {}

    def verify(at, opencode, *, installation, on_step):
        root = installation.root
        names = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}
        assert (at, opencode) == (root / "cache", root / "libexec/opencode")
        assert installation.program.stat().st_mode & 0o111
        seen.append(names)
        identity = proofs.of(at, proofs.sha256(opencode))
        proof = making.proof(**identity.model_dump(), installation_sha256=installation.sha256, **fields)
        on_file.put(proof)
        return proof

    monkeypatch.setattr(proving, "verify", verify)
    return seen, fields


def items_of(cache, tmp_path, **changed):
    program = bundle_lab.make_program(tmp_path / "opencode")
    return {
        **installation.installation(manifests.read(cache), cache, program, installation.Choices()),
        **changed,
    }


def test_all_of_it_is_there_and_it_is_proved_once(cache, proved, tmp_path):
    items = items_of(cache, tmp_path)
    proof = proving.as_it_ships(items, cache)
    later = items_of(cache, tmp_path, **{installation.SPDX: Item(data=b"of another day")})
    assert proving.as_it_ships(later, cache) == proof
    (names,) = proved[0]
    assert names == {path for path, item in items.items() if item != Item()}
    assert on_file.find(on_file.of(proof)) is None  # as it lies here, it was not proved


def test_something_else_beside_it_is_proved_anew(cache, proved, tmp_path):
    first = proving.as_it_ships(items_of(cache, tmp_path), cache)
    more = items_of(
        cache, tmp_path, **{"libexec/path": Item(), "libexec/path/rg": Item(data=b"", mode=0o555)}
    )
    assert proving.as_it_ships(more, cache).installation_sha256 != first.installation_sha256
    assert len(proved[0]) == 2


def test_what_is_not_complete_does_not_ship(cache, proved, tmp_path):
    proved[1].update(steps=(Step(name="run", ok=False, seconds=1, detail="ended with 1"),), ok=False)
    with pytest.raises(
        CheckFailedError, match=r"not proved: failed: run .*; what is not proved is not shipped"
    ):
        proving.as_it_ships(items_of(cache, tmp_path), cache)
