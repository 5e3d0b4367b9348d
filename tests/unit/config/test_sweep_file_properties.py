"""Whatever a user writes: a sweep, or one line that says what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import SECTIONS, SweepConfig
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS
from raynas_snn.config.yaml_text import dump
from raynas_snn.core.errors import UserError

DEFAULT = Path("raynas_snn/config/default_sweep.yaml")
FIELDS = [f"{section}.{field}" for section, model in SECTIONS.items() for field in model.model_fields]
KEYS = st.sampled_from([*SweepConfig.model_fields, *(path.split(".")[1] for path in FIELDS), "choice", "float", "tau"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps") / "sweep.yaml"


def load_or_complain(file, overrides=()):
    """Whatever is raised but a UserError is a traceback to the user."""
    message = "fine"
    try:
        assert isinstance(load_sweep(file, overrides), Sweep)
    except UserError as error:
        message = str(error)
    assert 0 < len(message) < 1000


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(file, content):
    file.write_bytes(content)
    load_or_complain(file)


@given(data=st.data())
def test_a_sweep_file_with_a_slip_of_the_hand(file, data):
    text = (Path(__file__).parents[3] / DEFAULT).read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 5, len(text))))
        text = text[:start] + data.draw(st.text(alphabet="abn:-{}[],&*!#|>'\"\n\t 01.e", max_size=4)) + text[end:]
    file.write_text(text, encoding="utf-8")
    load_or_complain(file)


@given(content=st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_structure(file, content):
    file.write_text(dump({"name": "x", **content}), encoding="utf-8")
    load_or_complain(file)


@given(overrides=st.lists(st.text(max_size=30), max_size=3))
def test_any_text_in_set(overrides):
    load_or_complain(None, overrides)


@given(path=st.sampled_from(FIELDS), value=VALUES)
def test_any_value_in_set(path, value):
    load_or_complain(None, [f"{path}={dump(value)}"])


UNIT = st.floats(0, 1)
# What a disk could hold, and no home of somebody who may not be there.
FILE_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(lambda name: name[:1] != "~")
OUTER = {
    "model.decay": st.lists(UNIT, min_size=1, max_size=4, unique=True).map(lambda levels: {"choice": levels}),
    "model.num_steps": st.sets(st.integers(1, 64), min_size=1, max_size=4).map(lambda s: {"choice": sorted(s)}),
    "model.attention": st.permutations(["none", "ct", "ma"]).map(lambda levels: {"choice": levels}),
    "search.lr": st.tuples(st.floats(1e-6, 0.1), st.floats(0.2, 1)).map(lambda ends: {"float": [*ends], "log": True}),
    "retrain.epochs": st.tuples(st.integers(1, 9), st.integers(10, 20)).map(lambda ends: {"int": [*ends]}),
}
PLAIN = {
    "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True),
    "data.root": FILE_NAMES,
    "model.v_th": st.floats(0.01, 100),
    "search.weight_decay": UNIT,
    "sweep.seed": st.integers(0, 2**31 - 1),
    "sweep.num_trials": st.integers(1, 1000),
    "resources.max_concurrent": st.just("auto") | st.integers(1, 100),
}


@given(plain=st.fixed_dictionaries(PLAIN), outer=st.fixed_dictionaries({}, optional=OUTER))
def test_a_resolved_sweep_reads_back_as_the_same_sweep(file, plain, outer):
    content = {"space": "darts_snn", "sweep": {}}
    for path, value in {**plain, **outer}.items():
        section, _, field = path.rpartition(".")
        (content.setdefault(section, {}) if section else content)[field] = value
    content["sweep"]["sampler"] = "random" if outer else "grid"
    file.write_text(dump(content), encoding="utf-8")
    sweep = load_sweep(file)
    assert {parameter.path: parameter.as_dict() for parameter in sweep.outer} == outer
    assert all(parameter.keys[0] in VARIABLE_SECTIONS for parameter in sweep.outer)

    file.write_text(dump(sweep.resolved()), encoding="utf-8")
    again = load_sweep(file)
    assert (again.config, again.outer) == (sweep.config, sweep.outer)
    assert (again.resolved(), again.meaning_hash()) == (sweep.resolved(), sweep.meaning_hash())


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("a\0b", "no file can have this name"),
        ("x" * 5000, "no file can have this name"),
        ("~nobody-of-this-name/data", "there is no user of this name"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(root, message):
    with pytest.raises(UserError, match=rf"data\.root: .*{message}"):
        load_sweep(None, [f"data.root={dump(root)}"])
