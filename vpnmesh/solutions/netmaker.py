"""Netmaker: not evaluated, and why; the paper left it out too (section 3.2.5).

Its programs are on no package registry that this project installs from, so its deployment could not be tried and is
not built. A run looks for the programs on the nodes nevertheless and reports which are missing. The paper's two
reasons (relaying although direct works, outages of tens of seconds) are checks that every solution goes through:
`vpnmesh.study.convergence.judge`.
"""

from vpnmesh.errors import UnavailableError
from vpnmesh.host.links import WIREGUARD
from vpnmesh.model import Node
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import Binary, Mesh, MeshRole, Solution, Stage, Status

INTERFACE = "netmaker"


class Netmaker(Solution):
    """Reports which programs are missing, or that their deployment is not built."""

    name = "netmaker"
    binaries = (
        Binary("netclient"),
        Binary("netmaker", at=MeshRole.CONTROL),
        Binary("mosquitto", "mosquitto", at=MeshRole.CONTROL),
    )
    processes = ("netclient", "netmaker", "mosquitto")
    interfaces = (INTERFACE,)
    kernel_links = (WIREGUARD,)
    host_folders = ("/etc/netclient", "/etc/mosquitto")
    colour, marker = "#b04a92", "v"

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """UnavailableError with the reason: no deployment is built."""
        raise UnavailableError(_not_built(mesh))

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Nothing was ever put there."""
        return Fact((), lambda _: Plan())

    def status(self, mesh: Mesh, _node: Node, /) -> Fact[Status]:
        """Nothing to ask; UnavailableError with the reason."""
        raise UnavailableError(_not_built(mesh))


def _not_built(mesh: Mesh) -> str:
    return (
        f"not evaluated: netmaker is on {mesh.testbed.control_plane.name} and netclient on the members, but the code"
        " that deploys them (enrollment key, gateway for the relay) is not built; see docs/solutions/netmaker.md"
    )


SOLUTION = Netmaker()
