"""Which of two copies of a run goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.errors import UserError
from raynas_snn.results.copies import Copy, is_later

STARTS = st.lists(st.integers(0, 5).map(lambda number: {"claim": number}), max_size=4)
UIDS = st.lists(st.sampled_from(["p0000-s0", "p0001-s0", "p0002-s0", "p0003-s0"]), unique=True)


def later(there: Copy, here: Copy) -> bool:
    return is_later(there, here, "s3://bucket/run", "runs/run")


@given(STARTS, STARTS.filter(bool), UIDS, UIDS)
def test_whoever_was_started_since_is_later(before: list, since: list, here: list[str], more: list[str]) -> None:
    there = [*here, *(uid for uid in more if uid not in here)]
    assert later(Copy([*before, *since], there), Copy(before, here))
    assert not later(Copy(before, here), Copy([*before, *since], there))
    assert not later(Copy(before, more), Copy(before, here))  # records may be taken out by hand to run a trial again


@given(STARTS, STARTS.filter(bool), STARTS.filter(bool), UIDS)
def test_copies_that_both_went_on_are_refused(before: list, ours: list, theirs: list, uids: list[str]) -> None:
    if ours[0] != theirs[0]:
        with pytest.raises(UserError, match="were continued independently of each other; move runs/run away"):
            later(Copy([*before, *theirs], uids), Copy([*before, *ours], uids))


@given(STARTS, STARTS.filter(bool), UIDS, UIDS)
def test_a_trial_that_ended_here_is_never_lost_in_silence(before: list, since: list, here: list, there: list) -> None:
    if set(here) - set(there):
        with pytest.raises(UserError, match="was continued elsewhere and lacks") as refused:
            later(Copy([*before, *since], there), Copy(before, here))
        assert sorted(set(here) - set(there))[0] in str(refused.value)
