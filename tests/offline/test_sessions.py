"""The copy of the sessions that a start of another OpenCode makes first, with the SQLite in the real one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "wrapper"))
from wrapper_lab import PROGRAM, Lab

OLD, NEW = "1.18.21", "1.18.33"


class Sessions:
    """A home with sessions, and the wrappers of two OpenCodes; the program is real where it is to be Bun."""

    def __init__(self, top: Path, opencode: Path) -> None:
        self.lab = Lab(top)
        real = f'[ -z "${{BUN_BE_BUN-}}" ] || exec {opencode} "$@"\n'
        self.lab.program.write_text(PROGRAM.replace("\n", f"\n{real}", 1))
        self.wrappers = {
            version: self.lab.wrap(self.lab.cache(f"cache-{version}", opencode=version))
            for version in (OLD, NEW)
        }
        self.data = self.lab.home / ".local/share/opencode"
        self.data.mkdir(parents=True)
        self.file = self.data / "opencode.db"

    def write(self, text: str) -> sqlite3.Connection:
        """A connection that stays open has its change in `opencode.db-wal` only."""
        database = sqlite3.connect(self.file)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE IF NOT EXISTS message (text)")
        database.execute("INSERT INTO message VALUES (?)", [text])
        database.commit()
        return database

    def start(self, version: str) -> str:
        done = self.lab.start(self.wrappers[version], "models")
        assert (done.status, done.args) == (0, ["models"])
        return done.stderr

    def kept(self) -> list[Path]:
        return sorted((self.data / "kept-sessions").glob("*"))


def texts(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [text for (text,) in database.execute("SELECT text FROM message")]


@pytest.fixture
def sessions(tmp_path, opencode_118):
    return Sessions(tmp_path / "lab", opencode_118)


def test_another_opencode_leaves_a_copy_and_going_back_says_how(sessions):
    assert sessions.start(OLD) == ""
    with closing(sessions.write("before")):
        assert sessions.start(NEW) == ""
        (copy,) = sessions.kept()
        assert copy.name.endswith(f"-before-{NEW}")
        assert copy.parent.stat().st_mode & 0o777 == 0o700
        assert texts(copy / "opencode.db") == ["before"]
        assert sessions.start(NEW) == ""
        assert sessions.kept() == [copy]
        sessions.write("after").close()
    said = sessions.start(OLD)
    assert (
        f"opencode: back from OpenCode {NEW} to {OLD}; to have the sessions from before {NEW} again" in said
    )
    subprocess.run(["sh", "-c", said.partition("run: ")[2]], cwd=sessions.lab.top, check=True)
    assert texts(sessions.file) == ["before"]


def test_versions_that_take_turns_copy_once_a_day(sessions):
    sessions.write("text").close()
    for version in (OLD, NEW, OLD, NEW):
        sessions.start(version)
    assert [path.name.partition("-before-")[2] for path in sessions.kept()] == [OLD, NEW]


def test_copies_are_few_and_young(sessions):
    sessions.write("text").close()
    for day in ("2020-01-01", "2020-01-02"):
        (sessions.data / f"kept-sessions/{day}T00-00-00-before-1.17.0").mkdir(parents=True)
    (sessions.data / "kept-sessions/mine").mkdir()
    sessions.start(NEW)
    assert [path.name.partition("-before-")[2] for path in sessions.kept()] == [NEW, ""]


@pytest.mark.parametrize(
    ("content", "size", "said"),
    [
        (b"no database at all " * 100, None, "file is not a database"),
        (b"", 600 * 2**20, "600 MB are too many"),
    ],
)
def test_what_cannot_be_copied_is_said_and_keeps_no_start(sessions, content, size, said):
    sessions.file.write_bytes(content)
    if size:
        with sessions.file.open("r+b") as file:
            file.truncate(size)
    told = sessions.start(NEW)
    assert told.startswith("opencode: no copy of the sessions was made for going back (")
    assert said in told
    assert sessions.kept() == []
