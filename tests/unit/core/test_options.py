"""What a component declares, and how it is found."""

import pytest
from pydantic import Field

from raynas_snn.core.built_ins import BUILT_INS
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import FileName, Options, names_a_file, with_options
from raynas_snn.core.registry import options_of, resolve

WITH_OPTIONS = ("attentions", "neurons", "surrogates", "strategies", "datasets", "samplers", "schedulers")


class Wide(Options):
    width: int = Field(2, ge=1, description="Of it.")
    file: FileName | None = Field(None, description="Where it is.")


@with_options(Wide)
def sampler(request):
    return request


class Wrong:
    options = int


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in WITH_OPTIONS for name in BUILT_INS[kind]])
def test_a_built_in_declares_beside_itself_what_the_registry_says(kind, name):
    assert options_of(kind, name) is getattr(resolve(kind, name), "options", Options)


def test_a_function_declares_its_options_by_a_decorator():
    assert options_of("samplers", f"{__name__}:sampler") is Wide
    assert sampler(3) == 3
    assert [name for name, field in Wide.model_fields.items() if names_a_file(field)] == ["file"]


def test_what_declares_nothing_has_no_options():
    assert options_of("samplers", "os:getcwd") is Options


def test_a_wrong_declaration_is_one_line():
    with pytest.raises(
        UserError, match=r"^neuron '.*:Wrong': its 'options' must be a class derived from .*, not <class"
    ):
        options_of("neurons", f"{__name__}:Wrong")
