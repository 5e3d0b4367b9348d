"""Sentences, shared by the tables, that say how the numbers were obtained."""

from collections.abc import Mapping

HELD_OUT = "Accuracy is on test images that were held out of search and training."
PER_IMAGE = "Spikes, SOPs (synaptic operations) and energy are per test image, summed over all time steps."
ENERGY = (
    "Energy = 4.6 pJ per MAC (layers that read real values) + 0.9 pJ per AC (one SOP; layers that read spikes), "
    "32-bit float at 45 nm (Horowitz, ISSCC 2014). Compute only: memory traffic is not part of it."
)
ONLY_FINISHED = (
    "Failed, early-stopped and infeasible trials are counted, never averaged. A dash stands for a number that "
    "cannot be told."
)


def limits(allowed: Mapping[str, float]) -> str:
    """``params up to 100,000, spikes up to 4,000.5``; empty without limits."""
    return ", ".join(f"{metric} up to {limit:,.10g}" for metric, limit in allowed.items())
