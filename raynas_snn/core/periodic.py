"""Calls a function periodically in a thread while the body of a ``with`` runs, such as one that sends a heartbeat."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def periodically(seconds: float, action: Callable[[], object], name: str) -> Iterator[None]:
    """Calls ``action`` at once and then after each pause, in a daemon thread that ends with the body.

    Args:
        seconds: The pause between two calls.
        action: Must not raise.
        name: The thread's name, for debugging a hung process.
    """
    over = threading.Event()

    def repeat() -> None:
        action()
        while not over.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
