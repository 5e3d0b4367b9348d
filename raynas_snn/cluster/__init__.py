"""Sweeps on Ray: Tune starts the trials, Train trains each of them. The only package that imports ray."""

import os

# Ray reads these when it is imported: no telemetry, no output and no log files beside our own, and no snapshots of
# Tune's state in between: each would hold all trials so far, and nobody reads them. How many trials wait to be placed
# is for our searcher to say. Not every phase reports what a scheduler goes by, and that is no error.
os.environ.update(
    {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "inf",
        "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    }
)
