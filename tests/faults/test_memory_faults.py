"""A trial that takes more memory than its machine may give: Ray's memory monitor kills, for real."""

import psutil
import pytest
from sweeper import Sweeper

pytestmark = [pytest.mark.ray, pytest.mark.long]

HUNGRY = """
import time
import torch
from raynas_snn.training.epoch_loop import EpochLoop
from raynas_snn.interfaces.trial import TrialRecipe

BITE = 2**26  # bytes
MOST = 2**33


def eat():
    eaten = []
    while len(eaten) * BITE < MOST:
        eaten.append(torch.ones(BITE // 4))
        time.sleep(0.03)
    raise RuntimeError("Ray has looked on")


def hungry(trial, context):
    marker = context.directory / "hungry"

    def epoch(index):
        if index == 2 and not marker.exists():
            marker.touch()
            eat()
        return {"accuracy": index / 10}

    EpochLoop("search", 3, 0, {}, context).run(epoch)
    return {"accuracy": 0.5, "params": 1, "spikes": 1.0}


WORKERS = TrialRecipe(run=hungry, total_epochs=lambda trial: 3)
ALONE = TrialRecipe(run=hungry, total_epochs=lambda trial: 3, uses_workers=False)
"""
ROOM = 3 * 2**30  # bytes, until Ray thinks that there is no more


@pytest.mark.parametrize(("recipe", "warned"), [("WORKERS", True), ("ALONE", False)])
def test_a_process_that_ray_kills_for_memory_goes_on_from_its_checkpoint(
    sweeper: Sweeper, recipe: str, warned: bool
) -> None:
    (sweeper.folder / "hungry.py").write_text(HUNGRY)
    memory = psutil.virtual_memory()
    share = (memory.total - memory.available + ROOM) / memory.total
    sweeper.login.update({"RAY_memory_usage_threshold": f"{share:.4f}", "RAY_memory_monitor_refresh_ms": "50"})
    settings = {"trial": f"hungry:{recipe}", "model.attention": "none", "sweep.num_seeds": 1, "sweep.max_failures": 1}
    ended = sweeper.run("--run-dir", "run", settings=settings)
    assert ended.code == 0, ended.err
    (record,) = sweeper.records()
    assert record["end_reason"] == "finished"
    assert [int(row[0]) for row in sweeper.curve(record["uid"])] == [1, 2, 3]
    warnings = [line for line in ended.out.splitlines() if "  warning  " in line]
    assert len(warnings) == warned
    for warning in warnings:
        assert "attempt 1 failed, the next goes on (" in warning
        assert "was killed by Ray because its machine ran out of memory; a smaller batch_size, " in warning
    assert "Traceback" not in ended.err
