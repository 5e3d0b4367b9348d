"""A valid, resolved sweep file: the fixed settings, the outer parameters, and the trials that follow from them."""

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from raynas_snn.config.component import Component
from raynas_snn.config.conditions import (
    active_parameters,
    combinations,
    count_combinations,
    in_order,
    is_active,
)
from raynas_snn.config.initial_points import read_point
from raynas_snn.config.precedence import flatten
from raynas_snn.config.schema import COMPONENT_FIELDS, SECTIONS, Limits, ResourcesConfig, SweepConfig, TrialConfig
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS, OuterParameter
from raynas_snn.config.yaml_text import show
from raynas_snn.core.scalars import Scalar

_PASSES = 2  # over the outer parameters: one may matter only where another has a certain value
_MOST_SEEDS = 1000  # of one proposal, see SweepSettings.num_seeds

# A run may be continued with other values of these: they say how much is done, where and how, not what is done.
_CHANGEABLE: dict[str, tuple[str, ...] | None] = {
    "name": None,
    "resources": tuple(field for field in ResourcesConfig.model_fields if field != "precision"),
    "data": ("root", "download"),
    "search": ("recompute",),
    "retrain": ("recompute", "compile"),
    "sweep": ("num_trials", "num_seeds", "max_failures"),
}


@dataclass(frozen=True)
class Sweep:
    """A valid sweep.

    Attributes:
        config: All settings. An outer parameter has its first level or its lower bound; one with a condition has the
            value that its field takes if the condition does not hold.
        outer: The outer parameters in the order of the schema, whatever the order of the file's lines.
        source: Name of the sweep file, for messages.
        beside: The options that are given beside each choice of a component, by its path: those of all its levels.
        unknown: What a run of another version has beside, by path; it has no effect, but it is not lost.
    """

    config: SweepConfig
    outer: tuple[OuterParameter, ...]
    source: str
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: Mapping[tuple[str, ...], Any] = field(default_factory=dict)

    def resolved(self) -> dict[str, Any]:
        """The sweep file with every default filled in; reading it gives the same sweep."""
        resolved = self.config.model_dump()
        for (*above, last), value in self.unknown.items():
            (resolved[above[0]] if above else resolved)[last] = value
        for parameter in self.outer:
            section, name, *option = parameter.keys
            if option:  # of a component with a name, or with the choice that came before
                written = resolved[section][name]
                written = {"name": written} if isinstance(written, str) else written
                resolved[section][name] = {**written, option[0]: parameter.as_dict()}
            else:
                resolved[section][name] = {**parameter.as_dict(), **self.beside.get(parameter.path, {})}
        return resolved

    @property
    def foreign(self) -> list[str]:
        """The fields of sections that only another version knows, by path."""
        varied = [one.path for one in self.outer if one.keys[1] not in SECTIONS[one.keys[0]].model_fields]
        return varied + [".".join(path) for path in self.unknown if len(path) > 1]

    def meaning_hash(self) -> str:
        """12 hexadecimal digits that are equal for sweeps which may share a run directory."""
        text = json.dumps(meaning(self.resolved()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def values_of(self, path: str) -> tuple[Any, ...]:
        """The value of a field, all levels if it is a choice, or both ends if it is a range.

        The value that a field has where its condition does not hold comes last.
        """
        value = self.value_at(path)
        for parameter in self.outer:
            if parameter.path == path:
                component = path.rpartition(".")[0]  # an option is not there without it
                elsewhere = any(other != component for other, _ in parameter.when)
                beside = (value,) if elsewhere and value not in parameter.bounds else ()
                return parameter.bounds + beside
        return (value,)

    def value_at(self, path: str) -> Any:
        """The value of a field where it is not varied, or of an option, also of one beside a choice of components."""
        component, _, option = path.rpartition(".")
        if component in self.beside:
            return self.beside[component].get(option)
        return self.config.value_at(path)

    def num_proposals(self) -> int:
        """The number of proposals that the sweep asks for; a trial is a proposal with one seed."""
        limit = self.config.sweep.num_trials
        if self.config.sweep.sampler.name != "grid" and limit is not None:
            return limit
        size = count_combinations(self.outer)
        return size if limit is None else min(size, limit)

    def num_trials(self) -> int:
        """The number of trials that the sweep asks for: proposals times seeds."""
        return self.num_proposals() * self.config.sweep.num_seeds

    def fixed_value(self, path: str) -> Any:
        """The value of a field that all trials share; None if it is varied, or if there is no such field."""
        return None if any(parameter.path == path for parameter in self.outer) else self.value_at(path)

    def grid(self, besides: Collection[Mapping[str, Scalar]] = ()) -> list[dict[str, Scalar]]:
        """The proposals of the grid sampler: every combination, the last outer parameter changing fastest.

        Args:
            besides: Existing proposals, which are left out but count towards the number of proposals.
        """
        there = {frozenset(values.items()) for values in besides}
        others = (values for values in combinations(self.outer) if frozenset(values.items()) not in there)
        return list(itertools.islice(others, max(0, self.num_proposals() - len(besides))))

    def points(self) -> list[dict[str, Scalar]]:
        """The initial points, each with the values that it fixes."""
        return [read_point(point, self.outer) for point in self.config.sweep.points]

    def example_trial(self, values: Mapping[str, Scalar] = MappingProxyType({})) -> TrialConfig:
        """The first seed of a proposal with some values given, and otherwise of first levels and low ends."""
        taken: dict[str, Scalar] = {}
        for parameter in in_order(self.outer):
            if is_active(parameter, taken):
                taken[parameter.path] = values.get(parameter.path, parameter.bounds[0])
        return self.trial_config(0, 0, taken)

    def greatest(self, number: Callable[[TrialConfig], int]) -> int:
        """The greatest number that a trial of the sweep can have, found by one outer parameter after the other."""
        best: dict[str, Scalar] = {}
        for _ in range(_PASSES):
            for parameter in self.outer:
                variants = [{**best, parameter.path: value} for value in parameter.bounds]
                best = max(variants, key=lambda values: number(self.example_trial(values)))
        return number(self.example_trial(best))

    def trial_config(
        self, proposal: int, repeat: int, values: Mapping[str, Scalar], times_before: int = 0
    ) -> TrialConfig:
        """Returns one trial.

        Args:
            proposal: Number of the proposal, from 0.
            repeat: Which repeat of it, from 0; its seed is ``sweep.seed + repeat``.
            values: One value for each outer parameter whose condition holds, by path.
            times_before: How many earlier proposals have the same values. Their seeds are not used again: a trial with
                the same seed would give the same result and be counted as another observation.

        Raises:
            ValueError: If the paths are not those of the outer parameters, or a value is not allowed.
        """
        active = active_parameters(self.outer, values)
        if set(values) != {parameter.path for parameter in active}:
            raise ValueError(f"these are not the outer parameters: {sorted(values)}")
        sections: dict[str, dict[str, Any]] = {name: dict(getattr(self.config, name)) for name in VARIABLE_SECTIONS}
        for parameter in sorted(active, key=lambda one: len(one.keys)):  # a component before its options
            section, name, *option = parameter.keys
            value = values[parameter.path]
            if option:
                component: Component = sections[section][name]
                sections[section][name] = component.model_copy(update={option[0]: value})
            elif parameter.path in self.beside:
                if value not in parameter.levels:
                    raise ValueError(f"{parameter.path}: {value!r} is none of {parameter.levels}")
                model = COMPONENT_FIELDS[section, name]
                sections[section][name] = model.chosen(str(value), self.beside[parameter.path])
            else:
                sections[section][name] = value
        for section, name in COMPONENT_FIELDS:
            if section in sections:
                sections[section][name] = sections[section][name].completed()
        return TrialConfig.model_validate(
            {
                "uid": f"p{proposal:04d}-s{repeat}",
                "proposal": proposal,
                "seed": self.config.sweep.seed + repeat + _MOST_SEEDS * times_before,
                "outer": dict(values),
                "trial": self.config.trial,
                "space": self.config.space,
                "data": self.config.data.completed().model_copy(update={"root": str(self.config.data.root_path)}),
                "resources": self.config.resources,
                "limits": {name: getattr(self.config.sweep, name) for name in Limits.model_fields},
                **sections,
            }
        )


def meaning(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a resolved sweep that must not change when its run is continued.

    Outer parameters are part of it.
    """
    kept: dict[str, Any] = {}
    for key, value in resolved.items():
        if key not in _CHANGEABLE or (_CHANGEABLE[key] and not isinstance(value, Mapping)):
            kept[key] = value
        elif fields := _CHANGEABLE[key]:
            kept[key] = {
                field: item for field, item in value.items() if field not in fields or isinstance(item, Mapping)
            }
    return kept


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns one line per field in which two resolved sweeps differ, ``model.decay: 0.2 -> 0.3``.

    Pass both through `meaning` to get only the differences that prevent one from continuing the other's run.
    """
    old_fields, new_fields = _fields(old), _fields(new)
    return [
        f"{path}: {old_fields.get(path, 'not set')} -> {new_fields.get(path, 'not set')}"
        for path in old_fields | new_fields
        if old_fields.get(path) != new_fields.get(path)
    ]


def _fields(resolved: Mapping[str, Any]) -> dict[str, str]:
    return {".".join(path): show(written.value) for path, written in flatten(resolved, "").items()}
