"""Conformance checks: what every component of a kind must do, as tests for your own components::

    from raynas_snn.conformance import check

    def test_my_operation() -> None:
        check("operations", "my_package.my_module:MyOperation")

Each check builds the component, runs it, and raises `ConformanceError` with one line at the first unmet requirement.
Options are checked as they are declared; parts of networks and samplers are run with each of them at its bounds, too.
"""

from collections.abc import Callable

from raynas_snn.conformance.datasets import check_dataset
from raynas_snn.conformance.declarations import WITH_OPTIONS, check_options
from raynas_snn.conformance.network_modules import check_attention, check_neuron, check_operation, check_surrogate
from raynas_snn.conformance.recipes import check_sampler, check_scheduler, check_space, check_strategy, check_trial
from raynas_snn.conformance.requirement import ConformanceError, requiring
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError

__all__ = ["ConformanceError", "check"]

_CHECKS: dict[str, Callable[[str], None]] = {
    "attentions": check_attention,
    "operations": check_operation,
    "neurons": check_neuron,
    "surrogates": check_surrogate,
    "datasets": check_dataset,
    "spaces": check_space,
    "strategies": check_strategy,
    "trials": check_trial,
    "samplers": check_sampler,
    "schedulers": check_scheduler,
}


def check(kind: str, name: str) -> None:
    """Checks that a component meets the requirements of its kind.

    Args:
        kind: A kind of the registry, ``"operations"``.
        name: Its name, or an import path ``"package.module:attribute"``.

    Raises:
        ConformanceError: Names the first requirement that it does not meet.
        UserError: If there is no such kind or name, or it cannot be imported.
    """
    if kind not in _CHECKS:
        raise UserError(f"unknown kind {kind!r} (known: {', '.join(_CHECKS)})")
    registry.resolve(kind, name)
    if kind in WITH_OPTIONS:
        check_options(kind, name)
    with requiring(name, "can be used as its kind says"):
        _CHECKS[kind](name)
