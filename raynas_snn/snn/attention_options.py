"""The options of the built-in attention, all of it left open by the papers. Importable without torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from raynas_snn.core.options import Options

Window = Literal["centred", "causal", "per_step"]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd, so that it has a middle")
    return value


Kernel = Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)]


class _MLPOptions(Options):
    reduction: int = Field(16, ge=1, le=1024, description="r, how many times narrower the MLP is than its input.")


class TemporalOptions(_MLPOptions):
    """Options of ``temporal``."""


class ChannelOptions(_MLPOptions):
    """Options of ``channel``."""


class SpatialOptions(Options):
    """Options of ``spatial``."""

    spatial_kernel: Kernel = Field(7, description="Side of the convolution over space.")


class CTOptions(Options):
    """Options of ``ct``."""

    channel_kernel: Kernel | None = Field(
        None, description="Height over channels of the convolution; null follows ECA's rule."
    )
    time_kernel: Kernel = Field(3, description="Width over time of the convolution.")
    window: Window = Field(
        "centred", description="Steps that the convolution sees: around a step, up to a step, or each by itself."
    )


class MAOptions(SpatialOptions, ChannelOptions):
    """Options of ``ma``: those of both its gates, and one of its own."""

    fold_time: bool = Field(False, description="Let the MLP see the channels of all steps at once, C * T inputs.")
