"""Malformed sweep files, arguments of ``--set``, points and names."""

from random import Random
from typing import Any

from hostile.inputs import TEXTS, changed, damaged, hostile_value, nonsense, plant
from hostile.place import Call, Place
from raynas_snn.config import load_sweep
from raynas_snn.config.schema import SECTIONS
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS
from raynas_snn.config.yaml_text import dump
from raynas_snn.core import registry

SWEEP: dict[str, Any] = {
    "name": "fuzzed",
    "space": "darts_snn",
    "trial": "fake",
    "model": {
        "attention": {"choice": ["none", "ct", "ma"], "reduction": {"choice": [4, 16]}, "time_kernel": 5},
        "surrogate": {"name": "atan", "alpha": 3},
        "num_steps": {"int": [1, 4]},
        "decay": {"float": [0.1, 0.9], "log": True},
        "channels": 8,
    },
    "retrain": {"epochs": 2, "batch_size": {"choice": [32, 64]}},
    "sweep": {
        "sampler": "random",
        "num_trials": 4,
        "num_seeds": 2,
        "objectives": {"accuracy": "maximize", "spikes": "minimize"},
        "points": [{"model.attention": "ct"}, {"model.attention": "ma", "model.attention.reduction": 4}],
        "max_params": 10**9,
    },
}
GRID: dict[str, Any] = {
    "name": "grid",
    "model": {
        "attention": {
            "choice": ["none", "ct", "ma"],
            "reduction": {"choice": [4, 16]},
            "spatial_kernel": {"choice": [3, 5], "when": {"model.attention.reduction": 4, "model.attention": "ma"}},
        },
        "decay": {"choice": [0, 0.5, 1]},
    },
    "search": {
        "strategy": {
            "choice": ["darts", "evolution"],
            "population": {"choice": [2, 9], "when": {"search.strategy": "evolution", "model.decay": [0, 1]}},
        },
    },
    "sweep": {"sampler": "grid", "num_seeds": 2, "num_trials": None},
}
FIELDS = [f"{section}.{field}" for section, model in SECTIONS.items() for field in model.model_fields]
FIELDS += ["model.attention.reduction", "model.attention.window", "search.strategy.genotype", "data.image_size"]


def sweep_text(random: Random) -> bytes:
    """A sweep file with slips, with anything in its fields, or with no form at all."""
    kind, valid = random.randrange(5), random.choice((SWEEP, GRID))
    if kind == 0:
        return damaged(random, dump(valid).encode())
    if kind == 1:
        return dumped(changed(random, valid))
    if kind == 2:
        content = {key: dict(value) if isinstance(value, dict) else value for key, value in valid.items()}
        for _ in range(random.randrange(1, 4)):
            section, _, field = random.choice(FIELDS).partition(".")
            content.setdefault(section, {})[field] = _field_value(random, section)
        return dumped(content)
    if kind == 3:
        return nonsense(random)
    return random.choice((b"[", b"{a: ", b"- ", b"? ", b"a:\n ", b"&a [", b'"\\', b"x: ", b"x: 1\n")) * random.choice(
        (9, 999)
    )


def dumped(content: Any) -> bytes:
    try:
        return dump(content).encode(errors="surrogatepass")
    except RecursionError:
        return b"[" * 1000


def _field_value(random: Random, section: str) -> Any:
    if section in VARIABLE_SECTIONS and random.random() < 0.5:
        parts = {
            "choice": [hostile_value(random, depth=4) for _ in range(random.randrange(4))],
            "int": [random.choice((-1, 0, 1, 2, 3, 10**9, 0.5, "a")) for _ in range(random.choice((2, 2, 2, 1, 3)))],
            "float": [random.choice((-1.0, 0, 0.1, 0.3, 1, 1e308, 1e-320)) for _ in range(2)],
            "log": random.choice((True, False, 1)),
            "step": random.choice((1, 0.1, 0, -1, 1e-300, "a")),
            "when": {random.choice([*FIELDS, *TEXTS]): hostile_value(random, depth=3)},
        }
        return {key: parts[key] for key in random.sample(list(parts), random.randrange(1, 4))}
    return hostile_value(random)


def attack_sweep_file(random: Random, place: Place) -> Call:
    file = place.folder / "sweep.yaml"
    if random.random() < 0.02:
        plant(random, file, place.outside)
    else:
        file.write_bytes(sweep_text(random))
    return lambda: load_sweep(file)


def attack_set(random: Random, place: Place) -> Call:  # noqa: ARG001
    overrides = []
    for _ in range(random.randrange(1, 4)):
        path = random.choice(FIELDS) if random.random() < 0.8 else random.choice(TEXTS)
        value = hostile_value(random) if random.random() < 0.5 else _field_value(random, path.partition(".")[0])
        text = dumped(value) if random.random() < 0.7 else nonsense(random)
        overrides.append(f"{path}{random.choice(('=', '=', '=', '', ' = '))}{text.decode(errors='surrogateescape')}")
    return lambda: load_sweep(None, overrides)


def attack_points(random: Random, place: Place) -> Call:
    file = place.folder / "sweep.yaml"
    settings = {**SWEEP["sweep"], "num_trials": 99, "points": changed(random, SWEEP["sweep"]["points"])}
    file.write_bytes(dumped({**SWEEP, "sweep": settings}))

    def call() -> object:
        return load_sweep(file).points()

    return call


def attack_names(random: Random, place: Place) -> Call:  # noqa: ARG001
    kind = random.choice(registry.KINDS) if random.random() < 0.9 else random.choice(TEXTS)
    known = [name for names in registry.BUILT_INS.values() for name in names]
    paths = [
        "raynas_snn.core.errors:UserError",
        "raynas_snn.core.errors:Nothing",
        "raynas_snn.core.errors:UserError.x",
        "no.module:x",
    ]
    name = random.choice([*known, *TEXTS, *paths])
    if random.random() < 0.6:
        name = damaged(random, name.encode(errors="surrogatepass")).decode(errors="surrogateescape")
    if kind not in registry.KINDS:
        return lambda: registry.listing(kind)
    if name.startswith("raynas_snn.core.errors:") or name in registry.BUILT_INS[kind]:
        return lambda: registry.resolve(kind, name)
    return lambda: registry.check(kind, name)  # importing whatever module there is would run it
