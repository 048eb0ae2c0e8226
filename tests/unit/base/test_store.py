"""The local store: an entry is there whole, read-only and once, or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.base import files, store
from opencode_cache.base.errors import BadInputError


@pytest.fixture
def place(tmp_path):
    made = store.Store(tmp_path / "store")
    yield made
    if made.root.exists():
        for entry in made.root.iterdir():
            files.remove(entry)


def tree(out):
    (out / "deep" / "er").mkdir(parents=True)
    (out / "deep" / "er" / "file").write_text("text", encoding="utf-8")
    (out / "program").write_text("#!/bin/sh\n", encoding="utf-8")
    (out / "program").chmod(0o755)
    (out / "link").symlink_to("program")
    (out / "dangling").symlink_to("/nowhere")


def names(made):
    return sorted(entry.name for entry in made.root.iterdir() if entry.name not in {".lock", ".records"})


def test_an_entry_is_made_once_and_then_found(place):
    made = []

    def make(out):
        assert not out.exists()
        made.append(out)
        tree(out)

    entry = place.add("key", "name", make)
    assert entry == place.path("key", "name") == place.add("key", "name", make)
    assert len(made) == 1
    assert (entry / "deep" / "er" / "file").read_text(encoding="utf-8") == "text"
    assert (entry / "link").readlink() == Path("program")
    assert names(place) == ["key-name"]


def test_nothing_in_an_entry_can_be_written(place):
    entry = place.add("key", "name", tree)
    for path in (entry, *entry.rglob("*")):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0, path
    assert os.access(entry / "program", os.X_OK)


def test_an_entry_may_be_a_file(place):
    entry = place.add("key", "name", lambda out: out.write_text("x", encoding="utf-8"))
    assert entry.read_text(encoding="utf-8") == "x"
    assert stat.S_IMODE(entry.stat().st_mode) & 0o222 == 0


@pytest.mark.parametrize(
    "error", [BadInputError("no"), KeyboardInterrupt(), OSError(28, "full"), SystemExit(3)]
)
def test_whatever_ends_the_making_the_store_is_as_it_was(place, error):
    place.add("other", "name", tree)

    def make(out):
        tree(out)
        (out / "deep").chmod(0o555)
        raise error

    with pytest.raises(type(error)) as caught:
        place.add("key", "name", make)
    assert caught.value is error
    assert names(place) == ["other-name"]
    assert place.add("key", "name", tree).is_dir()


def test_a_maker_that_makes_nothing_is_an_expected_error(place):
    with pytest.raises(BadInputError):
        place.add("key", "name", lambda _: None)
    assert names(place) == []


def child(root, body):
    """A Python process with a store at `root`; its standard output is a pipe."""
    script = "import time, sys, pathlib\nfrom opencode_cache.base import store\n"
    script += "place = store.Store(pathlib.Path(sys.argv[1]))\n"
    return subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(body), root],
        env=os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_maker_leaves_nothing_that_the_next_one_does_not_sweep(place):
    body = """
    def make(out):
        out.mkdir()
        (out / "half").touch()
        out.chmod(0o555)
        print("making", flush=True)
        time.sleep(20)
    place.add("key", "name", make)
    """
    with child(place.root, body) as process:
        assert process.stdout.readline() == "making\n"
        process.send_signal(signal.SIGKILL)
    (left,) = names(place)
    assert left.startswith(".making-")
    assert not place.path("key", "name").exists()
    place.add("another", "name", tree)
    assert names(place) == ["another-name"]


def test_many_that_want_an_entry_at_once_make_it_once(place, tmp_path):
    log = tmp_path / "log"
    body = f"""
    def make(out):
        with open({str(log)!r}, "a") as file:
            file.write("made\\n")
        time.sleep(0.1)
        out.mkdir()
        (out / "file").write_text("x")
    print((place.add("key", "name", make) / "file").read_text())
    """
    processes = [child(place.root, body) for _ in range(3)]
    assert [process.communicate(timeout=20)[0] for process in processes] == ["x\n"] * 3
    assert log.read_text(encoding="utf-8") == "made\n"
    assert names(place) == ["key-name"]


def test_a_store_that_cannot_be_written_is_told_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match=r"cannot be written .*set XDG_DATA_HOME"):
        store.Store(tmp_path / "file" / "store").add("key", "name", tree)

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tempfile, "mkdtemp", full)
    with pytest.raises(BadInputError, match=r"cannot be written .*No space left"):
        store.Store(tmp_path / "store").add("key", "name", tree)


def test_links_out_of_a_tree_are_not_followed_when_it_is_removed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    outside.chmod(0o500)
    inside = tmp_path / "inside"
    (inside / "d").mkdir(parents=True)
    (inside / "d" / "link").symlink_to(outside)
    (inside / "link").symlink_to(outside)
    (inside / "d").chmod(0o500)
    inside.chmod(0o500)
    files.remove(inside)
    assert not inside.exists()
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500
    files.remove(tmp_path / "not there")


# Names


PARTS = st.lists(st.text(max_size=4) | st.sampled_from(["1:a", "a1:b", ":", "0:", "1", "a"]), max_size=4)


@given(PARTS, PARTS)
def test_different_parts_have_different_recipes(one, two):
    same = [part.encode("utf-8", "surrogatepass") for part in one] == [
        part.encode("utf-8", "surrogatepass") for part in two
    ]
    given = [tuple(part.encode("utf-8", "surrogatepass") for part in parts) for parts in (one, two)]
    assert (store.key(*given[0]) == store.key(*given[1])) is same


def test_a_recipe_is_32_hex_digits_and_text_counts_as_its_bytes():
    assert store.key("é", b"x") == store.key("é".encode(), "x")
    assert len(store.key()) == 32
    assert set(store.key("a")) <= set("0123456789abcdef")
    assert store.key("ab", "c") != store.key("a", "bc") != store.key("abc")


@pytest.mark.parametrize(
    ("xdg", "home", "expected"),
    [
        ("/data", "/home/u", "/data/opencode-cache"),
        ("", "/home/u", "/home/u/.local/share/opencode-cache"),
        (None, "/home/u", "/home/u/.local/share/opencode-cache"),
        ("relative", "/home/u", "/home/u/.local/share/opencode-cache"),
        ("~/x", "/home/u", "/home/u/.local/share/opencode-cache"),
        ("/data", None, "/data/opencode-cache"),
    ],
)
def test_the_data_directory_is_where_xdg_says(monkeypatch, xdg, home, expected):
    for name, value in (("XDG_DATA_HOME", xdg), ("HOME", home)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert store.data_home() == Path(expected)
    assert store.default().root == Path(expected) / "store"


def test_tarballs_are_kept_in_the_users_cache_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert store.downloads() == Path("/home/u/.cache/opencode-cache/tarballs")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert store.downloads() == Path("/c/opencode-cache/tarballs")


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_it_is_said_what_to_set(monkeypatch, home):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(BadInputError, match="set HOME or XDG_DATA_HOME"):
        store.data_home()


# What a crash, a full disk or a person has spoiled


def everything(out):
    tree(out)
    (out / "empty").touch()
    (out / "deep" / "data.bin").write_bytes(bytes(5000))


def test_an_entry_of_which_any_file_is_emptied_is_made_again(place):
    entry = place.add("key", "name", everything)
    whole = {path.relative_to(entry): path.read_bytes() for path in entry.rglob("*") if path.is_file()}
    for name, content in whole.items():
        if not content:
            continue
        (entry / name).chmod(0o644)
        (entry / name).write_bytes(b"")
        assert not place.whole(entry)
        place.add("key", "name", everything)
        assert place.whole(entry)
        assert (entry / name).read_bytes() == content
    assert names(place) == ["key-name"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: (entry / "program").unlink(),
        lambda entry: (entry / "new").touch(),
        lambda entry: ((entry / "link").unlink(), (entry / "link").symlink_to("deep")),
        lambda entry: ((entry / "program").unlink(), (entry / "program").mkdir()),
        lambda entry: (entry.rename(entry.with_name("x")), entry.write_text("", encoding="utf-8")),
    ],
    ids=["gone", "more", "another target", "another kind", "a file in its place"],
)
def test_an_entry_that_is_another_one_is_made_again(place, spoil):
    entry = place.add("key", "name", everything)
    for directory in (entry, entry / "deep"):
        directory.chmod(0o755)
    spoil(entry)
    assert not place.whole(entry)
    assert (place.add("key", "name", everything) / "program").is_file()


@pytest.mark.parametrize("record", [b"", b"\0" * 64, b"x" * 1000, None])
def test_an_entry_without_a_good_record_is_made_again(place, record):
    entry = place.add("key", "name", everything)
    path = place.root / ".records" / entry.name
    path.unlink()
    if record is not None:
        path.write_bytes(record)
    made = []
    place.add("key", "name", lambda out: (made.append(out), everything(out)))
    assert len(made) == 1
    assert place.whole(entry)


def test_a_broken_entry_that_cannot_be_made_again_is_not_taken(place):
    entry = place.add("key", "name", everything)
    (entry / "program").chmod(0o644)
    (entry / "program").write_bytes(b"")

    def refuse(_):
        raise BadInputError("no network")

    with pytest.raises(BadInputError, match="no network"):
        place.add("key", "name", refuse)
    assert not place.whole(entry)


def test_everything_is_on_the_disk_before_it_has_its_name(place, monkeypatch):
    done = []
    for what in ("sync_tree", "sync_directory"):
        real = getattr(files, what)
        monkeypatch.setattr(files, what, lambda path, what=what, real=real: (done.append(what), real(path)))
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (done.append("rename"), rename(self, to))[1])
    place.add("key", "name", everything)
    assert done[0] == "sync_tree"
    assert done[-1] == "sync_directory"
    assert done.index("sync_tree") < done.index("rename") < len(done) - 1


def test_trees_are_synced_file_by_file_on_other_systems(tmp_path, monkeypatch):
    everything(tmp_path / "out")
    (tmp_path / "loop").symlink_to("loop")
    synced = []
    monkeypatch.setattr(files.sys, "platform", "darwin")
    monkeypatch.setattr(files.os, "fsync", synced.append)
    files.sync_tree(tmp_path)
    assert len(synced) == 4 + 4  # files, directories


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_whatever_the_umask_an_entry_is_for_all_to_read(tmp_path, umask):
    if os.geteuid() and umask == 0o777:
        pytest.skip("of what `make` itself makes nobody but root can then read anything")
    place = store.Store(tmp_path / "data" / "store")
    before = os.umask(umask)
    try:
        entry = place.add("key", "name", everything)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.root.stat().st_mode) == stat.S_IMODE(place.root.parent.stat().st_mode) == 0o755
    for path in (entry, *entry.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o444
        assert mode & 0o444 == 0o444, path
        assert mode & 0o222 == 0
    files.remove(entry)


# What killed processes leave


def test_what_a_killed_process_left_goes_and_what_is_at_work_stays(tmp_path):
    target = tmp_path / "file"
    body = f"""
    from opencode_cache.base import files
    with files.beside(pathlib.Path({str(target)!r})) as made:
        (made / "half").touch()
        print(made.name, flush=True)
        time.sleep(30)
    """
    with child(tmp_path / "store", body) as at_work, child(tmp_path / "store", body) as killed:
        names = {process.stdout.readline().strip() for process in (at_work, killed)}
        assert {path.name for path in tmp_path.iterdir()} == names
        killed.kill()
        killed.wait()
        files.write_atomically(target, "text")
        assert len({path.name for path in tmp_path.iterdir()} & names) == 1
        at_work.kill()
    files.write_atomically(target, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fails_at_the_last_rename_is_one_sentence(tmp_path, monkeypatch, place):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(BadInputError, match="Input/output error"):
        files.write_atomically(tmp_path / "file", "text")
    monkeypatch.undo()
    assert not (tmp_path / "file").exists()
    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(BadInputError, match="Input/output error"):
        place.add("key", "name", everything)
    monkeypatch.undo()
    assert names(place) == []


# What killed runs leave


HOLD = "import os, sys, signal, time\nfrom pathlib import Path\nfrom opencode_cache.base import files\n"


@pytest.mark.parametrize("how", ["files.beside(Path(sys.argv[1], 'x'))", "files.scratch()"])
def test_a_directory_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path, monkeypatch, how):
    environ = os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[2]), "TMPDIR": str(tmp_path)}
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "making-opencode-mine").mkdir()  # somebody's own
    script = (
        f"{HOLD}with {how} as made:\n    (made / 'file').touch(); print(made, flush=True); time.sleep(20)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        made = Path(process.stdout.readline().strip())
        with files.scratch() as one, files.beside(tmp_path / "x") as other:
            assert (made / "file").exists()
            assert one.exists()
            assert other.exists()
        process.send_signal(signal.SIGKILL)
    assert made.exists()
    files.sweep(tmp_path)
    files.sweep_scratch()
    assert [path.name for path in tmp_path.iterdir()] == ["making-opencode-mine"]
