"""Whatever lies where something is read: it is read, or refused in one line; nothing hangs, nothing else is touched.

The malformed input is that of ``benchmarks/fuzz.py``, which throws far more of it.
"""

import json
import os
import pickle
import zipfile
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from fuzz import Arena, fuzz, main
from hostile.inputs import TEXTS, lay_out
from hostile.readers import READERS
from hostile.runs import finished_run, garbled
from hostile.sweeps import SWEEP
from hostile.trials import GENOTYPE
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn import report, status, sweep
from raynas_snn.config.yaml_text import BrokenYamlError, dump, parse
from raynas_snn.core.errors import EXIT_DONE, EXIT_USAGE, UserError
from raynas_snn.core.files import append_line
from raynas_snn.core.text import visible
from raynas_snn.core.untrusted_files import LARGEST_TEXT, parse_json, read_bytes
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables.cell_drawing import draw_cells
from raynas_snn.tables.latex import escape as escape_latex
from raynas_snn.tables.markdown import escape as escape_markdown
from raynas_snn.training.checkpoint import checkpoint_path, load_checkpoint

SLOW = ("report", "sweep --dry-run", "sweep.points", "status", "sweep.warm_start")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena"))


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader not in SLOW])
@given(random=st.randoms(use_true_random=False))
def test_any_input_is_read_or_refused_in_one_line(arena: Arena, reader: str, random: Random) -> None:
    result, said, _ = arena.attacked_by(READERS[reader], random)
    assert result in ("accepted", "refused"), said


@pytest.mark.parametrize("reader", SLOW)
@examples(30)
@given(random=st.randoms(use_true_random=False))
def test_so_is_input_that_takes_longer_to_read(arena: Arena, reader: str, random: Random) -> None:
    result, said, _ = arena.attacked_by(READERS[reader], random)
    assert result in ("accepted", "refused"), said


def test_the_fuzzer_notices_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def attack(random: Random, place):
        kind = random.randrange(4)
        if kind == 0:
            return lambda: (place.outside / "x").write_text("harm")
        if kind == 1:
            return lambda: 1 / 0
        return lambda: None

    monkeypatch.setitem(READERS, "lock", attack)
    outcome = fuzz("lock", inputs=60, seed=0)
    assert outcome.accepted + outcome.tracebacks + outcome.written_outside == outcome.inputs == 60
    assert min(outcome.accepted, outcome.tracebacks, outcome.written_outside) > 5
    assert any("ZeroDivisionError" in failure and "input " in failure for failure in outcome.failures)


def test_a_file_that_is_damaged_twice_does_not_end_the_fuzzer() -> None:
    deep = b'{"uid": ' + b"[" * 10**5 + b"\n"
    for number in range(20):
        assert garbled(Random(number), "trials.jsonl", deep)


def test_what_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def attack(random: Random, place):
        os.mkfifo(place.folder / "pipe")
        return lambda: (place.folder / "pipe").read_text()

    monkeypatch.setitem(READERS, "lock", attack)
    monkeypatch.setattr("fuzz.LIMIT_SECONDS", 0.2)
    assert fuzz("lock", inputs=1, seed=0).hangs == 1


def test_the_fuzzer_prints_what_became_of_each_reader(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["fuzz.py", "--inputs=9", "--reader=lock", "--reader=genotype", "--first=3", "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["reader"] for one in printed["readers"]] == ["lock", "genotype"]
    assert all(one["accepted"] + one["refused"] == 9 and not one["tracebacks"] for one in printed["readers"])
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--inputs=1", "--reader=lock"])
    monkeypatch.setitem(READERS, "lock", lambda *_: lambda: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert "1 tracebacks" in out
    assert "lock, seed 0, input 0: tracebacks" in err


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("in_archive", [True, False])
def test_no_code_is_run_from_a_checkpoint(tmp_path: Path, protocol: int, in_archive: bool) -> None:
    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    path = checkpoint_path(tmp_path)
    path.parent.mkdir()
    harmful = pickle.dumps({"phase": Harm()}, protocol)
    if in_archive:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {"data.pkl": harmful, "version": b"3\n", "byteorder": b"little"}.items():
                archive.writestr(f"last/{name}", data)
    else:
        path.write_bytes(harmful)
    context = TrialContext(tmp_path, print)
    try:
        assert load_checkpoint(context) is None
        (said,) = context.warnings
    except UserError as error:
        said = str(error)
    assert "last.pt" in said
    assert not (tmp_path / "harm").exists()
    pickle.loads(harmful)
    assert (tmp_path / "harm").exists(), "it would have done harm"


# Links out of a run directory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lay_out(tmp_path / "run", finished_run())
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "kept.txt").write_text("kept")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["trials", "tb", "report", "report/pareto", "trials/p0000-s0", "tb/p0000-s0"])
def test_folders_that_lead_out_of_a_run_are_refused(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / name
    if path.exists():
        path.rename(run.parent / "moved")
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(run.parent / "precious")
    assert report.main([str(run)]) == EXIT_USAGE
    assert f"{path}: a link; nothing in a run directory may lead out of it" in capsys.readouterr().err
    assert [entry.name for entry in (run.parent / "precious").iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("name", ["lock", "trials.jsonl", "config.yaml", "study.journal", "ray.log"])
def test_files_that_lead_out_of_a_run_are_refused(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(run.parent / "precious" / "kept.txt")
    file = run.parent / "sweep.yaml"
    file.write_text(dump(SWEEP))
    assert sweep.main([str(file), "--run-dir", str(run), "--dry-run"]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert f"{run / name}: a link" in err or "not a run directory" in err
    assert (run.parent / "precious" / "kept.txt").read_text() == "kept"


def test_a_trial_does_not_write_where_a_link_leads(run: Path) -> None:
    trial = RunDir.open(run).trial("p0000-s0")
    (trial.path / "checkpoint").symlink_to(run.parent / "precious")
    with pytest.raises(UserError, match="checkpoint: a link"):
        trial.create()
    (run / "trials.jsonl").unlink()
    (run / "trials.jsonl").symlink_to(run.parent / "precious" / "kept.txt")
    with pytest.raises(OSError, match="symbolic links"):
        append_line(run / "trials.jsonl", "{}")
    assert (run.parent / "precious" / "kept.txt").read_text() == "kept"


def test_a_new_run_is_not_made_through_a_link(run: Path) -> None:
    new = run.parent / "new"
    new.mkdir()
    (new / "lock").symlink_to(run.parent / "precious" / "kept.txt")
    with pytest.raises(UserError, match="lock: a link"):
        RunDir.create(new, {}, {})
    assert (run.parent / "precious" / "kept.txt").read_text() == "kept"


def test_a_run_that_is_reached_by_a_link_is_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.parent / "link").symlink_to(run)
    assert status.main([str(run.parent / "link")]) == EXIT_DONE
    assert report.main([str(run.parent / "link")]) == EXIT_DONE
    assert "4 finished" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", "a/b", "a\0b", "x" * 101, "\x1b[2J", ""])
def test_a_name_cannot_leave_the_runs(tmp_path: Path, name: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(dump({**SWEEP, "name": name}))
    assert sweep.main([str(file), "--dry-run"]) == EXIT_USAGE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x\ud800", "x\\ud800: no folder can have this name"),
        ("x\0", "x\\x00: no folder can have this name"),
        ("x" * 5000, f"{'x' * 80}...: File name too long"),
    ],
)
def test_a_run_directory_that_cannot_be(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--dry-run", "--run-dir", name]) == EXIT_USAGE
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_run_of_quite_another_sweep_is_told_in_a_short_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (run / "config.yaml").open("a") as file:
        file.write(dump({f"key{number}": "x" * 60 for number in range(100)}))
    assert sweep.main(["--dry-run", "--run-dir", str(run)]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert "holds a run of another sweep: " in err
    assert "more; choose another --run-dir" in err
    assert len(err) < 2000


# Bounds


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/tty"), tmp_path / "a\0b"):
        with pytest.raises(OSError, match=r"not a regular file|no file can have this name"):
            read_bytes(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="larger than 16 MiB"):
        read_bytes(tmp_path / "large")
    assert len(read_bytes(Path("/proc/self/status"))) > 100  # whose size is not told
    with pytest.raises(OSError, match="larger than 16 MiB"):
        read_bytes(Path("/proc/self/pagemap"), LARGEST_TEXT)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"a": NaN}', '{"a": 1, "a": 2}', "9" * 5000, '{"a": -Infinity}', "{", "\x00"]
)
def test_json_is_json_and_no_more(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    ["[" * 10**5, "{a: " * 500, "- " * 10**5, "&a [*a]", '"\\UFFFFFFFF"', '"\\ud800"', "%YAML 9.9\n--- a",
     "a: 1\na: 2", "!!python/object/apply:os.system [ls]", "9" * 5000, "".join(f"k{one}: 1\n" for one in range(2000))],
)  # fmt: skip
def test_yaml_bombs_do_not_go_off(text: str) -> None:
    with pytest.raises(BrokenYamlError):
        parse(text)


def test_a_long_yaml_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raynas_snn.config.yaml_text._MOST_VALUES", 100)
    assert len(parse("- 1\n" * 99)) == 99
    with pytest.raises(BrokenYamlError, match="more than 100 values"):
        parse("- 1\n" * 10**6)


def test_a_grid_with_conditions_is_counted_and_not_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content: dict = {"name": "x", "space": "darts_snn", "retrain": {}, "search": {}, "sweep": {"sampler": "grid"}}
    pairs = ("momentum", "weight_decay", "grad_clip", "lr_min", "drop_path", "auxiliary_weight")
    for field in pairs:
        content["search"][field] = {"choice": [0, 0.1, 0.2, 0.3]}
        content["retrain"][field] = {"choice": [0, 0.1, 0.2, 0.3], "when": {f"search.{field}": [0, 0.1]}}
    file = tmp_path / "sweep.yaml"
    file.write_text(dump(content))
    assert sweep.main([str(file), "--dry-run"]) == EXIT_USAGE
    assert f"the grid has {(2 + 2 * 4) ** len(pairs)} proposals" in capsys.readouterr().err
    monkeypatch.setattr("raynas_snn.config.conditions._MOST_CASES", 1)  # as if there were very many pairs
    assert sweep.main([str(file), "--dry-run"]) == EXIT_USAGE
    assert "too many conditions depend on each other" in capsys.readouterr().err


# What is shown


def test_nothing_from_outside_moves_the_cursor() -> None:
    for text in TEXTS:
        assert visible(text).isprintable(), ascii(text)
        assert visible(visible(text)) == visible(text)
        assert str(UserError(text)).isprintable(), ascii(text)


def test_names_are_text_in_every_table() -> None:
    for text in (*TEXTS, "<img src=x onerror=alert(1)>", "[a](javascript:x)", "`x`", "a\n# b"):
        markdown, latex = escape_markdown(text), escape_latex(text)
        assert "<" not in markdown
        assert markdown.isprintable(), ascii(text)
        assert latex.isprintable(), ascii(text)
        assert "\\input" not in latex


def test_a_drawing_is_xml_whatever_operations_are_called() -> None:
    for operation in TEXTS:
        genotype = {**GENOTYPE, "normal": [[{"operation": operation, "input": "input_0"}]]}
        drawing = ElementTree.fromstring(draw_cells(genotype).encode())
        assert not [element for element in drawing.iter() if element.tag.endswith("script")]
