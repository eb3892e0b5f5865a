"""ZeroTier's networks at our controller, for `vpnmesh.solutions.zerotier`: the mesh's own, and a second one beside it.

One controller has any number of networks, and one member can be in several, with an interface for each. The mesh is
in the first; the second one is there for the live check of isolated meshes (docs/criteria.md) alone.
Sources: controller/README.md, one.cpp and osdep/LinuxEthernetTap.cpp (`devicemap`) of ZeroTier 1.14.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from vpnmesh.errors import NO_JSON, UnavailableError
from vpnmesh.host.files import read
from vpnmesh.host.rest import Json, RestApi, held, records
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, both, in_order, unified_diff
from vpnmesh.solutions.control import SecondMesh
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh, Stage

PORT = 9993
HOME = f"{STATE_DIRECTORY}/zerotier"
API = RestApi(f"http://127.0.0.1:{PORT}", f"{HOME}/header")
DEVICES = f"{HOME}/devicemap"

# refused is an answer; none within ten seconds is not, and then the wait for packets tells what is wrong
_JOINED = """
zerotier-cli "-D$1" join "$2" > /dev/null
i=0; while [ $i -lt 100 ]; do
  case "$(zerotier-cli "-D$1" get "$2" status 2> /dev/null)" in
    OK) exit 0 ;;
    ACCESS_DENIED) echo "the controller refuses this member: ACCESS_DENIED" >&2; exit 1 ;;
  esac
  i=$((i+1)); sleep 0.1
done
"""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of our controller: the end of its id, and its interface at members."""

    suffix: str
    name: str
    interface: str

    def id(self, mesh: Mesh) -> str:
        """A network's id begins with its controller's address."""
        return f"{address_of(mesh, mesh.testbed.control_plane)}{self.suffix}"

    def path(self, mesh: Mesh) -> str:
        """Where the controller has it."""
        return f"/controller/network/{self.id(mesh)}"


FIRST = Network("abcdef", "vpnmesh", "ztvpnmesh0")
SECOND = Network("fedcba", "vpnmesh-second", "ztvpnmesh1")


def address_of(mesh: Mesh, node: Node) -> str:
    """A node's ZeroTier address, ten hexadecimal digits: the first field of its identity."""
    return str(mesh.published_by(node.name, "identity")).split(":", 1)[0]


def network_id(mesh: Mesh) -> str:
    """The id of the mesh's own network."""
    return FIRST.id(mesh)


def network_config(mesh: Mesh) -> dict[str, object]:
    """The network at the controller: private, MTU 1280 instead of 2800, addresses that we choose."""
    return _config(mesh, FIRST, mesh.testbed.overlay)


def routes(mesh: Mesh) -> list[dict[str, object]]:
    """What members of the mesh's own network reach by it."""
    return [{"target": str(mesh.testbed.overlay), "via": None}]


def network(mesh: Mesh) -> Fact[Plan]:
    """Ensure the mesh's own network."""
    return held(API, FIRST.path(mesh), network_config(mesh))


def member_path(mesh: Mesh, node: Node, of: Network = FIRST) -> str:
    """Where the controller has a member of a network."""
    return f"{of.path(mesh)}/member/{address_of(mesh, node)}"


def authorised(mesh: Mesh) -> Fact[Plan]:
    """Ensure that every member is let in, with the address we choose, before it asks."""
    return in_order(*(_let_in(mesh, FIRST, node, mesh.overlay(node).ip) for node in mesh.members))


def in_second(mesh: Mesh, node: Node) -> tuple[str, IPv4Address]:
    """A member's interface and address in the second network: the same number in the upper half of the range."""
    half = _upper_half(mesh)
    number = int(mesh.overlay(node).ip) - int(mesh.testbed.overlay.network_address)
    if number >= half.num_addresses:
        raise UnavailableError(f"{mesh.testbed.overlay} has no room for the addresses of a second network")
    return SECOND.interface, half[number]


def second_mesh(mesh: Mesh, second: SecondMesh | None) -> tuple[Stage, ...]:
    """Two networks, who is let into which, and then members that join and leave; nothing is started anew."""
    members = tuple(node.name for node in mesh.members)
    return (
        Stage("networks", (mesh.testbed.control_plane.name,), lambda mesh, _node: _parted(mesh, second)),
        Stage("memberships", members, lambda mesh, node: _joined(mesh, node, second)),
    )


def _networks_of(member: str, second: SecondMesh | None) -> tuple[Network, ...]:
    if second is None or member not in second.members:
        return (FIRST,)
    return (FIRST, SECOND) if member in second.both else (SECOND,)


def _parted(mesh: Mesh, second: SecondMesh | None) -> Fact[Plan]:
    """Ensure both networks, and that members are let into their own alone."""
    facts = [held(API, SECOND.path(mesh), _config(mesh, SECOND, _upper_half(mesh)))]
    for node in mesh.members:
        own = _networks_of(node.name, second)
        for one, address in ((FIRST, mesh.overlay(node).ip), (SECOND, in_second(mesh, node)[1])):
            out = held(API, member_path(mesh, node, one), {"authorized": False})
            facts.append(_let_in(mesh, one, node, address) if one in own else out)
    return in_order(*facts)


def _joined(mesh: Mesh, node: Node, second: SecondMesh | None) -> Fact[Plan]:
    """Ensure that the member is in its networks and in no other of them; its daemon goes on running."""
    wanted = {one.id(mesh): one for one in _networks_of(node.name, second)}
    # a daemon reads this file whenever it makes an interface
    devices = "".join(f"{one.id(mesh)}={one.interface}\n" for one in (FIRST, SECOND))

    def plan(found: tuple[str, Collection[str]]) -> Plan:
        held_devices, joined = found
        join = [
            Command(("sh", "-ec", _JOINED, "sh", HOME, key), timeout_s=20)
            for key in wanted
            if key not in joined
        ]
        leave = [Command(("zerotier-cli", f"-D{HOME}", "leave", key)) for key in joined if key not in wanted]
        if not join and not leave:
            return Plan()
        write = () if held_devices == devices else (WriteFile(DEVICES, devices),)
        diff = unified_diff("networks", "\n".join(sorted(joined)), "\n".join(sorted(wanted)))
        return Plan((*write, *leave, *join), diff)

    return both(read(DEVICES), _memberships(mesh)).map(plan)


def _memberships(mesh: Mesh) -> Fact[Collection[str]]:
    """The ids of those of our networks that a member's daemon is in."""
    ours = {one.id(mesh) for one in (FIRST, SECOND)}

    def parse(completed: Sequence[Completed]) -> Collection[str]:
        try:
            found = records(json.loads(completed[0].stdout))
        except NO_JSON:
            found = []
        return {str(one.get("id")) for one in found} & ours

    return Fact((Command(("zerotier-cli", f"-D{HOME}", "-j", "listnetworks")),), parse)


def _config(mesh: Mesh, of: Network, prefix: IPv4Network) -> Json:
    return {
        "name": of.name,
        "private": True,
        "mtu": mesh.tunnel_mtu,
        "enableBroadcast": True,
        "v4AssignMode": {"zt": False},
        "v6AssignMode": {"zt": False, "6plane": False, "rfc4193": False},
        "routes": [{"target": str(prefix), "via": None}],
    }


def _let_in(mesh: Mesh, of: Network, node: Node, address: IPv4Address) -> Fact[Plan]:
    wanted = {"authorized": True, "noAutoAssignIps": True, "ipAssignments": [str(address)]}
    return held(API, member_path(mesh, node, of), wanted)


def _upper_half(mesh: Mesh) -> IPv4Network:
    return list(mesh.testbed.overlay.subnets())[-1]
