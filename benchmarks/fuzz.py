"""Throws malformed input at everything that reads from outside: ``python benchmarks/fuzz.py --inputs 10000``.

Each input is made from the seed and its number alone, so that one that does harm can be repeated with ``--first``.
Allowed is success, or our own error of one line. Counted are: anything else that is raised, reading that takes longer
than ten seconds twice in a row, and files that come to be or change outside the reader's own folder.
"""

import argparse
import collections
import contextlib
import faulthandler
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hostile.place import Attack, Place
from hostile.readers import READERS
from measure import hardware

from raynas_snn.core.errors import UserError

LIMIT_SECONDS = 10
LONGEST_MESSAGE = 3000


class TookTooLongError(BaseException):
    """Nothing may catch it but we."""


@dataclass
class Outcome:
    """What became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    tracebacks: int = 0
    hangs: int = 0
    written_outside: int = 0
    slowest_seconds: float = 0.0
    slowest_input: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Inputs that did what none may do."""
        return self.tracebacks + self.hangs + self.written_outside


class Arena:
    """A folder for the reader in the middle of one that must stay as it is."""

    def __init__(self, scratch: Path) -> None:
        self._around = scratch
        self._place = Place(scratch / "own", scratch / "outside")
        self._lay_out()

    def _lay_out(self) -> None:
        for folder in (self._place.folder, self._place.outside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        (self._place.outside / "precious.txt").write_text("precious")
        self._before = self._look()

    def attacked_by(self, attack: Attack, random: Random) -> tuple[str, str, float]:
        """Gives a reader one input; returns what came of it, what was said, and how long it took."""
        shutil.rmtree(self._place.folder, ignore_errors=True)
        self._place.folder.mkdir()
        call = attack(random, self._place)
        begun = time.perf_counter()
        try:
            with _time_limit(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
            result, said = "accepted", ""
        except UserError as error:
            said = str(error)
            fine = said and said.isprintable() and len(said) < LONGEST_MESSAGE
            result = "refused" if fine else "tracebacks"
        except TookTooLongError:
            result, said = "hangs", traceback.format_exc()
        except BaseException:
            result, said = "tracebacks", traceback.format_exc()
        seconds = time.perf_counter() - begun
        if seconds > LIMIT_SECONDS:
            result = "hangs"
        after = self._look()
        if after != self._before:
            result, said = "written_outside", f"{sorted(set(after) ^ set(self._before))} {said}"
            self._lay_out()
        return result, said, seconds

    def _look(self) -> list[tuple[str, int, int]]:
        beside = ((path.name, 0, 0) for path in sorted(self._around.iterdir()))
        return [*_each_file(self._place.outside), *beside]


def _each_file(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of everything in a folder; links are not followed."""
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        yield str(path), about.st_size, about.st_mtime_ns


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TookTooLongError

    handler, begun = signal.signal(signal.SIGALRM, stop), time.monotonic()
    others, _ = signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)  # somebody else's time may be running, too
    # Where Python cannot interrupt.
    faulthandler.dump_traceback_later(6 * LIMIT_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        left = max(1e-3, others - (time.monotonic() - begun)) if others else 0
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)


def fuzz(reader: str, inputs: int, seed: int, first: int = 0) -> Outcome:
    """Gives a reader inputs number ``first`` and following."""
    outcome = Outcome(reader)
    said_so: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        arena = Arena(Path(scratch))
        for number in range(first, first + inputs):
            for _ in range(2):  # once more if it took long: the machine may have been busy
                result, said, seconds = arena.attacked_by(READERS[reader], Random(f"{seed} {reader} {number}"))
                if result != "hangs":
                    break
            outcome.inputs += 1
            setattr(outcome, result, getattr(outcome, result) + 1)
            if seconds > outcome.slowest_seconds:
                outcome.slowest_seconds, outcome.slowest_input = round(seconds, 3), number
            if result not in ("accepted", "refused"):
                kind = said.strip().splitlines()[-1][:100] if said.strip() else result
                said_so[kind] += 1
                if said_so[kind] <= 2:
                    outcome.failures.append(f"{reader}, seed {seed}, input {number}: {result}\n{said}")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="per reader (10000)")
    parser.add_argument("--reader", choices=READERS, action="append", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    outcomes = []
    for reader in options.reader or READERS:
        outcome = fuzz(reader, options.inputs, options.seed, options.first)
        outcomes.append(outcome)
        for failure in outcome.failures:
            print(failure, file=sys.stderr)
        if not options.json:
            _print_row(outcome)
    if options.json:
        setting: dict[str, Any] = {"hardware": hardware("cpu"), "seed": options.seed}
        print(json.dumps({**setting, "readers": [asdict(outcome) for outcome in outcomes]}, indent=2))
    sys.exit(any(outcome.failed for outcome in outcomes))


def _print_row(outcome: Outcome) -> None:
    counts = (
        f"{getattr(outcome, name):>7,} {name.replace('_', ' ')}"
        for name in ("inputs", "accepted", "refused", "tracebacks", "hangs", "written_outside")
    )
    slowest = f"slowest {outcome.slowest_seconds:.2f} s (input {outcome.slowest_input})"
    print(f"{outcome.reader:<27}{', '.join(counts)}; {slowest}", flush=True)


if __name__ == "__main__":
    main()
