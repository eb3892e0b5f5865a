"""Netmaker: not evaluated, and why; the paper left it out too (section 3.2.5).

Its programs are on no package registry that this project installs from, so nothing here was ever tried, and
what was not tried is not claimed. A run looks for them on the nodes all the same and says what is missing; where
they are, what is missing is the code that deploys them. The paper's two reasons (relaying although direct works,
outages of tens of seconds) are checks that any solution goes through: `vpnmesh.study.convergence.judge`.
"""

from vpnmesh.errors import UnavailableError
from vpnmesh.model import Node
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import NO_OPTIONS, Binary, Mesh, Seat, Stage, Status

INTERFACE = "netmaker"


class Netmaker:
    """Joins nothing: says which programs are missing, or that their deployment is not built."""

    name = "netmaker"
    binaries = (
        Binary("netclient"),
        Binary("netmaker", at=Seat.CONTROL),
        Binary("mosquitto", "mosquitto", at=Seat.CONTROL),
    )
    processes = ("netclient", "netmaker", "mosquitto")
    traces = (INTERFACE,)
    options = NO_OPTIONS
    fallback_s: float | None = None

    def refuse(self, mesh: Mesh) -> str:
        """Nothing but programs and code is missing, which is said of each where it shows."""
        del mesh
        return ""

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        """Nothing is joined; UnavailableError with the reason."""
        raise UnavailableError(_not_built(mesh))

    def leave(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        """Nothing was ever put there."""
        del mesh, node
        return Fact((), lambda _: Plan())

    def blacklist(self, mesh: Mesh, node: Node) -> Fact[Plan] | None:
        """Nothing looks for peers."""
        del mesh, node
        return None

    def status(self, mesh: Mesh, node: Node) -> Fact[Status]:
        """Nothing to ask; UnavailableError with the reason."""
        del node
        raise UnavailableError(_not_built(mesh))


def _not_built(mesh: Mesh) -> str:
    return (
        f"not evaluated: netmaker is on {mesh.testbed.control_plane.name} and netclient on the members, but the code"
        " that deploys them (enrollment key, gateway for the relay) is not built; see docs/solutions/netmaker.md"
    )
