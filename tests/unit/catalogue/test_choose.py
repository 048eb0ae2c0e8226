"""Which catalogue is shipped: the newer one, whatever single dates say."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.catalogue import choose


def catalogue(*days, field="last_updated"):
    """A catalogue with a provider for each day."""
    models = [{"id": "m", field: day} if day else {"id": "m"} for day in days]
    return {f"p{number}": {"models": {"m": model}} for number, model in enumerate(models)}


OLD = catalogue("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
NEW = catalogue("2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04")


@pytest.mark.parametrize(
    ("days", "newest"),
    [
        (["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"], "2026-01-02"),
        (["2026-01-01", "2026-01-01", "2026-01-01", "2030-01-01"], "2026-01-01"),
        (["2026-01-01", "2026-01-01", "2026-01-01", "2025-16-09", "2026-02-30"], "2026-01-01"),
        (["2026-01-05", "2026-02", "2026-02", "2026-02"], "2026-02-01"),
        (["2026-01-05"], "2026-01-05"),
        (["2026-01-05", "2026-01-06"], "2026-01-05"),
        (["2026-01-05", "", None, "soon", 20260106, "20260106", "2026-W02-1"], "2026-01-05"),
        ([], None),
        (["never", None], None),
    ],
    ids=str,
)
def test_a_catalogue_is_as_new_as_the_day_that_three_providers_reach(days, newest):
    assert choose.newest(catalogue(*days)) == (newest and dt.date.fromisoformat(newest))


def test_one_provider_with_many_new_models_is_one_witness():
    loud = {"loud": {"models": {str(n): {"last_updated": "2030-01-01"} for n in range(9)}}}
    assert choose.newest(OLD | loud) == dt.date(2026, 3, 3)


def test_a_release_counts_as_a_change_does():
    assert choose.newest(catalogue("2026-05-05", field="release_date")) == dt.date(2026, 5, 5)
    assert choose.newest({"empty": {"models": {}}, "none": {}}) is None


@given(st.lists(st.dates().map(str), max_size=8), st.lists(st.dates().map(str), max_size=8))
def test_a_catalogue_with_more_in_it_is_never_older(days, more):
    before, after = choose.newest(catalogue(*days)), choose.newest(catalogue(*days, *more))
    if len(days) >= 3:
        assert after >= before


BINARY = "binary is newer: its catalogue is of 2026-06-02, the given one of 2026-03-02"


@pytest.mark.parametrize(
    ("embedded", "given", "flags", "take", "why"),
    [
        (OLD, NEW, {}, "given", "given is newer than the binary's own: 2026-06-02 against 2026-03-02"),
        (NEW, OLD, {}, None, BINARY),
        (NEW, OLD, {"needed": True}, "binary", BINARY),
        (NEW, OLD, {"forced": True}, "given", "forced, whatever its age"),
        (NEW, OLD, {"forced": True, "needed": True}, "given", "forced, whatever its age"),
        (NEW, NEW, {}, "given", "given is as new as the binary's own: 2026-06-02 against 2026-06-02"),
        (OLD, NEW, {"needed": True}, "given", "given is newer than"),
        (None, OLD, {}, "given", "the binary has none of its own"),
        (None, None, {}, None, "no catalogue was given"),
        (None, None, {"needed": True}, None, "no catalogue was given"),
        (NEW, None, {}, None, "no catalogue was given"),
        (NEW, None, {"needed": True}, "binary", "this OpenCode needs the file"),
        (NEW, None, {"forced": True}, None, "no catalogue was given"),
        (NEW, catalogue(None), {}, "given", "the given catalogue has no dates to compare"),
        (catalogue(None), OLD, {}, "given", "the binary's catalogue has no dates to compare"),
    ],
)
def test_the_newer_one_is_shipped_unless_the_binary_has_it(embedded, given, flags, take, why):
    decision = choose.decide(embedded, given, **flags)
    assert (decision.take, decision.ship) == (take, take is not None)
    assert why in decision.why
