"""Small but whole sweeps: real digits, real Ray Train, real gloo workers, a real SIGKILL."""

import csv
import json
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from sweeper import TINY, Sweeper, interrupt, wait_until

from raynas_snn.nas.genotype import Genotype

pytestmark = pytest.mark.ray


def test_a_killed_driver_loses_no_more_than_the_epoch_in_flight(sweeper: Sweeper) -> None:
    settings = TINY | {"model.attention": {"choice": ["none", "ma", "ct"]}, "retrain.epochs": 6}
    process = sweeper.start("--run-dir", "run", settings=settings)
    wait_until(lambda: len(sweeper.records()) >= 1 and len(sweeper.curve("p0002-s0")) >= 2, process)
    interrupt(process, signal.SIGKILL)
    ended_before = sweeper.records()
    curve_before = sweeper.curve("p0002-s0")

    again = sweeper.run("--json", "--run-dir", "run", settings=settings)
    assert again.code == 0, again.err
    assert again.json["num_run"] == 3 - len(ended_before)
    records = sweeper.records()
    assert records[: len(ended_before)] == ended_before
    assert sorted(record["uid"] for record in records) == ["p0000-s0", "p0001-s0", "p0002-s0"]
    curve = sweeper.curve("p0002-s0")
    assert [row[0] for row in curve] == [str(epoch) for epoch in range(1, 8)]  # each epoch once
    assert curve[: len(curve_before)] == curve_before  # nothing was trained twice
    assert all(row["n"] == 1 and row["num_failed"] == 0 for row in again.json["rows"])

    third = sweeper.run("--run-dir", "run", settings=settings)
    assert third.code == 0
    assert "Nothing to do: all 3 trials have ended." in third.out
    assert sweeper.records() == records


def test_two_workers_reach_what_one_reaches(sweeper: Sweeper) -> None:
    settings = TINY | {"model.attention": "ma", "retrain.epochs": 12, "retrain.batch_size": 16}
    accuracies = []
    for workers in (1, 2):
        run = f"run{workers}"
        ended = sweeper.run("--run-dir", run, settings={**settings, "resources.num_workers": workers})
        assert ended.code == 0, ended.err
        (record,) = sweeper.records(run)
        accuracies.append(record["metrics"]["accuracy"])
        check_trial_folder(sweeper.folder / run / "trials" / record["uid"], record)
    assert min(accuracies) > 0.8, accuracies  # chance is 0.1
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.1)


def check_trial_folder(folder: Path, record: dict) -> None:
    """Everything a user looks for after a trial is there and fits together."""
    genotype = Genotype.from_json((folder / "genotype.json").read_text())
    assert genotype.num_nodes == 4
    ET.fromstring((folder / "cells.svg").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert config["uid"] == record["uid"]
    state = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    assert (state["phase"], state["epoch"]) == ("retrain", 12)
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["search"] + ["retrain"] * 12
    assert float(rows[-1]["accuracy"]) == record["metrics"]["accuracy"]
    assert 0 < float(rows[0]["alpha_entropy_normal"]) <= 1
    metrics = record["metrics"]
    per_cell = [value for name, value in metrics.items() if name.startswith("spikes/")]
    assert sum(per_cell) == pytest.approx(metrics["spikes"])
    assert metrics["energy_uj"] == pytest.approx((4.6 * metrics["macs"] + 0.9 * metrics["sops"]) * 1e-6)
    assert metrics["params"] < metrics["params_with_auxiliary"]
