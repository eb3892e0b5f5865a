"""Measuring several pairs at the same time, a thread for each, as Nornir does with hosts."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def together(asked: Sequence[Callable[[], T]]) -> list[T]:
    """The answers of all, in their order; the first error is raised once every one has ended.

    One alone is asked in this thread, where an interruption reaches it at once.
    """
    if len(asked) == 1:
        return [asked[0]()]
    with ThreadPoolExecutor(len(asked)) as threads:
        running = [threads.submit(one) for one in asked]
    return [one.result() for one in running]
