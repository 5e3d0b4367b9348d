"""Run directories that are not what they were, for all that reads them."""

import contextlib
import dataclasses
import functools
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hostile.inputs import TEXTS, changed, damaged, hostile_json, hostile_value, lay_out, nonsense, plant
from hostile.place import Call, Place
from hostile.sweeps import SWEEP, dumped, sweep_text
from hostile.trials import GENOTYPE
from raynas_snn import report, status, sweep
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.yaml_text import dump, parse
from raynas_snn.core.errors import EXIT_DONE, EXIT_TRIALS_FAILED, EXIT_USAGE, UserError
from raynas_snn.core.files import write_json
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.run.holder import Holder
from raynas_snn.run.provenance import build_manifest
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.warm_start import read_warm_start
from trials.fake import fake

RUN_FILES = ("config.yaml", "manifest.json", "trials.jsonl", "lock", "study.journal", "trials", "tb", "report")
TRIAL_FILES = ("config.json", "curve.csv", "result.json", "genotype.json", "checkpoint")


@functools.cache
def finished_run() -> dict[str, bytes]:
    """The files of a small run whose trials have all ended, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "sweep.yaml")
        file.write_text(dump(SWEEP))
        made = load_sweep(file)
        run = RunDir.create(Path(scratch, "run"), made.resolved(), build_manifest(made, []))
        run.note_start("raynas sweep sweep.yaml")
        for number, attention in enumerate(("ct", "ma")):
            outer = {"model.attention": attention, "model.num_steps": 2, "model.decay": 0.2, "retrain.batch_size": 32}
            if attention == "ma":
                outer["model.attention.reduction"] = 4
            for repeat in range(2):
                _finish(made.trial_config(number, repeat, outer), run)
        return _files_in(run.path)


def _finish(trial: TrialConfig, run: RunDir) -> None:
    folder = run.trial(trial.uid).create()
    write_json(folder.config, trial.model_dump())
    metrics = fake(trial, TrialContext(folder.path, lambda row: folder.append_curve(dict(row))))
    write_json(folder.genotype, GENOTYPE)
    write_json(folder.result, {"epochs": folder.last_epoch(), "metrics": metrics})
    facts = (trial.uid, trial.proposal, trial.seed, trial.outer, "finished", folder.last_epoch(), 1.0, metrics)
    run.append(TrialRecord(*facts))


def _files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage_run(random: Random, place: Place) -> Path:
    """A run directory of which one to three files are not what they were."""
    run, files = place.folder / "run", dict(finished_run())
    trials = sorted({name.split("/")[1] for name in files if name.startswith("trials/")})
    planted = []
    for _ in range(random.randrange(1, 4)):
        names = [*RUN_FILES, *(f"trials/{random.choice(trials)}/{name}" for name in TRIAL_FILES)]
        name = random.choice(names)
        if random.random() < 0.15:
            planted.append(
                random.choice([name, f"trials/{random.choice(trials)}", "report/pareto", "report/ablation.csv"])
            )
        elif random.random() < 0.1:
            files.pop(name, None)
        elif name in files:
            files[name] = garbled(random, name, files[name])
    if random.random() < 0.3:  # a trial that has not ended
        open_trial = random.choice(trials)
        lines = files.get("trials.jsonl", b"").splitlines(keepends=True)
        files["trials.jsonl"] = b"".join(line for line in lines if open_trial.encode() not in line)
    lay_out(run, files)
    for name in sorted(planted, key=len, reverse=True):  # nothing is planted through what was planted before
        with contextlib.suppress(OSError):  # below something else that was planted
            plant(random, run / name, place.outside)
    return run


def garbled(random: Random, name: str, data: bytes) -> bytes:
    """A file of a run, damaged in its own way."""
    with contextlib.suppress(ValueError, RecursionError, UserError):  # damaged once more after it was damaged
        if name.endswith(".json") or (name == "lock" and data):
            return hostile_json(random, json.loads(data))
        if name.endswith(".jsonl") and data:
            lines = data.splitlines()
            for _ in range(random.randrange(1, 4)):
                index = random.randrange(len(lines))
                lines[index] = hostile_json(random, json.loads(lines[index])).replace(b"\n", b" ")
            return b"".join(line + b"\n" for line in lines)
        if name.endswith(".yaml"):
            return dumped(changed(random, parse(data.decode()))) if random.random() < 0.7 else damaged(random, data)
        if name.endswith(".csv"):
            cells = [line.split(b",") for line in data.splitlines()]
            row = random.choice(cells)
            row[random.randrange(len(row))] = random.choice(
                (nonsense(random), str(hostile_value(random, 4)).encode(errors="replace"))
            )
            return b"".join(b",".join(line) + b"\n" for line in cells)
    return damaged(random, data, list(finished_run().values())) if random.random() < 0.8 else nonsense(random)


def _verb(main: Callable[[list[str]], int], *arguments: str) -> Call:
    """A verb as it is started from a shell, with what it prints held back and looked at."""

    def call() -> object:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
        if code == EXIT_USAGE:
            message = err.getvalue().removesuffix("\n")
            assert not out.getvalue(), "a mistake is told, and something printed"
            assert message.startswith("error: "), message
            raise UserError(message) if message.isprintable() else AssertionError(f"printed as it is: {message!r}")
        assert code in (EXIT_DONE, EXIT_TRIALS_FAILED), f"exit code {code}"
        printed = out.getvalue().replace("\n", "")
        assert printed.isprintable(), f"printed as it is: {printed!r}"
        if "--json" in arguments:
            json.loads(out.getvalue(), parse_constant=_no_json)
        return code

    return call


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def attack_status(random: Random, place: Place) -> Call:
    run = damage_run(random, place)
    return _verb(status.main, str(run), *random.choice(([], ["--json"])))


def attack_report(random: Random, place: Place) -> Call:
    run = damage_run(random, place)
    return _verb(report.main, str(run), *random.choice(([], ["--json"])))


def attack_dry_run(random: Random, place: Place) -> Call:
    run = damage_run(random, place) if random.random() < 0.8 else place.folder / random.choice(TEXTS).replace("\0", "")
    file = place.folder / "sweep.yaml"
    file.write_bytes(dump(SWEEP).encode() if random.random() < 0.6 else sweep_text(random))
    resume = random.choice(("auto", "must", "never"))
    json_or_not = random.choice(([], ["--json"]))
    return _verb(sweep.main, str(file), "--dry-run", "--run-dir", str(run), "--resume", resume, *json_or_not)


def attack_warm_start(random: Random, place: Place) -> Call:
    learner = _learner(damage_run(random, place))
    return lambda: read_warm_start(learner)


@functools.cache
def _learner(run: Path) -> Sweep:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(dump({**SWEEP, "sweep": {**SWEEP["sweep"], "sampler": "tpe", "warm_start": str(run)}}))
        file.flush()
        return load_sweep(Path(file.name))


def attack_records(random: Random, place: Place) -> Call:
    files = finished_run()
    lay_out(place.folder / "run", {**files, "trials.jsonl": garbled(random, "trials.jsonl", files["trials.jsonl"])})
    return lambda: RunDir(place.folder / "run").records()


def attack_settings(random: Random, place: Place) -> Call:
    name = random.choice(("config.yaml", "manifest.json"))
    lay_out(place.folder / "run", {**finished_run(), name: garbled(random, name, finished_run()[name])})
    run = RunDir(place.folder / "run")
    return run.sweep if name == "config.yaml" else run.manifest


def attack_trial_folder(random: Random, place: Place) -> Call:
    prefix = "trials/p0000-s0/"
    files = {name.removeprefix(prefix): data for name, data in finished_run().items() if name.startswith(prefix)}
    name = random.choice(("config.json", "result.json", "curve.csv", "curve.csv"))
    planted = random.random() < 0.05
    lay_out(place.folder / "run" / prefix, {**files, name: garbled(random, name, files[name])})
    if planted:
        plant(random, place.folder / "run" / prefix / random.choice((name, "checkpoint", "")), place.outside)
    trial = RunDir(place.folder / "run").trial("p0000-s0")

    def call() -> object:
        trial.create()
        if name == "curve.csv":
            trial.append_curve({"epoch": 9, "phase": "retrain", "new": 1.0})
            return trial.last_epoch()
        return trial.read_trial() if name == "config.json" else trial.read_result()

    return call


def attack_lock(random: Random, place: Place) -> Call:
    # Just written, so that somebody elsewhere seems to be at work.
    entry = dataclasses.asdict(Holder("0123456789ab", "elsewhere", 1, "2026-01-01T00:00:00+00:00", "boot", 1))
    files = {name: finished_run()[name] for name in ("config.yaml", "manifest.json")}
    files["lock"] = hostile_json(random, entry) if random.random() < 0.8 else nonsense(random)
    run = place.folder / "run"
    lay_out(run, files)
    if random.random() < 0.05:
        plant(random, run / "lock", place.outside)
    return lambda: str(RunDir.open(run).holder())
