"""The precision of convolutions and matrix products: float32, TF32 or bfloat16.

With bfloat16 a network runs under autocast (`CellNetwork.precision`). Alphas and their softmax, weights, running
statistics, losses and optimisers stay in float32: autocast converts only the inputs of products.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from raynas_snn.config.schema import Precision


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Allows or forbids TF32 for float32 products in the body, forward and backward.

    Torch allows it for convolutions by default.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _allow_tf32(precision == "tf32", precision == "tf32")
    try:
        yield
    finally:
        _allow_tf32(*before)


def _allow_tf32(in_matmul: bool, in_convolutions: bool) -> None:
    with warnings.catch_warnings():  # some versions of torch advertise newer names, which others cannot mix with these
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = in_matmul
        torch.backends.cudnn.allow_tf32 = in_convolutions
