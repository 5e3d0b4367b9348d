"""Passes the reports of a trial's workers to Tune, each epoch once."""

from typing import Any

from ray import tune
from ray.train import UserCallback


class ReportToTune(UserCallback):
    """Hands the first worker's reports, which are the same on all workers, to Tune.

    Attributes:
        warnings: Warnings to send with the next report.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Passes an epoch to Tune; returns when Tune has processed it."""
        row = dict(metrics[0])
        warnings = [*self.warnings, row.get("warning", "")]
        self.warnings.clear()
        if any(warnings):
            row["warning"] = "; ".join(filter(None, warnings))
        tune.report(row)
