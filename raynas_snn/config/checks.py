"""Checks between fields, and between a sweep file and the registry."""

from raynas_snn.config.component import absolute
from raynas_snn.config.initial_points import read_point
from raynas_snn.config.precedence import Problem
from raynas_snn.config.resolved_sweep import Sweep
from raynas_snn.config.yaml_text import show
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError

_LARGEST_GRID = 100_000
_LEARNS_NOTHING = ("grid", "random")
_TRAINS_NO_SUPERNET = ("random", "sahd", "fixed")


def find_problems(sweep: Sweep) -> list[Problem]:
    """Returns all problems of a configuration whose fields are each valid on their own."""
    return [
        *_check_trial(sweep),
        *_check_sampler(sweep),
        *_check_proposals(sweep),
        *_check_search(sweep),
        *_check_reductions(sweep),
        *_check_batches(sweep),
    ]


def _check_trial(sweep: Sweep) -> list[Problem]:
    try:
        registry.check("trials", sweep.config.trial)
    except UserError as error:
        return [Problem(("trial",), str(error))]
    return []


def _check_sampler(sweep: Sweep) -> list[Problem]:
    settings = sweep.config.sweep
    if settings.sampler.name == "grid":
        for parameter in sweep.outer:
            if parameter.kind != "choice":
                written = show(parameter.as_dict())
                text = f"a grid has no place for {written}: use choice, or sweep.sampler random, tpe or nsga2"
                return [Problem(parameter.keys, text)]
        if sweep.num_proposals() > _LARGEST_GRID:
            text = f"the grid has {sweep.num_proposals()} proposals: set sweep.num_trials, or use sampler random"
            return [Problem(("sweep", "sampler"), text)]
        return []
    problems = []
    if settings.num_trials is None:
        text = f"null is not allowed with sampler '{settings.sampler.name}': say how many proposals to make"
        problems.append(Problem(("sweep", "num_trials"), text))
    if not sweep.outer:
        text = f"'{settings.sampler.name}' has nothing to vary: give a model field as {{choice: [a, b]}} or use grid"
        problems.append(Problem(("sweep", "sampler"), text))
    return problems


def _check_proposals(sweep: Sweep) -> list[Problem]:
    """What goes beside a sampler must make sense to it."""
    settings, problems = sweep.config.sweep, []
    if settings.points and settings.sampler.name == "grid":
        text = "a grid makes every combination anyway, in its own order; use sweep.sampler random, tpe or nsga2"
        problems.append(Problem(("sweep", "points"), text))
    if settings.num_trials is not None and settings.num_trials < len(settings.points):
        text = f"{settings.num_trials} leaves no room for all {len(settings.points)} sweep.points"
        problems.append(Problem(("sweep", "num_trials"), text))
    for number, point in enumerate(settings.points, start=1):
        try:
            read_point(point, sweep.outer)
        except ValueError as error:
            problems.append(Problem(("sweep", "points"), f"point {number}: {error}"))
            break
    if settings.warm_start is not None and settings.sampler.name in _LEARNS_NOTHING:
        text = f"sampler '{settings.sampler.name}' learns nothing from other runs; use sweep.sampler tpe or nsga2"
        problems.append(Problem(("sweep", "warm_start"), text))
    return problems


def _check_search(sweep: Sweep) -> list[Problem]:
    problems = []
    strategies = sweep.values_of("search.strategy")
    for written in sweep.values_of("search.strategy.genotype") if "fixed" in strategies else ():
        path = ("search", "strategy", "genotype")
        if written is None:
            problems.append(Problem(path, "'fixed' needs a file with the cells, such as a trial's genotype.json"))
        elif not _is_file(written):
            problems.append(Problem(path, f"there is no file {written!r}"))
    warmup, epochs = max(sweep.values_of("search.warmup_epochs")), min(sweep.values_of("search.epochs"))
    if warmup >= epochs:
        text = f"{warmup} leaves none of search.epochs = {epochs} for alpha; it must be below"
        problems.append(Problem(("search", "warmup_epochs"), text))
    untrained = [name for name in strategies if name in _TRAINS_NO_SUPERNET]
    told = sweep.config.trial == "search_then_retrain" and "search_accuracy" in sweep.config.sweep.objectives
    if told and len(set(strategies)) > 1:
        text = "search_accuracy means something else with each search.strategy; use accuracy"
        problems.append(Problem(("sweep", "objectives"), text))
    elif told and untrained:
        text = f"there is no search_accuracy with search.strategy '{untrained[0]}', which trains no supernet"
        problems.append(Problem(("sweep", "objectives"), text))
    return problems


def _is_file(written: str) -> bool:
    try:
        return absolute(written).is_file()
    except OSError:  # a name that is too long
        return False


def _check_reductions(sweep: Sweep) -> list[Problem]:
    """Every reduction must be one of the cells, however few of them are proposed."""
    derived = sweep.values_of("model.layers")
    searched = [of_search or layers for of_search in sweep.values_of("search.layers") for layers in derived]
    problems = []
    for section, depths in (("model", derived), ("search", searched)):
        path = f"{section}.reductions"
        for reductions in sweep.values_of(path):
            least = min(depths)
            beyond = [index for index in reductions or () if index >= least]
            if beyond:
                text = f"there is no cell {beyond[0]} with {least} layers; they count from 0 to {least - 1}"
            elif len(set(reductions or ())) < len(reductions or ()):
                text = f"{show(reductions)} holds a cell twice"
            else:
                continue
            problems.append(Problem((section, "reductions"), text))
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
