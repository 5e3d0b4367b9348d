"""Helpers for several workers that train one network: rank, sums and means over all workers."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raynas_snn.core.errors import UserError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class World:
    """This worker's rank and the number of workers; one worker without a process group."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """Reads it off torch.distributed."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, batch_size: int) -> slice:
        """This worker's part of a batch of all workers."""
        return slice(batch_size * self.rank // self.size, batch_size * (self.rank + 1) // self.size)


def distribute(network: nn.Module, world: World) -> nn.Module:
    """Wraps a network so that gradients are averaged over the workers; alone, leaves it as it is.

    Buffers are averaged once per epoch by `average_buffers`, so that no worker's statistics are discarded. Each step
    uses all weights, so DDP need not search for unused ones and can treat the graph as static.
    """
    if world.size == 1:
        return network
    device = next(network.parameters()).device
    distributed = DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        static_graph=True,
    )
    distributed.broadcast_buffers = False  # as an attribute: the argument's name depends on the version of torch
    return distributed


def average(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors by their mean over the workers, in one all-reduce."""
    world = World.current()
    if world.size == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world.size
    for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def average_buffers(network: nn.Module) -> None:
    """Replaces the running statistics of all workers by their mean."""
    average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def sum_over_workers(values: Mapping[str, float]) -> dict[str, float]:
    """Adds up numbers key by key; a key that a worker lacks counts as 0 there."""
    world = World.current()
    if world.size == 1:
        return dict(values)
    gathered: list[dict[str, float]] = [{}] * world.size
    dist.all_gather_object(gathered, dict(values))
    keys = dict.fromkeys(key for part in gathered for key in part)
    return {key: sum(part.get(key, 0.0) for part in gathered) for key in keys}


def from_first_worker(ask: Callable[[], Answer], device: str) -> Answer:
    """Calls a function on the first worker only, and broadcasts its result or its `UserError` to all workers.

    Args:
        ask: The function.
        device: This worker's device, from which nccl sends.
    """
    world = World.current()
    if world.size == 1:
        return ask()
    heard: list[Answer | UserError | None] = [None]
    if world.rank == 0:
        try:
            heard = [ask()]
        except UserError as error:
            heard = [error]
    dist.broadcast_object_list(heard, src=0, device=torch.device(device))
    (answer,) = heard
    if isinstance(answer, UserError):
        raise answer
    return answer  # type: ignore[return-value]


def limit_threads(num_cpus: int) -> None:
    """Limits torch's threads to the CPUs of this worker, so that concurrent trials do not slow each other down."""
    os.environ["OMP_NUM_THREADS"] = str(num_cpus)
    torch.set_num_threads(max(1, num_cpus))
