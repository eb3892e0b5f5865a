"""Netmaker: not evaluated, and why; the paper left it out too (section 3.2.5).

Its programs are on no package registry that this project installs from, so nothing here was ever tried, and
what was not tried is not claimed. The paper's two reasons (relaying although direct works, outages of tens of
seconds) are checks that any solution goes through: `vpnmesh.convergence.judge`.
"""

from vpnmesh.errors import UnavailableError
from vpnmesh.model import Node
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import Binary, Mesh, Seat, Stage, Status

INTERFACE = "netmaker"


class Netmaker:
    """Refuses every mesh, with what is missing."""

    name = "netmaker"
    binaries = (
        Binary("netclient"),
        Binary("netmaker", at=Seat.CONTROL),
        Binary("mosquitto", "mosquitto", at=Seat.CONTROL),
    )
    processes = ("netclient", "netmaker", "mosquitto")
    traces = (INTERFACE,)
    fallback_s: float | None = None

    def refuse(self, mesh: Mesh) -> str:
        """What is missing: programs of the vendor's, and, as they could not be tried, the code that would use them."""
        control, members = mesh.testbed.control_plane.name, ", ".join(node.name for node in mesh.members)
        return (
            f"not evaluated: missing are netmaker on {control} and netclient on {members}, which no package"
            " registry has, and therefore the code that joins them (enrollment key, gateway for the relay)"
        )

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        """Nothing is joined; UnavailableError with the reason."""
        raise UnavailableError(self.refuse(mesh))

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
        raise UnavailableError(self.refuse(mesh))
