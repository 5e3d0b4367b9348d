"""The list of networks: names after the paper, means over seeds, the best in bold."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from sweeps import sweep_of

from raynas_snn.analysis.networks import Network, networks
from raynas_snn.config import Sweep
from raynas_snn.config.schema import ModelConfig
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import EndReason, TrialRecord
from raynas_snn.tables.networks_table import screen_note, to_csv, to_latex, to_markdown, to_terminal

ATTENTION = {"choice": ["none", "ma"]}


def config(model: Mapping[str, Any], search: Mapping[str, Any] | None = None, **sweep: Any) -> Sweep:
    return sweep_of(
        name="table_3", data={"name": "cifar10"}, model={"channels": 36, **model}, search=search or {}, **sweep
    )


def record(
    proposal: int,
    outer: Mapping[str, Scalar],
    accuracy: float | None = 0.5,
    seed: int = 0,
    end_reason: EndReason = "finished",
    **metrics: float,
) -> TrialRecord:
    numbers = metrics if accuracy is None else {"accuracy": accuracy, **metrics}
    return TrialRecord(f"p{proposal:04d}-s{seed}", proposal, seed, outer, end_reason, 1, 1.0, numbers)


def names(records: list[TrialRecord], settings: Sweep) -> list[str]:
    return [network.network for network in networks(records, settings)]


@pytest.mark.parametrize(
    ("attention", "strategy", "name"),
    [
        ("none", "darts", "DARTS"),
        ("ct", "darts", "CT-DARTS"),
        ("ma", "darts", "MA-DARTS"),
        ("temporal", "darts", "T-DARTS"),
        ("channel", "darts", "C-DARTS"),
        ("spatial", "darts", "S-DARTS"),
        ("mine.py:Gate", "darts", "mine.py:Gate-DARTS"),
        ("none", "random", "Random"),
        ("ma", "random", "MA-Random"),
        ("none", "sahd", "SNASNet-SAHD"),
        ("ct", "evolution", "CT-AutoSNN-Evolution"),
        ("none", "fixed", "Fixed"),
        ("none", "mine:search", "mine:search"),
    ],
)
def test_names_are_the_papers_whether_fixed_or_varied(attention: str, strategy: str, name: str) -> None:
    fixed = config({"attention": attention}, {"strategy": strategy})
    assert names([record(0, {})], fixed) == [name]
    varied = config({"attention": {"choice": ["x", attention]}}, {"strategy": {"choice": ["x", strategy]}})
    assert names([record(0, {"model.attention": attention, "search.strategy": strategy})], varied) == [name]


def test_what_else_varies_stands_in_brackets() -> None:
    settings = config(
        {"decay": {"float": [0.1, 0.9]}, "v_th": {"choice": [1, 2]}, "channels": {"choice": [16, 32]}},
        {"lr": {"choice": [0.1]}, "epochs": {"choice": [5]}},
    )
    outer = {"model.decay": 0.123456789, "model.v_th": 1, "model.channels": 32, "search.lr": 0.1, "search.epochs": 5}
    (network,) = networks([record(0, outer)], settings)
    assert network.network == "DARTS (decay 0.1235, v_th 1, epochs 5, lr 0.1)"
    assert (network.channels, network.num_steps, network.dataset) == (32, 2, "cifar10")


def test_a_parameter_without_a_part_in_a_proposal_is_not_named() -> None:
    settings = config(
        {"attention": {**ATTENTION, "spatial_kernel": {"choice": [3, 7], "when": {"model.attention": "ma"}}}}
    )
    with_kernel = {"model.attention": "ma", "model.attention.spatial_kernel": 7}
    records = [record(0, {"model.attention": "none"}), record(1, with_kernel)]
    assert names(records, settings) == ["DARTS", "MA-DARTS (spatial_kernel 7)"]


def test_only_finished_seeds_count() -> None:
    records = [
        record(0, {}, 0.5, seed=0, params=1e6, params_with_auxiliary=1.5e6, spikes=10.0, energy_uj=1.0),
        record(0, {}, 0.7, seed=1, params=3e6, params_with_auxiliary=3.5e6, spikes=30.0, energy_uj=3.0),
        record(0, {}, 0.99, seed=2, end_reason="early_stopped"),
        record(0, {}, 0.98, seed=3, end_reason="infeasible"),
        record(1, {}, None, end_reason="failed"),
    ]
    (network,) = networks(records, config({}))
    assert network.accuracy_mean == pytest.approx(0.6)
    assert network.accuracy_std == pytest.approx(0.1 * 2**0.5)
    assert (network.num_seeds, network.params, network.params_with_auxiliary) == (2, 2e6, 2.5e6)
    assert (network.spikes, network.energy_uj) == (20.0, 2.0)


def test_one_seed_has_no_spread_and_a_missing_number_no_mean() -> None:
    records = [record(0, {}, 0.5, seed=0, spikes=1.0), record(0, {}, None, seed=1, spikes=3.0)]
    (network,) = networks(records, config({}))
    assert (network.accuracy_mean, network.accuracy_std, network.spikes) == (None, None, 2.0)
    assert networks([record(0, {}, 0.5)], config({}))[0].accuracy_std is None


def test_rows_follow_the_sweep_file() -> None:
    settings = config(
        {"attention": {"choice": ["ma", "none"]}, "channels": {"choice": [64, 36]}, "decay": {"float": [0, 1]}}
    )
    points = [("none", 36, 0.3), ("ma", 36, 0.2), ("none", 64, 0.9), ("ma", 36, 0.1), ("ma", 64, 0.5)]
    records = [
        record(number, {"model.attention": attention, "model.channels": channels, "model.decay": decay})
        for number, (attention, channels, decay) in enumerate(points)
    ]
    assert [network.proposal for network in networks(records, settings)] == [4, 3, 1, 2, 0]


def best(records: list[TrialRecord], settings: Sweep) -> list[int]:
    return sorted(network.proposal for network in networks(records, settings) if network.is_best)


def test_the_best_is_told_within_attention_and_width() -> None:
    model = {"attention": ATTENTION, "decay": {"choice": [0.2, 0.5]}}
    records = [
        record(0, {"model.attention": "none", "model.decay": 0.2}, 0.5),
        record(1, {"model.attention": "none", "model.decay": 0.5}, 0.6),
        record(2, {"model.attention": "ma", "model.decay": 0.2}, 0.9, spikes=100.5),
        record(3, {"model.attention": "ma", "model.decay": 0.5}, 0.8, spikes=100.0),
    ]
    # Over the limit, number 2 leaves number 3 with nobody to beat.
    assert best(records, config(model, max_spikes=100.0)) == [1]
    assert best(records, config(model)) == [1, 2]


def test_the_best_of_a_width_where_only_attention_varies() -> None:
    settings = config({"attention": ATTENTION, "channels": {"choice": [36, 64]}})
    records = [
        record(number, {"model.attention": attention, "model.channels": channels}, accuracy)
        for number, (attention, channels, accuracy) in enumerate(
            [("none", 36, 0.5), ("ma", 36, 0.6), ("none", 64, 0.7), ("ma", 64, 0.65)]
        )
    ]
    assert best(records, settings) == [1, 2]
    assert best(records[:1], settings) == []


SIXTEEN_AND_ONE = config({"decay": {"float": [0, 1]}}, max_params=1_500_000)


def sixteen_and_one() -> list[Network]:
    records = [
        record(number, {"model.decay": number / 100}, number / 100, params=1e6, spikes=1234.0, energy_uj=0.5)
        for number in range(16)
    ]
    return networks([*records, record(16, {"model.decay": 0.16}, 0.16, params=2e6)], SIXTEEN_AND_ONE)


def test_the_tables_for_papers() -> None:
    rows = sixteen_and_one()
    text = to_markdown(rows, SIXTEEN_AND_ONE, ["look out"])
    assert "| DARTS (decay 0.15) | **15.00** | 1 | 36 | 2 | 1.000 | - | 1.23k | 0.5 | cifar10 |" in text
    assert "| DARTS (decay 0.16) † | 16.00 | 1 | 36 | 2 | 2.000 | - | - | - | cifar10 |" in text
    assert "†: not within the limits of the sweep (params up to 1,500,000)" in text
    assert "without and with the auxiliary classifier; the MA-DARTS paper counts with it" in text
    assert "**Warning.** look out" in text
    tex = to_latex(rows, SIXTEEN_AND_ONE, ["look out"])
    assert r"DARTS (decay 0.15) & \textbf{15.00} & 1 & 36 & 2 & 1.000 & - & 1.23k & 0.5 & cifar10 \\" in tex
    assert "% Warning: look out\n" in tex
    assert r"\label{tab:table-3-networks}" in tex
    for words in ("mean over the finished seeds", "sample standard deviation", "4.6 pJ per MAC"):
        assert words in text
        assert words in tex
    assert "SNASNet" not in text


def test_csv_has_both_counts_of_parameters_and_every_outer_value() -> None:
    header, first, *_ = to_csv(sixteen_and_one(), SIXTEEN_AND_ONE).splitlines()
    assert header == (
        "network,accuracy_mean,accuracy_std,num_seeds,channels,num_steps,params,params_with_auxiliary,spikes,energy_uj,"
        "dataset,proposal,within_limits,is_best,model.decay"
    )
    assert first == "DARTS (decay 0),0.0,,1,36,2,1000000.0,,1234.0,0.5,cifar10,0,true,false,0.0"


def test_a_terminal_shows_the_fifteen_best() -> None:
    rows = sixteen_and_one()
    console = Console(width=80, file=io.StringIO(), markup=False, highlight=False)
    console.print(to_terminal(rows))
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert len(lines) == 16
    assert lines[1].startswith("DARTS (decay 0.16) † 16.00 1 36 2 2.000")
    assert lines[-1].startswith("DARTS (decay 0.02) 2.00")
    assert "the 15 best of 17 by accuracy" in screen_note(rows)
    assert "15 best" not in screen_note(rows[:15])


def test_where_a_condition_does_not_hold_the_network_is_what_was_trained() -> None:
    when = {"when": {"search.strategy": "darts"}}
    settings = config(
        {"attention": {"choice": ["ma", "ct"], **when}, "channels": {"choice": [32, 64], **when}},
        {"strategy": {"choice": ["darts", "random"]}},
    )
    drawn = record(0, {"search.strategy": "random"})
    trial = settings.trial_config(0, 0, drawn.outer)
    of_space = trial.model_copy(update={"model": ModelConfig(attention="spatial", channels=24)})
    (network,) = networks([drawn], settings, {"p0000-s0": of_space}.get)
    assert (network.network, network.channels) == ("S-Random", 24)
