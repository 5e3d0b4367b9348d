"""One of several workers of a trial, joined by gloo; started by test_training.py.

Usage: python gloo_worker.py RANK SIZE RENDEZVOUS_FILE TRIAL_JSON OUTPUT_FOLDER [DEVICE]
"""

import gc
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import EpochRow, TrialContext
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.network import DerivedNetwork, Supernet
from trials.search_then_retrain import search_then_retrain


def main(rank: int, size: int, rendezvous: str, trial: str, output: Path, device: str = "cpu") -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )

    def report(row: EpochRow) -> None:
        """Saves what this worker has in memory after the epoch."""
        alive = [thing for thing in gc.get_objects() if isinstance(thing, Supernet | DerivedNetwork | Alphas)]
        state = {type(thing).__name__: dict(thing.state_dict()) for thing in alive}
        torch.save(state, output / f"rank{rank}-epoch{row['epoch']}.pt")

    metrics = search_then_retrain(TrialConfig.model_validate_json(trial), TrialContext(output, report, device))
    torch.save(metrics, output / f"rank{rank}-metrics.pt")
    dist.barrier()  # a worker that leaves first would end the other
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], Path(sys.argv[5]), *sys.argv[6:])
