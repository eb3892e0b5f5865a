"""Every solution that can be put on a testbed, by name."""

from vpnmesh.errors import UnknownNameError
from vpnmesh.solutions.headscale import Headscale
from vpnmesh.solutions.native import Native
from vpnmesh.solutions.nebula import Nebula
from vpnmesh.solutions.netbird import NetBird
from vpnmesh.solutions.netmaker import Netmaker
from vpnmesh.solutions.protocol import Solution
from vpnmesh.solutions.wireguard import WireGuard
from vpnmesh.solutions.zerotier import ZeroTier

SOLUTIONS: dict[str, Solution] = {
    "native": Native(),
    "headscale": Headscale(),
    "netbird": NetBird(),
    "zerotier": ZeroTier(),
    "wireguard": WireGuard(),
    "nebula": Nebula(),
    "netmaker": Netmaker(),
}


def solution_named(name: str) -> Solution:
    """The solution of that name; UnknownNameError lists the known ones."""
    try:
        return SOLUTIONS[name]
    except KeyError:
        raise UnknownNameError("solution", "solution", name, list(SOLUTIONS)) from None
