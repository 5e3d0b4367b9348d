"""Strategies without a search: random cells, the baseline of every search, and cells from a file."""

import random
from pathlib import Path

from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.core.errors import UserError
from raynas_snn.core.untrusted_files import read_bytes
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.network import check_operations
from raynas_snn.training.device_images import DeviceImages
from raynas_snn.training.network_setup import num_nodes_of, operations_of
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.seeds import SEARCH, seed_of
from raynas_snn.training.strategies.strategy_options import FixedOptions

LARGEST_GENOTYPE = 2**20  # bytes
_OPTION = "search.strategy.genotype"


def random_cells(
    trial: TrialConfig,
    context: TrialContext,  # noqa: ARG001
    images: DeviceImages,  # noqa: ARG001
    num_classes: int,  # noqa: ARG001
) -> SearchResult:
    """A uniformly random genotype of the space that the other strategies search, drawn with the trial's seed."""
    operations = load_space(trial.space).operations
    draw = random.Random(seed_of(trial.seed, SEARCH))
    return _untrained(random_genotype(num_nodes_of(trial), operations, draw))


def read_cells(
    trial: TrialConfig,
    context: TrialContext,  # noqa: ARG001
    images: DeviceImages,  # noqa: ARG001
    num_classes: int,  # noqa: ARG001
) -> SearchResult:
    """The genotype in the file ``genotype``, such as the ``genotype.json`` of any finished trial.

    Raises:
        UserError: If there is no such file, or its genotype does not fit the space or the number of nodes.
    """
    written = trial.search.strategy.options_as(FixedOptions).genotype
    if written is None:
        raise UserError(f"{_OPTION}: strategy fixed needs a file with the cells, such as a trial's genotype.json")
    path = Path(written).expanduser()
    genotype = read_genotype(path)
    try:
        check_operations(genotype, operations_of(trial))
        expected = num_nodes_of(trial)
        if genotype.num_nodes != expected:
            raise UserError(f"genotype: {genotype.num_nodes} nodes per cell, but model.num_nodes is {expected}")
        for kind, nodes in (("normal", genotype.normal), ("reduction", genotype.reduction)):
            for source in {0, 1} - {edge.source for node in nodes for edge in node}:
                raise UserError(f"genotype: no node of the {kind} cell reads input_{source}")
    except UserError as error:
        raise UserError(f"{_OPTION}: {str(path)!r}: {error}") from None
    return _untrained(genotype)


def read_genotype(path: Path) -> Genotype:
    """Reads a file with cells.

    Raises:
        UserError: Names the file and its mistake.
    """
    try:
        return Genotype.from_json(_read_text(path))
    except UserError as error:
        raise UserError(f"{_OPTION}: {str(path)!r}: {error}") from None


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, LARGEST_GENOTYPE).decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text") from None


def _untrained(genotype: Genotype) -> SearchResult:
    return SearchResult(genotype, accuracy=None, epoch=0, seconds=0.0)
