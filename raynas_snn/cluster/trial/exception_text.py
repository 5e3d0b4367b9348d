"""Formats an exception raised in a trial as one line."""

from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialCrash, TrialFailure
from raynas_snn.training.out_of_memory import FEWER_TRIALS, is_out_of_memory

HOPELESS = (UserError, TrialFailure)  # a retry would fail in the same way
KNOWN = (*HOPELESS, TrialCrash)  # the message is complete

# A worker's error about another worker that died: a consequence, not the root cause.
_OF_OTHERS = ("gloo", "Connection closed by peer", "Connection reset by peer", "ncclRemoteError", "ncclSystemError")


def is_about_another_worker(error: BaseException) -> bool:
    """Whether an exception only says that another worker is gone."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_OTHERS)


def exception_text(error: BaseException) -> str:
    """An exception in one line."""
    message = " ".join(str(error).split())
    if isinstance(error, KNOWN):
        return message
    if is_about_another_worker(error):
        return f"the connection between the workers broke, as it does when one of them dies ({message})"
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{line}; {FEWER_TRIALS} may help" if is_out_of_memory(error) else line
