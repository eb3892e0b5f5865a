"""Waiting for something that takes its time, in one way everywhere: ask, pause, ask again, until a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.1


def wait_until(
    ask: Callable[[], T], timeout_s: float, pause_s: float = PAUSE_S, *, good: Callable[[T], bool] = bool
) -> T:
    """Ask until the answer is `good` (by default: true) or `timeout_s` is over; returns the last answer.

    Asks at least once, and once more after the last pause. Whether the answer is good is for the caller to see:
    each has its own sentence for what did not come.
    """
    deadline = time.monotonic() + timeout_s
    while not good(found := ask()) and (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(pause_s, left_s))
    return found
