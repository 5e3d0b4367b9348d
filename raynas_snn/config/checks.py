"""What must hold between fields, and between a sweep file and the registry."""

from raynas_snn import registry
from raynas_snn.config.layers import FieldPath, Problem
from raynas_snn.config.sweep import Sweep
from raynas_snn.config.yaml_text import show
from raynas_snn.errors import UserError

_LARGEST_GRID = 100_000
_NAMES: dict[FieldPath, str] = {
    ("trial",): "trials",
    ("data", "name"): "datasets",
    ("model", "attention"): "attentions",
    ("model", "neuron"): "neurons",
    ("model", "surrogate"): "surrogates",
    ("search", "strategy"): "strategies",
    ("sweep", "sampler"): "samplers",
}


def find_problems(sweep: Sweep) -> list[Problem]:
    """Returns everything that is wrong although each field is right on its own."""
    return [*_check_names(sweep), *_check_sampler(sweep), *_check_batches(sweep)]


def _check_names(sweep: Sweep) -> list[Problem]:
    problems = []
    for path, kind in _NAMES.items():
        for name in sweep.values_of(".".join(path)):
            try:
                registry.check(kind, name)
            except UserError as error:
                problems.append(Problem(path, str(error)))
    return problems


def _check_sampler(sweep: Sweep) -> list[Problem]:
    settings = sweep.config.sweep
    if settings.sampler == "grid":
        for parameter in sweep.outer:
            if parameter.kind != "choice":
                written = show(parameter.as_dict())
                text = f"a grid has no place for {written}: use choice, or sweep.sampler random or tpe"
                return [Problem((parameter.section, parameter.field), text)]
        if sweep.num_proposals() > _LARGEST_GRID:
            text = f"the grid has {sweep.num_proposals()} proposals: set sweep.num_trials, or use sampler random"
            return [Problem(("sweep", "sampler"), text)]
        return []
    problems = []
    if settings.num_trials is None:
        text = f"null is not allowed with sampler '{settings.sampler}': say how many proposals to make"
        problems.append(Problem(("sweep", "num_trials"), text))
    if not sweep.outer:
        text = f"'{settings.sampler}' has nothing to vary: give a model field as {{choice: [a, b]}} or use grid"
        problems.append(Problem(("sweep", "sampler"), text))
    return problems


def _check_batches(sweep: Sweep) -> list[Problem]:
    """Workers take equal shares of a batch, whatever size of it is proposed."""
    num_workers = sweep.config.resources.num_workers
    ranges = {parameter.path: parameter for parameter in sweep.outer if parameter.kind != "choice"}
    problems = []
    for path in ("search.batch_size", "retrain.batch_size"):
        uneven = [size for size in sweep.values_of(path) if size % num_workers]
        text = ""
        if uneven:
            below = uneven[0] - uneven[0] % num_workers
            nearest = f"{below} or {below + num_workers}" if below >= 2 else f"{below + num_workers}"
            text = f"{num_workers} workers cannot share {path} = {uneven[0]} equally; {nearest} would do"
        elif path in ranges and (ranges[path].step or 1) % num_workers:
            text = f"{num_workers} workers cannot share all sizes in {path}; give it step: {num_workers}"
        if text:
            problems.append(Problem(("resources", "num_workers"), text))
    return problems
