"""How many trials fit on the cluster at a time; nodes may be added and lost while the sweep runs."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from ray.exceptions import RayError

from raynas_snn.cluster.compat.head_queries import Snapshot, snapshot
from raynas_snn.config.schema import ResourcesConfig
from raynas_snn.core.errors import UserError

_FRESH_SECONDS = 1.0


class Capacity:
    """Counts the trials that fit on the live nodes.

    Args:
        resources: The resources of a trial.

    Attributes:
        cluster: The state of the cluster, at most a second old while the head node answers.
    """

    def __init__(self, resources: ResourcesConfig) -> None:
        self.resources = resources
        self.cluster = Snapshot((), {}, frozenset())
        self._seen_at = -math.inf

    def trials(self) -> int:
        """How many trials can run at a time on the resources that other jobs leave."""
        if time.monotonic() > self._seen_at + _FRESH_SECONDS:
            with contextlib.suppress(RayError):  # a head node that stays lost is detected elsewhere
                self.cluster = snapshot()
            self._seen_at = time.monotonic()
        return trials_on(self.cluster.nodes, self.resources)

    def check(self) -> None:
        """Raises `UserError` if no trial fits on the cluster even when it is idle."""
        self.cluster = snapshot()
        if self.trials() == 0:
            nodes = "; ".join(_amounts(node) for node in self.cluster.nodes)
            raise UserError(
                f"resources: a trial needs {needs(self.resources)}, which never fit on this Ray (nodes: {nodes})"
            )

    def wanting(self) -> str:
        """The resources that a waiting trial needs, and those that are free, in words."""
        number, total = len(self.cluster.nodes), Counter[str]()
        for node in self.cluster.nodes:
            total.update(node)
        held = f"{_amounts(self.cluster.free)} of {_amounts(total)} on {number} node{'s' * (number != 1)}"
        return f"{needs(self.resources)}; free now: {held}"


def trials_on(nodes: Sequence[Mapping[str, float]], resources: ResourcesConfig) -> int:
    """How many trials fit on these nodes at a time, if nothing else runs there."""
    trials = sum(workers_on(node, resources) for node in nodes) // resources.num_workers
    return trials if resources.max_concurrent == "auto" else min(trials, resources.max_concurrent)


def workers_on(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """How many workers fit on a node with these resources."""
    workers = math.floor(node.get("CPU", 0) / resources.cpus_per_worker)
    gpus, share = node.get("GPU", 0), resources.gpus_per_worker
    if share >= 1:
        workers = min(workers, math.floor(gpus / share))
    elif share > 0:  # a worker's share lies on one GPU: two of 0.6 do not fit on 1.2 GPUs
        workers = min(workers, math.floor(gpus) * math.floor(1 / share + 1e-9))
    return workers


def needs(resources: ResourcesConfig) -> str:
    """The resources of a trial in words: ``2 workers with 1 CPU and 0.5 GPU each``."""
    count = resources.num_workers
    each = f"{resources.cpus_per_worker} CPU and {resources.gpus_per_worker:g} GPU"
    return f"{count} workers with {each} each" if count > 1 else f"1 worker with {each}"


def _amounts(held: Mapping[str, float]) -> str:
    return f"{held.get('CPU', 0):g} CPU, {held.get('GPU', 0):g} GPU"
