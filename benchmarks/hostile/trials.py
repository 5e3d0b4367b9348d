"""What a trial reads: cells, the halves of its training set, its checkpoint."""

import functools
import io
import pickle
import zipfile
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np

from hostile.inputs import Harm, damaged, hostile_json, nonsense, plant
from hostile.place import Call, Place
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.tables.cell_drawing import draw_cells

GENOTYPE = {
    kind: [
        [{"operation": "sep_conv_3x3", "input": "input_0"}, {"operation": "skip_connect", "input": "input_1"}],
        [{"operation": "max_pool_3x3", "input": "input_1"}, {"operation": "dil_conv_5x5", "input": "node_0"}],
    ]
    for kind in ("normal", "reduction")
}


def attack_genotype(random: Random, place: Place) -> Call:
    from raynas_snn.training.strategies.baseline_strategies import read_genotype

    file = place.folder / "genotype.json"
    if random.random() < 0.02:
        plant(random, file, place.outside)
    else:
        file.write_bytes(hostile_json(random, GENOTYPE) if random.random() < 0.9 else nonsense(random))

    def call() -> object:
        drawing = draw_cells(read_genotype(file).to_dict())
        return ElementTree.fromstring(drawing)

    return call


def attack_split(random: Random, place: Place) -> Call:
    from raynas_snn.training.device_images import search_split
    from raynas_snn.training.distributed import World

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"weights": np.arange(0, 20, 2), "alphas": np.arange(1, 20, 2)}
    if random.random() < 0.5:
        name = random.choice((*arrays, "other"))
        arrays[name] = random.choice(
            (
                np.zeros(0),
                np.ones(3),
                np.array(["a"]),
                np.array([-1]),
                np.array([10**9]),
                np.zeros((2, 2), int),
                np.array([]),
            )
        )
        if random.random() < 0.5:
            del arrays[random.choice(list(arrays))]
    np.savez_compressed(buffer, **arrays)
    data = buffer.getvalue()
    (place.folder / "split.npz").write_bytes(damaged(random, data) if random.random() < 0.7 else data)
    if random.random() < 0.05:
        plant(random, place.folder / "split.npz", place.outside)

    def call() -> object:
        weights, alphas = search_split(20, 0, place.folder, World.current())
        both = np.concatenate([weights, alphas])
        assert both.min() >= 0, "indices of no image"
        assert both.max() < 20, "indices of no image"
        return both

    return call


@functools.cache
def _checkpoint() -> bytes:
    import torch

    network = torch.nn.Linear(3, 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    state = {
        "phase": "retrain",
        "epoch": 3,
        "members": {"network": network.state_dict(), "optimizer": optimizer.state_dict()},
        "random": {"cpu": torch.get_rng_state(), "cuda": []},
        "best": {"accuracy": 0.5},
        "seconds": 1.5,
        "ended": False,
        "row": {"epoch": 3, "accuracy": 0.5, "warning": ""},
        "carried": {"genotype": GENOTYPE, "accuracy": None, "epoch": 0, "seconds": 0.0},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def attack_checkpoint(random: Random, place: Place) -> Call:
    from raynas_snn.training.checkpoint import checkpoint_path, load_checkpoint

    path = checkpoint_path(place.folder)
    path.parent.mkdir()
    path.write_bytes(_hostile_checkpoint(random, place.outside))
    if random.random() < 0.03:
        plant(random, path, place.outside)
    context = TrialContext(place.folder, print)

    def call() -> object:
        state = load_checkpoint(context)
        if context.warnings:  # it was set aside
            raise UserError("; ".join(context.warnings))
        return state

    return call


def _hostile_checkpoint(random: Random, outside: Path) -> bytes:
    whole = _checkpoint()
    kind = random.randrange(4)
    if kind == 0:
        return damaged(random, whole)
    if kind == 1:  # a pickle as it stands, as torch once wrote them
        data = pickle.dumps(Harm(outside / "harm"), protocol=random.randrange(5))
        return data if random.random() < 0.5 else damaged(random, data)
    entries = {}
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice([next(name for name in entries if name.endswith("data.pkl")), *entries])
    if kind == 2:
        entries[name] = damaged(random, entries[name])
    else:
        entries[name] = pickle.dumps({"phase": Harm(outside / "harm")}, protocol=random.randrange(5))
    if random.random() < 0.1:
        entries["archive/constants.pkl"] = entries[name]  # as a compiled module has
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return buffer.getvalue()
