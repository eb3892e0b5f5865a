"""How long a thread of Python may run before another may, while hundreds of them run at once."""

import contextlib
import sys
import threading
from collections.abc import Iterator

MANY = 64
"""From so many threads on it matters: below, nobody's setting is touched."""

SWITCH_S = 0.1
"""Twenty times Python's own: 512 threads that wait ask 5000 times a second, not 100,000 (docs/decisions/0149)."""


class _Patience:
    """Counts who wants it, for the setting is the whole process's."""

    def __init__(self) -> None:
        self.wanted = 0
        self.before_s = 0.0
        self.lock = threading.Lock()

    def begin(self) -> None:
        with self.lock:
            if self.wanted == 0:
                self.before_s = sys.getswitchinterval()
                sys.setswitchinterval(max(self.before_s, SWITCH_S))
            self.wanted += 1

    def end(self) -> None:
        with self.lock:
            self.wanted -= 1
            if self.wanted == 0:
                sys.setswitchinterval(self.before_s)


_PATIENCE = _Patience()


@contextlib.contextmanager
def patient_threads(count: int) -> Iterator[None]:
    """While so many threads run, let each wait longer for Python before it asks for it; as before afterwards.

    A thread that waits for the interpreter wakes every 5 ms to ask for it (`sys.setswitchinterval`), and where hundreds
    do, they keep each other and the one that has it from running: processors are busy with waking them alone, and
    nothing ends. Threads that wait for a network let others run by themselves, long before.
    """
    if count < MANY:
        yield
        return
    _PATIENCE.begin()
    try:
        yield
    finally:
        _PATIENCE.end()
