"""A sweep file that was read and found right: what is fixed, what varies, and which trials follow from it."""

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config.conditions import (
    active_parameters,
    combinations,
    count_combinations,
    in_order,
    is_active,
)
from raynas_snn.config.outer import VARIABLE_SECTIONS, OuterParameter
from raynas_snn.config.points import read_point
from raynas_snn.config.schema import Limits, ResourcesConfig, Scalar, SweepConfig, TrialConfig
from raynas_snn.config.yaml_text import show

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
        config: All settings; an outer parameter stands at its first level or its low end, one with a condition at
            the value that its field has where the condition does not hold.
        outer: What is varied, in the order of the schema: shuffling the lines of a file changes nothing.
        source: Name of the sweep file, for messages.
    """

    config: SweepConfig
    outer: tuple[OuterParameter, ...]
    source: str

    def resolved(self) -> dict[str, Any]:
        """The sweep file with every default filled in; reading it gives the same sweep."""
        resolved = self.config.model_dump()
        for parameter in self.outer:
            resolved[parameter.section][parameter.field] = parameter.as_dict()
        return resolved

    def meaning_hash(self) -> str:
        """12 hexadecimal digits that are equal for sweeps which may share a run directory."""
        text = json.dumps(meaning(self.resolved()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def values_of(self, path: str) -> tuple[Any, ...]:
        """The value of a field, all levels if it is a choice, or both ends if it is a range.

        The value that a field has where its condition does not hold comes last.
        """
        value: Any = self.config
        for name in path.split("."):
            value = getattr(value, name)
        for parameter in self.outer:
            if parameter.path == path:
                beside = (value,) if parameter.when and value not in parameter.bounds else ()
                return parameter.bounds + beside
        return (value,)

    def num_proposals(self) -> int:
        """Combinations of outer values that the sweep asks for; a trial is one of them with one seed."""
        limit = self.config.sweep.num_trials
        if self.config.sweep.sampler != "grid" and limit is not None:
            return limit
        size = count_combinations(self.outer)
        return size if limit is None else min(size, limit)

    def grid(self, besides: Collection[Mapping[str, Scalar]] = ()) -> list[dict[str, Scalar]]:
        """The proposals of the grid sampler: every combination, the last outer parameter changing fastest.

        Args:
            besides: Proposals that are there already; they are left out, and count.
        """
        there = {frozenset(values.items()) for values in besides}
        others = (values for values in combinations(self.outer) if frozenset(values.items()) not in there)
        return list(itertools.islice(others, max(0, self.num_proposals() - len(besides))))

    def points(self) -> list[dict[str, Scalar]]:
        """The proposals to make first, each with the values that it fixes."""
        return [read_point(point, self.outer) for point in self.config.sweep.points]

    def example_trial(self) -> TrialConfig:
        """The first seed of a proposal made of first levels and low ends."""
        values: dict[str, Scalar] = {}
        for parameter in in_order(self.outer):
            if is_active(parameter, values):
                values[parameter.path] = parameter.bounds[0]
        return self.trial_config(0, 0, values)

    def trial_config(
        self, proposal: int, repeat: int, values: Mapping[str, Scalar], times_before: int = 0
    ) -> TrialConfig:
        """Returns one trial.

        Args:
            proposal: Number of the proposal, from 0.
            repeat: Which repeat of it, from 0; its seed is ``sweep.seed + repeat``.
            values: One value for each outer parameter whose condition holds, by path.
            times_before: How many earlier proposals have the same values. Its seeds are others than theirs: a trial
                with the same seed would end the same, and count as another observation.

        Raises:
            ValueError: If the paths are not those of the outer parameters, or a value is not allowed.
        """
        active = active_parameters(self.outer, values)
        if set(values) != {parameter.path for parameter in active}:
            raise ValueError(f"these are not the outer parameters: {sorted(values)}")
        sections = {name: getattr(self.config, name).model_dump() for name in VARIABLE_SECTIONS}
        for parameter in active:
            sections[parameter.section][parameter.field] = values[parameter.path]
        if sections["search"]["genotype"] is not None:  # workers run in folders of their own
            sections["search"]["genotype"] = str(genotype_file(sections["search"]["genotype"]))
        return TrialConfig.model_validate(
            {
                "uid": f"p{proposal:04d}-s{repeat}",
                "proposal": proposal,
                "seed": self.config.sweep.seed + repeat + _MOST_SEEDS * times_before,
                "outer": dict(values),
                "trial": self.config.trial,
                "space": self.config.space,
                "data": self.config.data.model_copy(update={"root": str(self.config.data.root_path)}),
                "resources": self.config.resources,
                "limits": {name: getattr(self.config.sweep, name) for name in Limits.model_fields},
                **sections,
            }
        )


def genotype_file(written: str) -> Path:
    """Where ``search.genotype`` is, seen from anywhere on this machine."""
    return Path(written).expanduser().absolute()


def meaning(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a resolved sweep that must not change when its run is continued.

    Whatever is varied is part of it.
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

    Give both through `meaning` to see only what keeps one from continuing the run of the other.
    """
    old_fields, new_fields = _fields(old), _fields(new)
    return [
        f"{path}: {old_fields.get(path, 'not set')} -> {new_fields.get(path, 'not set')}"
        for path in old_fields | new_fields
        if old_fields.get(path) != new_fields.get(path)
    ]


def _fields(resolved: Mapping[str, Any]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, value in resolved.items():
        if isinstance(value, Mapping):
            fields |= {f"{key}.{field}": show(item) for field, item in value.items()}
        else:
            fields[key] = show(value)
    return fields
