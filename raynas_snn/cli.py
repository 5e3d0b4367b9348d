"""Code shared by the verbs: one-line errors, exit codes, and the console script that dispatches to the verbs."""

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from raynas_snn import __version__
from raynas_snn.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, UserError
from raynas_snn.core.text import did_you_mean

Arguments = Sequence[str] | None

EXIT_CODES = """\
exit codes:
  0    done
  1    failure, as of Ray or of the disk under the run directory; one line on stderr, and the same command continues
  2    bad usage or configuration; one line on stderr says what, where, and what would be right
  3    done, but some trials failed
  130  interrupted; the same command continues
"""

_VERBS = {
    "sweep": "start a sweep, or continue it",
    "status": "show what a run is doing; needs no Ray",
    "report": "write and print the ablation tables of a run",
}


class Parser(argparse.ArgumentParser):
    """An argument parser that shows the exit codes, accepts no abbreviations, and reports errors in one line.

    Args:
        prog: The command, as the user types it.
        description: What it does.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises `UserError` instead of printing the usage and exiting."""
        words = message.removeprefix("unrecognized arguments: ").split()
        hint = did_you_mean(words[0], self._option_string_actions) if words and words[0].startswith("-") else ""
        raise UserError(f"{message}{hint or f' (see {self.prog} --help)'}")


def run_verb(verb: Callable[[Arguments], int], argv: Arguments = None) -> int:
    """Runs a verb and returns its exit code; prints a `UserError` as one line on stderr.

    Args:
        verb: Takes the arguments and returns an exit code.
        argv: The arguments; None takes those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not end a run
    try:
        code = verb(argv)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has left, as `head` does; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return code


def main(argv: Arguments = None) -> int:
    """The console script ``raynas VERB ...``: the same as ``python -m raynas_snn.VERB ...``."""
    if os.getcwd() not in sys.path:  # noqa: PTH109 (compared as text with sys.path)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 (as `python -m` does, for the user's own modules)
    return run_verb(_dispatch, argv)


def _dispatch(argv: Arguments) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser("raynas", "Neural architecture search for spiking neural networks as a Ray sweep.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.usage = "raynas VERB ..."
    verbs = parser.add_argument_group("verbs", "each has a --help of its own")
    for name, description in _VERBS.items():
        verbs.add_argument(name, nargs="?", help=description)
    if not arguments or arguments[0].startswith("-"):
        parser.parse_args(arguments or ["--help"])
    if arguments[0] not in _VERBS:
        raise UserError(f"unknown verb '{arguments[0]}'{did_you_mean(arguments[0], _VERBS)} (see raynas --help)")
    verb: Callable[[Arguments], int] = importlib.import_module(f"raynas_snn.{arguments[0]}").main
    return verb(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
