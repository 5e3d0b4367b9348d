"""The soak's auditor notices what it is there to notice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import give_out, result, sampled, start
from soak_books import check_books
from soak_trials import ACCOUNT


def run_with_accounts(path: Path) -> None:
    """Three trials, each of two epochs; the first one's second epoch was begun twice."""
    ledger = start(sampled(3), path)
    for number in range(3):
        trial = give_out(ledger)
        folder = ledger.run.trial(trial.uid)
        for epoch in (1, 2):
            folder.append_curve({"epoch": epoch, "phase": "search"})
        again = "begin 2\n" if number == 0 else ""
        (folder.path / ACCOUNT).write_text(f"begin 1\nend 1\n{again}begin 2\nend 2\n")
        ledger.finish(trial, result(trial))


def last_record_gone(run: Path) -> None:
    lines = (run / "trials.jsonl").read_text().splitlines(keepends=True)
    (run / "trials.jsonl").write_text("".join(lines[:-1]))


def record_doubled(run: Path) -> None:
    lines = (run / "trials.jsonl").read_text().splitlines(keepends=True)
    (run / "trials.jsonl").write_text("".join([*lines, lines[0]]))


def epoch_doubled(run: Path) -> None:
    curve = run / "trials" / "p0001-s0" / "curve.csv"
    curve.write_text(curve.read_text() + curve.read_text().splitlines()[-1] + "\n")


def epoch_lost(run: Path) -> None:
    with (run / "trials" / "p0001-s0" / ACCOUNT).open("a") as file:
        file.write("begin 2\nend 2\n")


def trial_left_running(run: Path) -> None:
    ledger = start(sampled(4), run)
    give_out(ledger)


def test_books_that_balance(tmp_path: Path) -> None:
    run_with_accounts(tmp_path / "run")
    books = check_books(tmp_path / "run", 3, 1)
    assert books.balanced
    assert (books.epochs_begun, books.epochs_repeated, books.epochs_lost) == (7, 1, 0)


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (last_record_gone, "lost"),
        (record_doubled, "doubled"),
        (epoch_doubled, "doubled"),
        (epoch_lost, "epochs_lost"),
        (trial_left_running, "left_running"),
    ],
)
def test_books_that_do_not(tmp_path: Path, harm: Callable[[Path], None], finding: str) -> None:
    run_with_accounts(tmp_path / "run")
    harm(tmp_path / "run")
    books = check_books(tmp_path / "run", 3, 1)
    assert not books.balanced
    assert getattr(books, finding)
