"""The options of the built-in surrogates. Importable without torch."""

from pydantic import Field

from raynas_snn.core.options import Options


class RectangularOptions(Options):
    """Options of ``rectangular``."""

    width: float = Field(1.0, ge=0.01, le=100, description="Of the window; it is 1 / width high.")


class DspikeOptions(Options):
    """Options of ``dspike``."""

    temperature: float = Field(
        3.0, ge=0.01, le=100, description="b of the paper: small is flat, large is steep; the window is 1 wide."
    )


class ATanOptions(Options):
    """Options of ``atan``."""

    alpha: float = Field(2.0, ge=0.01, le=100, description="Steepness; alpha / 2 is the greatest slope.")


class SigmoidOptions(Options):
    """Options of ``sigmoid``."""

    slope: float = Field(4.0, ge=0.01, le=100, description="Steepness; slope / 4 is the greatest slope.")
