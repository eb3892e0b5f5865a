"""The lab under a run: the one that is up, else one of its own for as long as it is needed."""

import contextlib
from collections.abc import Iterator

from rich.console import Console

from inventory.load import TWIN
from vpnmesh.errors import InputError
from vpnmesh.lab.lifecycle import Lab, check_kubernetes, find, up
from vpnmesh.model import NodeKind, Testbed


def emulated(testbed: Testbed) -> bool:
    """Whether the testbed is a lab on this machine."""
    return all(node.kind is NodeKind.NETNS for node in testbed.nodes)


def serves(lab: Lab, testbed: Testbed) -> bool:
    """Whether this testbed's nodes are that lab's, with the same underlay; a larger lab serves a smaller testbed.

    A wrong management address makes no other testbed: nobody answers there, which is said where the node is asked.
    """
    there = {(node.name, node.underlay) for node in lab.record.nodes}
    return {(node.name, str(node.underlay)) for node in testbed.nodes} <= there


def lab_up_for(testbed: Testbed) -> Lab | None:
    """The lab that is up; InputError where it is another testbed's: its nodes would be taken for those asked for."""
    lab = find()
    if lab is not None and not serves(lab, testbed):
        raise InputError(
            "--inventory",
            f"the lab that is up is {lab.record.testbed} ({len(lab.record.nodes)} nodes), not {testbed.name}",
            f"name its own inventory ({TWIN} for a twin), or take it down first: python -m vpnmesh.lab down",
        )
    return lab


@contextlib.contextmanager
def lab_for(testbed: Testbed, console: Console, *, kubernetes: bool = False) -> Iterator[Lab | None]:
    """Bring the lab up if the testbed is emulated and none is up; take down only what was brought up here.

    With `kubernetes` its nodes can run containers; one that is up without is refused, and so is another testbed's.
    """
    if not emulated(testbed):
        yield None
        return
    if there := lab_up_for(testbed):
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
