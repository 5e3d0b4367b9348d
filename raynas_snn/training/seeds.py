"""Derives a seed for each purpose from the trial's seed, so that any epoch can be repeated without the earlier ones."""

import numpy as np
import torch

SEARCH, RETRAIN = 0, 1  # what a seed is for, first of all: a phase


def seed_of(seed: int, *purpose: int) -> int:
    """A seed for a purpose (phase, epoch, stream) from the trial's seed; trailing zeros of a purpose are ignored."""
    state = np.random.SeedSequence([seed, *purpose]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])


def generator_for(device: str, seed: int, *purpose: int) -> torch.Generator:
    """A generator whose random numbers depend only on the seed and the purpose."""
    return torch.Generator(device).manual_seed(seed_of(seed, *purpose))
