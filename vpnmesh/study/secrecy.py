"""Whether pods' words can be read outside of the overlay, judged from what was heard of a marker that they sent.

"Not read" counts for nothing where nothing was heard: the same program must read the marker inside of the overlay at
the same time, and as many bytes as came through must have passed where it listens outside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnmesh.errors import CheckError
from vpnmesh.model import Node, Path, Scenario, Testbed
from vpnmesh.tools.marker import Heard, Sent

STAGE = "secrecy"


@dataclass(frozen=True, slots=True)
class Tap:
    """Where is listened: a node's interface, `inside` of the overlay (the pods' own network) or outside of it.

    A `tunnel` is the VPN's own interface on a node that no pod is on: only what that node decrypts passes there.
    """

    node: str
    interface: str
    inside: bool = False
    tunnel: bool = False

    def __str__(self) -> str:
        return f"{self.node} {self.interface}"


@dataclass(frozen=True, slots=True)
class MarkerTrial:
    """A marker that went from the client's pod to the server's and back: what came through, and what was heard."""

    sent: Sent
    heard: Mapping[Tap, Heard]


def taps(testbed: Testbed, inside: str, tunnels: Iterable[str] = ()) -> tuple[Tap, ...]:
    """The relay and both ends on the underlay, the ends' interface inside of the overlay, and the relay's tunnels."""
    ends = (testbed.client, testbed.server)
    outside = tuple(Tap(node.name, leg.interface) for node in (*ends, testbed.relay) for leg in node.legs)
    decrypted = (Tap(testbed.relay.name, name, tunnel=True) for name in tunnels)
    return (*outside, *(Tap(node.name, inside, inside=True) for node in ends), *decrypted)


def read_outside(scenario: Scenario, testbed: Testbed, trial: MarkerTrial) -> tuple[Tap, ...]:
    """Where the marker was read outside of the overlay: nowhere, if the overlay encrypts.

    Raises CheckError where the trial proves nothing: the marker did not come through, a listener inside did not read
    it, or one outside did not hear what must have passed there.
    """
    _check_came_through(trial.sent)
    through = trial.sent.udp + trial.sent.tcp
    passing = _passing(scenario, testbed)
    for tap, heard in trial.heard.items():
        if tap.inside and not heard.marked:
            raise CheckError(STAGE, f"{tap}: the marker was not even read inside of the overlay")
        if not tap.inside and not tap.tunnel and tap.node in passing and heard.bytes < through:
            raise CheckError(STAGE, f"{tap}: {heard.bytes} bytes were heard, and {through} came through")
        if not tap.inside and heard.dropped > heard.packets:
            raise CheckError(STAGE, f"{tap}: {heard.dropped} frames came too fast to be looked at")
    return tuple(tap for tap, heard in trial.heard.items() if heard.marked and not tap.inside)


def check_secrecy(scenario: Scenario, testbed: Testbed, trial: MarkerTrial) -> None:
    """Raise CheckError unless nobody outside of the overlay can read the marker."""
    if where := read_outside(scenario, testbed, trial):
        said = ", ".join(f"{tap} ({trial.heard[tap].marked} frames)" for tap in where)
        raise CheckError(STAGE, f"{scenario.name}: what pods say can be read at {said}")


def _check_came_through(sent: Sent) -> None:
    for name, came in (("UDP", sent.udp), ("TCP", sent.tcp)):
        if came < sent.sent / 2:
            raise CheckError(STAGE, f"of {sent.sent} bytes by {name} came back {came}")


def _passing(scenario: Scenario, testbed: Testbed) -> frozenset[str]:
    """The nodes that the marker must have passed."""
    nodes: list[Node] = [testbed.client, testbed.server]
    if scenario.path is Path.RELAY:
        nodes.append(testbed.relay)
    return frozenset(node.name for node in nodes)
