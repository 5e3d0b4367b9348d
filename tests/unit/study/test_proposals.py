"""What samplers are told and what they are given: points, warm start, limits, stopped trials."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from ledgers import start, study_trials
from optuna.trial import FrozenTrial, TrialState

from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.files import write_json
from raynas_snn.study.samplers import FIRST_GENERATION
from raynas_snn.study.warm_start import read_warm_start

VARIED = (
    "trial=fake",
    "space=darts_snn",
    "model.attention={choice: [none, ma]}",
    "model.attention.reduction={choice: [4, 8]}",
    "model.decay={float: [0.1, 0.9]}",
    "sweep.num_seeds=1",
)
BOTH = "sweep.objectives={accuracy: maximize, spikes: minimize}"


@pytest.fixture(autouse=True)
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def sweep(sampler: str, num_trials: int, *overrides: str) -> Sweep:
    return load_sweep(None, (*VARIED, f"sweep.sampler={sampler}", f"sweep.num_trials={num_trials}", *overrides))


def metrics(trial: TrialConfig) -> dict:
    """Better and with more spikes the nearer decay is to 0.5."""
    good = 1 - abs(trial.model.decay - 0.5)
    return {"accuracy": good, "spikes": 100 * good, "params": 1000.0}


def run_all(sweep: Sweep, path: Path) -> list[TrialConfig]:
    ledger, trials = start(sweep, path), []
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, {"epochs": 3, "metrics": metrics(trial)})
        trials.append(trial)
    return trials


def study(sweep: Sweep, path: Path) -> Sequence[FrozenTrial]:
    return study_trials(start(sweep, path))


def test_points_come_first_and_what_they_leave_out_is_drawn(tmp_path):
    points = "[{model.tau: 0.25}, {model.attention: ma, model.attention.reduction: 8, model.decay: 0.5}]"
    trials = run_all(sweep("random", 4, f"sweep.points={points}"), tmp_path / "run")
    assert len(trials) == 4
    assert trials[0].model.decay == 0.25
    assert trials[1].outer == {"model.attention": "ma", "model.attention.reduction": 8, "model.decay": 0.5}
    assert len({trial.model.decay for trial in trials}) == 4


def test_nsga2_has_children_of_the_best_and_points_are_among_the_parents(tmp_path):
    generations = sweep(
        "nsga2", 24, "sweep.sampler.population_size=6", "sweep.points=[{model.attention: ma, model.decay: 0.5}]"
    )
    first = run_all(generations, tmp_path / "run")[0]
    assert first.model.decay == 0.5
    trials = study(generations, tmp_path / "run")
    assert [trial.system_attrs["NSGA2:generation"] for trial in trials] == [n // 6 for n in range(24)]
    parents = {trial.params["model.decay"] for trial in trials[:6]}
    inherited = [trial.params["model.decay"] in parents for trial in trials[6:12]]
    assert sum(inherited) >= 2  # the rest has mutated
    mean = [sum(trial.value for trial in trials[n : n + 6]) / 6 for n in (0, 18)]
    assert mean[1] > mean[0]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("objectives", [(), (BOTH,)])
def test_a_network_over_a_limit_is_told_as_pruned_with_by_how_much(tmp_path, sampler, objectives):
    limited = sweep(sampler, 14, "sweep.max_params=800", "sweep.max_spikes=80", *objectives)
    ledger = start(limited, tmp_path / "run")
    number = 0
    while (trial := ledger.next_trial()) is not None:
        over = {"epochs": 2, "infeasible": "params 1,000 > sweep.max_params 800", "metrics": {"params": 1000.0}}
        fine = {"epochs": 3, "metrics": {**metrics(trial), "params": 400.0, "spikes": 100.0}}
        ledger.finish(trial, fine if number % 3 else over)
        number += 1
    record = ledger.records["p0000-s0"]
    assert (record.end_reason, record.error) == ("infeasible", "params 1,000 > sweep.max_params 800")
    trials = study(limited, tmp_path / "run")
    assert trials[0].state == TrialState.PRUNED
    assert trials[0].constraints == {"params": pytest.approx(0.25)}
    assert trials[1].state == TrialState.COMPLETE
    assert trials[1].constraints == {"params": pytest.approx(-0.5), "spikes": pytest.approx(0.25)}


def test_a_network_that_was_found_too_large_while_no_driver_lived_is_booked_so(tmp_path):
    limited = sweep("random", 1, "sweep.max_params=800")
    ledger = start(limited, tmp_path / "run")
    over = {"epochs": 2, "infeasible": "params 1,000 > sweep.max_params 800", "metrics": {"params": 1000.0}}
    write_json(ledger.run.trial(ledger.next_trial().uid).create().result, over)
    again = start(limited, tmp_path / "run")
    assert (again.num_missing, again.records["p0000-s0"].end_reason) == (0, "infeasible")


def test_a_sampler_learns_to_keep_a_limit(tmp_path):
    """More accuracy costs more spikes here: without the limit, tpe goes where decay is near 0.5."""
    share = {}
    for name, limit in (("free", ()), ("limited", ("sweep.max_spikes=75",))):
        trials = run_all(sweep("tpe", 40, *limit), tmp_path / name)[20:]
        share[name] = sum(metrics(trial)["spikes"] <= 75 for trial in trials) / len(trials)
    assert share["limited"] > share["free"] + 0.2


def test_an_early_stopped_proposal_is_pruned_where_it_stood_unless_a_seed_finished(tmp_path):
    two = sweep("tpe", 3, "sweep.num_seeds=2")
    ledger = start(two, tmp_path / "run")
    for end in ("stop", "stop", "stop", "finish", "stop", "fail"):
        trial = ledger.next_trial()
        if end == "stop":
            ledger.book(trial, "early_stopped", 4, {"accuracy": 0.25, "spikes": 9.0})
        elif end == "finish":
            ledger.finish(trial, {"epochs": 9, "metrics": {"accuracy": 0.75}})
        else:
            ledger.book(trial, "failed", 1, {}, "out of memory")
    stopped, finished, cut_short = study(two, tmp_path / "run")
    assert (stopped.state, stopped.intermediate_values) == (TrialState.PRUNED, {4: 0.25})
    assert (finished.state, finished.value) == (TrialState.COMPLETE, 0.75)
    assert cut_short.state == TrialState.PRUNED
    again = start(two, tmp_path / "run")
    assert (again.num_missing, again.next_trial()) == (0, None)


def test_an_early_stopped_proposal_with_several_objectives_is_pruned(tmp_path):
    several = sweep("nsga2", 1, BOTH)
    ledger = start(several, tmp_path / "run")
    ledger.book(ledger.next_trial(), "early_stopped", 4, {"accuracy": 0.25, "spikes": 9.0})
    assert [trial.state for trial in study(several, tmp_path / "run")] == [TrialState.PRUNED]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    path = tmp_path_factory.mktemp("earlier") / "run"
    ledger = start(sweep("random", 9, "sweep.num_seeds=2"), path)
    ends = iter(["infeasible", "failed", "early_stopped"])
    while (trial := ledger.next_trial()) is not None:
        if trial.proposal % 3 == 2:
            if trial.seed == 0:
                end = next(ends)
            ledger.book(trial, end, 1, {"accuracy": 0.9}, "why")
        else:
            ledger.finish(trial, {"epochs": 3, "metrics": {**metrics(trial), "accuracy": trial.seed / 2}})
    return path


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_finished_proposals_of_another_run_come_before_the_first_of_our_own(tmp_path, earlier, sampler):
    warm = sweep(sampler, 4, f"sweep.warm_start={earlier}", "sweep.max_params=800", "sweep.points=[{model.decay: 0.3}]")
    trials = run_all(warm, tmp_path / "run")
    assert [trial.uid for trial in trials] == [f"p000{number}-s0" for number in range(4)]
    assert trials[0].model.decay == 0.3
    told = study(warm, tmp_path / "run")
    assert [trial.user_attrs.get("warm_start") for trial in told[:6]] == [
        f"p{number:04d}" for number in (0, 1, 3, 4, 6, 7)
    ]
    assert [trial.value for trial in told[:6]] == [0.25] * 6
    assert told[0].constraints == {"params": pytest.approx(0.25)}
    assert [trial.params for trial in told[6:]] == [trial.outer for trial in trials]
    assert start(warm, tmp_path / "run").num_warm_start == 6


def test_nsga2_takes_a_warm_start_for_its_first_generation(tmp_path, earlier):
    warm = sweep("nsga2", 3, f"sweep.warm_start={earlier}", "sweep.sampler.population_size=6")
    run_all(warm, tmp_path / "run")
    key = next(iter(FIRST_GENERATION))
    assert [trial.system_attrs[key] for trial in study(warm, tmp_path / "run")] == [0] * 6 + [1] * 3


def test_a_warm_start_once_read_belongs_to_the_run(tmp_path, earlier):
    gone = tmp_path / "gone"
    warm = sweep("tpe", 2, f"sweep.warm_start={gone}")
    gone.symlink_to(earlier)
    start(warm, tmp_path / "run")
    gone.unlink()
    assert len(run_all(warm, tmp_path / "run")) == 2


def test_what_only_the_other_run_varies_must_be_as_here(earlier):
    plain = (
        "model.attention={choice: [none, ma]}",
        "model.attention.reduction=16",
        "trial=fake",
        "space=darts_snn",
    )
    fits = load_sweep(
        None,
        (
            *VARIED[:3],
            "model.decay={choice: [0.11, 0.12]}",
            "sweep.sampler=tpe",
            "sweep.num_trials=1",
            f"sweep.warm_start={earlier}",
        ),
    )
    with pytest.raises(UserError, match=r"none of the 6 finished proposals of .* fits: they need accuracy, values"):
        read_warm_start(fits)
    fixed = load_sweep(
        None,
        (
            *plain,
            "model.decay={float: [0, 1]}",
            "sweep.sampler=tpe",
            "sweep.num_trials=1",
            f"sweep.warm_start={earlier}",
        ),
    )
    assert {one.values["model.attention"] for one in read_warm_start(fixed)} == {"none"}


def test_there_must_be_a_run_to_learn_from(tmp_path):
    with pytest.raises(UserError, match=r"embedded default_sweep\.yaml: sweep.warm_start: .*: no such directory"):
        read_warm_start(sweep("tpe", 1, f"sweep.warm_start={tmp_path / 'nothing'}"))


def test_random_draws_of_conditions_use_every_level(tmp_path):
    trials = run_all(sweep("random", 30), tmp_path / "run")
    assert {tuple(trial.outer) for trial in trials} == {
        ("model.attention", "model.decay"),
        ("model.attention", "model.attention.reduction", "model.decay"),
    }
    assert {trial.value_at("model.attention.reduction") for trial in trials} == {4, 8, None}


@pytest.mark.timeout(60)
def test_a_sampler_proposes_at_once_from_a_space_too_large_to_go_through(tmp_path):
    fields = ("lr", "momentum", "weight_decay", "grad_clip", "lr_min", "auxiliary_weight")
    levels = ", ".join(str(level / 100) for level in range(1, 41))
    varied = [f"{section}.{field}={{choice: [{levels}]}}" for section in ("search", "retrain") for field in fields]
    huge = sweep("random", 2, *varied)  # 40 ** 12 combinations
    assert len(run_all(huge, tmp_path / "run")) == 2
