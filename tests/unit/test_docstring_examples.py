"""The examples in the docstrings of networks and their parts run and show what comes out."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from raynas_snn import nas, snn
from raynas_snn.core.registry import BUILT_INS, resolve

MODULES = [found.name for room in (nas, snn) for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")]


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(name) for name in MODULES]
    found = [
        test
        for module in modules
        for test in finder.find(module, globs={**vars(module), "torch": torch, "nn": torch.nn})
    ]
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name.removeprefix("raynas_snn."))
def test_an_example_shows_what_comes_out(example):
    torch.manual_seed(0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(example, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("kind", ["operations", "attentions", "neurons", "surrogates"])
def test_everything_that_a_sweep_file_names_has_an_example(kind):
    without = [name for name in BUILT_INS[kind] if ">>>" not in (resolve(kind, name).__doc__ or "")]
    assert not without
