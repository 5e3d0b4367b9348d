"""Evaluates a network on images: accuracy, spikes, synaptic operations and energy."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raynas_snn.nas.bilevel import StepResult
from raynas_snn.snn.energy import Activity, ActivityMeter
from raynas_snn.training.device_images import DeviceImages
from raynas_snn.training.distributed import World, sum_over_workers

EVALUATION_BATCH = 256  # images at a time per worker
_ANSWER = "answer/"


@dataclass(frozen=True)
class Evaluation:
    """Result of a network on a set of images.

    Attributes:
        accuracy: Share of images classified correctly.
        num_answers: Number of different classes predicted; 1 means that the network does not distinguish images.
        activity: Mean activity per image.
    """

    accuracy: float
    num_answers: int
    activity: Activity


def evaluate(network: nn.Module, *choice: object, images: DeviceImages, synapses: bool) -> Evaluation:
    """Runs all images once, shared by the workers.

    Args:
        network: Maps images ``[N, C, H, W]`` to a tuple that begins with logits ``[N, classes]``; put into evaluation
            mode and back.
        choice: Its further arguments: a mixture, a genotype, or none.
        images: The images to classify.
        synapses: Count synaptic operations and energy too, not only spikes.
    """
    was_training = network.training
    network.eval()
    correct: Tensor | float = 0.0
    given: Tensor | None = None  # [classes] whether a class has been answered
    with torch.no_grad(), ActivityMeter(network, synapses) as meter:
        for batch, labels in images.evaluation_batches(EVALUATION_BATCH, World.current()):
            logits, _ = network(batch, *choice)
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
