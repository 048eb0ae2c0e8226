"""The proofs beside the shipped locks: they follow their lock, go with it, and are renewed where due."""

from __future__ import annotations

import making
import pytest

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats import lock, manifest
from opencode_cache.formats import proof as proof_format
from opencode_cache.npm import platforms
from opencode_cache.pipeline import Built
from opencode_cache.prove import on_file
from opencode_cache.update import proofs

SYSTEM = "x86_64-linux"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(platforms, "current", lambda: platforms.named(SYSTEM))
    making.opencode_stand_in(tmp_path / "rg")
    monkeypatch.setattr(proofs.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "nix" / "locks").mkdir(parents=True)
    return tmp_path


def put(root, name, text):
    (root / "nix" / "locks" / name).write_text(text)


def a_lock(version):
    return lock.dumps(making.lock([], {}, [], version=version))


def here(root):
    return {path.name: path.read_text() for path in (root / "nix" / "locks").glob("*.proof.json")}


def test_a_proof_follows_the_lock_that_gets_another_name(root):
    old, new = a_lock("1.18.21"), a_lock("1.18.33")
    before = {"nix/locks/opencode-cache.lock.json": old}
    mine = making.proof(opencode="1.18.33")
    put(root, "opencode-cache.lock.json", new)
    put(root, "opencode-cache-1.18.21.lock.json", old)
    put(root, "opencode-cache.x86_64-linux.proof.json", "old")
    put(root, "opencode-cache.aarch64-linux.proof.json", "old, arm")
    put(root, "opencode-cache-1.17.0.x86_64-linux.proof.json", "of a lock that went")
    changed = proofs.settle(root, before, mine)
    assert here(root) == {
        "opencode-cache.x86_64-linux.proof.json": on_file.dumps(mine),
        "opencode-cache-1.18.21.x86_64-linux.proof.json": "old",
        "opencode-cache-1.18.21.aarch64-linux.proof.json": "old, arm",
    }
    assert len(changed) == 5


def test_a_lock_that_changed_loses_its_proofs(root):
    put(root, "opencode-cache.lock.json", a_lock("1.18.33"))
    put(root, "opencode-cache.aarch64-linux.proof.json", "old")
    assert proofs.settle(root, {"nix/locks/opencode-cache.lock.json": "other"}, None)
    assert here(root) == {}


def test_a_proof_of_the_same_digests_stays_as_it_is(root):
    text, mine = a_lock("1.18.33"), making.proof()
    put(root, "opencode-cache.lock.json", text)
    put(root, "opencode-cache.x86_64-linux.proof.json", on_file.dumps(mine))
    later = making.proof(time="2027-01-01T00:00:00Z")
    assert proofs.settle(root, {"nix/locks/opencode-cache.lock.json": text}, later) == []
    assert here(root) == {"opencode-cache.x86_64-linux.proof.json": on_file.dumps(mine)}


@pytest.fixture
def built(root, monkeypatch):
    """What a lock leads to; `proof` is what `verify` makes of it, `calls` the PATHs that it had."""
    cache = root / "cache"
    cache.mkdir()
    made = manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        layout="packages",
        system=SYSTEM,
        links=(),
        requests=(),
        packages=(),
        files=0,
        bytes=0,
    )
    (cache / manifest.FILE).write_text(manifest.dumps(made))
    program = making.opencode_stand_in(root / "opencode")
    identity = proof_format.of(cache, proof_format.sha256(program))
    monkeypatch.setattr(proofs.pipeline, "built", lambda _: (Built(program, cache, program), False))
    return identity


def proving(monkeypatch, identity, **fields):
    calls = []

    def verify(*_, **__):
        calls.append(proofs.os.environ["PATH"])
        return making.proof(**identity.model_dump(), **fields)

    monkeypatch.setattr(proofs, "verify", verify)
    return calls


def test_what_is_not_proved_is_proved_once_with_a_plain_path(root, built, monkeypatch):
    put(root, "opencode-cache.lock.json", a_lock("1.18.33"))
    put(root, "opencode-cache-1.9.x86_64-linux.proof.json", "{}")
    own = root / "data" / "opencode-cache" / "store" / "x" / "bin"
    monkeypatch.setenv("PATH", f"/somebody/bin:/usr/bin:{own}")
    calls = proving(monkeypatch, built)
    name = "opencode-cache.x86_64-linux.proof.json"
    assert proofs.renew(root) == [f"nix/locks/{name}", "nix/locks/opencode-cache-1.9.x86_64-linux.proof.json"]
    assert list(here(root)) == [name]
    assert calls[0].startswith(f"/usr/local/bin:/usr/bin:/bin:{own}")
    assert "somebody" not in calls[0]
    assert proofs.renew(root) == []
    put(root, name, on_file.dumps(making.proof()))
    assert proofs.renew(root) == [f"nix/locks/{name}"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"isolated": False, "weaker_because": "no namespace"}, "no namespace"),
        ({"unseen": ("addresses are not seen",)}, "addresses are not seen"),
        (
            {"steps": [{"name": "tui", "ok": False, "seconds": 1, "detail": "no"}], "ok": False},
            "failed: tui (no)",
        ),
    ],
)
def test_a_weaker_proof_is_not_shipped(root, built, monkeypatch, fields, said):
    put(root, "opencode-cache.lock.json", a_lock("1.18.33"))
    proving(monkeypatch, built, **fields)
    with pytest.raises(CheckFailedError, match=said.replace("(", r"\(").replace(")", r"\)")):
        proofs.renew(root)
    assert here(root) == {}
