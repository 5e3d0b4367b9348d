"""Several workers training one network: who am I, and sums and means over all of us."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raynas_snn.errors import UserError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class World:
    """This worker's place among those that train together; without a process group it is alone."""

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

    Buffers are left to `average_buffers`: once per epoch is enough, and no worker's statistics are thrown away. Each
    step uses the same weights, all of them: there is nothing to search for, and what a step uses is looked up once.
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
    """Replaces tensors by their mean over the workers, in one message."""
    world = World.current()
    if world.size == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world.size
    for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def average_buffers(network: nn.Module) -> None:
    """Gives all workers the same running statistics, the mean of what each has seen."""
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
    """Asks the first worker alone, and gives all workers its answer or its `UserError`.

    Args:
        ask: Gives the answer.
        device: This worker's, which nccl sends from.
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
    """Keeps torch to the CPUs this worker was given, so that trials side by side do not slow each other down."""
    os.environ["OMP_NUM_THREADS"] = str(num_cpus)
    torch.set_num_threads(max(1, num_cpus))
