"""The ablation table, recomputed the slow and obvious way."""

import dataclasses
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raynas_snn.analysis.ablation import AblationRow, ablation
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import EndReason, TrialRecord

ATTENTION = OuterParameter("model.attention", "choice", levels=("none", "ct", "ma"))
STEPS = OuterParameter("model.num_steps", "choice", levels=(2, 4))
DECAY = OuterParameter("model.decay", "float", low=0.0, high=1.0)


def record(
    attention: str = "none",
    num_steps: int = 2,
    seed: int = 0,
    accuracy: float | None = 0.5,
    end_reason: EndReason = "finished",
    **outer: Scalar,
) -> TrialRecord:
    return TrialRecord(
        uid="p0000-s0",
        proposal=0,
        seed=seed,
        outer={"model.attention": attention, "model.num_steps": num_steps, **outer},
        end_reason=end_reason,
        epochs=1,
        seconds=10.0,
        metrics={} if accuracy is None else {"accuracy": accuracy, "spikes": 100 * accuracy},
    )


def rows_by_level(records: list[TrialRecord], *parameters: OuterParameter) -> dict[Scalar, AblationRow]:
    return {row.level: row for row in ablation(records, parameters)}


def approximately(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)


ACCURACIES = st.one_of(st.none(), st.floats(0, 1), st.just(math.nan), st.just(math.inf))
RECORDS = st.lists(
    st.builds(
        record,
        attention=st.sampled_from(ATTENTION.levels),
        num_steps=st.sampled_from(STEPS.levels),
        seed=st.integers(0, 2),
        # Mostly numbers, or else most tables would be empty.
        accuracy=st.one_of(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), ACCURACIES),
        end_reason=st.sampled_from(["finished", "finished", "finished", "failed", "early_stopped", "infeasible"]),
    ),
    max_size=25,
)


@given(RECORDS)
def test_every_number_agrees_with_brute_force(records: list[TrialRecord]) -> None:
    rows = ablation(records, [ATTENTION, STEPS])
    assert [(row.factor, row.level) for row in rows] == [
        (parameter.path, level) for parameter in (ATTENTION, STEPS) for level in parameter.levels
    ]
    for row in rows:
        baseline = "none" if row.factor == "model.attention" else 2
        here = [one for one in records if one.outer[row.factor] == row.level]
        done = [one for one in here if one.end_reason == "finished"]
        assert row.n == len(done)
        assert row.num_failed == len([one for one in here if one.end_reason == "failed"])
        assert row.num_early_stopped == len([one for one in here if one.end_reason == "early_stopped"])
        assert row.num_infeasible == len([one for one in here if one.end_reason == "infeasible"])
        assert row.seconds == (10.0 if done else None)

        accuracies = [one.metrics.get("accuracy", math.nan) for one in done]
        if accuracies and all(map(math.isfinite, accuracies)):
            mean = sum(accuracies) / len(accuracies)
            assert row.accuracy_mean == approximately(mean)
            assert row.spikes == approximately(100 * mean)
        else:
            assert row.accuracy_mean is None
        if len(accuracies) > 1 and all(map(math.isfinite, accuracies)):
            error = math.sqrt(
                sum((value - mean) ** 2 for value in accuracies) / (len(accuracies) - 1) / len(accuracies)
            )
            assert row.accuracy_ci95 == approximately(error * stats.t.ppf(0.975, len(accuracies) - 1))
        else:
            assert row.accuracy_ci95 is None

        other = "model.num_steps" if row.factor == "model.attention" else "model.attention"
        differences = []
        for one in done:
            partners = [
                base.metrics.get("accuracy", math.nan)
                for base in records
                if base.end_reason == "finished"
                and base.outer[row.factor] == baseline
                and base.outer[other] == one.outer[other]
                and base.seed == one.seed
            ]
            if partners:
                differences.append(one.metrics.get("accuracy", math.nan) - sum(partners) / len(partners))
        assert row.num_pairs == (None if row.level == baseline else len(differences))
        if row.level == baseline:
            assert row.delta_vs_baseline == (0.0 if done else None)
        elif differences and all(map(math.isfinite, differences)):
            assert row.delta_vs_baseline == approximately(sum(differences) / len(differences))
        else:
            assert row.delta_vs_baseline is None


@given(RECORDS, st.randoms())
def test_the_order_of_the_records_does_not_matter(records: list[TrialRecord], random: Any) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    for one, other in zip(ablation(records, [ATTENTION]), ablation(shuffled, [ATTENTION]), strict=True):
        for left, right in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True):
            assert left == (approximately(right) if isinstance(right, float) else right)


@given(RECORDS)
def test_no_number_is_nan(records: list[TrialRecord]) -> None:
    for row in ablation(records, [ATTENTION, STEPS]):
        numbers = [value for value in dataclasses.astuple(row) if isinstance(value, float)]
        assert all(map(math.isfinite, numbers))


def test_pairing_removes_what_other_factors_and_seeds_do() -> None:
    records = [
        record("none", 2, seed=0, accuracy=0.50),
        record("none", 4, seed=1, accuracy=0.90),
        record("ct", 2, seed=0, accuracy=0.51),  # + 0.01 to its partner
        record("ct", 4, seed=1, accuracy=0.93),  # + 0.03 to its partner
        record("ct", 2, seed=1, accuracy=0.10),  # no partner
    ]
    rows = rows_by_level(records, ATTENTION)
    assert rows["ct"].delta_vs_baseline == pytest.approx(0.02)
    assert rows["ct"].accuracy_mean == pytest.approx(1.54 / 3)
    assert (rows["none"].num_pairs, rows["ct"].num_pairs) == (None, 2)
    assert (rows["ma"].delta_vs_baseline, rows["ma"].num_pairs) == (None, 0)


def test_parameters_that_only_some_levels_have_do_not_keep_levels_from_meeting() -> None:
    kernel = OuterParameter(
        "model.attention.time_kernel", "choice", levels=(1, 3), when=(("model.attention", ("ct", "ma")),)
    )
    window = OuterParameter(
        "model.attention.window", "choice", levels=("centred", "causal"), when=((kernel.path, (3,)),)
    )
    records = [
        record("none", accuracy=0.5),
        record("ct", accuracy=0.6, **{kernel.path: 1}),
        record("ct", accuracy=0.8, **{kernel.path: 3, window.path: "causal"}),
        record("ma", accuracy=0.9, **{kernel.path: 3, window.path: "centred"}),
    ]
    rows = {(row.factor, row.level): row for row in ablation(records, [ATTENTION, kernel, window])}
    ct = rows["model.attention", "ct"]
    assert ct.delta_vs_baseline == pytest.approx(((0.6 - 0.5) + (0.8 - 0.5)) / 2)
    assert ct.num_pairs == 2
    # A conditional factor counts where it plays a part, and what it depends on is a circumstance.
    assert [rows[kernel.path, level].n for level in (1, 3)] == [1, 2]
    assert rows[kernel.path, 3].delta_vs_baseline == pytest.approx(0.8 - 0.6)
    assert rows[kernel.path, 3].num_pairs == 1
    assert rows[window.path, "causal"].num_pairs == 0


def test_several_partners_of_one_trial_are_averaged() -> None:
    records = [record("none", accuracy=0.4), record("none", accuracy=0.6), record("ct", accuracy=0.7)]
    ct = rows_by_level(records, ATTENTION)["ct"]
    assert (ct.delta_vs_baseline, ct.num_pairs) == (pytest.approx(0.2), 1)


def test_the_interval_of_a_known_sample() -> None:
    row = rows_by_level([record(seed=seed, accuracy=a) for seed, a in enumerate((0.8, 0.9, 1.0))], ATTENTION)["none"]
    assert row.accuracy_ci95 == pytest.approx(4.302652729911275 * 0.1 / math.sqrt(3))


def test_without_outer_parameters_there_is_one_row() -> None:
    records = [record(accuracy=0.4), record(accuracy=0.6), record(end_reason="failed")]
    (row,) = ablation(records, [])
    assert (row.factor, row.level, row.n, row.num_failed) == ("all", "all", 2, 1)
    assert row.accuracy_mean == pytest.approx(0.5)
    assert row.delta_vs_baseline is None


def test_before_the_first_trial_all_levels_stand_empty() -> None:
    for row in ablation([], [ATTENTION]):
        assert set(dataclasses.astuple(row)[3:12]) == {None}
        assert (row.n, row.num_failed, row.num_early_stopped, row.num_infeasible) == (0, 0, 0, 0)
    assert ablation([], [DECAY]) == []


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.25, 0.5]), max_size=30))
def test_a_range_falls_into_bins_that_hold_every_trial_once(values: list[float]) -> None:
    rows = ablation([record(**{"model.decay": value}) for value in values], [DECAY])
    assert sum(row.n for row in rows) == len(values)
    assert len(rows) <= min(4, len(set(values)))
    assert all(row.n > 0 and row.delta_vs_baseline is None for row in rows)


def test_bins_are_quartiles_named_by_what_they_hold() -> None:
    records = [record(accuracy=value / 100, **{"model.decay": value / 100}) for value in range(100)]
    rows = ablation(records, [DECAY])
    assert [(row.level, row.n) for row in rows] == [
        ("0 to 0.24", 25),
        ("0.25 to 0.49", 25),
        ("0.5 to 0.74", 25),
        ("0.75 to 0.99", 25),
    ]
    assert rows[0].accuracy_mean == pytest.approx(0.12)


def test_few_values_of_a_range_stand_for_themselves() -> None:
    rows = ablation([record(**{"model.decay": value}) for value in (0.5, 0.1, 0.5)], [DECAY])
    assert [(row.level, row.n) for row in rows] == [(0.1, 1), (0.5, 2)]


def test_the_module_does_not_import_scipy_before_it_needs_it() -> None:
    code = (
        "import sys, raynas_snn.analysis.ablation; sys.exit(any(m in sys.modules for m in ('scipy', 'torch', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
