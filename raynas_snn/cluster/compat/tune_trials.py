"""What Tune's trials keep of themselves beside their configuration."""

from pathlib import Path
from typing import Any

_FAILURE = "Failure # "  # how Tune begins each entry of a trial's error file


def last_failure(trial: Any) -> str:
    """What Tune has noted of a trial's latest failure; empty if there is none.

    Missing in Ray: ``on_trial_recover`` and ``on_trial_error`` of a callback are not told why.
    Without it: neither a lost machine nor a reason can be told from any other death.
    """
    return Path(trial.error_file).read_text().rpartition(_FAILURE)[2] if trial.error_file else ""


def forgive_failures(trial: Any) -> None:
    """Has Tune forget the deaths of a trial's process that it counts against the trial.

    Missing in Ray: ``tune.FailureConfig`` knows one number for deaths of any cause over the whole trial.
    Without it: a trial that gets further each time, or whose machines come and go, is called failed.
    """
    trial.run_metadata.num_failures = 0


def drop_statistics(trial: Any) -> None:
    """Drops the means, extremes and latest values of each metric that Tune keeps of an ended trial.

    Missing in Ray: an option to keep none.
    Without it: the driver keeps them of every trial until the sweep ends.
    """
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()
