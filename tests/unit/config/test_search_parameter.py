import re

import pytest

from raynas_snn.config.search_parameter import parse_outer


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ({"choice": ["none", "ct"]}, ("none", "ct")),
        ({"choice": [2]}, (2,)),
        ({"int": [1, 8]}, (1, 8)),
        ({"int": [2, 8], "step": 2}, (2, 8)),
        ({"int": [1, 8], "log": True}, (1, 8)),
        ({"float": [0.1, 0.4], "step": 0.1}, (0.1, 0.4)),
        ({"float": [1e-4, 1e-1], "log": True}, (1e-4, 1e-1)),
    ],
)
def test_forms(written, bounds):
    parameter = parse_outer("model.field", written)
    assert parameter.bounds == bounds
    assert parameter.as_dict() == written
    assert parameter.keys == ("model", "field")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "must be a plain value, {choice: [a, b]}"),
        ({"choose": [1]}, "must be a plain value, {choice: [a, b]}"),
        ({"choice": [1], "int": [1, 2]}, "must be a plain value"),
        ({"choice": [1], "log": True}, "choice does not go with the key 'log'"),
        ({"float": [1, 2], "lgo": True}, "float does not go with the key 'lgo'; did you mean 'log'?"),
        ({"choice": []}, "at least one value"),
        ({"choice": 3}, "at least one value"),
        ({"choice": [1, 1]}, "choice holds 1 twice"),
        ({"choice": [1, 1.0]}, "choice holds 1.0 twice"),
        ({"choice": [None]}, "not null"),
        ({"choice": [[1]]}, "not [1]"),
        ({"int": [1]}, "list of two whole numbers"),
        ({"int": [1, 2.5]}, "list of two whole numbers"),
        ({"int": [False, True]}, "list of two whole numbers"),
        ({"float": ["a", "b"]}, "list of two numbers"),
        ({"float": [0, float("inf")]}, "list of two numbers"),
        ({"float": [0, 10**400]}, "list of two numbers"),
        ({"int": [3, 3]}, "low must be below high"),
        ({"float": [2, 1]}, "low must be below high"),
        ({"float": [0, 1], "log": True}, "log needs a low above 0, not 0.0"),
        ({"float": [1, 2], "log": "yes"}, "log must be true or false"),
        ({"float": [1, 2], "log": True, "step": 1}, "step does not go with log"),
        ({"int": [1, 8], "step": 2}, "step 2 does not lead from 1 to 8"),
        ({"int": [1, 8], "step": 0}, "step must be one of the whole numbers above 0"),
        ({"float": [0, 1], "step": 0.3}, "step 0.3 does not lead from 0.0 to 1.0"),
    ],
)
def test_mistakes(written, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_outer("model.field", written)
