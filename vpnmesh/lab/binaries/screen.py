"""What a person sees while programs come: sentences, and how far the one is that goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from vpnmesh.lab.binaries.source import Passing, Say

EVERY_S = 20.0
"""On what is no terminal, a line at most this often says how far it is."""


@contextmanager
def shown(console: Console, every_s: float = EVERY_S) -> Iterator[Say]:
    """A `Say` that shows everything: on a terminal in place with a spinner, else by a line now and then."""
    status = Status("", console=console)
    last = time.monotonic()

    def say(said: str) -> None:
        nonlocal last
        if not isinstance(said, Passing):
            status.stop()
            console.print(f"    {said}", markup=False, highlight=False, soft_wrap=True)
        elif console.is_terminal:
            status.update(said.replace("[", r"\["))
            status.start()
        elif time.monotonic() - last >= every_s:
            last = time.monotonic()
            console.print(f"    {said}", markup=False, highlight=False, soft_wrap=True)

    try:
        yield say
    finally:
        status.stop()
