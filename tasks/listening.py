"""Programs that listen on a node while others act: begun, awaited until they listen, and ended whatever happens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tasks.connection import Attached, Shell
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.tools import programs


@contextmanager
def listening(here: Shell, argv: Sequence[str], stage: str, limit_s: float) -> Iterator[Attached]:
    """The program, once it listens; it is ended after the block, and after `limit_s` seconds by the node itself."""
    process = here.start(argv, timeout_s=limit_s)
    try:
        await_listening(here.host, process, stage)
        yield process
    finally:
        end_quietly(process)


def await_listening(host: str, process: Attached, stage: str) -> None:
    """Raises CheckError of that stage, with the program's own words, if it cannot listen."""
    said = process.read_until(
        lambda text: programs.READY in text or programs.FAILED in text, within_s=programs.START_S
    )
    if programs.READY not in said:
        raise CheckError(stage, f"{host} cannot listen: {said.strip() or 'it says nothing'}")


def end_quietly(process: Attached) -> None:
    """End it; a node that is away has ended it by its time limit."""
    with suppress(VpnmeshError):
        process.end()
