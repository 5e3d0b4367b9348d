"""What a trial's own exceptions say, in one line."""

from raynas_snn.errors import UserError
from raynas_snn.training.memory import FEWER_TRIALS, is_out_of_memory
from raynas_snn.trial import TrialCrash, TrialFailure

HOPELESS = (UserError, TrialFailure)  # the same would happen again
KNOWN = (*HOPELESS, TrialCrash)  # whose message says it all

# What a worker says of another one that is gone: a consequence, not the reason.
_OF_OTHERS = ("gloo", "Connection closed by peer", "Connection reset by peer", "ncclRemoteError", "ncclSystemError")


def is_of_others(error: BaseException) -> bool:
    """Whether an exception only says that another worker is gone."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_OTHERS)


def said_by(error: BaseException) -> str:
    """An exception in one line."""
    message = " ".join(str(error).split())
    if isinstance(error, KNOWN):
        return message
    if is_of_others(error):
        return f"the connection between the workers broke, as it does when one of them dies ({message})"
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{line}; {FEWER_TRIALS} may help" if is_out_of_memory(error) else line
