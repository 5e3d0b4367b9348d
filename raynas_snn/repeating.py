"""Something done again and again beside the body of a ``with``, such as giving a sign of life."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, action: Callable[[], None], name: str) -> Iterator[None]:
    """Calls ``action`` at once and then after each pause, in a thread that ends with the body and with the process.

    Args:
        seconds: The pause between two calls.
        action: Must not raise.
        name: The thread's name, for whoever looks at a process that hangs.
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
