"""The examples that are more than a sweep file, run as their users run them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweeper import Sweeper

from raynas_snn.nas.genotype import Genotype

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = (23, 17)  # width, height: odd and not square


def draw_folder(root: Path) -> None:
    """Three classes that a small network can tell apart, and a JPEG that ends in the middle."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("bright", "dark", "striped")):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
            if label != 1:
                pixels[:: 1 + label] += 180
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    whole = root / "dark" / "whole.jpg"
    Image.fromarray(pixels).save(whole)
    (root / "dark" / "broken.jpg").write_bytes(whole.read_bytes()[:200])
    whole.unlink()


@pytest.mark.ray
def test_an_operation_of_ones_own_on_a_folder_of_ones_own(sweeper: Sweeper) -> None:
    """Two examples in one sweep: neither an operation nor a data set needs this package to know of it."""
    shutil.copytree(EXAMPLES / "custom_op", sweeper.folder, dirs_exist_ok=True)
    draw_folder(sweeper.folder / "images")
    ended = sweeper.run(
        "sweep.yaml",
        "--json",
        "--run-dir",
        "run",
        settings={
            "data.name": "folder",
            "data.root": "images",
            "search.epochs": 1,
            "search.batch_size": 16,
            "retrain.epochs": 12,
            "retrain.batch_size": 16,
        },
    )
    assert ended.code == 0, ended.err
    named = [line for line in ended.err.splitlines() if "broken.jpg" in line]
    assert len(named) == 1, ended.err
    (record,) = sweeper.records()
    assert record["end_reason"] == "finished"
    assert record["metrics"]["accuracy"] > 0.6  # chance is a third
    manifest = json.loads((sweeper.folder / "run" / "manifest.json").read_text())
    assert ["broken.jpg" in str(skipped) for skipped in manifest["data"]["skipped"]] == [True]
    found = Genotype.from_json((sweeper.folder / "run" / "trials" / record["uid"] / "genotype.json").read_text())
    assert found.num_nodes == 4


def test_a_plain_script_needs_no_ray_and_goes_on_where_it_was(tmp_path: Path) -> None:
    script = str(EXAMPLES / "plain_search.py")
    without_ray = "import sys, runpy; sys.modules['ray'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0])"
    few = ["data.num_train=64", "data.num_test=32", "model.channels=4", "search.channels=2", "retrain.epochs=2"]
    command = [sys.executable, "-c", without_ray, script, str(tmp_path / "mine"), *few]
    outputs = []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines())
    first, second = outputs
    assert [line.split()[0] for line in first[:3]] == ["search", "retrain", "retrain"]
    assert second == first[2:]  # the last epoch is told again, none is trained again
