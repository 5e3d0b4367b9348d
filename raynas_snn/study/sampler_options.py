"""The options of the built-in samplers. Importable without Optuna."""

from pydantic import Field

from raynas_snn.core.options import Options


class NSGA2Options(Options):
    """Options of ``nsga2``."""

    population_size: int = Field(50, ge=2, le=10_000, description="Proposals per generation; 50 is Optuna's.")
