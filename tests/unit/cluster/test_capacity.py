"""How many workers of a trial a node can hold."""

import pytest

from raynas_snn.cluster.runtime.capacity import workers_on
from raynas_snn.config.schema import ResourcesConfig


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "expected"),
    [
        ({"CPU": 8}, 1, 0, 8),
        ({"CPU": 8}, 3, 0, 2),
        ({"CPU": 8}, 1, 1, 0),
        ({"CPU": 64, "GPU": 4}, 1, 1, 4),
        ({"CPU": 64, "GPU": 5}, 1, 2, 2),
        ({"CPU": 2, "GPU": 4}, 1, 1, 2),
        ({"CPU": 64, "GPU": 2}, 1, 0.5, 4),
        ({"CPU": 64, "GPU": 1}, 1, 0.1, 10),
        ({"CPU": 64, "GPU": 2}, 1, 0.4, 4),  # a share lies on one GPU: two fit on each, not five on both
        ({"CPU": 64, "GPU": 2}, 1, 0.6, 2),
    ],
)
def test_workers_on_a_node(node, cpus, gpus, expected):
    assert workers_on(node, ResourcesConfig(cpus_per_worker=cpus, gpus_per_worker=float(gpus))) == expected
