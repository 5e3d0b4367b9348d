"""Warnings: each names its reason, and none comes without one."""

import pytest
from sweeps import sweep_of

from raynas_snn.analysis.ablation import ablation
from raynas_snn.config import Sweep
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.run.records import EndReason, TrialRecord
from raynas_snn.tables.caveats import caveats, network_caveats

ATTENTION = OuterParameter("model.attention", "choice", levels=("none", "ct", True))
STEPS = OuterParameter("model.num_steps", "choice", levels=(2, 4))


def record(
    uid: str = "p0-s0",
    attention: str | bool = "none",
    num_steps: int = 2,
    end_reason: EndReason = "finished",
    **metrics: float,
) -> TrialRecord:
    outer = {"model.attention": attention, "model.num_steps": num_steps}
    return TrialRecord(uid, 0, 0, outer, end_reason, 1, 1.0, {"accuracy": 0.5, **metrics})


def warnings(sweep: Sweep, records: list[TrialRecord]) -> list[str]:
    return caveats(sweep, records, ablation(records, [ATTENTION, STEPS]))


FULL = [record(attention=attention, num_steps=steps) for attention in ("none", "ct", True) for steps in (2, 4)]


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_complete_sweep_needs_no_warning(sampler: str) -> None:
    assert warnings(sweep_of(sampler=sampler), FULL) == []
    assert warnings(sweep_of(sampler=sampler, scheduler="asha"), FULL) == [], "asha stopped nobody"
    assert warnings(sweep_of(sampler=sampler), []) == []


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "mine:sampler"])
def test_an_adaptive_sampler(sampler: str) -> None:
    (warning,) = warnings(sweep_of(sampler=sampler), FULL)
    assert f"'{sampler}' may choose proposals by earlier results" in warning


def test_a_warm_start() -> None:
    (warning,) = warnings(sweep_of(warm_start="runs/old"), FULL)
    assert "started from the results of runs/old" in warning


def test_survivors() -> None:
    ended = [*FULL, record("p1-s0", end_reason="early_stopped"), record("p1-s1", end_reason="infeasible")]
    stopped, infeasible = warnings(sweep_of(scheduler="asha"), ended)
    assert stopped == "1 of 8 trials were stopped early by asha: means are over survivors, which biases them upwards."
    assert infeasible.startswith("1 of 8 trials were infeasible")
    assert network_caveats(sweep_of(scheduler="asha"), ended) == [stopped, infeasible]


def test_differences_on_few_pairs_are_one_line_per_factor() -> None:
    records = [
        record(attention="none", num_steps=2),
        record(attention="ct", num_steps=2),
        record(attention="ct", num_steps=4),
        record(attention=True, num_steps=4),
    ]
    attention, steps = warnings(sweep_of(sampler="random"), records)
    assert attention == (
        "Differences of model.attention rest on few pairs of trials (ct: 1 of 2; true: none of 1): random proposals "
        "rarely agree in everything else; compare means with their intervals."
    )
    assert "model.num_steps" in steps
    assert "(4: 1 of 2)" in steps
    assert "their partners have not finished" in warnings(sweep_of(), records)[0]


def test_networks_of_skips_are_named() -> None:
    shares = [0.49, 0.5, 0.75, 1.0]
    records = [record(f"p{number}-s0", skip_share=share) for number, share in enumerate(shares)]
    records.append(record("p9-s0", end_reason="failed", skip_share=1.0))
    (warning,) = network_caveats(sweep_of(), records)
    assert warning == (
        "3 of 4 networks have normal cells made of skip connections by half or more: p1-s0, p2-s0, p3-s0."
    )
    many = [record(f"p{number}-s0", skip_share=1.0) for number in range(30)]
    (warning,) = network_caveats(sweep_of(), many)
    assert warning.endswith("p9-s0 and 20 more.")


def test_networks_that_answer_the_same_to_every_image_are_named() -> None:
    records = [record(f"p{number}-s0", num_answers=answers) for number, answers in enumerate((10, 1, 2))]
    (warning,) = network_caveats(sweep_of(), records)
    assert warning == (
        "1 of 3 networks give all test images the same answer, so they have learned nothing (a lower retrain.lr may "
        "help): p1-s0."
    )
