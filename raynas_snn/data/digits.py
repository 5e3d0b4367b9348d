"""The data set ``digits``, which comes with scikit-learn: for tests and first steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raynas_snn.config.schema import DataConfig
from raynas_snn.interfaces.dataset import Dataset
from raynas_snn.interfaces.images import Images, rank_in_class


def _load(config: DataConfig) -> Images:
    """1,797 real handwritten digits of 8x8 pixels; every fifth image of each class is held out."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.minimum(bunch.images * 16, 255).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    test = rank_in_class(labels) % 5 == 4
    return Images(images[~test], labels[~test], images[test], labels[test], 10).first(config.num_train, config.num_test)


def _files(config: DataConfig) -> Sequence[Path]:  # noqa: ARG001 - the set comes with scikit-learn
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return [Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"]


DIGITS = Dataset(_load, _files, missing="reinstall scikit-learn", crop_padding=1)
