"""What a sweep file names must be what it is named for; said before anything is started."""

import os

import pytest

from raynas_snn.cluster.parts import check_parts
from raynas_snn.config import load_sweep
from raynas_snn.errors import UserError

NOT_A_SAMPLER = dict
NEEDS_MORE = os.path.join


def test_the_default_is_all_right():
    check_parts(load_sweep(None))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trial=os:getcwd", "trial: 'os:getcwd' is not a TrialRecipe"),
        ("search.strategy=trials.fake:RECIPE", "'trials.fake:RECIPE' is not a Strategy"),
        (f"sweep.sampler={__name__}:NOT_A_SAMPLER", "makes no sampler: TypeError"),
        (f"sweep.sampler={__name__}:NEEDS_MORE", "makes no sampler: TypeError"),
        (f"search={{strategy: fixed, genotype: {__file__!r}}}", "not JSON"),
    ],
)
def test_what_is_of_another_kind_is_named(override, message):
    varied = ("model.decay={float: [0.1, 0.9]}", "model.attention=none", "sweep.num_trials=2", "sweep.sampler=random")
    with pytest.raises(UserError) as refused:
        check_parts(load_sweep(None, (*varied, override)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
