"""How many examples a property test draws; how they are drawn is a profile of Hypothesis, in tests/conftest.py."""

from hypothesis import settings

USUAL = settings.get_profile("default").max_examples


def examples(number: int) -> settings:
    """So many in `make test`; in `make soak` more, in proportion to its profile."""
    return settings(max_examples=number * settings().max_examples // USUAL)
