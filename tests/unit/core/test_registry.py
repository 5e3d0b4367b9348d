import importlib.metadata
import sys

import pytest

from raynas_snn.config.search_space import SearchSpace, load_space
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A user's package, with a module that cannot be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "users_own_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "good.py").write_text("class Gate:\n    inner = 5\n")
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    yield folder
    for name in [name for name in sys.modules if name.startswith("users_own_package")]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_built_in_is_listed_with_one_line_and_is_known(kind):
    for name, description, origin in registry.listing(kind):
        assert description
        assert "\n" not in description
        assert origin == "built in"
        registry.check(kind, name)


@pytest.mark.parametrize("name", registry.BUILT_INS["spaces"])
def test_every_space_knows_its_own_name_and_line(name):
    space = load_space(name)
    assert space.name == name
    assert space.description == registry.BUILT_INS["spaces"][name].description
    assert space.operations[0] == "none"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "attentions",
            "mma",
            "unknown attention 'mma'; did you mean 'ma'? (known: none, temporal, channel, spatial, ct, ma)",
        ),
        (
            "datasets",
            "cifar",
            "unknown data set 'cifar'; did you mean 'cifar10'? (known: digits, cifar10, cifar100, tiny_imagenet, "
            "folder)",
        ),
        ("samplers", "", "unknown sampler '' (known: grid, random, tpe, nsga2)"),
        ("neurons", "a:b:c", "unknown neuron 'a:b:c' (known: lif)"),
        (
            "neurons",
            "no_such_package.x:y",
            "neuron 'no_such_package.x:y': there is no module no_such_package.x",
        ),
        (
            "neurons",
            "users_own_package.god:Gate",
            "there is no module users_own_package.god on the import path",
        ),
        ("neurons", "users_own_package.good.x:Gate", "there is no module users_own_package.good.x"),
        ("neurons", "__main__.x:y", "there is no module __main__.x"),
    ],
)
def test_unknown_names(package, kind, name, message):
    for ask in (registry.check, registry.resolve):
        with pytest.raises(UserError) as caught:
            ask(kind, name)
        assert message in str(caught.value)


def test_checking_an_import_path_imports_nothing(package):
    registry.check("neurons", "users_own_package.broken:Gate")
    assert "users_own_package" not in sys.modules


def test_import_paths_are_resolved(package):
    assert registry.resolve("neurons", "users_own_package.good:Gate").inner == 5
    assert registry.resolve("neurons", "users_own_package.good:Gate.inner") == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_own_package.good:Gat", "users_own_package.good has no 'Gat'; did you mean 'Gate'?"),
        (
            "users_own_package.broken:Gate",
            "cannot import users_own_package.broken: ModuleNotFoundError: No module",
        ),
    ],
)
def test_what_cannot_be_resolved(package, name, message):
    with pytest.raises(UserError) as caught:
        registry.resolve("attentions", name)
    assert message in str(caught.value)


def test_entry_points_are_found_but_do_not_shadow_built_ins(package, monkeypatch):
    points = [
        importlib.metadata.EntryPoint("gate", "users_own_package.good:Gate", "raynas_snn.attentions"),
        importlib.metadata.EntryPoint("ma", "users_own_package.good:Gate", "raynas_snn.attentions"),
    ]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [point for point in points if point.group == group]
    )
    assert registry.resolve("attentions", "gate").inner == 5
    assert registry.listing("attentions")[-1] == ("gate", "users_own_package.good:Gate", "entry point")
    assert [name for name, _, _ in registry.listing("attentions")].count("ma") == 1
    with pytest.raises(UserError, match="did you mean 'gate'"):
        registry.check("attentions", "gaet")


def test_unknown_kind():
    with pytest.raises(UserError, match="unknown kind 'attention'; did you mean 'attentions'"):
        registry.listing("attention")


def test_a_package_of_the_same_name_that_hides_ours_is_named(tmp_path, monkeypatch):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "__init__.py").write_text("")
    for name in [name for name in sys.modules if name.partition(".")[0] == "trials"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"'trials' is another package, .*, which hides "):
        registry.resolve("trials", "fake")
    monkeypatch.delitem(sys.modules, "trials")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": ()}, "needs an operation other than 'none'"),
        ({"operations": ("none",)}, "needs an operation other than 'none'"),
        ({"operations": ("none", "skip_connect", "skip_connect")}, "holds an operation twice"),
        ({"operations": ("skip_connect",), "num_nodes": 0}, "num_nodes must be at least 1, not 0"),
    ],
)
def test_impossible_spaces(arguments, message):
    with pytest.raises(UserError, match=message):
        SearchSpace(name="mine", description="", **arguments)


def test_a_space_with_an_unknown_operation(package):
    (package / "space.py").write_text(
        "from raynas_snn.config.search_space import SearchSpace\n"
        "def mine():\n    return SearchSpace('mine', '', ('none', 'skip'))\n"
    )
    with pytest.raises(UserError, match=r"unknown operation 'skip'; did you mean 'skip_connect'"):
        load_space("users_own_package.space:mine")
