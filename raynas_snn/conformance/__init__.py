"""What every registered thing of a kind must do, for those who add one of their own::

    from raynas_snn.conformance import check

    def test_my_operation() -> None:
        check("operations", "my_package.my_module:MyOperation")

Each check builds the real thing, runs it, and raises `ConformanceError` with one line at the first promise it breaks.
"""

from collections.abc import Callable

from raynas_snn import registry
from raynas_snn.conformance.blocks import check_attention, check_neuron, check_operation, check_surrogate
from raynas_snn.conformance.promise import ConformanceError
from raynas_snn.conformance.recipes import check_sampler, check_space, check_strategy, check_trial
from raynas_snn.conformance.sets import check_dataset
from raynas_snn.errors import UserError

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
}


def check(kind: str, name: str) -> None:
    """Makes sure that a thing does what its kind promises.

    Args:
        kind: A kind of the registry, ``"operations"``.
        name: Its name, or an import path ``"package.module:attribute"``.

    Raises:
        ConformanceError: Says which promise it breaks.
        UserError: If there is no such kind or name.
    """
    if kind not in _CHECKS:
        raise UserError(f"unknown kind {kind!r} (known: {', '.join(_CHECKS)})")
    registry.check(kind, name)
    _CHECKS[kind](name)
