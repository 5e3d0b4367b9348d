#!/usr/bin/env bash
# Sends a sweep to a running Ray cluster as a job. Run it from the root of the checkout; run it again, after whatever has
# happened, and the sweep goes on where it stopped. Arguments go to the sweep:
#
#   RUN_DIR=/shared/runs/mine SWEEP=my_sweep.yaml examples/cluster/job_submit.sh --num-trials 40
#
# Everything here that git or Ray does not ignore (.gitignore, .rayignore) goes to the cluster, at most 500 MB.
set -euo pipefail

# The sweep file, relative to here.
SWEEP="${SWEEP:-examples/digits_quickstart.yaml}"
# The run directory, as the machines of the cluster see it: on a file system that all of them share, or anywhere if the
# sweep is given --storage URL.
RUN_DIR="${RUN_DIR:?set RUN_DIR to the run directory, on a file system that all machines of the cluster share}"
# The dashboard of the cluster; through `ssh -L 8265:127.0.0.1:8265 HEAD` it is here.
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
# The token of the cluster is looked for in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token.
export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"

if [[ $RUN_DIR != /* ]]; then
  # A job runs in a copy of this folder, which is thrown away.
  echo "error: RUN_DIR: must be an absolute path, not '$RUN_DIR'" >&2
  exit 2
fi

# Ray takes an id once only; it is the lock in the run directory that keeps a second job away from a sweep at work.
job="$(basename "$RUN_DIR")-$(date +%Y%m%d-%H%M%S)"
cat <<END
follow    ray job logs --follow $job        (Ctrl-C here ends the following, not the job)
progress  python -m raynas_snn.status $RUN_DIR
stop      ray job stop $job                 (the same command continues)
END

# Without the variable, `ray job stop` kills after 3 seconds: too soon for the epochs in flight to be saved.
exec ray job submit --submission-id "$job" --working-dir . \
  --runtime-env-json '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "40"}}' \
  -- python -m raynas_snn.sweep "$SWEEP" --run-dir "$RUN_DIR" "$@"
