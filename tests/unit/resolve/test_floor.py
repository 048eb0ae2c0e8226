"""The floor under a lock: signatures, ages, dates that cannot be right, and keys that changed."""

from __future__ import annotations

import datetime as dt
import json
import sys

import making
import pytest

from opencode_cache import pipeline
from opencode_cache.base import http
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.cli import main as commands
from opencode_cache.formats import ages, lock, plan
from opencode_cache.formats.lock import Package, Signatures
from opencode_cache.npm import client as npm
from opencode_cache.npm.registry import Registry
from opencode_cache.resolve import floor, signatures

NOW = dt.datetime(2026, 6, 15, 12, tzinfo=dt.timezone.utc)
OLD, YOUNG = making.package("old"), making.package("young")
REPOSITORY = Package(name="r", version="1.0.0", integrity=OLD.integrity, github="o/r#" + "a" * 40)


@pytest.fixture
def dates(monkeypatch):
    """Package -> what the registry says of its day."""
    said = {"old": "2026-06-07T23:59:59.000Z", "young": "2026-06-08T00:00:00.000Z"}

    def read(_client, url, _headers):
        name = url.rpartition("/")[2]
        return json.dumps({"time": {"1.0.0": said[name]} if said[name] else {}}).encode()

    mirror = Registry("https://user:secret@mirror.test/npm", {}, {}, None)
    monkeypatch.setattr(http.Client, "read", read)
    monkeypatch.setattr(npm, "registry", lambda: mirror)
    return said


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("7d", 7), ("2w", 14)])
def test_an_age_is_days_or_weeks(text, days):
    assert ages.days(text) == days


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1y", "7 d", "99999d", "\uff17d"])
def test_what_is_no_age_is_refused_everywhere(text, tmp_path):
    with pytest.raises(BadInputError, match=r"min_age: .*'7d'"):
        plan.Plan(opencode="1.18.33", min_age=text)
    (tmp_path / "plan.toml").write_text(f"min_age = {json.dumps(text)}\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"plan\.toml: min_age: .*'7d'"):
        plan.read(tmp_path / "plan.toml")


def test_old_enough_is_whole_days_before_today(dates):
    floor.require_age("7d", [OLD], NOW)
    with pytest.raises(
        NetworkError, match=r"--min-age 7d: .*2026-06-08 or later: young@1\.0\.0 \(2026-06-08\)"
    ):
        floor.require_age("7d", [OLD, YOUNG], NOW)
    floor.require_age("7d", [OLD, YOUNG], NOW + dt.timedelta(days=1))


@pytest.mark.parametrize("date", ["", "yesterday", "1985-10-26T08:15:00.000Z", "2031-01-01T00:00:00.000Z"])
def test_a_mirror_with_dates_that_cannot_be_right_is_named(dates, date):
    dates["old"] = date
    with pytest.raises(NetworkError, match=r"registry at mirror\.test gives dates .*old@1\.0\.0") as caught:
        floor.require_age("7d", [OLD], NOW)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "nobody looked"),
        (Signatures(unchecked="npm could not look: ENOTFOUND"), "ENOTFOUND"),
        (Signatures(verified=1, missing=("young@1.0.0",)), r"no signature of young@1\.0\.0"),
    ],
)
def test_what_no_registry_vouches_for_is_refused(found, words):
    with pytest.raises(NetworkError, match=f"--require-signatures: .*{words}"):
        floor.require_signed(found, [OLD])


def test_what_is_signed_is_not():
    floor.require_signed(Signatures(verified=1), [OLD])


@pytest.mark.parametrize(
    "demand", [lambda p: floor.require_signed(Signatures(), p), lambda p: floor.require_age("1d", p)]
)
def test_an_archive_of_github_has_neither_signature_nor_day(demand):
    with pytest.raises(BadInputError, match="comes from GitHub"):
        demand([REPOSITORY])


def a_lock(**fields):
    made = making.lock(
        [OLD], {"config": {"node_modules/old": OLD.key}}, [making.request("config", "old", "config")]
    )
    return lock.Lock.model_validate(made.model_dump() | fields)


def test_a_lock_that_demands_signatures_has_them():
    with pytest.raises(ValueError, match="require_signatures: not every"):
        a_lock(require_signatures=True, signatures={"missing": ("old@1.0.0",)})
    made = a_lock(require_signatures=True, min_age="7d", signatures={"verified": 1, "keys": {"k": "d"}})
    assert lock.Lock.model_validate_json(lock.dumps(made)) == made


def test_fetch_asks_again(dates, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        signatures, "check", lambda packages: asked.append(packages) or Signatures(unchecked="no keys")
    )
    monkeypatch.setattr(pipeline.tarball, "fetch", lambda *_, **__: None)
    steps = []
    monkeypatch.setattr(pipeline.console, "step", steps.append)
    made = a_lock(require_signatures=True, min_age="1d", signatures={"verified": 1})
    pipeline.fetch(made, pipeline.platforms.current(), tmp_path, with_binary=False)
    assert [[package.key for package in packages] for packages in asked] == [["old@1.0.0"]]
    assert any("cannot be here: no keys" in step for step in steps)
    dates["old"] = f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%dT00:00:00Z}"
    with pytest.raises(NetworkError, match="--min-age 1d"):
        pipeline.fetch(made, pipeline.platforms.current(), tmp_path, with_binary=False)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"a": "1", "b": "3"}, "b is another key"),
        ({"a": "1"}, "b is gone"),
        ({"a": "1", "b": "2", "c": "3"}, "c is new"),
    ],
)
def test_keys_that_changed_are_an_error_to_look_at(now, words):
    with pytest.raises(BadInputError, match=rf"not those of my\.lock: {words}; .*--accept-keys"):
        floor.same_keys({"a": "1", "b": "2"}, now, "my.lock")


def test_keys_that_nobody_shows_are_not_compared():
    floor.same_keys({}, {"a": "1"}, "my.lock")
    floor.same_keys({"a": "1"}, {}, "my.lock")
    floor.same_keys({"a": "1"}, {"a": "1"}, "my.lock")


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ('{"keys": [{"keyid": "SHA256:x", "key": "abc"}]}', ["SHA256:x"]),
        ('{"keys": [{"keyid": "a\\u001b", "key": "abc"}]}', []),
        ('{"keys": [1]}', []),
        ('{"keys": 7}', []),
        ("[]", []),
        ("nothing", []),
    ],
)
def test_the_registrys_keys_are_read_with_care(dates, monkeypatch, answer, names):
    monkeypatch.setattr(http.Client, "read", lambda *_: answer.encode())
    assert list(floor.keys()) == names


def run(*arguments):
    sys.argv = ["opencode-cache", *arguments]
    with pytest.raises(SystemExit) as ended:
        commands.main()
    return ended.value.code or 0


def test_lock_compares_the_keys_with_the_file_that_it_replaces(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [])
    output = tmp_path / "l.json"
    output.write_text(lock.dumps(a_lock(signatures={"verified": 1, "keys": {"a": "1"}})), encoding="utf-8")
    changed = a_lock(signatures={"verified": 1, "keys": {"a": "2"}})
    given = []
    monkeypatch.setattr(pipeline, "make_lock", lambda chosen, *_, **__: given.append(chosen) or changed)
    before = output.read_bytes()
    arguments = ["lock", "--min-age", "7d", "--require-signatures", "-o", str(output)]
    assert run(*arguments) == 2
    assert "a is another key" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert (given[0].min_age, given[0].require_signatures) == ("7d", True)
    assert run(*arguments, "--accept-keys") == 0
    assert lock.read(output) == changed
