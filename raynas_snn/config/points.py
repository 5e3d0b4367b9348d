"""Points: proposals that a sweep file asks to be made first. What a point leaves out is drawn."""

from collections.abc import Mapping, Sequence

from raynas_snn.config.layers import canonical
from raynas_snn.config.outer import OuterParameter
from raynas_snn.config.schema import Scalar
from raynas_snn.config.yaml_text import show
from raynas_snn.suggest import did_you_mean


def read_point(written: Mapping[str, Scalar], parameters: Sequence[OuterParameter]) -> dict[str, Scalar]:
    """Returns a point with each value as its parameter holds it.

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
