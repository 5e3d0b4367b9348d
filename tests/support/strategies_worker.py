"""One of several workers of searches, joined by gloo; started by test_strategies.py.

Usage: python strategies_worker.py RANK SIZE RENDEZVOUS_FILE OUTPUT_FOLDER TRIAL_JSON...
"""

import gc
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.single_path import SinglePathNetwork
from raynas_snn.training.device_images import load_images
from raynas_snn.training.strategy import load_strategy


def main(rank: int, size: int, rendezvous: str, output: Path, *trials: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for text in trials:
        trial = TrialConfig.model_validate_json(text)
        folder = output / trial.search.strategy.name
        folder.mkdir(exist_ok=True)
        rows: list[dict] = []
        networks: list[dict] = []

        def report(row, rows=rows, networks=networks) -> None:
            """Keeps what this worker has in memory after the epoch."""
            rows.append({key: value for key, value in row.items() if key != "seconds"})
            networks += [
                {name: value.clone() for name, value in thing.state_dict().items()}
                for thing in gc.get_objects()
                if isinstance(thing, SinglePathNetwork)
            ]

        train, _, arrays = load_images(trial.data, "cpu")
        search = load_strategy(trial.search.strategy.name).search
        found = search(trial, TrialContext(folder, report), train, arrays.num_classes)
        saved = {"found": {**found.to_dict(), "seconds": 0.0}, "rows": rows, "networks": networks}
        torch.save(saved, folder / f"rank{rank}.pt")
    dist.barrier()  # a worker that leaves first would end the other
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
