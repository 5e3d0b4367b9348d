"""Strategies that search nothing: cells drawn at random, the baseline of every search, and cells from a file."""

import random
from pathlib import Path

from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.network import check_operations
from raynas_snn.nas.sampling import random_genotype
from raynas_snn.outside import read_bytes
from raynas_snn.space import load_space
from raynas_snn.training.build import macro_of, operations_of, seed_of
from raynas_snn.training.data import DeviceImages
from raynas_snn.training.found import SearchResult
from raynas_snn.training.search import SEARCH
from raynas_snn.trial import TrialContext

LARGEST_GENOTYPE = 2**20  # bytes


def random_cells(
    trial: TrialConfig,
    context: TrialContext,  # noqa: ARG001
    images: DeviceImages,
    num_classes: int,
) -> SearchResult:
    """A uniformly random genotype of the space that the other strategies search; the trial's seed decides."""
    operations = load_space(trial.space).operations
    draw = random.Random(seed_of(trial.seed, SEARCH))
    return _untrained(random_genotype(_num_nodes(trial, images, num_classes), operations, draw))


def read_cells(
    trial: TrialConfig,
    context: TrialContext,  # noqa: ARG001
    images: DeviceImages,
    num_classes: int,
) -> SearchResult:
    """The genotype in the file ``search.genotype``, such as the ``genotype.json`` of any finished trial.

    Raises:
        UserError: If there is no such file, or its genotype does not fit the space or the number of nodes.
    """
    if trial.search.genotype is None:
        raise UserError(
            "search.genotype: strategy fixed needs the file with the cells, such as a trial's genotype.json"
        )
    path = Path(trial.search.genotype).expanduser()
    genotype = read_genotype(path)
    try:
        check_operations(genotype, operations_of(load_space(trial.space)))
        expected = _num_nodes(trial, images, num_classes)
        if genotype.num_nodes != expected:
            raise UserError(f"genotype: {genotype.num_nodes} nodes per cell, but model.num_nodes is {expected}")
        for kind, nodes in (("normal", genotype.normal), ("reduction", genotype.reduction)):
            for source in {0, 1} - {edge.source for node in nodes for edge in node}:
                raise UserError(f"genotype: no node of the {kind} cell reads input_{source}")
    except UserError as error:
        raise UserError(f"search.genotype: {str(path)!r}: {error}") from None
    return _untrained(genotype)


def read_genotype(path: Path) -> Genotype:
    """Reads a file with cells.

    Raises:
        UserError: Names the file, and what is wrong with it.
    """
    try:
        return Genotype.from_json(_read_text(path))
    except UserError as error:
        raise UserError(f"search.genotype: {str(path)!r}: {error}") from None


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, LARGEST_GENOTYPE).decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text") from None


def _num_nodes(trial: TrialConfig, images: DeviceImages, num_classes: int) -> int:
    return macro_of(trial, "retrain", num_classes, (*images.images.shape[1:],)).num_nodes


def _untrained(genotype: Genotype) -> SearchResult:
    return SearchResult(genotype, accuracy=None, epoch=0, seconds=0.0)
