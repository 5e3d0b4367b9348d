"""A small but whole trial: real digits, real Ray Train, real gloo workers."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from sweeper import TINY, Sweeper

from raynas_snn.nas.genotype import Genotype

pytestmark = pytest.mark.ray


def test_two_workers_train_one_network(sweeper: Sweeper) -> None:
    small = {"model.attention": "ma", "model.layers": 3, "model.num_nodes": 2, "retrain.batch_size": 16}
    settings = TINY | small | {"resources.num_workers": 2}
    ended = sweeper.run("--run-dir", "run", settings=settings)
    assert ended.code == 0, ended.err
    (record,) = sweeper.records()
    assert record["metrics"]["accuracy"] > 0.4  # chance is 0.1
    check_trial_folder(sweeper.folder / "run" / "trials" / record["uid"], record)


def check_trial_folder(folder: Path, record: dict) -> None:
    """Everything a user looks for after a trial is there and fits together."""
    genotype = Genotype.from_json((folder / "genotype.json").read_text())
    assert genotype.num_nodes == 2
    ET.fromstring((folder / "cells.svg").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert config["uid"] == record["uid"]
    state = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    assert (state["phase"], state["epoch"]) == ("retrain", 4)
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["search"] + ["retrain"] * 4
    assert float(rows[-1]["accuracy"]) == record["metrics"]["accuracy"]
    assert 0 < float(rows[0]["alpha_entropy_normal"]) <= 1
    metrics = record["metrics"]
    per_cell = [value for name, value in metrics.items() if name.startswith("spikes/")]
    assert sum(per_cell) == pytest.approx(metrics["spikes"])
    assert metrics["energy_uj"] == pytest.approx((4.6 * metrics["macs"] + 0.9 * metrics["sops"]) * 1e-6)
    assert metrics["params"] < metrics["params_with_auxiliary"]
