"""Outer parameters with conditions: which of them take part in a proposal, and what is wrong with a condition."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.conditions import is_active
from raynas_snn.config.yaml_text import dump
from raynas_snn.core.errors import UserError

ATTENTION = "model.attention={choice: [none, ma, channel]}"
REDUCTION = "model.attention.reduction={choice: [4, 8]}"  # which ma and channel have
KERNEL = "model.attention.spatial_kernel={choice: [3, 5], when: {model.attention: ma, model.attention.reduction: 4}}"


def sweep(*overrides: str, num_trials: int | None = None) -> Sweep:
    return load_sweep(None, ("space=darts_snn", *overrides), num_trials)


def test_a_grid_holds_each_proposal_once_without_what_has_no_effect():
    varied = sweep(ATTENTION, REDUCTION, KERNEL)
    assert [tuple(values.values()) for values in varied.grid()] == [
        ("none",),
        ("ma", 4, 3),
        ("ma", 4, 5),
        ("ma", 8),
        ("channel", 4),
        ("channel", 8),
    ]
    assert varied.num_proposals() == 6
    assert varied.num_trials() == 12
    assert sweep(ATTENTION, REDUCTION, KERNEL, num_trials=4).grid() == varied.grid()[:4]


@pytest.mark.parametrize(("space", "expected"), [("darts_snn", 7), ("spaces_of_test:space", 9)])
def test_an_inactive_field_has_what_it_would_have_if_the_file_did_not_mention_it(
    space, expected, tmp_path, monkeypatch
):
    (tmp_path / "spaces_of_test.py").write_text(
        "from raynas_snn.config.search_space import SearchSpace\n"
        "DEFAULTS = {'model': {'attention': {'spatial_kernel': 9}}}\n"
        "def space(): return SearchSpace('s', 't', ('skip_connect',), defaults=DEFAULTS)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    varied = load_sweep(None, (f"space={space}", ATTENTION, REDUCTION, KERNEL))
    values = {"model.attention": "ma", "model.attention.reduction": 8}
    assert varied.trial_config(0, 0, values).model.value_at("attention.spatial_kernel") == expected
    values = {**values, "model.attention.reduction": 4, "model.attention.spatial_kernel": 3}
    assert varied.trial_config(0, 0, values).model.value_at("attention.spatial_kernel") == 3
    assert varied.trial_config(0, 0, {"model.attention": "none"}).model.value_at("attention.spatial_kernel") is None


@pytest.mark.parametrize(
    "values",
    [
        {"model.attention": "none", "model.attention.reduction": 4},
        {"model.attention": "ma"},
        {"model.attention.reduction": 4},
    ],
)
def test_a_trial_takes_active_values_and_no_others(values):
    with pytest.raises(ValueError, match="outer parameters"):
        sweep(ATTENTION, REDUCTION).trial_config(0, 0, values)


def test_a_range_may_have_a_condition_and_conditions_know_aliases_and_fractions():
    varied = sweep(
        "model.tau={choice: [0, 1]}",
        "search.lr={float: [0.1, 0.2], when: {model.tau: 0}}",
        "sweep.sampler=random",
        num_trials=3,
    )
    assert varied.outer[1].when == (("model.decay", (0.0,)),)
    assert type(varied.outer[1].when[0][1][0]) is float


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [ATTENTION, "model.channels={choice: [1], when: {model.attenton: ma}}"],
            "--set model.channels: when: 'model.attenton' is not varied by this sweep; did you mean 'model.attention'?",
        ),
        (
            [ATTENTION, "model.channels={choice: [1], when: {model.attention: [none, mma]}}"],
            "when: 'mma' is not a level of model.attention; did you mean 'ma'?",
        ),
        (
            ["model.layers={choice: [2, 3]}", "model.channels={choice: [1], when: {model.layers: 4}}"],
            "when: 4 is not a level of model.layers (levels: [2, 3])",
        ),
        (
            ["model.channels={choice: [1, 2], when: {model.channels: 1}}"],
            "when: a parameter cannot depend on itself",
        ),
        (
            ["model.decay={float: [0, 1]}", "model.channels={choice: [1], when: {model.decay: 1}}"],
            "when: 'model.decay' is varied, but not by a choice",
        ),
        (
            [
                "model.channels={choice: [1], when: {model.layers: 2}}",
                "model.layers={choice: [2], when: {model.channels: 1}}",
            ],
            "when goes round in a circle: model.channels, model.layers",
        ),
        (["model.channels={choice: [1], when: ma}"], "when must name other choices, each with its levels"),
        (["model.channels={choice: [1], when: {}}"], "when must name other choices, each with its levels"),
        (
            [ATTENTION, "model.channels={choice: [1], when: {model.attention: []}}"],
            "when model.attention must be a list",
        ),
        (
            [ATTENTION, "model.channels={choice: [1], when: {model.attention: [ma, ma]}}"],
            "when model.attention holds 'ma' twice",
        ),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(UserError) as caught:
        sweep(*overrides)
    assert message in str(caught.value)


LEVELS = {
    "model.attention": ["none", "ct", "ma"],
    "model.num_steps": [1, 2, 3],
    "model.layers": [3, 4],
    "search.layers": [3, 5],
    "search.lr": [0.1, 0.2],
    "retrain.auxiliary": [True, False],
}


@st.composite
def conditional_sweeps(draw):
    """Parameters in any order, each with conditions on some that stand before it in that order."""
    paths = draw(st.permutations(list(LEVELS)))[: draw(st.integers(1, 6))]
    written = {}
    for index, path in enumerate(paths):
        written[path] = {"choice": LEVELS[path]}
        parents = draw(st.sets(st.sampled_from(paths[:index]), max_size=2)) if index else ()
        if parents:
            written[path]["when"] = {
                parent: draw(st.lists(st.sampled_from(LEVELS[parent]), min_size=1, unique=True)) for parent in parents
            }
    return written


@examples(60)
@given(written=conditional_sweeps())
def test_every_grid_is_made_of_different_proposals_that_keep_their_conditions(tmp_path_factory, written):
    file = tmp_path_factory.mktemp("conditions") / "sweep.yaml"
    content: dict = {"name": "x", "space": "darts_snn"}
    for path, value in written.items():
        section, _, field = path.partition(".")
        content.setdefault(section, {})[field] = value
    file.write_text(dump(content), encoding="utf-8")
    varied = load_sweep(file)

    grid = varied.grid()
    assert len({frozenset(values.items()) for values in grid}) == len(grid) == varied.num_proposals()
    for values in grid:
        for parameter in varied.outer:
            assert (parameter.path in values) == is_active(parameter, values)
        assert varied.trial_config(0, 0, values).outer == values

    file.write_text(dump(varied.resolved()), encoding="utf-8")
    again = load_sweep(Path(file))
    assert (again.config, again.outer, again.grid()) == (varied.config, varied.outer, grid)
    assert again.meaning_hash() == varied.meaning_hash()
    assert varied.num_trials() == len(grid)
