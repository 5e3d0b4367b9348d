"""Reading sweep files: precedence, and one line for every mistake."""

from pathlib import Path

import pytest

from raynas_snn.config import load_sweep
from raynas_snn.core.errors import UserError

PLAIN = "name: x\nspace: darts_snn\n"
LONG = f"{{lr: {{choice: {list(range(1, 10))}}}, momentum: {{choice: {[n / 100 for n in range(1, 60)]}}}}}"

HUNT = (
    "model: {decay: {float: [0, 1]}, attention: {choice: [none, ma]}, "
    "num_steps: {choice: [2, 4], when: {model.attention: ma}}}\nsweep: {num_trials: 5"
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as the file ``sweep.yaml`` of the working directory."""
    monkeypatch.chdir(tmp_path)

    def load_text(text, *overrides, num_trials=None):
        Path("sweep.yaml").write_text(text, encoding="utf-8")
        return load_sweep(Path("sweep.yaml"), overrides, num_trials)

    return load_text


def message_of(load, text, *overrides, num_trials=None):
    with pytest.raises(UserError) as caught:
        load(text, *overrides, num_trials=num_trials)
    return str(caught.value)


def test_without_a_file_the_embedded_default_is_loaded():
    sweep = load_sweep(None)
    assert sweep.config.name == "digits-attention"
    assert sweep.values_of("model.attention") == ("none", "ct", "ma")
    assert (sweep.num_proposals(), sweep.config.sweep.num_seeds) == (3, 2)


def test_precedence_is_schema_then_space_then_file_then_set(load):
    sweep = load(PLAIN + "search: {lr: 0.1}\nretrain: {lr: 0.1}", "retrain.lr=0.2")
    assert sweep.config.search.momentum == 0.9  # schema
    assert sweep.config.model.channels == 64  # space, against 16 in the schema
    assert sweep.config.search.lr == 0.1  # file, against 0.005 in the space
    assert sweep.config.retrain.lr == 0.2  # --set


def test_set_can_change_the_space_and_bring_its_defaults(load):
    assert load(PLAIN, "space=ma_darts").config.model.attention.name == "ma"


def test_set_takes_yaml_whole_sections_and_the_last_word(load):
    sweep = load(
        PLAIN,
        "model={decay: 0.5, v_th: 1}",
        "model.decay=2e-1",
        "model.attention={choice: [ct, ma]}",
        "retrain=",
    )
    assert (sweep.config.model.decay, sweep.config.model.v_th) == (0.2, 1.0)
    assert sweep.values_of("model.attention") == ("ct", "ma")


def test_objectives_are_replaced_as_a_whole(load):
    sweep = load(PLAIN, "sweep.objectives={spikes: minimize}")
    assert sweep.config.sweep.objectives == {"spikes": "minimize"}


def test_tau_is_another_name_of_decay(load):
    assert load(PLAIN + "model: {tau: 0.3}").config.model.decay == 0.3
    assert load(PLAIN + "model: {decay: 0.3}", "model.tau=0.4").config.model.decay == 0.4
    assert load(PLAIN + "model: {tau: {choice: [0.1, 1]}}").values_of("model.decay") == (0.1, 1.0)


def test_an_empty_section_is_no_section(load):
    assert load(PLAIN + "search:\n").config.search.epochs == 40


def test_a_fraction_takes_whole_numbers(load):
    sweep = load(PLAIN + "model: {decay: {choice: [0, 1]}, v_th: 1}")
    assert [type(level) for level in sweep.values_of("model.decay")] == [float, float]


def test_num_trials_of_the_command_line_wins(load):
    sweep = load(PLAIN + "model: {decay: {float: [0, 1]}}\nsweep: {sampler: random, num_trials: 3}", num_trials=7)
    assert sweep.num_proposals() == 7


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("model: {attenton: ma}", "model.attenton: unknown key; did you mean 'attention'?"),
        ("modle: {attention: ma}", "modle: unknown key; did you mean 'model'?"),
        (
            "sweep: {zzzz: 1}",
            "sweep.zzzz: unknown key; known: sampler, seed, num_seeds, num_trials, objectives, ",
        ),
        ("model: {decay: 1.7}", "model.decay: 1.7 is not allowed: must be a number between 0 and 1"),
        ("model: {v_th: 0}", "model.v_th: 0 is not allowed: must be a number above 0 and at most 100"),
        ("model: {v_th: .nan}", "model.v_th: nan is not allowed: must be a number above 0 and at most 100"),
        (
            "model: {channels: '16'}",
            "model.channels: '16' is not allowed: must be a whole number between 1 and 1024",
        ),
        (
            "model: {channels: 16.0}",
            "model.channels: 16.0 is not allowed: must be a whole number between 1 and 1024",
        ),
        (
            "model: {layers: true}",
            "model.layers: true is not allowed: must be a whole number between 2 and 20",
        ),
        ("model: {detach_reset: yes}", "model.detach_reset: 'yes' is not allowed: must be true or false"),
        (
            "search: {channels: 0}",
            "search.channels: 0 is not allowed: must be a whole number between 1 and 1024 or null",
        ),
        (
            "search: {attention_scope: last_cel}",
            "search.attention_scope: 'last_cel' is not allowed: must be 'every_cell' or 'last_cell'; "
            "did you mean 'last_cell'?",
        ),
        (
            "data: {num_train: 1}",
            "data.num_train: 1 is not allowed: must be a whole number of at least 2 or null",
        ),
        ("sweep: {objectives: {acuracy: maximize}}", "; did you mean 'accuracy'?"),
        ("sweep: {objectives: {accuracy: maximise}}", "; did you mean 'maximize'?"),
        (
            "sweep: {objectives: {}}",
            "sweep.objectives: {} is not allowed: must be a non-empty mapping of 'accuracy'",
        ),
        (
            "resources: {max_concurrent: 0}",
            "0 is not allowed: must be 'auto' or a whole number between 1 and 100000",
        ),
        (
            "resources: {gpus_per_worker: 1.5}",
            "1.5 is not allowed: must be a fraction below 1 or a whole number",
        ),
        ("model: 3", "model: 3 is not allowed: must be 'key: value' lines"),
        (
            "model: {attention: mma}",
            "model.attention: unknown attention 'mma'; did you mean 'ma'? (known: none, temporal, ",
        ),
        (
            "model: {attention: {choice: [none, mma]}}",
            "model.attention: unknown attention 'mma'; did you mean 'ma'?",
        ),
        ("model: {neuron: lfi}", "model.neuron: unknown neuron 'lfi'; did you mean 'lif'?"),
        ("model: {surrogate: dspik}", "model.surrogate: unknown surrogate 'dspik'; did you mean 'dspike'?"),
        ("data: {name: digit}", "data.name: unknown data set 'digit'; did you mean 'digits'?"),
        ("sweep: {sampler: gird}", "sweep.sampler: unknown sampler 'gird'; did you mean 'grid'?"),
        ("trial: fke", "trial: unknown kind of trial 'fke'; did you mean 'fake'?"),
        (
            "model: {decay: {choice: [0.2, 1.7]}}",
            "model.decay: 1.7 is not allowed: must be a number between 0 and 1",
        ),
        (
            "model: {decay: {float: [0.2, 1.7]}}",
            "model.decay: 1.7 is not allowed: must be a number between 0 and 1",
        ),
        (
            "model: {attention: {int: [1, 2]}}",
            "model.attention: must be a name, {name: a, option: value} or {choice: [a, b], option: value}",
        ),
        ("model: {channels: {float: [8, 16]}}", "model.channels: 8.0 is not allowed: must be a whole number"),
        ("model: {channels: {choise: [8, 16]}}", "model.channels: must be a plain value, {choice: [a, b]}"),
        (
            "data: {name: {choice: [digits]}}",
            "data.name: cannot be varied; only fields of model, search, retrain can",
        ),
        (
            "model: {decay: {float: [0, 1]}}",
            "model.decay: a grid has no place for {float: [0.0, 1.0]}: use choice",
        ),
        ("model: {tau: 0.1, decay: 0.1}", "model.tau: is another name of model.decay, which is given too"),
        ("sweep: {sampler: tpe, num_trials: 5}", "sweep.sampler: 'tpe' has nothing to vary"),
        (
            "model: {decay: {float: [0, 1]}}\nsweep: {sampler: random}",
            "sweep.num_trials: null is not allowed with sampler 'random': say how many proposals to make",
        ),
        (
            "resources: {num_workers: 3}\nretrain: {batch_size: 66}",
            "resources.num_workers: 3 workers cannot share search.batch_size = 64 equally; 63 or 66 would do",
        ),
        (
            "resources: {num_workers: 2}\nsweep: {sampler: tpe, num_trials: 1}\nsearch: {batch_size: {int: [2, 64]}}",
            "resources.num_workers: 2 workers cannot share all sizes in search.batch_size; give it step: 2",
        ),
        (
            "sweep: {points: [{model.decay: 0.2}]}",
            "sweep.points: a grid makes every combination anyway, in its own order; use sweep.sampler random",
        ),
        (
            HUNT + ", sampler: tpe, points: [{model.deacy: 0.2}]}",
            "sweep.points: point 1: 'model.deacy' is not varied by this sweep",
        ),
        (
            HUNT + ", sampler: tpe, points: [{}, {model.decay: 1.5}]}",
            "sweep.points: point 2: model.decay: 1.5 is none of {float: [0.0, 1.0]}",
        ),
        (
            HUNT + ", sampler: tpe, points: [{model.attention: m}]}",
            "point 1: model.attention: 'm' is none of {choice: ['none', 'ma']}; did you mean 'ma'?",
        ),
        (
            HUNT + ", sampler: tpe, points: [{model.num_steps: 4}]}",
            "model.num_steps takes part only where model.attention is in ['ma']; the point leaves it open",
        ),
        (
            HUNT + ", sampler: tpe, points: [{model.num_steps: 4, model.attention: none}]}",
            "model.num_steps takes part only where model.attention is in ['ma']; the point has 'none'",
        ),
        (
            HUNT + ", sampler: tpe, points: [{model.decay: 0.1, model.tau: 0.1}]}",
            "point 1: 'model.decay' is given under two names",
        ),
        (
            HUNT + ", sampler: tpe, points: {model.decay: 0.1}}",
            "sweep.points: {'model.decay': 0.1} is not allowed: must be a list of a mapping",
        ),
        (
            HUNT + ", sampler: random, warm_start: x}",
            "sweep.warm_start: sampler 'random' learns nothing from other runs; use sweep.sampler tpe or nsga2",
        ),
        (
            HUNT + ", sampler: {name: tpe, population_size: 5}}",
            "sweep.sampler.population_size: unknown option of tpe; known: none",
        ),
        (
            "search: {strategy: {choice: [darts, fixed]}}",
            "search.strategy.genotype: 'fixed' needs a file with the cells",
        ),
        (
            "search: {strategy: {name: fixed, genotype: cells.json}}",
            "search.strategy.genotype: there is no file 'cells.json'",
        ),
        (
            "search: {warmup_epochs: 3, epochs: {choice: [9, 3]}}",
            "search.warmup_epochs: 3 leaves none of search.epochs = 3 for alpha; it must be below",
        ),
        (
            "search: {strategy: random}\nsweep: {objectives: {search_accuracy: maximize}}",
            "sweep.objectives: there is no search_accuracy with search.strategy 'random'",
        ),
        (
            "model: {layers: {choice: [6, 3]}, reductions: [1, 3]}",
            "model.reductions: there is no cell 3 with 3 layers; they count from 0 to 2",
        ),
        (
            "model: {layers: 8}\nsearch: {layers: 4, reductions: [1, 5]}",
            "search.reductions: there is no cell 5 with 4 layers",
        ),
        ("model: {layers: 6, reductions: [1, 1]}", "model.reductions: [1, 1] holds a cell twice"),
        (
            f"search: {LONG}\nretrain: {LONG}",
            "sweep.sampler: the grid has 281961 proposals: set sweep.num_trials",
        ),
    ],
)
def test_mistakes_in_a_file(load, fragment, message):
    found = message_of(load, PLAIN + fragment)
    assert found.startswith("sweep.yaml: ")
    assert message in found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.decay=2", "--set model.decay: 2 is not allowed: must be a number between 0 and 1"),
        ("model={decay: 2}", "--set model: model.decay: 2 is not allowed"),
        ("model.tau=2", "--set model.tau: model.decay: 2 is not allowed"),
        ("modle.decay=2", "--set modle.decay: modle: unknown key; did you mean 'model'?"),
        ("space=ct_dart", "--set space: unknown search space 'ct_dart'; did you mean 'ct_darts'?"),
        ("space=3", "--set space: 3 is not allowed: must be text"),
        ("space=os.path:join", "--set space: search space 'os.path:join': TypeError"),
        ("space=math:pi", "--set space: search space 'math:pi': TypeError"),
        ("space=builtins:dict", "--set space: search space 'builtins:dict': must be a function that returns"),
        ("name=../x", "--set name: '../x' is not allowed: must be up to 100 letters"),
        ('name="x\\n"', "--set name: 'x\\n' is not allowed"),
        ("name=a..b", "--set name: 'a..b' is not allowed"),
        ("x", "--set 'x': must be section.field=value"),
        ("a.b.c=1", "--set 'a.b.c=1': must be section.field=value"),
        (".b=1", "--set '.b=1': must be section.field=value"),
        ("model.decay=[1", "--set model.decay: '[1' is not YAML: line 1, column 3"),
        ("model.decay=", "--set model.decay: null is not allowed"),
        ("model=3", "--set model: 3 is not allowed: must be 'key: value' lines"),
    ],
)
def test_mistakes_in_set(load, override, message):
    assert message_of(load, PLAIN, override).startswith(message)


def test_two_names_of_one_field_in_set(load):
    found = message_of(load, PLAIN, "model.tau=0.2", "model.decay=0.3")
    assert found.startswith("--set model.tau: is another name of model.decay")


def test_further_mistakes_are_counted(load):
    text = PLAIN + "model: {decay: 2, v_th: 0}"
    assert message_of(load, text).endswith("(and 1 more problem)")
    assert message_of(load, text, "search.lr=0").endswith("(and 2 more problems)")


def test_mistake_in_num_trials(load):
    assert message_of(load, PLAIN, num_trials=0).startswith("--num-trials: sweep.num_trials: 0 is not allowed")


def test_a_name_is_required(load):
    assert message_of(load, "model: {}") == "sweep.yaml: name: is missing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "sweep.yaml: is empty"),
        (b"# nothing\n", "sweep.yaml: is empty"),
        (b"- 1", "sweep.yaml: must be made of 'key: value' lines, not [1]"),
        (b"a: b: c", "sweep.yaml: line 1, column 5: "),
        (b"name: \xff", "sweep.yaml: line 1: is not text in UTF-8"),
        (b" " * (2**20 + 1), "sweep.yaml: cannot be read: larger than 1 MiB"),
    ],
)
def test_files_that_are_no_sweep_files(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_sweep(Path("sweep.yaml"))
    assert str(caught.value).startswith(message)


def test_text_in_place_of_one_of_some_numbers_is_told():
    with pytest.raises(UserError, match="'two' is not allowed: must be 1 or 2 or 4 or 8 or null"):
        load_sweep(None, ["model.stem_stride=two"])


def test_files_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(PLAIN)
    for name, message in [
        ("swep.yaml", "swep.yaml: there is no such file; did you mean 'sweep.yaml'?"),
        ("nowhere/x.yaml", "nowhere/x.yaml: there is no such file"),
        (".", ".: cannot be read: Is a directory"),
        ("sweep.yaml/x", "sweep.yaml/x: cannot be read: Not a directory"),
    ]:
        with pytest.raises(UserError) as caught:
            load_sweep(Path(name))
        assert str(caught.value) == message


def test_a_byte_order_mark_is_no_mistake(load):
    assert load("\ufeff" + PLAIN).config.name == "x"
