"""Initial points: proposals that the sweep file asks to run first. The sampler draws the values that a point omits."""

from collections.abc import Mapping, Sequence

from raynas_snn.config.precedence import canonical
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.config.yaml_text import show
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.text import did_you_mean


def read_point(written: Mapping[str, Scalar], parameters: Sequence[OuterParameter]) -> dict[str, Scalar]:
    """Returns a point with each value converted to its parameter's type.

    Args:
        written: Values by dotted path, as in ``sweep.points``.
        parameters: What the sweep varies.

    Raises:
        ValueError: With the reason, if the sweep could never propose such a point.
    """
    known = {parameter.path: parameter for parameter in parameters}
    point: dict[str, Scalar] = {}
    for key, value in written.items():
        path = canonical(key)
        if path not in known:
            raise ValueError(f"{show(key)} is not varied by this sweep{did_you_mean(path, known)}")
        if path in point:
            raise ValueError(f"{show(path)} is given under two names")
        fitting = known[path].fit(value)
        if fitting is None:
            words = [level for level in known[path].levels if isinstance(level, str)]
            hint = did_you_mean(value, words) if isinstance(value, str) else ""
            raise ValueError(f"{path}: {show(value)} is none of {show(known[path].as_dict())}{hint}")
        point[path] = fitting
    for path in point:
        for parent, levels in known[path].when:
            if point.get(parent) not in levels:
                has = f"has {show(point[parent])}" if parent in point else "leaves it open"
                raise ValueError(f"{path} takes part only where {parent} is in {show(levels)}; the point {has}")
    return point
