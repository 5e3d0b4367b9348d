"""Detects the loss of the head node. Ray itself would end this process a minute later, from C++, without a message."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raynas_snn.cluster.compat import head_queries

_ASK_SECONDS = 2.0
LOST_SECONDS = 15.0  # without an answer
_EXIT_SECONDS = 4.0  # for the main thread, which may sit in a call to the head that does not come back


@contextmanager
def watched(on_loss: Callable[[], None], if_stuck: Callable[[], None]) -> Iterator[None]:
    """Polls the head node every few seconds in a thread while the body runs.

    Args:
        on_loss: Called once when it has not answered for a while; must end the body.
        if_stuck: Called if the body has not ended some seconds later.
    """
    over = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not over.wait(_ASK_SECONDS):
            if head_queries.answers(_ASK_SECONDS):
                heard = time.monotonic()
            elif time.monotonic() - heard > LOST_SECONDS:
                on_loss()
                if not over.wait(_EXIT_SECONDS):
                    if_stuck()
                return

    threading.Thread(target=watch, name="head", daemon=True).start()
    try:
        yield
    finally:
        over.set()
