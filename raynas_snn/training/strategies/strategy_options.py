"""The options of the built-in strategies. Importable without torch."""

from typing import Literal

from pydantic import Field

from raynas_snn.core.options import FileName, Options


class SahdOptions(Options):
    """Options of ``sahd``."""

    candidates: int = Field(5000, ge=1, le=10_000_000, description="Random cells that are scored.")
    formula: Literal["corrected", "released", "normalised"] = Field(
        "corrected", description="The score: as we read the paper, as its code is, or all layers alike."
    )


class EvolutionOptions(Options):
    """Options of ``evolution``."""

    population: int = Field(20, ge=2, le=10_000, description="Cells per generation.")
    generations: int = Field(20, ge=1, le=100_000, description="Generations, each an epoch of its own.")
    mutation: float = Field(0.2, ge=0, le=1, description="Chance that an edge mutates.")
    spike_exponent: float = Field(
        -0.08, ge=-10, le=10, description="lambda of the fitness accuracy * (spikes / reference) ** lambda."
    )
    spike_reference: float = Field(110_000.0, gt=0, description="Spikes per image that the fitness is told by.")


class FixedOptions(Options):
    """Options of ``fixed``."""

    genotype: FileName | None = Field(None, description="The file with the cells; it must be given.")
