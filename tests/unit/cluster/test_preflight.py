"""What a sweep file names must be what it is named for; said before anything is started."""

import os

import pytest

from raynas_snn.cluster.driver.preflight import check_components
from raynas_snn.config import load_sweep
from raynas_snn.core.errors import UserError
from raynas_snn.run.run_dir import RunDir

NOT_A_SAMPLER = dict
NOT_A_SCHEDULER = str
NEEDS_MORE = os.path.join


def test_the_default_is_all_right(tmp_path):
    check_components(load_sweep(None), RunDir(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trial=os:getcwd", "trial: 'os:getcwd' is not a TrialRecipe"),
        ("search.strategy=trials.fake:RECIPE", "'trials.fake:RECIPE' is not a Strategy"),
        (f"sweep.sampler={__name__}:NOT_A_SAMPLER", "makes no sampler: TypeError"),
        (f"sweep.sampler={__name__}:NEEDS_MORE", "makes no sampler: TypeError"),
        (f"sweep.scheduler={__name__}:NOT_A_SCHEDULER", "makes no scheduler of Ray Tune's, but str"),
        (f"sweep.scheduler={__name__}:NEEDS_MORE", "makes no scheduler: TypeError"),
        ("sweep.scheduler={name: asha, grace_epochs: 9999}", "grace_epochs: 9999 leaves asha nothing to stop"),
        (f"search.strategy={{name: fixed, genotype: {__file__!r}}}", "not JSON"),
    ],
)
def test_what_is_of_another_kind_is_named(tmp_path, override, message):
    varied = ("model.decay={float: [0.1, 0.9]}", "model.attention=none", "sweep.num_trials=2", "sweep.sampler=random")
    with pytest.raises(UserError) as refused:
        check_components(load_sweep(None, (*varied, override)), RunDir(tmp_path))
    assert message in str(refused.value)
