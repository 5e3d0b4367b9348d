"""A trial's process that Tune gives to the next trial, and that dies just then."""

import pytest
from clusters import check_ended
from sweeper import Sweeper

pytestmark = pytest.mark.ray

# Its process kills itself when Tune prepares it for another trial.
DOOMED = """
import os
import signal
from pathlib import Path
from ray.tune.trainable import FunctionTrainable
from raynas_snn.interfaces.trial import TrialRecipe
from trials.fake import fake


def doomed(trial, context):
    def die(*_):
        (context.directory / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    for kind in with_subclasses(FunctionTrainable):
        kind.reset_config = die
    return fake(trial, context)


def with_subclasses(kind):
    yield kind
    for subclass in kind.__subclasses__():
        yield from with_subclasses(subclass)


RECIPE = TrialRecipe(run=doomed, total_epochs=lambda trial: 7, uses_workers=False)
"""


def test_a_process_that_dies_before_its_next_trial_costs_that_trial_nothing(sweeper: Sweeper) -> None:
    (sweeper.folder / "doomed.py").write_text(DOOMED)
    settings = {
        "trial": "doomed:RECIPE",
        "model.attention": {"choice": ["none", "ct", "ma"]},
        "sweep.num_seeds": 1,
        "resources.max_concurrent": 1,
    }
    ended = sweeper.run("--run-dir", "run", settings=settings)
    assert ended.code == 0, ended
    check_ended(sweeper, 3)
    assert len(list((sweeper.folder / "run" / "trials").glob("*/killed"))) == 2
    assert "FAILED" not in ended.out
    assert not ended.err
