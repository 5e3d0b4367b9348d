from pathlib import Path

import pytest

from raynas_snn.config import load_sweep

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_a_valid_sweep(file):
    assert load_sweep(file).num_proposals() >= 1


def test_there_are_examples():
    assert len(EXAMPLES) >= 2
