"""Folders for sweeps, and how property tests draw their examples.

`make test` draws the same examples each time; `make soak` draws others each time, and many more of them.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from properties import USUAL
from sweeper import Sweeper

# How long an example takes is the machine's business.
settings.register_profile("test", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("soak", settings.get_profile("test"), derandomize=False, max_examples=20 * USUAL)
settings.load_profile("test")


@pytest.fixture
def sweeper(tmp_path: Path) -> Sweeper:
    """A folder of its own for a test's sweeps."""
    return Sweeper(tmp_path)


@pytest.fixture(scope="module")
def shared_sweeper(tmp_path_factory: pytest.TempPathFactory) -> Sweeper:
    """A folder for all tests of a module that look at one finished sweep."""
    return Sweeper(tmp_path_factory.mktemp("shared"))
