"""A change of mind: further levels, wider ranges, a fixed value that is varied; fewer trials. No Ray."""

import json
import shutil
from collections.abc import Iterator

import optuna
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from ledgers import RANGES, TWO_OBJECTIVES, give_out, lines, outer, result, run_all, start, study_trials
from optuna.trial import TrialState
from sweeps import sweep_of

from raynas_snn.analysis.run_status import read_progress
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.saved_settings import recorded_sweep
from raynas_snn.config.search_parameter import parse_outer
from raynas_snn.config.superset import compare
from raynas_snn.core.errors import UserError
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.ledger import Ledger
from raynas_snn.study.plan import default_run_dir, make_plan
from raynas_snn.tables.report_files import write_report

PAIR = "model.attention={choice: [none, ct]}"
TRIPLE = "model.attention={choice: [none, ct, ma]}"
STEPS = "model.num_steps={choice: [1, 2]}"
KERNEL = "model.attention.time_kernel={choice: [1, 3]}"  # which ct has


@pytest.fixture(autouse=True)
def quiet_optuna() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def sweep(*overrides: str) -> Sweep:
    return load_sweep(None, ("trial=fake", "sweep.num_seeds=1", *overrides))


def compared(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[list[str], list[str]]:
    through_file = yaml.safe_load(yaml.safe_dump(sweep(*old).resolved()))
    return compare(recorded_sweep(through_file, "config.yaml"), sweep(*new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((PAIR,), (TRIPLE,)),
        ((PAIR,), ("model.attention={choice: [ma, ct, none]}",)),
        ((PAIR, KERNEL), (TRIPLE, "model.attention.time_kernel={choice: [5, 1, 3], when: {model.attention: [ct]}}")),
        ((PAIR, "model.decay=0.2"), (PAIR, "model.decay={choice: [0.1, 0.2]}")),
        ((PAIR, "retrain.compile=false"), (PAIR, "retrain.compile={choice: [true, false]}")),
        (
            ("sweep.sampler=tpe", "sweep.num_trials=3", "model.decay={float: [0.2, 0.5]}", PAIR),
            ("sweep.sampler=tpe", "sweep.num_trials=9", "model.decay={float: [0.1, 0.5]}", PAIR),
        ),
        (
            ("sweep.sampler=tpe", "sweep.num_trials=3", "model.channels={int: [8, 24], step: 8}"),
            ("sweep.sampler=tpe", "sweep.num_trials=3", "model.channels={int: [4, 32], step: 4}"),
        ),
        (
            ("sweep.sampler=tpe", "sweep.num_trials=3", "model.channels=8"),
            ("sweep.sampler=tpe", "sweep.num_trials=3", "model.channels={int: [4, 32], step: 4}"),
        ),
    ],
)
def test_a_wider_sweep_continues_and_a_narrower_one_does_not(old, new):
    refused, wider = compared(old, new)
    assert not refused
    assert wider
    assert compared(new, old)[0]


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ((TRIPLE,), (PAIR,), ["model.attention: {choice: ['none', 'ct', 'ma']} -> {choice: ['none', 'ct']}"]),
        ((PAIR,), ("model.attention=none",), ["model.attention: {choice: ['none', 'ct']} -> 'none'"]),
        ((PAIR,), ("model.attention={choice: [none, ma]}",), None),
        ((PAIR, "model.decay=0.2"), (PAIR, "model.decay={choice: [0.1, 0.3]}"), None),
        ((PAIR, "model.decay=0.2"), (PAIR, "model.decay={choice: [0.2, 0.3], when: {model.attention: ct}}"), None),
        (
            (PAIR, STEPS, KERNEL),
            (PAIR, STEPS, "model.attention.time_kernel={choice: [1, 3], when: {model.num_steps: 1}}"),
            None,
        ),
        ((PAIR, "model.num_steps={choice: [1, 2]}"), (TRIPLE, "model.num_steps={choice: [1, 3]}"), None),
        (
            (PAIR, "model.decay=0.2", "search.epochs=1"),
            (TRIPLE, "model.decay=0.3", "search.epochs=9"),
            ["model.decay: 0.2 -> 0.3", "search.epochs: 1 -> 9"],
        ),
        ((PAIR,), (TRIPLE, "sweep.seed=1"), ["sweep.seed: 0 -> 1"]),
    ],
)
def test_what_is_not_wider_is_refused_field_by_field(old, new, refused):
    found, _ = compared(old, new)
    assert found
    assert refused is None or found == refused


WHOLE = st.integers(-20, 20)


def ranges(kind: str) -> st.SearchStrategy[dict]:
    unit = 1 if kind == "int" else 0.125
    lows, counts, steps = WHOLE, st.integers(1, 12), st.none() | st.integers(1, 4)

    def make(low: int, count: int, step: int | None) -> dict:
        written = {kind: [low * unit, (low + count * (step or 1)) * unit]}
        return written if step is None else {**written, "step": step * unit}

    return st.builds(make, lows, counts, steps)


@given(
    pair=st.sampled_from(["int", "float"]).flatmap(lambda kind: st.tuples(st.just(kind), ranges(kind), ranges(kind)))
)
def test_a_range_is_wider_if_it_holds_every_value_of_the_other(pair):
    kind, old, new = pair
    assume(old != new)
    before, after = parse_outer("model.x", old), parse_outer("model.x", new)
    num_values = (
        64 if before.step is None and kind == "float" else 1 + round((before.high - before.low) / (before.step or 1))
    )
    values = [before.low + (before.high - before.low) * n / (num_values - 1) for n in range(num_values)]
    holds_all = all(after.fit(int(value) if kind == "int" else value) is not None for value in values)
    refused, wider = compare(sweep_of(model={"x": old}), sweep_of(model={"x": new}))
    assert (bool(wider), bool(refused)) == (holds_all, not holds_all)


GROWTHS = {
    "a level": ((PAIR, STEPS), (TRIPLE, STEPS), 2),
    "levels of both": ((PAIR, STEPS), (TRIPLE, "model.num_steps={choice: [1, 2, 4]}"), 5),
    "the parent of a condition": ((PAIR, KERNEL), (TRIPLE, KERNEL), 1),
    "a conditional level": (
        (PAIR, KERNEL),
        (PAIR, "model.attention.time_kernel={choice: [5, 1, 3]}"),
        1,
    ),
    "another baseline": ((PAIR, STEPS), ("model.attention={choice: [ma, ct, none]}", STEPS), 2),
    "a fixed value": ((PAIR, "model.decay=0.2"), (PAIR, "model.decay={choice: [0.5, 0.2]}"), 2),
}


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("num_done", [1, None])
def test_a_grid_keeps_the_proposals_that_were_begun_and_gets_the_others_behind_them(tmp_path, growth, num_done):
    old, new, num_new = GROWTHS[growth]
    narrow, wide = sweep(*old), sweep(*new)
    before = narrow.grid()
    ledger = start(narrow, tmp_path / "run")
    for _ in range(len(before) if num_done is None else num_done):
        ledger.finish(trial := give_out(ledger), result(trial))
    if num_done is not None:
        under_way = give_out(ledger)
    done = lines(tmp_path / "run")
    assert start(wide, tmp_path / "run").num_missing == num_new + len(before) - len(done)
    run_all(wide, tmp_path / "run")
    ledger = run_all(wide, tmp_path / "run")
    fixed = {"model.decay": 0.2} if growth == "a fixed value" else {}
    begun = [{**point, **fixed} for point in before[: len(before) if num_done is None else num_done + 1]]
    behind = [point for point in wide.grid() if point not in begun]
    assert len(ledger.records) == len(wide.grid()) == len(before) + num_new
    assert [dict(ledger.records[f"p{n:04d}-s0"].outer) for n in range(len(ledger.records))] == [*begun, *behind]
    if num_done is not None:
        assert ledger.records[under_way.uid].seed == under_way.seed
    whole = [json.loads(line) for line in lines(tmp_path / "run")]
    assert [{**json.loads(line), "outer": None} for line in done] == [
        {**record, "outer": None} for record in whole[: len(done)]
    ]
    assert len(whole) == len(ledger.records) + (len(done) if fixed else 0)  # written again, the parameter added
    assert [trial.state for trial in study_trials(ledger)] == [TrialState.COMPLETE] * len(ledger.records)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_sampler_draws_from_the_wider_space_once_it_is_asked_for_more(tmp_path, sampler):
    common = (f"sweep.sampler={sampler}", TWO_OBJECTIVES, "model.v_th={float: [0.5, 1.0]}", "model.num_steps=1")
    common = (*common, "sweep.sampler.population_size=4") if sampler == "nsga2" else common
    narrow = (*common, PAIR, "model.decay={float: [0.4, 0.6]}")
    wide = (*common, TRIPLE, "model.decay={float: [0.1, 0.9]}", "model.num_steps={choice: [1, 2]}")
    before = run_all(sweep(*narrow, "sweep.num_trials=6"), tmp_path / "run")
    first, told = outer(before), [(trial.values, trial.user_attrs) for trial in study_trials(before)]
    ledger = run_all(sweep(*wide, "sweep.num_trials=30"), tmp_path / "run")
    assert len(ledger.records) == 30
    assert {uid: values for uid, values in outer(ledger).items() if uid in first} == {
        uid: {**values, "model.num_steps": 1} for uid, values in first.items()
    }
    later = [values for uid, values in outer(ledger).items() if uid not in first]
    assert {"ma", 2} <= {value for values in later for value in values.values()}
    assert any(not 0.4 <= values["model.decay"] <= 0.6 for values in later)
    trials = study_trials(ledger)
    assert [(trial.values, trial.user_attrs) for trial in trials[:6]] == told
    assert len({str(sorted(trial.distributions.items())) for trial in trials}) == 1
    if sampler == "nsga2":
        assert [trial.system_attrs["NSGA2:generation"] for trial in trials] == [n // 4 for n in range(30)]


@pytest.mark.parametrize("growth", GROWTHS)
def test_a_driver_that_dies_before_it_wrote_the_config_leaves_both_sweeps_possible(tmp_path, growth):
    old, new, _ = GROWTHS[growth]
    narrow, wide = sweep(*old), sweep(*new)
    ledger = start(narrow, tmp_path / "run")
    ledger.finish(trial := give_out(ledger), result(trial))
    give_out(ledger)
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    Ledger(wide, ledger.run)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config
    for path, chosen in (("narrow", narrow), ("wide", wide)):
        folder = tmp_path / path
        shutil.copytree(tmp_path / "run", folder)
        assert make_plan(chosen, folder, "must").continues
        finished = run_all(chosen, folder)
        assert sorted(str(sorted(values.items())) for values in outer(finished).values()) == sorted(
            str(sorted(point.items())) for point in chosen.grid()
        )


def test_a_warm_start_stays_in_front_of_a_wider_sweep(tmp_path):
    learning = ("sweep.sampler=tpe", "sweep.num_trials=4", f"sweep.warm_start={tmp_path / 'earlier'}", *RANGES[1:])
    run_all(sweep("sweep.sampler=random", "sweep.num_trials=5", *RANGES[1:], PAIR), tmp_path / "earlier")
    before = study_trials(run_all(sweep(*learning, PAIR), tmp_path / "run"))
    (tmp_path / "earlier").rename(tmp_path / "elsewhere")
    after = study_trials(run_all(sweep(*learning, TRIPLE), tmp_path / "run"))
    assert [(trial.params, trial.values, trial.user_attrs) for trial in before] == [
        (trial.params, trial.values, trial.user_attrs) for trial in after
    ]
    assert len(after) == 9


def test_tables_and_status_know_the_wider_sweep(tmp_path):
    old, new, _ = GROWTHS["a fixed value"]
    run_all(sweep(*old), tmp_path / "run")
    run_all(sweep(*new), tmp_path / "run")
    rows = {(row.factor, row.level): row for row in write_report(RunDir(tmp_path / "run")).rows}
    assert {(factor, level): row.n for (factor, level), row in rows.items()} == {
        ("model.attention", "none"): 2,
        ("model.attention", "ct"): 2,
        ("model.decay", 0.5): 2,
        ("model.decay", 0.2): 2,
    }
    assert rows["model.decay", 0.2].num_pairs == 2
    progress = read_progress(RunDir(tmp_path / "run"))
    assert (progress.num_planned, progress.is_complete, progress.counts["finished"]) == (4, True, 4)


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_fewer_trials_leave_what_is_beyond_them_as_it_is_and_say_so(tmp_path, sampler):
    varied = (PAIR, "model.num_steps={choice: [1, 2, 3]}", f"sweep.sampler={sampler}", "sweep.num_seeds=2")
    many, few = sweep(*varied, "sweep.num_trials=6"), sweep(*varied, "sweep.num_trials=2", "sweep.num_seeds=1")
    ledger = start(many, tmp_path / "run")
    trials = [give_out(ledger) for _ in range(8)]
    for trial in trials[1:7]:
        ledger.finish(trial, result(trial))
    done = lines(tmp_path / "run")
    ledger = start(few, tmp_path / "run")
    assert ledger.notes == [
        "fewer trials are asked for than before: 5 beyond them have ended and stay in the tables, "
        "1 beyond them have begun and are left as they are"
    ]
    progress = read_progress(ledger.run)
    assert not progress.is_complete
    assert (progress.num_planned, progress.counts["interrupted"], progress.counts["waiting"]) == (2, 2, 0)
    assert (ledger.num_missing, ledger.num_trials) == (1, 7)
    run_all(few, tmp_path / "run")
    assert [json.loads(line)["uid"] for line in lines(tmp_path / "run")[len(done) :]] == ["p0000-s0"]
    assert read_progress(ledger.run).is_complete
    ledger = run_all(many, tmp_path / "run")
    assert not ledger.notes
    assert len(ledger.records) == len(lines(tmp_path / "run")) == 12
    assert ledger.records[trials[7].uid].outer == trials[7].outer
    assert {trial.state for trial in study_trials(ledger)} == {TrialState.COMPLETE}


def test_a_start_without_run_dir_hints_at_the_run_that_it_would_widen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    narrow, wide, other = sweep(PAIR, STEPS), sweep(TRIPLE, STEPS), sweep(PAIR, STEPS, "model.decay=0.7")
    for run in (narrow, other):
        run_all(run, default_run_dir(run))
    (tmp_path / "runs" / f"{narrow.config.name}-garbled").mkdir()
    for name in ("config.yaml", "manifest.json"):
        (tmp_path / "runs" / f"{narrow.config.name}-garbled" / name).write_text("5\n")
    plan = make_plan(wide, default_run_dir(wide), "auto")
    hint = f"hint: --run-dir {default_run_dir(narrow)} continues a run that this sweep widens"
    assert list(plan.notes) == [hint]
    assert hint in plan.text()
    assert plan.as_dict()["notes"] == [hint]
    with pytest.raises(UserError, match=f"does not start one; {hint}"):
        make_plan(wide, default_run_dir(wide), "must")
    assert not make_plan(wide, tmp_path / "elsewhere", "auto").notes
    widening = make_plan(wide, default_run_dir(narrow), "must")
    assert widening.text().splitlines()[-1].strip() == (
        "wider: model.attention: {choice: ['none', 'ct']} -> {choice: ['none', 'ct', 'ma']}"
    )
    with pytest.raises(UserError, match=r"holds a run of another sweep: model\.decay: 0\.7 -> 0\.2"):
        make_plan(wide, default_run_dir(other), "auto")


def test_more_of_a_grid_that_was_cut_short_comes_in_the_order_of_the_grid(tmp_path):
    run_all(sweep(TRIPLE, STEPS, "sweep.num_trials=2"), tmp_path / "run")
    ledger = run_all(sweep(TRIPLE, "model.num_steps={choice: [1, 2, 4]}", "sweep.num_trials=4"), tmp_path / "run")
    points = [(record.outer["model.attention"], record.outer["model.num_steps"]) for record in ledger.records.values()]
    assert points == [("none", 1), ("none", 2), ("none", 4), ("ct", 1)]
