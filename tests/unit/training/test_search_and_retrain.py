"""Whole trials without Ray: interrupted anywhere, on several workers, with bad settings."""

from pathlib import Path

import pytest
import torch
from gloo import SUPPORT, run_two_workers

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import SearchSpace
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext, TrialFailure
from raynas_snn.nas.collapse import skip_share
from raynas_snn.nas.genotype import Genotype
from raynas_snn.training.checkpoint import checkpoint_path, read_checkpoint
from raynas_snn.training.retrain_steps import RetrainSteps
from raynas_snn.training.strategies.darts_steps import SearchSteps
from trials.search_then_retrain import search_then_retrain

TINY = (
    "model.attention=ma",
    "model.channels=4",
    "search.channels=4",
    "search.epochs=2",
    "search.batch_size=32",
    "retrain.epochs=3",
    "data.num_train=160",
    "data.num_test=80",
)
EPOCHS = 5


def trial(*overrides: str) -> TrialConfig:
    return load_sweep(None, (*TINY, *overrides)).trial_config(0, 0, {})


class InterruptedTrialError(Exception):
    """Stands for a process that dies."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# All options of the differentiable search at once, on a smaller network.
ALL_OPTIONS = (
    "model.channels=2",
    "model.layers=3",
    "model.num_nodes=2",
    "search.channels=2",
    "search.epochs=3",
    "search.alpha_lr=0.1",
    "search.unrolled=true",
    "search.drop_path=0.3",
    "search.auxiliary=true",
    "search.warmup_epochs=1",
    "retrain.epochs=2",
    "retrain.drop_path=0.3",
    "data.num_train=48",
    "data.num_test=32",
)


def run(folder: Path, config: TrialConfig, stop_after: int | None = None) -> tuple[dict, list[dict]]:
    folder.mkdir(exist_ok=True)
    rows: list[dict] = []

    def report(row) -> None:
        rows.append(dict(row))
        if row["epoch"] == stop_after:
            raise InterruptedTrialError

    return search_then_retrain(config, TrialContext(folder, report)), rows


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[dict, list[dict], Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    return *run(folder, trial()), folder


def without_time(numbers: dict) -> dict:
    return {key: value for key, value in numbers.items() if key != "seconds"}


def test_a_trial_reports_each_epoch_and_returns_the_documented_numbers(uninterrupted):
    metrics, rows, folder = uninterrupted
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert [row["phase"] for row in rows] == ["search"] * 2 + ["retrain"] * 3
    assert metrics["accuracy"] == rows[-1]["accuracy"]
    assert metrics["search_accuracy"] == max(row["accuracy"] for row in rows[:2])
    assert {"params", "params_with_auxiliary", "spikes", "firing_rate", "sops", "macs", "energy_uj"} < set(metrics)
    assert metrics["spikes"] == rows[-1]["spikes"]
    assert metrics["skip_share"] == skip_share(Genotype.from_json((folder / "genotype.json").read_text()).normal)
    chosen = max(rows[:2], key=lambda row: row["accuracy"])
    assert metrics["skip_share"] == chosen["skip_share_normal"]
    assert all(bool(row["warning"]) == (row["skip_share_normal"] >= 0.5) for row in rows[:2])
    assert (folder / "genotype.json").is_file()


@pytest.mark.parametrize("stop_after", [1, 2, EPOCHS])  # in the search, between the phases, before the result
def test_an_interrupted_trial_ends_bit_identical(tmp_path, uninterrupted, stop_after):
    metrics, rows, folder = uninterrupted
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", trial(), stop_after)
    torch.manual_seed(99)  # a new process has other random numbers
    continued, more_rows = run(tmp_path / "trial", trial())
    assert without_time(continued) == without_time(metrics)
    assert [without_time(row) for row in more_rows] == [without_time(row) for row in rows[stop_after - 1 :]]
    ours, theirs = (read_checkpoint(checkpoint_path(path)) for path in (tmp_path / "trial", folder))
    assert ours["carried"]["genotype"] == theirs["carried"]["genotype"]
    for name, tensor in theirs["members"]["network"].items():
        assert torch.equal(ours["members"]["network"][name], tensor), name


@pytest.fixture(scope="module")
def with_all_options(tmp_path_factory) -> tuple[dict, list[dict]]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("trial"), trial(*ALL_OPTIONS))


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_every_option_survives_an_interruption(tmp_path, with_all_options, stop_after):
    metrics, rows = with_all_options
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", trial(*ALL_OPTIONS), stop_after)
    torch.manual_seed(99)
    continued, more_rows = run(tmp_path / "trial", trial(*ALL_OPTIONS))
    assert without_time(continued) == without_time(metrics)
    assert [without_time(row) for row in more_rows] == [without_time(row) for row in rows[stop_after - 1 :]]


@pytest.mark.parametrize(
    ("without", "phase"),
    [
        ("search.unrolled=false", "search"),
        ("search.drop_path=0.0", "search"),
        ("search.auxiliary_weight=0.0", "search"),
        ("retrain.drop_path=0.0", "retrain"),
    ],
)
def test_every_option_reaches_its_phase(tmp_path, with_all_options, without, phase):
    losses, others = (
        [row["train_loss"] for row in rows if row["phase"] == phase]
        for rows in (with_all_options[1], run(tmp_path / "trial", trial(*ALL_OPTIONS, without))[1])
    )
    assert losses != others


def test_alphas_rest_while_the_search_warms_up(with_all_options):
    metrics, rows = with_all_options
    undecided, *others = [row["alpha_entropy_normal"] for row in rows[:3]]
    assert undecided == pytest.approx(1.0, abs=1e-4)
    assert all(entropy < 0.9999 for entropy in others)
    assert [row["alpha_loss"] == "" for row in rows[:3]] == [True, False, False]
    assert metrics["search_accuracy"] == max(row["accuracy"] for row in rows[1:3])


def test_a_warm_up_without_an_end_is_refused(tmp_path):
    config = trial(*ALL_OPTIONS)  # as a program may make it; the loader refuses such a sweep file
    endless = config.model_copy(update={"search": config.search.model_copy(update={"warmup_epochs": 3})})
    with pytest.raises(UserError, match=r"search.warmup_epochs: 3 leaves none of the 3 search.epochs.*at most 2"):
        run(tmp_path / "trial", endless)


def skips_and_pools() -> SearchSpace:
    """A search space in which cells waver between skips and pools; named by its import path below."""
    return SearchSpace("skips_and_pools", "skips and pools", ("skip_connect", "avg_pool_3x3"), num_nodes=2)


def test_a_search_that_collapses_ends_early_with_cells_from_before(tmp_path):
    wavering = (*ALL_OPTIONS, f"space={__name__}:skips_and_pools", "search.warmup_epochs=0", "search.epochs=4")
    wavering += ("search.unrolled=false", "search.batch_size=8", "search.alpha_lr=0.02", "retrain.epochs=1")
    for seed in range(1, 10):  # until one has most skips neither at the start nor at the end
        config = (*wavering, f"sweep.seed={seed}")
        rows = run(tmp_path / f"whole-{seed}", trial(*config))[1]
        shares = [row["skip_share_normal"] for row in rows[:4]]
        collapse = shares.index(max(shares))
        if 0 < collapse < 3:
            break
    stopping = trial(*config, f"search.stop_skip_share={shares[collapse]}")
    stopped, fewer_rows = run(tmp_path / "stopped", stopping)
    assert [row["epoch"] for row in fewer_rows] == [*range(1, collapse + 2), 5]
    assert [without_time(row) for row in fewer_rows[:-1]] == [without_time(row) for row in rows[: collapse + 1]]
    best = max(rows[:collapse], key=lambda row: row["accuracy"])
    assert stopped["search_accuracy"] == best["accuracy"]
    assert stopped["skip_share"] == best["skip_share_normal"]
    with pytest.raises(InterruptedTrialError):  # in the very epoch that ends the search
        run(tmp_path / "interrupted", stopping, collapse + 1)
    continued, rest = run(tmp_path / "interrupted", stopping)
    assert [row["epoch"] for row in rest] == [collapse + 1, 5]
    assert without_time(continued) == without_time(stopped)


def test_a_search_that_collapses_at_once_keeps_what_it_has(tmp_path):
    at_once = ("search.warmup_epochs=1", "search.stop_skip_share=0.01")
    space = f"space={__name__}:skips_only"
    metrics, rows = run(tmp_path / "trial", trial(*ALL_OPTIONS, space, *at_once))
    assert [row["epoch"] for row in rows] == [1, 2, 4, 5]  # the first epoch warmed up, the second collapsed
    assert metrics["skip_share"] == 1.0
    assert rows[1]["warning"] == "100% of the normal cell's edges are skips"


def skips_only() -> SearchSpace:
    """A search space that has collapsed before it starts."""
    return SearchSpace("skips_only", "nothing but skips", ("none", "skip_connect"), num_nodes=2)


def test_other_seeds_are_other_trials(tmp_path, uninterrupted):
    other = load_sweep(None, TINY).trial_config(0, 1, {})
    assert without_time(run(tmp_path / "trial", other)[0]) != without_time(uninterrupted[0])


@pytest.mark.parametrize(("options", "search_epochs"), [((), 2), ((*ALL_OPTIONS, "search.epochs=2"), 2)])
def test_two_gloo_workers_are_identical_after_every_epoch(tmp_path, options, search_epochs):
    script = SUPPORT / "gloo_worker.py"
    run_two_workers(script, str(tmp_path / "rendezvous"), trial(*options).model_dump_json(), str(tmp_path))
    for epoch in range(1, search_epochs + trial(*options).retrain.epochs + 1):
        first, second = (torch.load(tmp_path / f"rank{rank}-epoch{epoch}.pt", weights_only=True) for rank in range(2))
        assert ({"Supernet", "Alphas"} if epoch <= search_epochs else {"DerivedNetwork"}) <= set(first)
        for kind, state in first.items():  # weights, alphas and running statistics
            for name, tensor in state.items():
                assert torch.equal(tensor, second[kind][name]), (epoch, kind, name)
    metrics = [torch.load(tmp_path / f"rank{rank}-metrics.pt", weights_only=True) for rank in range(2)]
    assert without_time(metrics[0]) == without_time(metrics[1])


def test_a_loss_that_is_not_finite_ends_the_trial_with_advice(tmp_path):
    config = trial("search.lr=10", "search.grad_clip=0", "search.momentum=0.99", "search.epochs=9")
    broken = config.model_copy(update={"search": config.search.model_copy(update={"lr": 1e30})})
    with pytest.raises(
        TrialFailure, match=r"the loss is nan in epoch \d of search; a lower search.lr or a search.grad"
    ):
        run(tmp_path / "trial", broken)


def test_a_network_that_has_learned_nothing_is_warned_of(tmp_path, uninterrupted):
    metrics, rows, _ = uninterrupted
    assert metrics["num_answers"] > 1
    assert rows[-1]["warning"] == ""
    metrics, rows = run(tmp_path / "trial", trial("model.v_th=100", "search.strategy=random", "retrain.epochs=1"))
    assert (metrics["num_answers"], metrics["spikes"]) == (1, 0)
    assert rows[-1]["warning"].startswith("the network gives all test images the same answer")


def test_recomputing_is_told_to_the_networks_of_both_phases(tmp_path, monkeypatch):
    seen = []

    def watch(steps, network_of) -> None:
        plain = steps.epoch

        def epoch(self, *batches):
            seen.append(network_of(self).recompute)
            return plain(self, *batches)

        monkeypatch.setattr(steps, "epoch", epoch)

    watch(SearchSteps, lambda steps: steps._state.supernet)
    watch(RetrainSteps, lambda steps: steps._network)
    shorter = (*ALL_OPTIONS, "search.warmup_epochs=0", "search.epochs=1", "retrain.epochs=1")
    run(tmp_path / "search", trial(*shorter, "search.recompute=true"))
    run(tmp_path / "retrain", trial(*shorter, "retrain.recompute=true"))
    assert seen == [True, False, False, True]
