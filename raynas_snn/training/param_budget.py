"""Compares the number of parameters of a network with the sweep's limit, before it is trained."""

from collections.abc import Mapping

import torch

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import TrialInfeasible
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.genotype import Edge, Genotype, Node
from raynas_snn.nas.genotype_operations import usable
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, count_parameters
from raynas_snn.training.network_setup import macro_of, operations_of


def check_smallest(trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Checks before the search that the smallest network of the space is within the limit.

    Args:
        trial: Its model defines the network to train; its limits are the sweep's.
        num_classes: Size of the answer.
        image_shape: Channels, height, width.

    Raises:
        TrialInfeasible: If even the smallest is too large.
    """
    if trial.limits.max_params is not None:
        macro, operations = _network_of(trial, num_classes, image_shape)
        smallest = smallest_genotype(macro, operations)
        _check(trial, count_derived(macro, smallest, operations), ", even for the smallest network of the space")


def check_found(trial: TrialConfig, genotype: Genotype, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Checks before the retraining that the network found is within the limit; arguments as in `check_smallest`.

    Raises:
        TrialInfeasible: If it is too large.
    """
    if trial.limits.max_params is not None:
        macro, operations = _network_of(trial, num_classes, image_shape)
        _check(trial, count_derived(macro, genotype, operations), "")


def count_derived(macro: Macro, genotype: Genotype, operations: Mapping[str, MakeOperation]) -> int:
    """Parameters of a derived network without its auxiliary head, counted without making one."""
    with torch.device("meta"):
        return count_parameters(DerivedNetwork(macro, genotype, operations, auxiliary=False))


def smallest_genotype(macro: Macro, operations: Mapping[str, MakeOperation]) -> Genotype:
    """The genotype with the fewest parameters.

    All cells of a kind share their genotype, so the cost of an operation is its sum over them; the costs of edges are
    independent of each other.
    """
    return Genotype(_smallest_cell(macro, operations, False), _smallest_cell(macro, operations, True))


def _smallest_cell(macro: Macro, operations: Mapping[str, MakeOperation], reduction: bool) -> tuple[Node, ...]:
    plans = [plan for plan in macro.cells() if plan.reduction == reduction]

    def cheapest(source: int) -> tuple[int, Edge]:
        with torch.device("meta"):
            return min(
                (
                    (
                        sum(
                            count_parameters(
                                operations[name](plan.channels, plan.stride(source), macro.make_neuron, False)
                            )
                            for plan in plans
                        ),
                        Edge(name, source),
                    )
                    for name in usable(list(operations))
                ),
                key=lambda priced: priced[0],
            )

    priced = [cheapest(source) for source in range(macro.num_nodes + 1)]
    nodes = (sorted(priced[: index + 2], key=lambda one: one[0])[:2] for index in range(macro.num_nodes))
    return tuple(tuple(sorted((edge for _, edge in node), key=lambda edge: edge.source)) for node in nodes)


def _network_of(
    trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int]
) -> tuple[Macro, dict[str, MakeOperation]]:
    return macro_of(trial, "retrain", num_classes, image_shape), operations_of(trial)


def _check(trial: TrialConfig, params: int, addition: str) -> None:
    limit = trial.limits.max_params
    if limit is not None and params > limit:
        raise TrialInfeasible(f"params {params:,} > sweep.max_params {limit:,}{addition}", {"params": params})
