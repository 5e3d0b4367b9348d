"""The command line: what it prints, its exit codes, and that it answers without ray or torch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raynas_snn import cli, sweep
from raynas_snn.config import load_sweep
from raynas_snn.config.yaml_text import parse
from raynas_snn.core.errors import UserError
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.plan import default_run_dir

CHECK_IMPORTS = """
import sys
from raynas_snn.{verb} import main
try:
    code = main(sys.argv[1:])
except SystemExit as left:
    code = left.code
heavy = sorted({{"ray", "torch"}} & sys.modules.keys())
sys.exit(f"code {{code}}, imported {{heavy}}" if code or heavy else 0)
"""


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments, verb=sweep.main):
    """Returns exit code, stdout and stderr of a verb that must not write anything."""
    before = sorted(Path.cwd().rglob("*"))
    code = verb(list(arguments))
    assert sorted(Path.cwd().rglob("*")) == before
    return code, *capsys.readouterr()


def test_the_flags_of_the_sweep_verb_are_frozen():
    # A new flag needs a reason that a field of the sweep file does not meet.
    options = re.findall(r"(?<!\S)--[\w-]+", sweep.make_parser().format_help())
    assert set(options) == {
        "--help",
        "--set",
        "--num-trials",
        "--run-dir",
        "--resume",
        "--address",
        "--max-hours",
        "--storage",
        "--dry-run",
        "--print-config",
        "--list",
        "--json",
    }


@pytest.mark.parametrize("verb", [sweep.main, cli.main])
def test_help_shows_the_exit_codes(capsys, verb):
    with pytest.raises(SystemExit) as left:
        verb(["-h"])
    assert left.value.code == 0
    assert "130  interrupted; the same command continues" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("sweep", ["--help"]),
        ("sweep", ["--dry-run"]),
        ("sweep", ["--dry-run", "--json"]),
        ("sweep", ["--print-config"]),
        ("sweep", ["--list", "neurons"]),
        ("cli", ["--help"]),
        ("cli", ["sweep", "--list", "samplers"]),
    ],
)
def test_answers_without_ray_or_torch_and_writes_nothing(verb, arguments, tmp_path):
    code = CHECK_IMPORTS.format(verb=verb)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert list(tmp_path.iterdir()) == []


def test_python_m_gives_no_warning():
    command = [sys.executable, "-W", "error", "-m", "raynas_snn.sweep", "--list", "attentions"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split(maxsplit=1) == ["none", "no attention: the DARTS baseline"]


def test_list(capsys):
    code, out, _ = run(capsys, "--list", "neurons")
    assert code == 0
    assert "SpikingJelly's tau is 1 / (1 - decay)" in out
    code, out, _ = run(capsys, "--list", "samplers", "--json")
    assert [thing["name"] for thing in json.loads(out)["samplers"]] == ["grid", "random", "tpe", "nsga2"]


def test_print_config(capsys):
    code, out, _ = run(capsys, "--print-config", "--set", "model.decay=0.3")
    assert code == 0
    assert parse(out) == load_sweep(None, ["model.decay=0.3"]).resolved()
    code, out, _ = run(capsys, "--print-config", "--set", "model.decay=0.3", "--json")
    assert json.loads(out) == load_sweep(None, ["model.decay=0.3"]).resolved()


def test_dry_run_tells_what_would_run(capsys):
    code, out, _ = run(capsys, "--dry-run", "--set", "search.epochs={choice: [2, 3]}", "--run-dir", "here")
    assert code == 0
    facts = {line[:18].strip(): line[18:] for line in out.splitlines()}
    assert facts["varied"] == "model.attention: none, ct, ma"
    assert facts[""] == "search.epochs: 2, 3"
    assert facts["trials"] == "12 = 6 proposals x 2 seeds"
    assert facts["epochs per trial"].startswith("2 to 3 search + ")
    assert facts["workers per trial"] == "1, each with 1 CPU and 0 GPU"
    assert facts["run directory"] == "here (new)"


def test_dry_run_tells_what_a_sweep_need_not_have(capsys):
    settings = {
        "model.attention.reduction": "{choice: [4, 8]}",
        "model.decay": "{float: [0.1, 0.9], when: {model.attention: ma}}",
        "sweep.sampler": "tpe",
        "sweep.num_trials": "9",
        "sweep.scheduler": "asha",
        "sweep.max_params": "20000",
        "sweep.points": "[{model.attention: none}, {model.attention: ma, model.tau: 0.5}]",
    }
    arguments = [part for path, value in settings.items() for part in ("--set", f"{path}={value}")]
    code, out, _ = run(capsys, "--dry-run", *arguments)
    assert code == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert "varied            model.attention: none, ct, ma" in lines
    assert " " * 18 + "model.attention.reduction: 4, 8 (when model.attention is ma)" in lines
    assert " " * 18 + "model.decay: {float: [0.1, 0.9]} (when model.attention is ma)" in lines
    assert "scheduler         asha (metric 'accuracy', grace_epochs null, reduction_factor 3)" in lines
    assert "limits            params <= 20,000" in lines
    assert "points            {'model.attention': 'none'}" in lines
    assert " " * 18 + "{'model.attention': 'ma', 'model.decay': 0.5}" in lines
    plan = json.loads(run(capsys, "--dry-run", "--json", *arguments)[1])
    assert (plan["scheduler"], plan["limits"], plan["warm_start"]) == ("asha", {"params": 20000}, None)


def test_dry_run_counts_what_another_run_teaches(capsys):
    earlier = RunDir.create(Path("earlier"), load_sweep(None).resolved(), {})
    ended = {"epochs": 1, "seconds": 1.0, "metrics": {"accuracy": 0.5}}
    for number, reason in enumerate(["finished", "failed", "early_stopped"]):
        earlier.append(TrialRecord(f"p000{number}-s0", number, 0, {"model.attention": "ct"}, reason, **ended))
    settings = "sweep={sampler: tpe, num_trials: 3, warm_start: earlier}"
    code, out, _ = run(capsys, "--dry-run", "--set", settings)
    assert code == 0
    assert "learns from       1 proposals of earlier" in out


def test_dry_run_as_json(capsys):
    code, out, _ = run(capsys, "--dry-run", "--json", "--num-trials", "2")
    plan = json.loads(out)
    assert code == 0
    assert plan["outer"] == {"model.attention": {"choice": ["none", "ct", "ma"]}}
    assert (plan["num_proposals"], plan["num_seeds"], plan["num_trials"]) == (2, 2, 4)
    assert plan["run_dir"] == str(default_run_dir(load_sweep(None)))
    assert plan["continues"] is False


def test_dry_run_knows_earlier_work(capsys):
    RunDir.create(Path("here"), load_sweep(None).resolved(), {})
    code, out, _ = run(capsys, "--dry-run", "--run-dir", "here", "--set", "sweep.num_seeds=5")
    assert code == 0
    assert "here (continues, 0 of its trials have ended)" in out


DRAWN = ("--set", "sweep.sampler=random", "--set", "sweep.num_trials=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run-dir", "mine", "--resume", "never"], "mine: holds a run already, and --resume never"),
        (["--run-dir", "new", "--resume", "must"], "new: holds no run to continue, and --resume must"),
        (["--run-dir", "foreign"], "foreign: holds something that is not a run"),
        (["--run-dir", "file"], "file: not a directory"),
        (
            ["--run-dir", "mine", "--set", "model.decay=0.3"],
            "mine: holds a run of another sweep: model.decay: 0.2 -> 0.3;",
        ),
        (["no_such.yaml"], "no_such.yaml: there is no such file"),
        (["--set", "data.name=digit"], "--set data.name: unknown data set 'digit'; did you mean 'digits'?"),
        (["--set", "data={name: cifar10, root: nowhere}"], "data.root"),
        (
            ["--set", "model.attention={name: ct, time_kernel: {int: [3, 7]}}", *DRAWN],
            "model.attention.time_kernel: 4 is not allowed",
        ),
        (["--set", "model.stem_stride={int: [1, 8]}", *DRAWN], "model.stem_stride: 3 is not allowed"),
        (["--set", "model.v_th={float: [0.1, 1.0], step: 1e-30}", *DRAWN], "step 1e-30 does not lead from 0.1 to 1.0"),
        (["--set", "search={strategy: {name: fixed, genotype: ~nobody/g.json}}"], "there is no file '~nobody/g.json'"),
        (["--set", f"search.strategy={{name: fixed, genotype: {'x' * 300}}}"], "there is no file"),
        (["--max-hours", "0"], "argument --max-hours: '0' is not a number above 0 and at most 100000"),
        (["--max-hours", "nan"], "argument --max-hours: 'nan' is not a number above 0"),
        (["--set", "sweep={sampler: tpe, num_trials: 1, warm_start: nowhere}"], "sweep.warm_start: nowhere: no such"),
        (["--num-trials", "many"], "argument --num-trials: invalid int value: 'many'"),
        (["--resume", "maybe"], "argument --resume: invalid choice: 'maybe'"),
        (["--dryrun"], "unrecognized arguments: --dryrun; did you mean '--dry-run'?"),
        (["--dry"], "unrecognized arguments: --dry; did you mean '--dry-run'?"),
        (["a.yaml", "b.yaml"], "unrecognized arguments: b.yaml (see python -m raynas_snn.sweep --help)"),
        (["--list", "neuron"], "unknown kind 'neuron'; did you mean 'neurons'?"),
        (["--print-config", "--list", "neurons"], "not allowed with argument"),
    ],
)
def test_bad_input_gives_one_line_and_writes_nothing(capsys, arguments, message):
    Path("foreign").mkdir()
    Path("foreign", "thesis.tex").write_text("")
    Path("file").write_text("")
    RunDir.create(Path("mine"), load_sweep(None).resolved(), {})
    exclusive = {"--print-config", "--list", "--dryrun", "--dry"} & set(arguments)
    code, out, err = run(capsys, *arguments, *([] if exclusive else ["--dry-run"]))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["swep"], "unknown verb 'swep'; did you mean 'sweep'? (see raynas --help)"),
        (["--versoin"], "unrecognized arguments: --versoin; did you mean '--version'?"),
        (["sweep", "--dryrun"], "did you mean '--dry-run'?"),
    ],
)
def test_bad_input_to_the_console_script(capsys, arguments, message):
    code, _, err = run(capsys, *arguments, verb=cli.main)
    assert code == 2
    assert message in err


def test_the_console_script_without_a_verb_shows_its_help(capsys):
    with pytest.raises(SystemExit):
        cli.main([])
    assert "start a sweep, or continue it" in capsys.readouterr().out


def test_every_verb_can_be_dispatched_to(capsys):
    for verb in ("sweep", "status", "report"):
        with pytest.raises(SystemExit) as left:
            cli.main([verb, "--help"])
        assert left.value.code == 0
        assert verb in capsys.readouterr().out


def verb_that_raises(error):
    def verb(arguments):
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("two\nlines"), 2, "error: two lines\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_run_verb_turns_exceptions_into_exit_codes(capsys, error, code, message):
    assert cli.run_verb(verb_that_raises(error)) == code
    assert capsys.readouterr().err == message


def test_run_verb_lets_defects_through():
    with pytest.raises(ZeroDivisionError):
        cli.run_verb(verb_that_raises(ZeroDivisionError()))


def test_a_reader_that_leaves_early_is_no_trouble():
    code = "from raynas_snn.cli import run_verb\nraise SystemExit(run_verb(lambda _: print('x' * 10**6) or 0))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_sweep_file_can_be_written_where_the_data_is_not(capsys):
    code, out, _ = run(capsys, "--print-config", "--set", "data={name: cifar10, root: nowhere}")
    assert code == 0
    assert "cifar10" in out


@pytest.mark.parametrize(
    ("strategy", "epochs"),
    [
        ("random", "0"),
        ("darts", "7"),
        ("{name: evolution, generations: 5}", "12"),
        ("{choice: [random, evolution], generations: {choice: [2, 5]}}", "0 to 12"),
    ],
)
def test_the_plan_counts_the_epochs_of_the_strategy(capsys, strategy, epochs):
    search = ("--set", f"search.strategy={strategy}", "--set", "search.epochs=7")
    _, out, _ = run(capsys, "--dry-run", *search)
    assert f"epochs per trial  {epochs} search + 6 retrain" in out


def test_cells_may_be_given_only_where_they_are_taken(capsys):
    Path("g.json").write_text("{}")
    code, _, err = run(capsys, "--dry-run", "--set", "search.strategy={choice: [darts, fixed], genotype: g.json}")
    assert code == 0, err


def test_a_listing_shows_the_options_of_each_kind(capsys):
    code, out, _ = run(capsys, "--list", "attentions")
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    at = next(index for index, line in enumerate(lines) if line[0] == "ma")
    assert lines[at + 1][0] == "reduction:"
    assert lines[at + 1][1].startswith("16 ")
    assert "a whole number between 1 and 1024; r, how many times" in lines[at + 1][1]
    (surrogate,) = [
        one
        for one in json.loads(run(capsys, "--list", "surrogates", "--json")[1])["surrogates"]
        if one["name"] == "atan"
    ]
    assert surrogate["options"] == [
        {
            "name": "alpha",
            "takes": "a number between 0.01 and 100",
            "default": 2.0,
            "description": "Steepness; alpha / 2 is the greatest slope.",
        }
    ]


def test_a_run_of_an_earlier_version_is_not_continued(capsys):
    resolved = load_sweep(None).resolved()
    resolved["model"] |= {"attention_reduction": 16, "attention_window": "centred"}
    RunDir.create(Path("earlier"), resolved, {})
    code, _, err = run(capsys, "--dry-run", "--run-dir", "earlier")
    assert code == 2
    assert err == (
        "error: earlier: was made by an earlier version (model.attention_reduction, model.attention_window): "
        "finish it with that version, or choose another --run-dir\n"
    )
