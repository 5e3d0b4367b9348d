"""The search strategies: what each finds, interrupted anywhere, on several workers, and inside a whole trial."""

import json
from pathlib import Path

import pytest
import torch
from gloo import SUPPORT, run_two_workers

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.genotype import Genotype
from raynas_snn.training.device_images import load_images
from raynas_snn.training.epoch_loop import COLUMNS
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.strategy import load_strategy, search_epochs
from trials.fake import RECIPE as FAKE
from trials.search_then_retrain import RECIPE, search_then_retrain

TINY = (
    "model.attention=ma",
    "model.channels=4",
    "model.layers=3",
    "model.num_nodes=2",
    "search.channels=4",
    "search.layers=3",
    "search.epochs=2",
    "search.batch_size=32",
    "retrain.epochs=1",
    "data.num_train=160",
    "data.num_test=40",
)
OPTIONS = {"sahd": "candidates: 5", "evolution": "population: 4, generations: 3"}
EPOCHS = {"random": 0, "sahd": 2, "evolution": 5, "fixed": 0, "darts": 2}


def trial(strategy: str, *overrides: str, seed: int = 0) -> TrialConfig:
    return load_sweep(
        None, (*TINY, f"search.strategy={{name: {strategy}, {OPTIONS.get(strategy, '')}}}", *overrides)
    ).trial_config(0, seed, {})


class InterruptedTrialError(Exception):
    """Stands for a process that dies."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def without_time(numbers: dict) -> dict:
    return {key: value for key, value in numbers.items() if key != "seconds"}


def search(folder: Path, config: TrialConfig, stop_after: int | None = None) -> tuple[SearchResult, list[dict]]:
    """The search alone: what it finds and what it reports."""
    folder.mkdir(exist_ok=True)
    rows: list[dict] = []

    def report(row) -> None:
        rows.append(without_time(row))
        if row["epoch"] == stop_after:
            raise InterruptedTrialError

    train, _, arrays = load_images(config.data, "cpu")
    strategy = load_strategy(config.search.strategy.name)
    return strategy.search(config, TrialContext(folder, report), train, arrays.num_classes), rows


@pytest.fixture(scope="module")
def searches(tmp_path_factory) -> dict[str, tuple[SearchResult, list[dict]]]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("searches")
    return {name: search(folder / name, trial(name)) for name in ("random", "sahd", "evolution")}


@pytest.mark.parametrize(("strategy", "epochs"), EPOCHS.items())
def test_trials_know_their_epochs_whatever_the_strategy(strategy, epochs):
    config = trial(strategy, *((f"search.strategy.genotype={__file__}",) if strategy == "fixed" else ()))
    assert search_epochs(config) == epochs
    assert RECIPE.total_epochs(config) == FAKE.total_epochs(config) == epochs + 1


@pytest.mark.parametrize("strategy", ["random", "sahd", "evolution"])
def test_a_search_reports_its_epochs_and_only_what_it_knows(strategy, searches):
    found, rows = searches[strategy]
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS[strategy] + 1))
    assert all(tuple(row) == tuple(column for column in COLUMNS if column != "seconds") for row in rows)
    assert found.genotype.num_nodes == 2
    if strategy == "evolution":
        assert [row["phase"] for row in rows] == ["search"] * 2 + ["evolve"] * 3
        assert found.accuracy == rows[-1]["accuracy"]
        assert all(row["train_loss"] > 0 for row in rows[:2])
    else:
        assert found.accuracy is None
        assert all(row["accuracy"] == row["train_loss"] == "" for row in rows)
    best_so_far = {"random": "", "sahd": "sahd_score", "evolution": "fitness"}[strategy]
    first = [row["epoch"] for row in rows if row[best_so_far] == rows[-1][best_so_far]][:1]
    assert [found.epoch] == (first or [0])


@pytest.mark.parametrize(
    ("strategy", "stop_after"), [("sahd", 1), ("sahd", 2), *(("evolution", epoch) for epoch in range(1, 6))]
)
def test_a_search_interrupted_after_any_epoch_finds_the_same(tmp_path, searches, strategy, stop_after):
    found, rows = searches[strategy]
    with pytest.raises(InterruptedTrialError):
        search(tmp_path / "trial", trial(strategy), stop_after)
    torch.manual_seed(99)  # a new process has other random numbers
    continued, more_rows = search(tmp_path / "trial", trial(strategy))
    assert without_time(continued.to_dict()) == without_time(found.to_dict())
    again = more_rows[more_rows.index(rows[stop_after - 1]) :]
    assert again == rows[stop_after - 1 :]


def test_other_seeds_find_other_cells(tmp_path, searches):
    for strategy in ("random", "sahd"):
        other, _ = search(tmp_path / strategy, trial(strategy, seed=1))
        assert other.genotype != searches[strategy][0].genotype


def test_sahd_keeps_the_best_of_its_candidates_however_they_are_spread(tmp_path, searches):
    found, rows = searches["sahd"]
    scores = [row["sahd_score"] for row in rows]
    assert scores == sorted(scores)
    for epochs in (1, 7):  # more epochs than candidates leave some of them empty
        spread, more = search(tmp_path / str(epochs), trial("sahd", f"search.epochs={epochs}"))
        assert spread.genotype == found.genotype
        assert more[-1]["sahd_score"] == scores[-1]
    fewer, less = search(tmp_path / "fewer", trial("sahd", "search.strategy.candidates=1"))
    assert less[-1]["sahd_score"] <= scores[-1]
    assert fewer.epoch == 2  # one candidate belongs to the last of two epochs
    released, others = search(tmp_path / "released", trial("sahd", "search.strategy.formula=released"))
    assert others[-1]["sahd_score"] != scores[-1]
    assert released.genotype.num_nodes == 2


def test_evolution_gets_no_worse_and_heeds_the_price_of_spikes(tmp_path, searches):
    fitness = [row["fitness"] for row in searches["evolution"][1][2:]]
    assert fitness == sorted(fitness)
    spikes = []
    for exponent in (-10, 10):
        config = trial("evolution", f"search.strategy.spike_exponent={exponent}", "search.strategy.population=6")
        _, rows = search(tmp_path / str(exponent), config)
        spikes.append([row["spikes"] for row in rows[2:]])
    assert spikes[0][-1] < 0.7 * spikes[1][-1]
    assert spikes[0][-1] <= spikes[0][0]


def test_workers_agree_and_sahd_does_not_depend_on_their_number(tmp_path, searches):
    script = SUPPORT / "strategies_worker.py"
    texts = [trial(strategy).model_dump_json() for strategy in ("sahd", "evolution")]
    run_two_workers(script, str(tmp_path / "rendezvous"), str(tmp_path), *texts)
    for strategy in ("sahd", "evolution"):
        first, second = (torch.load(tmp_path / strategy / f"rank{rank}.pt", weights_only=True) for rank in range(2))
        assert first["found"] == second["found"]
        assert first["rows"] == second["rows"]
        if strategy == "sahd":
            assert Genotype.from_dict(first["found"]["genotype"]) == searches["sahd"][0].genotype
            assert first["rows"] == searches["sahd"][1]
        assert len(first["networks"]) == (0 if strategy == "sahd" else 5)
        for ours, theirs in zip(first["networks"], second["networks"], strict=True):
            for name, tensor in ours.items():
                assert torch.equal(tensor, theirs[name]), name


def run(folder: Path, config: TrialConfig) -> tuple[dict, list[dict]]:
    """A whole trial."""
    folder.mkdir(exist_ok=True)
    rows: list[dict] = []
    return search_then_retrain(config, TrialContext(folder, lambda row: rows.append(dict(row)))), rows


def test_whole_trials_and_their_cells_again_from_the_file(tmp_path):
    metrics, rows = run(tmp_path / "evolution", trial("evolution"))
    assert [row["phase"] for row in rows] == ["search"] * 2 + ["evolve"] * 3 + ["retrain"]
    assert [row["epoch"] for row in rows] == list(range(1, 7))
    assert metrics["search_accuracy"] == rows[4]["accuracy"]
    path = tmp_path / "evolution" / "genotype.json"
    again, rows_again = run(tmp_path / "fixed", trial("fixed", f"search.strategy.genotype={path}"))
    assert (tmp_path / "fixed" / "genotype.json").read_text() == path.read_text()
    assert [row["epoch"] for row in rows_again] == [1]
    assert "search_accuracy" not in again
    assert {key: value for key, value in metrics.items() if key not in ("seconds", "search_accuracy")} == without_time(
        again
    )


def fixed(tmp_path: Path, path: Path | None, *overrides: str) -> str:
    """The one line that strategy fixed refuses a file with."""
    given = () if path is None else (f"search.strategy.genotype={path}",)
    with pytest.raises(UserError) as refused:
        search(tmp_path / "trial", trial("fixed", *given, *overrides))
    return str(refused.value)


def test_cells_from_a_file_that_will_not_do_are_one_line(tmp_path, searches):
    genotype = searches["random"][0].genotype
    good = tmp_path / "good.json"
    good.write_text(genotype.to_json())
    assert search(tmp_path / "trial", trial("fixed", f"search.strategy.genotype={good}"))[0].genotype == genotype

    assert "'fixed' needs a file with the cells" in fixed(tmp_path, None)
    nodes = fixed(tmp_path, good, "model.num_nodes=3")
    assert "2 nodes per cell, but model.num_nodes is 3" in nodes
    assert str(good) in nodes
    for name, content, expected in [
        ("text.json", b"cells", "not JSON"),
        ("bytes.json", b"\xff\xfe\x00", "not UTF-8"),
        ("large.json", b" " * (2**20 + 1), "larger than 1 MiB"),
        ("none.json", genotype.to_json().replace(genotype.normal[0][0].operation, "none").encode(), "'none'"),
        ("other.json", json.dumps({"normal": []}).encode(), "the keys 'normal' and 'reduction'"),
    ]:
        (tmp_path / name).write_bytes(content)
        message = fixed(tmp_path, tmp_path / name)
        assert message.startswith(f"search.strategy.genotype: '{tmp_path / name}': ")
        assert expected in message
    one_input = json.dumps(
        {kind: [[{"operation": "skip_connect", "input": "input_0"}]] * 2 for kind in ("normal", "reduction")}
    )
    (tmp_path / "one_input.json").write_text(one_input)
    assert "no node of the normal cell reads input_1" in fixed(tmp_path, tmp_path / "one_input.json")
    for nothing in (tmp_path / "missing.json", tmp_path):
        assert f"there is no file '{nothing}'" in fixed(tmp_path, nothing)
    config = trial("fixed", f"search.strategy.genotype={good}")
    good.unlink()  # after the sweep began
    with pytest.raises(UserError, match="cannot be read: No such file"):
        search(tmp_path / "trial", config)


@pytest.mark.parametrize("strategy", ["darts", "sahd", "evolution"])
def test_a_kind_of_cell_that_is_not_searched_is_not_derived(tmp_path, strategy):
    other_shape = ("search.layers=2", "search.reductions=[0, 1]", "model.layers=3", "model.reductions=[1]")
    with pytest.raises(UserError, match="the supernet has no normal cell"):
        search(tmp_path / "trial", trial(strategy, *other_shape))
