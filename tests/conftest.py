"""A folder of its own for each test, or for all tests of a module that look at one finished sweep."""

from pathlib import Path

import pytest
from sweeper import Sweeper


@pytest.fixture
def sweeper(tmp_path: Path) -> Sweeper:
    return Sweeper(tmp_path)


@pytest.fixture(scope="module")
def shared_sweeper(tmp_path_factory: pytest.TempPathFactory) -> Sweeper:
    return Sweeper(tmp_path_factory.mktemp("shared"))
