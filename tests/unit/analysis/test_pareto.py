"""The Pareto front: who is on it, and how to train it again."""

from pathlib import Path

import pytest
from sweeps import sweep_of

from raynas_snn.analysis.pareto import ParetoPoint, pareto_front
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.run.records import EndReason, TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables.pareto_table import to_csv, to_markdown
from raynas_snn.tables.report_files import write_report


def hunt(**limits: float) -> Sweep:
    model = {"attention": {"choice": ["none", "a|b"]}, "decay": {"float": [0, 1]}}
    return sweep_of(model=model, objectives={"accuracy": "maximize", "energy_uj": "minimize"}, **limits)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", hunt().resolved(), {})


def record(
    proposal: int, accuracy: float, energy_uj: float, seed: int = 0, end_reason: EndReason = "finished", **more: float
) -> TrialRecord:
    outer = {"model.attention": "a|b", "model.decay": proposal / 7}
    metrics = {"accuracy": accuracy, "energy_uj": energy_uj, **more}
    return TrialRecord(f"p{proposal:04d}-s{seed}", proposal, seed, outer, end_reason, 1, 1.0, metrics)


def numbers(points: list[ParetoPoint]) -> list[int]:
    return [point.proposal for point in points]


def test_nobody_on_the_front_is_beaten(run: RunDir) -> None:
    records = [
        record(0, 0.9, 9.0),
        record(1, 0.8, 5.0),
        record(2, 0.8, 6.0),  # beaten by 1
        record(3, 0.7, 5.0),  # beaten by 1
        record(4, 0.6, 1.0),
        record(5, 0.6, 1.0),  # as good as 4
        record(6, 0.5, 2.0),  # beaten by 4
    ]
    assert numbers(pareto_front(records, hunt(), run)) == [0, 1, 4, 5]


def test_points_are_means_over_finished_seeds_only(run: RunDir) -> None:
    records = [
        record(0, 0.6, 2.0, seed=1),
        record(0, 0.8, 4.0, seed=0),
        record(0, 1.0, 0.1, seed=2, end_reason="early_stopped"),
        record(1, 0.69, 2.9),
        record(2, 0.99, 0.1, end_reason="infeasible"),
        record(3, float("nan"), 0.1),
    ]
    run.trial("p0000-s0").create().genotype.write_text("{}")
    first, second = pareto_front(records, hunt(), run)
    assert first.objectives == pytest.approx({"accuracy": 0.7, "energy_uj": 3.0})
    assert first.trials == ["p0000-s0", "p0000-s1"]
    assert first.genotype == "trials/p0000-s0/genotype.json"
    assert (second.proposal, second.genotype) == (1, None)


@pytest.mark.parametrize(
    ("limit", "front"),
    [({}, [0, 1]), ({"max_params": 100}, [1]), ({"max_spikes": 10.0}, [0]), ({"max_energy_uj": 5.0}, [1])],
)
def test_what_is_over_a_limit_takes_no_part(run: RunDir, limit: dict[str, float], front: list[int]) -> None:
    records = [record(0, 0.9, 9.0, params=101.0, spikes=10.0), record(1, 0.8, 5.0, params=100.0, spikes=10.5)]
    assert numbers(pareto_front(records, hunt(**limit), run)) == front


def test_the_files(run: RunDir) -> None:
    run.trial("p0001-s0").create().genotype.write_text("{}")
    sweep = hunt(max_spikes=1e6)
    points = pareto_front([record(1, 0.1 + 0.2, 5.0)], sweep, run)
    assert to_csv(points, sweep).splitlines() == [
        "proposal,trials,accuracy,energy_uj,model.attention,model.decay,genotype",
        "1,p0001-s0,0.30000000000000004,5.0,a|b,0.14285714285714285,trials/p0001-s0/genotype.json",
    ]
    page = to_markdown(points, sweep, run, ["look out"])
    assert "| Proposal | Seeds | accuracy % (max) | energy_uj (min) | attention | decay | Cells |" in page
    assert "| 1 | 1 | 30.00 | 5 | a\\|b | 0.1429 | trials/p0001-s0/genotype.json |" in page
    assert f"python -m raynas_snn.sweep {run.report}/pareto/p0001.yaml\n" in page
    assert "spikes up to 1,000,000" in page
    assert "**Warning.** look out" in page


def test_a_point_has_a_sweep_file_that_trains_its_cells_again(tmp_path: Path) -> None:
    outer = ("model.attention={choice: [none, ma]}", "model.decay={float: [0.1, 0.9]}", "search.epochs=3")
    sweep = load_sweep(
        None,
        (*outer, "sweep={sampler: nsga2, num_trials: 2, objectives: {accuracy: maximize, spikes: minimize}}"),
    )
    run = RunDir.create(tmp_path / "run", sweep.resolved(), {})
    trial = sweep.trial_config(0, 0, {"model.attention": "ma", "model.decay": 0.3})
    folder = run.trial(trial.uid).create()
    folder.config.write_text(trial.model_dump_json())
    folder.genotype.write_text("{}")
    metrics = {"accuracy": 0.5, "spikes": 3.0}
    run.append(TrialRecord(trial.uid, 0, 0, dict(trial.outer), "finished", 3, 1.0, metrics))
    (run.report / "pareto").mkdir(parents=True)
    (run.report / "pareto" / "p0009.yaml").write_text("of a point that was on the front before")
    write_report(run)
    assert [path.name for path in (run.report / "pareto").iterdir()] == ["p0000.yaml"]
    again = load_sweep(run.report / "pareto" / "p0000.yaml")
    assert again.num_proposals() == 1
    once_more = again.trial_config(0, 0, {})
    assert (once_more.model, once_more.retrain, once_more.data) == (trial.model, trial.retrain, trial.data)
    assert (once_more.search.strategy.name, once_more.value_at("search.strategy.genotype")) == (
        "fixed",
        str(folder.genotype),
    )
