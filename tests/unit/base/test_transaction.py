"""Several files at once or none, whatever ends the program and wherever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import updating

from opencode_cache.base import transaction
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.transaction import Change

OLD = {"a": b"old a", "b/c": b"old c", "gone": b"old gone"}
NEW = {"a": b"new a", "b/c": b"new c", "b/new": b"new new"}
CHANGES = {name: Change(OLD.get(name), NEW.get(name)) for name in OLD | NEW}


@pytest.fixture
def root(tmp_path):
    updating.write(tmp_path, {name: data.decode() for name, data in OLD.items()})
    (tmp_path / "a").chmod(0o755)
    return tmp_path


def test_all_at_once(root):
    transaction.replace(root, CHANGES)
    assert updating.contents(root) == NEW
    assert (root / "a").stat().st_mode & 0o777 == 0o755
    assert not transaction.waiting(root)
    assert list((root / transaction.PLACE).iterdir()) == []
    assert transaction.complete(root) == []


def test_a_file_that_somebody_else_changed_meanwhile_stays(root):
    (root / "b" / "c").write_bytes(b"mine")
    with pytest.raises(BadInputError, match=r"c: was changed while `update` worked; run it again"):
        transaction.replace(root, CHANGES)
    assert updating.contents(root) == OLD | {"b/c": b"mine"}


class _StopError(BaseException):
    """As a kill: nothing that handles ordinary errors sees it."""


def stop_at(monkeypatch, number):
    """Whatever touches the disk for the n-th time does not come back; how often it was touched."""
    count = [0]

    def counted(real):
        def call(*arguments, **options):
            count[0] += 1
            if count[0] >= number:
                raise _StopError
            return real(*arguments, **options)

        return call

    for module, name in (
        (os, "fsync"),
        (os, "fchmod"),
        (Path, "rename"),
        (Path, "replace"),
        (Path, "unlink"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return count


def test_stopped_before_every_single_step(root, monkeypatch):
    steps = 0
    with monkeypatch.context() as patched:
        count = stop_at(patched, 10**6)
        transaction.replace(root, CHANGES)
        steps = count[0]
    assert steps > 15
    seen = set()
    for number in range(1, steps + 1):
        for name in ("a", "b/c", "b/new", "gone"):
            (root / name).unlink(missing_ok=True)
        updating.write(root, {name: data.decode() for name, data in OLD.items()})
        with monkeypatch.context() as patched:
            stop_at(patched, number)
            # What is cleaned up on the way out would not be, after a kill.
            patched.setattr(transaction.files, "remove", lambda _: None)
            with pytest.raises(_StopError):
                transaction.replace(root, CHANGES)
        decided = transaction.waiting(root)
        done = transaction.complete(root)
        now = updating.contents(root)
        assert now in (OLD, NEW), number
        if decided:
            assert now == NEW
            assert done == sorted(OLD | NEW)
        assert list((root / transaction.PLACE).iterdir()) == []
        seen.add((decided, now == NEW))
    assert seen >= {(False, False), (True, True)}


def interrupted(root, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(transaction, "complete", lambda _: (_ for _ in ()).throw(_StopError))
        with pytest.raises(_StopError):
            transaction.replace(root, CHANGES)
    assert transaction.waiting(root)


def test_an_edit_after_the_interruption_is_not_lost(root, monkeypatch):
    interrupted(root, monkeypatch)
    (root / "a").write_bytes(b"mine")
    with pytest.raises(BadInputError, match=r"a: was changed after an update was interrupted"):
        transaction.complete(root)
    assert (root / "a").read_bytes() == b"mine"
    assert (root / "gone").exists()


def test_ctrl_c_while_files_are_put_in_place_waits_for_the_last(root, monkeypatch):
    real = transaction.complete

    def with_ctrl_c(where):
        os.kill(os.getpid(), signal.SIGINT)
        return real(where)

    monkeypatch.setattr(transaction, "complete", with_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        transaction.replace(root, CHANGES)
    assert updating.contents(root) == NEW
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_disk_that_takes_nothing_leaves_all_as_it_was(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(transaction.os, "fsync", full)
    with pytest.raises(BadInputError, match=r"there: cannot be written \(No space .*nothing was changed"):
        transaction.replace(root, CHANGES)
    assert updating.contents(root) == OLD


HOLD = "import sys; from pathlib import Path; from opencode_cache.base import transaction\n"
HOLD += "with transaction.alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_one_update_at_a_time(root):
    source = str(Path(transaction.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": source},
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadInputError, match="another update is at work"), transaction.alone(root):
            pass
        other.communicate("")
    with transaction.alone(root):
        pass
