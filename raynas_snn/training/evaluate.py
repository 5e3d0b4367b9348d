"""Accuracy and activity of a network on images it was not trained on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raynas_snn.nas.bilevel import StepResult
from raynas_snn.snn.energy import Activity, ActivityMeter
from raynas_snn.training.data import DeviceImages
from raynas_snn.training.distributed import World, sum_over_workers

EVALUATION_BATCH = 256
_ANSWER = "answer/"


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a set of images.

    Attributes:
        accuracy: The share it gets right.
        num_answers: How many different classes it answers; 1 is a network that does not tell images apart.
        activity: Per image.
    """

    accuracy: float
    num_answers: int
    activity: Activity


def evaluate(
    network: nn.Module,
    predict: Callable[[Tensor], Tensor],
    images: DeviceImages,
    batch_size: int,
    synapses: bool,
) -> Evaluation:
    """Runs all images once, shared by the workers.

    Args:
        network: Whose neurons are counted; put into evaluation mode and back.
        predict: Maps images ``[N, C, H, W]`` to logits ``[N, classes]`` by calling the network.
        images: What it is tested on.
        batch_size: Images at a time per worker.
        synapses: Count synaptic operations and energy too, not only spikes.
    """
    was_training = network.training
    network.eval()
    correct: Tensor | float = 0.0
    given: Tensor | None = None  # [classes] whether a class has been answered
    with torch.no_grad(), ActivityMeter(network, synapses) as meter:
        for batch, labels in images.evaluation_batches(batch_size, World.current()):
            logits = predict(batch)
            answers = logits.argmax(dim=1)
            correct = correct + (answers == labels).sum()
            given = logits.new_zeros(logits.shape[1], dtype=torch.bool) if given is None else given
            given.index_fill_(0, answers, True)
    network.train(was_training)
    classes = {} if given is None else {f"{_ANSWER}{number}": 1.0 for number in given.nonzero().flatten().tolist()}
    totals = sum_over_workers(meter.totals() | {"correct": float(correct)} | classes)
    num_answers = sum(key.startswith(_ANSWER) for key in totals)
    return Evaluation(totals["correct"] / totals["images"], num_answers, Activity.from_totals(totals))


def epoch_means(steps: Iterable[StepResult]) -> tuple[float, float]:
    """Mean loss and accuracy over all images of an epoch and all workers."""
    results = list(steps)
    totals = sum_over_workers(
        {
            "loss": float(sum(step.loss for step in results)),
            "correct": float(sum(step.correct for step in results)),
            "images": float(sum(step.images for step in results)),
        }
    )
    return totals["loss"] / totals["images"], totals["correct"] / totals["images"]
