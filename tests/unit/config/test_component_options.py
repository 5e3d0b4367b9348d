"""Options beside the name of a component: forms, layers, conditions, mistakes. Components of one's own among them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.superset import compare
from raynas_snn.config.yaml_text import dump
from raynas_snn.core.errors import UserError
from raynas_snn.snn.attention_options import MAOptions

OWN = """
from pydantic import Field, model_validator
from raynas_snn import Options


class GateOptions(Options):
    reduction: int = Field(8, ge=2, le=8, description="How much narrower.")
    sharp: bool = Field(False, description="Whether it is sharp.")


class Gate:
    options = GateOptions


class NoDefault:
    class options(Options):
        reduction: int = Field(description="Has none.")


class NoOptions:
    options = {"reduction": 4}


class Reserved:
    class options(Options):
        choice: int = 1


class Pair:
    class options(Options):
        low: int = 1
        high: int = 2

        @model_validator(mode="after")
        def _in_order(self):
            if self.low > self.high:
                raise ValueError("low must not be above high")
            return self


class Root:
    class options(Options):
        root: str = "x"
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_parts.py").write_text(OWN)

    def load_text(model: str, *overrides: str) -> Sweep:
        Path("sweep.yaml").write_text(f"name: x\nspace: darts_snn\nmodel: {model}\n")
        return load_sweep(Path("sweep.yaml"), overrides)

    return load_text


def attention(sweep: Sweep, **values) -> dict:
    """The attention of a trial, with its options."""
    component = sweep.example_trial({f"model.{path}": value for path, value in values.items()}).model.attention
    return {"name": component.name, **component.settings}


MA = {"name": "ma", "reduction": 16, "spatial_kernel": 7, "fold_time": False}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ma", MA),
        ("{name: ma}", MA),
        ("{name: ma, reduction: 4, fold_time: true}", {**MA, "reduction": 4, "fold_time": True}),
        ("{choice: [ma]}", MA),
        ("none", {"name": "none"}),
        (
            "{name: ct, channel_kernel: null}",
            {"name": "ct", "channel_kernel": None, "time_kernel": 3, "window": "centred"},
        ),
        ("{name: own_parts:Gate, sharp: true}", {"name": "own_parts:Gate", "reduction": 8, "sharp": True}),
    ],
)
def test_a_component_is_a_name_with_options_beside_it(load, written, expected):
    assert attention(load(f"{{attention: {written}}}")) == expected


def test_options_are_typed_in_the_worker_as_in_the_driver(load):
    trial = load("{attention: {name: ma, reduction: 4}, surrogate: {name: atan, alpha: 3}}").example_trial()
    again = TrialConfig.model_validate_json(trial.model_dump_json())
    assert again == trial
    assert again.model.attention.options == MAOptions(reduction=4)
    assert again.model.surrogate.options.alpha == 3.0


def test_options_apply_to_the_kinds_of_a_choice_that_have_them(load):
    sweep = load("{attention: {choice: [none, ct, ma], spatial_kernel: 3, time_kernel: 5}}")
    assert [attention(sweep, attention=name) for name in ("none", "ma", "ct")] == [
        {"name": "none"},
        {**MA, "spatial_kernel": 3},
        {"name": "ct", "channel_kernel": None, "time_kernel": 5, "window": "centred"},
    ]


def test_a_varied_option_takes_part_where_the_chosen_kind_has_it(load):
    kernel = "spatial_kernel: {choice: [3, 5], when: {model.attention.reduction: 4}}"
    sweep = load(f"{{attention: {{choice: [none, ma, channel], reduction: {{choice: [4, 8]}}, {kernel}}}}}")
    assert [tuple(values.values()) for values in sweep.grid()] == [
        ("none",),
        ("ma", 4, 3),
        ("ma", 4, 5),
        ("ma", 8),
        ("channel", 4),
        ("channel", 8),
    ]
    assert [dict(one.when) for one in sweep.outer] == [
        {},
        {"model.attention": ("ma", "channel")},
        {"model.attention": ("ma",), "model.attention.reduction": (4,)},
    ]
    assert attention(sweep, attention="ma", **{"attention.reduction": 8}) == {**MA, "reduction": 8}


def test_an_option_of_a_component_that_is_there_always_varies_always(load):
    sweep = load("{surrogate: {name: atan, alpha: {float: [1, 4]}}}", "sweep={sampler: random, num_trials: 2}")
    (alpha,) = sweep.outer
    assert (alpha.path, alpha.when) == ("model.surrogate.alpha", ())
    trial = sweep.trial_config(0, 0, {"model.surrogate.alpha": 2.5})
    assert trial.model.surrogate.options.alpha == 2.5
    assert load("{attention: {choice: [ma, channel], reduction: {choice: [4, 8]}}}").outer[1].when == ()


def test_where_a_choice_is_not_made_its_options_are_not_either(load):
    model = "{attention: {choice: [ct, ma], when: {model.num_steps: 2}, reduction: 4, time_kernel: {choice: [1, 3]}}"
    sweep = load(model + ", num_steps: {choice: [1, 2]}}", "space=ma_darts")
    assert [tuple(values.values()) for values in sweep.grid()] == [(1,), (2, "ct", 1), (2, "ct", 3), (2, "ma")]
    assert attention(sweep, num_steps=1) == MA, "what the space has, as if the file did not mention attention"
    assert attention(sweep, num_steps=2, attention="ma") == {**MA, "reduction": 4}


FILE = "{attention: {name: ma, reduction: 4}}"
CHOICE = "{attention: {choice: [none, ma], reduction: {choice: [4, 8]}}}"


@pytest.mark.parametrize(
    ("file", "overrides", "expected"),
    [
        (FILE, ["model.attention=ct"], {"name": "ct", "channel_kernel": None, "time_kernel": 3, "window": "centred"}),
        (FILE, ["model.attention=channel"], {"name": "channel", "reduction": 4}),
        (FILE, ["model.attention={name: channel, reduction: 8}"], {"name": "channel", "reduction": 8}),
        (FILE, ["model.attention.reduction=2"], {**MA, "reduction": 2}),
        (FILE, ["model.attention={reduction: 2}"], {**MA, "reduction": 2}),
        (FILE, ["model.attention.spatial_kernel=3"], {**MA, "reduction": 4, "spatial_kernel": 3}),
        (FILE, ["model={attention: ma}"], {**MA, "reduction": 4}),
        (CHOICE, ["model.attention=none"], {"name": "none"}),
        (CHOICE, ["model.attention.reduction=2", "model.attention=ma"], {**MA, "reduction": 2}),
        ("{}", ["space=ma_darts", "model.attention.reduction=2"], {**MA, "reduction": 2}),
    ],
)
def test_the_uppermost_layer_that_gives_an_option_wins(load, file, overrides, expected):
    assert attention(load(file, *overrides)) == expected


def test_a_choice_on_the_command_line_keeps_the_options_of_the_file(load):
    sweep = load(FILE, "model.attention={choice: [none, ma, ct]}")
    assert attention(sweep, attention="ma")["reduction"] == 4
    varied = load(CHOICE, "model.attention={choice: [ma, ct]}")
    assert [dict(one.when) for one in varied.outer] == [{}, {"model.attention": ("ma",)}]


def test_options_stand_beside_the_fields_of_data(load):
    sweep = load("{}", "data={name: folder, root: x, image_size: 32}")
    assert sweep.config.data.options.image_size == 32
    assert sweep.resolved()["data"]["grayscale"] is False
    assert "image_size" not in load("{}", "data.name=digits").resolved()["data"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "{attention: {name: ma, reducton: 4}}",
            "model.attention.reducton: unknown option of ma; did you mean 'reduction'?",
        ),
        ("{attention: {name: ct, zoom: 4}}", "unknown option of ct; known: channel_kernel, time_kernel, window"),
        ("{attention: {name: none, reduction: 4}}", "model.attention.reduction: unknown option of none; known: none"),
        ("{attention: {choice: [none, ct], reduction: 4}}", "model.attention.reduction: unknown option of none and ct"),
        ("{attention: {name: mma}}", "model.attention: unknown attention 'mma'; did you mean 'ma'?"),
        (
            "{attention: {name: ma, reduction: 0}}",
            "model.attention.reduction: 0 is not allowed: must be a whole number",
        ),
        ("{attention: {name: ct, time_kernel: 4}}", "model.attention.time_kernel: 4 is not allowed: must be odd"),
        ("{attention: {name: ma, fold_time: 1}}", "model.attention.fold_time: 1 is not allowed: must be true or false"),
        ("{attention: {name: ma, reduction: {choice: [4, 0]}}}", "model.attention.reduction: 0 is not allowed"),
        ("{attention: {name: ct, time_kernel: {int: [3, 5]}}}", "model.attention.time_kernel: 4 is not allowed"),
        ("{attention: {choice: [ma, own_parts:Gate], reduction: 16}}", "model.attention.reduction: 16 is not allowed"),
        ("{attention: {name: ma, reduction: {chioce: [4]}}}", "model.attention.reduction: must be a plain value"),
        ("{attention: {name: ma, choice: [ma]}}", "model.attention: must be a name, {name: a, option: value} or"),
        ("{attention: {int: [1, 2]}}", "model.attention: must be a name, {name: a, option: value} or"),
        ("{attention: 3}", "model.attention: must be a name"),
        ("{attention: {}}", "model.attention: must be a name"),
        ("{attention: {choice: [1, ma]}}", "model.attention: choice holds 1, which is no name"),
        (
            "{attention: {choice: [none, ma], reduction: {choice: [4, 8], when: {model.attention: none}}}}",
            "model.attention.reduction: when: 'none' has no option 'reduction'",
        ),
        ("{attention: own_parts:NoDefault}", "attention 'own_parts:NoDefault': its option 'reduction' has no default"),
        ("{attention: own_parts:NoOptions}", "its 'options' must be a class derived from raynas_snn.Options"),
        ("{attention: own_parts:Reserved}", "its option 'choice' must have another name"),
        ("{attention: {name: own_parts:Pair, low: 3}}", "model.attention: low must not be above high"),
        ("{}\ndata: {name: own_parts:Root}", "its option 'root' must have another name, which is a field of data"),
        ("{}\ndata: {name: digits, image_size: 8}", "data.image_size: unknown option of digits"),
        (
            "{}\ndata: {name: folder, image_sise: 8}",
            "data.image_sise: unknown option of folder; did you mean 'image_size'?",
        ),
        ("{}\nsweep: {sampler: {choice: [grid, tpe]}}", "sweep.sampler: cannot be varied"),
        ("{}\nsweep: {scheduler: {name: asha, grace_epochs: {choice: [1, 2]}}}", "cannot be varied"),
    ],
)
def test_mistakes_are_told_in_one_line(load, model, message):
    with pytest.raises(UserError) as refused:
        load(model)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_option_that_no_kind_of_its_own_layer_has_is_a_mistake(load):
    with pytest.raises(UserError, match=r"--set model\.attention\.reduction: unknown option of ct"):
        load("{}", "model.attention=ct", "model.attention.reduction=4")
    with pytest.raises(UserError, match=r"--set model\.attention\.reduction: unknown option of ct"):
        load("{attention: ct}", "model.attention.reduction=4")


def test_kinds_with_different_defaults_keep_their_own(load):
    sweep = load("{attention: {choice: [ma, own_parts:Gate]}}")
    assert [attention(sweep, attention=name)["reduction"] for name in ("ma", "own_parts:Gate")] == [16, 8]
    assert "reduction" not in sweep.resolved()["model"]["attention"]


PAIR = "{attention: {choice: [none, ct]}}"


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        (PAIR, "{attention: {choice: [none, ct, ma]}}", True),
        (PAIR, "{attention: {choice: [none, ct, ma], reduction: {choice: [4, 8]}}}", True),
        (PAIR, "{attention: {choice: [none, ct], time_kernel: {choice: [3, 5]}}}", True),
        (PAIR, "{attention: {choice: [none, ct], time_kernel: {choice: [1, 5]}}}", False),
        (PAIR, "{attention: {choice: [none, ct], time_kernel: 5}}", False),
        (FILE, CHOICE, True),
        (FILE, "{attention: {name: ma, reduction: 8}}", False),
        ("{attention: {name: ma, reduction: {choice: [4, 8]}}}", CHOICE, True),
        (CHOICE, "{attention: {choice: [none, ma, channel], reduction: {choice: [4, 8]}}}", True),
    ],
)
def test_further_kinds_and_options_make_a_sweep_wider(load, old, new, wider):
    refused, told = compare(load(old), load(new))
    assert (not refused, bool(told)) == (wider, wider), refused
    assert compare(load(new), load(old))[0]


KERNELS = st.sampled_from([1, 3, 5, 7])


def one_or_several(values: st.SearchStrategy) -> st.SearchStrategy:
    return values | st.lists(values, min_size=1, max_size=3, unique=True).map(lambda levels: {"choice": levels})


OPTIONS = {
    "reduction": one_or_several(st.integers(1, 1024)),
    "spatial_kernel": one_or_several(KERNELS),
    "channel_kernel": st.none() | one_or_several(KERNELS),
    "window": one_or_several(st.sampled_from(["centred", "causal", "per_step"])),
    "fold_time": one_or_several(st.booleans()),
}
HEADS = st.sampled_from(["ct", "ma", "channel"]).map(lambda name: {"name": name}) | st.permutations(
    ["none", "ct", "ma", "channel"]
).map(lambda levels: {"choice": list(levels)})


@settings(deadline=None)
@given(head=HEADS, options=st.fixed_dictionaries({}, optional=OPTIONS), alpha=one_or_several(st.floats(0.5, 4)))
def test_a_resolved_sweep_with_options_reads_back_as_the_same_sweep(tmp_path_factory, head, options, alpha):
    known = {
        "ct": ["channel_kernel", "window"],
        "ma": ["reduction", "spatial_kernel", "fold_time"],
        "channel": ["reduction"],
    }
    names = head.get("choice", [head.get("name")])
    fitting = {key: value for key, value in options.items() if any(key in known.get(name, ()) for name in names)}
    model = {"attention": {**head, **fitting}, "surrogate": {"name": "atan", "alpha": alpha}}
    file = tmp_path_factory.mktemp("sweeps") / "sweep.yaml"
    file.write_text(dump({"name": "x", "space": "darts_snn", "model": model, "sweep": {"num_trials": 50}}))
    sweep = load_sweep(file)
    for values in sweep.grid():
        trial = sweep.trial_config(0, 0, values)
        chosen = trial.model.attention
        assert chosen.settings.keys() == type(chosen.options).model_fields.keys()
        assert all(trial.value_at(path) == value for path, value in values.items())

    file.write_text(dump(sweep.resolved()))
    again = load_sweep(file)
    assert (again.config, again.outer, again.beside) == (sweep.config, sweep.outer, sweep.beside)
    assert (again.resolved(), again.meaning_hash()) == (sweep.resolved(), sweep.meaning_hash())
