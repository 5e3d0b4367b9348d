"""Which releases of Ray work; imports nothing of Ray."""

import re
from importlib import metadata

from raynas_snn.core.errors import UserError

# As in pyproject.toml: the first minor release that works, and the first that was not tried.
OLDEST, TOO_NEW = (2, 58), (2, 61)
REQUIREMENT = f"ray[default,train,tune]>={OLDEST[0]}.{OLDEST[1]},<{TOO_NEW[0]}.{TOO_NEW[1]}"


def check_ray_version() -> None:
    """Looks at the version of the Ray that is installed, without importing it.

    Missing in Ray: insides that stay the same between minor releases.
    Without it: another Ray ends a sweep with a traceback out of one of the modules beside this one, or hangs it.

    Raises:
        UserError: If there is no Ray, or one that was not tried.
    """
    try:
        version = metadata.version("ray")
    except metadata.PackageNotFoundError:
        found = "Ray is not installed"
    else:
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers is not None and OLDEST <= (int(numbers[1]), int(numbers[2])) < TOO_NEW:
            return
        found = f"Ray {version} is installed"
    oldest, newest = f"{OLDEST[0]}.{OLDEST[1]}", f"{TOO_NEW[0]}.{TOO_NEW[1] - 1}"
    raise UserError(f"{found}; raynas_snn works with {oldest} to {newest}: pip install '{REQUIREMENT}'")
