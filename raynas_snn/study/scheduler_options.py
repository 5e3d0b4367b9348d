"""The options of the built-in schedulers. Importable without Ray."""

from typing import Literal

from pydantic import Field

from raynas_snn.core.options import Options


class AshaOptions(Options):
    """Options of ``asha``."""

    metric: Literal["accuracy", "train_accuracy"] = Field(
        "accuracy", description="What is compared at a rung; more is better."
    )
    grace_epochs: int | None = Field(
        None, ge=1, le=100_000, description="First epochs that are left alone; null takes the search and one more."
    )
    reduction_factor: int = Field(3, ge=2, le=100, description="One trial of so many goes on at each rung.")
