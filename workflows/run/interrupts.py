"""Ctrl-C and SIGTERM: stop the tasks in flight now, clean up, and say how to go on."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from nornir.core import Nornir

from workflows.run.hosts import abort_connections


class InterruptedRunError(KeyboardInterrupt):
    """A signal ended the run; `signum` makes the exit code (128 + signum)."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


def to_its_end(step: Callable[[], object]) -> None:
    """Make a step that must be made though a signal comes: only the first one cuts, and is raised once all is done."""
    try:
        step()
    except InterruptedRunError:
        step()
        raise


@contextlib.contextmanager
def interruptible(nr: Nornir) -> Iterator[None]:
    """Within, the first SIGINT or SIGTERM cuts the connections and raises; later ones only say that it cleans up."""
    seen: list[int] = []

    def handle(signum: int, frame: FrameType | None) -> None:
        del frame
        if seen:
            sys.stderr.write("cleaning up, please wait\n")
            return
        seen.append(signum)
        abort_connections(nr)
        raise InterruptedRunError(signum)

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@dataclass(slots=True)
class Ended:
    """How a command's work ended: `code` is 128 + the signal that cut it, 0 where none did."""

    code: int = 0


@contextlib.contextmanager
def closing_connections(nr: Nornir) -> Iterator[Ended]:
    """A command's work on nodes: within, signals cut it (`interruptible`) and end it here; then connections are closed.

    What else goes wrong is raised once they are closed.
    """
    ended = Ended()
    try:
        with interruptible(nr):
            yield ended
    except InterruptedRunError as interrupt:
        ended.code = 128 + interrupt.signum
    finally:
        nr.close_connections()
