"""The lab under a run: the one that is up, else one of its own for as long as it is needed."""

import contextlib
from collections.abc import Iterator

from rich.console import Console

from vpnmesh.lab.lifecycle import Lab, check_kubernetes, find, up
from vpnmesh.model import NodeKind, Testbed


def emulated(testbed: Testbed) -> bool:
    """Whether the testbed is a lab on this machine."""
    return all(node.kind is NodeKind.NETNS for node in testbed.nodes)


@contextlib.contextmanager
def lab_for(testbed: Testbed, console: Console, *, kubernetes: bool = False) -> Iterator[Lab | None]:
    """Bring the lab up if the testbed is emulated and none is up; take down only what was brought up here.

    With `kubernetes` its nodes can run containers; one that is up without is refused.
    """
    if not emulated(testbed):
        yield None
        return
    if there := find():
        check_kubernetes(there, kubernetes=kubernetes)
        yield there
        return
    with up(testbed, kubernetes=kubernetes, owned=True) as lab:
        seconds = sum(step.seconds for step in lab.timings)
        console.print(f"lab up in {seconds:.1f} s ({len(testbed.nodes)} nodes)", highlight=False)
        try:
            yield lab
        finally:
            left = lab.close()
            if left:
                console.print(f"left behind by the lab: {', '.join(left)}", style="red", highlight=False)
