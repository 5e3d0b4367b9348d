"""The definition of a search space: the candidate operations on every edge of a cell, and default settings.

Importable without torch: operations are names, looked up in the registry where the supernet is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from raynas_snn.core import registry
from raynas_snn.core.errors import UserError

Fragment = Mapping[str, Any]


@dataclass(frozen=True)
class SearchSpace:
    """A search space.

    Attributes:
        name: Its name in the registry.
        description: One line.
        operations: Candidates on every edge, by name (registry: operations), ``"none"`` first as in DARTS.
        num_nodes: Intermediate nodes of a cell.
        defaults: A fragment of a sweep file that replaces general defaults; the sweep file overrides it.
    """

    name: str
    description: str
    operations: tuple[str, ...]
    num_nodes: int = 4
    defaults: Fragment = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not set(self.operations) - {"none"}:
            raise UserError(f"search space '{self.name}': needs an operation other than 'none'")
        if len(set(self.operations)) != len(self.operations):
            raise UserError(f"search space '{self.name}': holds an operation twice")
        if self.num_nodes < 1:
            raise UserError(f"search space '{self.name}': num_nodes must be at least 1, not {self.num_nodes}")

    def variant(self, name: str, description: str, **model: Any) -> "SearchSpace":
        """Returns the same space under another name, with other defaults for fields of the model."""
        defaults = {**self.defaults, "model": {**self.defaults.get("model", {}), **model}}
        return replace(self, name=name, description=description, defaults=defaults)


def load_space(name: str) -> SearchSpace:
    """Returns the search space with a name.

    Raises:
        UserError: If there is none, it does not return a search space, or an operation is unknown.
    """
    make = registry.resolve("spaces", name)
    try:
        space = make()
    except Exception as error:
        raise UserError(f"search space '{name}': {type(error).__name__}: {error}") from error
    if not isinstance(space, SearchSpace):
        raise UserError(f"search space '{name}': must be a function that returns a SearchSpace")
    for operation in space.operations:
        try:
            registry.check("operations", operation)
        except UserError as error:
            raise UserError(f"search space '{name}': {error}") from None
    return space
