"""ZeroTier 1.14 with our own root, controller and relays (paper, section 3.2.4).

The root is ZeroTier itself on the relay node; every node gets a `planet` file that names it alone, which replaces
the built-in roots without a change of source (node/Topology.cpp: a cached planet with another id is never
replaced). The controller is ZeroTier on the control-plane node, steered by its REST interface on loopback.
In `zerotier-relay` every node uses the TCP proxy on the relay node only (`forceTcpRelay`); with the option
`relay: unforced` ZeroTier has to find out by itself that nothing else works, as it does without our help. With
`relay: root` the root itself relays, over UDP, as it does for members that have no path of their own.
Sources: service/README.md, controller/README.md and tcp-proxy/tcp-proxy.cpp of ZeroTier 1.14.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from vpnmesh.errors import NO_JSON, CheckError
from vpnmesh.firewall.policy import Protocol
from vpnmesh.host.dual_stack import Address
from vpnmesh.host.files import printed, read
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.rest import held, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, content, made, removed, running, until
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, unified_diff
from vpnmesh.solutions import zerotier_access
from vpnmesh.solutions import zerotier_networks as networks
from vpnmesh.solutions.control import Access, Gateway, SecondMesh
from vpnmesh.solutions.protocol import (
    Binary,
    Mesh,
    MeshRole,
    Peer,
    Refusal,
    Solution,
    Stage,
    Status,
    checksum,
)
from vpnmesh.solutions.stack import Stack
from vpnmesh.solutions.ways import Listener
from vpnmesh.solutions.zerotier_networks import API, DEVICES, FIRST, HOME, PORT, address_of, network_id

INTERFACE = FIRST.interface
SERVICE = "zerotier-one"
RELAY_PORT = 443

NOT_GLOBAL = tuple(
    IPv4Network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "192.0.2.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "6.0.0.0/8", "11.0.0.0/8", "21.0.0.0/8"),
        *("22.0.0.0/8", "25.0.0.0/8", "26.0.0.0/8", "28.0.0.0/8", "29.0.0.0/8", "30.0.0.0/8", "51.0.0.0/8"),
        *("55.0.0.0/8", "56.0.0.0/8", "240.0.0.0/4"),
    )
)
"""What ZeroTier holds for private (InetAddress::ipScope): its TCP relay carries nothing to these."""

_PLANET_TYPE = b"\x01"
_MOON_TYPE = 127
_MOON_TAIL_BYTES = 2

# constant scripts; folders and addresses are arguments
_MAKE_IDENTITY = """
umask 077; mkdir -p "$1"; cd "$1"
zerotier-idtool generate identity.new public.new > /dev/null && mv identity.new identity.secret
mv public.new identity.public
"""
_MAKE_WORLD = """
umask 077; cd "$1" && rm -rf world.d && mkdir world.d && cd world.d
zerotier-idtool initmoon ../identity.public > empty.json
sed "s|\\"stableEndpoints\\": *\\[\\]|\\"stableEndpoints\\": [$2]|" empty.json > world.json
grep -qF "$2" world.json
zerotier-idtool genmoon world.json > /dev/null && mv 0*.moon ../world
cd .. && rm -rf world.d
"""
_DECODE = 'umask 077; mkdir -p "$(dirname "$1")" && base64 -d > "$1.new" && mv "$1.new" "$1"'
_MAKE_HEADER = 'umask 077; cd "$1"; printf "X-ZT1-AUTH: %s\\n" "$(cat authtoken.secret)" > header'
# a running daemon looks every ten seconds whether the file is at most ten seconds old, and so may miss a change;
# touched for longer than that, it cannot be missed
_NOTICED = """
kill -0 "$(cat "$1" 2> /dev/null)" 2> /dev/null || exit 0
i=0; while [ $i -lt 12 ]; do sleep 1; touch "$2"; i=$((i+1)); done
"""
# a network's own file makes ZeroTier join it at the start, and is where it keeps what the controller said last
_MAKE_MEMBERSHIP = 'umask 077; mkdir -p "$(dirname "$1")" && echo > "$1"'
# refused is an answer; none within ten seconds is not, and then the wait for every pair's path tells what is wrong
_ADMITTED = """
i=0; while [ $i -lt 100 ]; do
  said=$(zerotier-cli "-D$1" -j listnetworks 2> /dev/null)
  case "$said" in
    *'"status": "OK"'*) exit 0 ;;
    *ACCESS_DENIED*) echo "the controller refuses this member: ACCESS_DENIED" >&2; exit 1 ;;
  esac
  i=$((i+1)); sleep 0.1
done
"""
_TUNNELLED = 'zerotier-cli "-D$1" -j info | grep -q "tcpFallbackActive.*true"'
ALONE_S = 180.0
"""Seconds that a fresh member which nothing forces may take to connect to the TCP relay; its own rule wants 60."""


class ZeroTier(Solution):
    """ZeroTier with a root, a controller and a TCP proxy of our own, direct or relayed over TCP 443."""

    name = "zerotier"
    binaries = (
        *(Binary("zerotier-one", version=("zerotier-one", "-v"), at=role) for role in MeshRole),
        *(Binary("zerotier-idtool", at=role) for role in MeshRole),
        Binary("zerotier-cli"),
        Binary("curl", "curl", at=MeshRole.CONTROL),
        Binary("tcp-proxy", version=checksum("tcp-proxy"), at=MeshRole.RELAY),
    )
    processes = ("zerotier-one", "tcp-proxy")
    interfaces = (INTERFACE,)
    foreign = Foreign("ZeroTier", ("zerotier-one",), stop="systemctl disable --now zerotier-one")
    # an identity with its private half
    secret_shapes = (r"[0-9a-f]{10}:0:[0-9a-f]{128}:[0-9a-f]{64,}",)
    colour, marker = "#178f62", "D"
    options = MappingProxyType({"relay": ("forced", "unforced", "root")})
    fallback_s = 420.0
    """The authors waited 3-4 minutes for it (section 3.2.4)."""
    late_relay_s = ALONE_S
    member_of_two = True
    parted_by = "by two networks of one controller, each with its own members, interface and addresses"

    def unbuildable_reason(self, mesh: Mesh, /) -> str:
        """A relayed mesh on addresses that ZeroTier holds for private would never carry a packet."""
        if not over_tcp(mesh.scenario):
            return ""
        for node in (*mesh.members, mesh.testbed.relay, mesh.testbed.control_plane):
            for prefix in NOT_GLOBAL:
                if node.underlay in prefix:
                    return (
                        f"{mesh.scenario.name}: ZeroTier's TCP relay carries nothing to private addresses, and"
                        f" {node.name} has {node.underlay} ({prefix}); use an underlay that ZeroTier holds for"
                        " global and nobody routes, for example 192.88.99.0/24"
                    )
        return ""

    def stack(self, scenario: Scenario, /) -> Stack:
        """Relayed by TCP to the proxy; else UDP by sockets of 1 MiB (node/Constants.hpp, ZT_UDP_DESIRED_BUF_SIZE).

        One core, unless `multicoreEnabled` is set, which is off by default (docs.zerotier.com/multithreading).
        """
        if over_tcp(scenario):
            return Stack(own_tcp=True, single_packets=True, cores=1)
        return Stack(single_packets=True, buffers_bytes=1 << 20, cores=1)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Identities everywhere, the root's world from the relay node, then root, controller, network, members."""
        relay = (mesh.testbed.relay.name,)
        control = (mesh.testbed.control_plane.name,)
        members = tuple(node.name for node in mesh.members)
        everyone = (*relay, *control, *members)
        return (
            Stage(
                "identities",
                everyone,
                lambda _mesh, _node: _identity(),
                lambda _mesh, _node: _read_identity(),
            ),
            Stage("world", relay, _world, lambda _mesh, _node: _read_world()),
            Stage("planet", everyone, lambda mesh, _node: _planet(mesh)),
            Stage("blacklist", everyone, self.blacklist),
            Stage("proxy", relay, lambda mesh, _node: running(PROXY, mesh.scenario)),
            Stage(
                "root and controller",
                (*relay, *control),
                lambda mesh, _node: running(_daemon(mesh), mesh.scenario),
            ),
            Stage("token", control, lambda _mesh, _node: _header()),
            Stage("network", control, lambda mesh, _node: networks.network(mesh)),
            Stage("authorised", control, lambda mesh, _node: networks.authorised(mesh)),
            Stage("membership", members, lambda mesh, _node: _membership(mesh)),
            Stage("members", members, lambda mesh, _node: _admitted(mesh)),
        )

    def refusal(self, mesh: Mesh, member: str, /) -> Refusal:
        """A member's identity is its key: the controller takes back that it is authorised."""

        def taken(mesh: Mesh, _node: Node) -> Fact[Plan]:
            return held(API, networks.member_path(mesh, mesh.testbed.node(member)), {"authorized": False})

        return Refusal(
            "identity", (Stage("authorisation taken back", (mesh.testbed.control_plane.name,), taken),)
        )

    def access(self, mesh: Mesh, access: Access | None, /) -> tuple[Stage, ...]:
        """The network's rules, which the controller sends to every member at once."""

        def told(mesh: Mesh, _node: Node) -> Fact[Plan]:
            addresses = {node.name: address_of(mesh, node) for node in mesh.members}
            wanted = (
                zerotier_access.EVERYTHING if access is None else zerotier_access.rules(access, addresses)
            )
            return held(API, FIRST.path(mesh), {"rules": list(wanted)})

        return (Stage("access", (mesh.testbed.control_plane.name,), told),)

    def gateway(self, mesh: Mesh, gateway: Gateway, /) -> tuple[Stage, ...]:
        """A managed route by that member, which every other one takes; ZeroTier holds that network for private."""

        def routed(mesh: Mesh, _node: Node) -> Fact[Plan]:
            via = str(mesh.overlay(mesh.testbed.node(gateway.member)).ip)
            route = {"target": str(gateway.network), "via": via}
            return held(API, FIRST.path(mesh), {"routes": [*networks.routes(mesh), route]})

        return (Stage("route", (mesh.testbed.control_plane.name,), routed),)

    def second_mesh(self, mesh: Mesh, second: SecondMesh | None, /) -> tuple[Stage, ...]:
        """A second network of the same controller."""
        return networks.second_mesh(mesh, second)

    def in_second(self, mesh: Mesh, node: Node, /) -> tuple[str, IPv4Address]:
        """Each network has an interface and addresses of its own."""
        return networks.in_second(mesh, node)

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop daemon and proxy, remove identity, network and root."""
        return removed((SERVICE, PROXY.name), (HOME,), interfaces=(INTERFACE,))

    def blacklist(self, mesh: Mesh, node: Node, /) -> Fact[Plan]:
        """Keep ZeroTier off these interfaces by its local.conf, which a running daemon reads again."""
        wanted = json.dumps(local_config(mesh, node), indent=2)
        path = f"{HOME}/local.conf"

        def plan(found: str) -> Plan:
            if found == wanted:
                return Plan()
            notice = Command(("sh", "-c", _NOTICED, "sh", f"{RUN_DIRECTORY}/{SERVICE}.pid", path))
            return Plan((WriteFile(path, wanted), notice), unified_diff(path, found, wanted))

        return read(path).map(plan)

    def data_port(self, _mesh: Mesh, /) -> int:
        """The service's `-p`."""
        return PORT

    def listeners(self, mesh: Mesh, /) -> tuple[Listener, ...]:
        """The TCP relay; root and controller speak ZeroTier's own protocol on its port, and answer no probe."""
        bed = mesh.testbed
        roots = dict.fromkeys((bed.relay.name, bed.control_plane.name))
        proxy = Listener("ZeroTier TCP relay", bed.relay.name, Protocol.TCP, RELAY_PORT, relays=True)
        by_root = mesh.scenario.path is Path.RELAY and not over_tcp(mesh.scenario)
        relays = {bed.relay.name} if by_root else set()
        return (
            *(Listener("ZeroTier", name, Protocol.UDP, PORT, relays=name in relays) for name in roots),
            *((proxy,) if over_tcp(mesh.scenario) else ()),
        )

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """`zerotier-cli peers -j`: a used path to the member's own address is direct, any other way is relayed."""
        question = Command(("zerotier-cli", f"-D{HOME}", "-j", "peers"), ok=(0, 1, 2, 127), timeout_s=5)
        return self.reported(Fact((question,), lambda found: parse_peers(mesh, node, found[0].stdout)))


# it writes a line per packet to stdout
PROXY = Service("zerotier-proxy", ("sh", "-c", "exec tcp-proxy > /dev/null"))


def local_config(mesh: Mesh, node: Node) -> dict[str, object]:
    """ZeroTier's local.conf: our TCP relay, no port mapping, nothing over the blacklisted interfaces."""
    return {
        "settings": {
            "interfacePrefixBlacklist": list(mesh.blacklisted(node)),
            "portMappingEnabled": False,
            "softwareUpdate": "disable",
            "allowSecondaryPort": False,
            "allowTcpFallbackRelay": True,
            "tcpFallbackRelay": f"{mesh.testbed.relay.underlay}/{RELAY_PORT}",
            "forceTcpRelay": forced(mesh) and node.name != mesh.testbed.relay.name,
        }
    }


def over_tcp(scenario: Scenario) -> bool:
    """Whether the TCP proxy relays; the root does, over UDP, where the scenario says so."""
    return scenario.path is Path.RELAY and scenario.options.get("relay") != "root"


def forced(mesh: Mesh) -> bool:
    """Whether everything goes through the TCP relay from the start."""
    return over_tcp(mesh.scenario) and mesh.scenario.options.get("relay") != "unforced"


def planet(moon: bytes) -> bytes:
    """The same world as a planet: another type, and no tail (node/World.hpp, `serialize`)."""
    if len(moon) <= _MOON_TAIL_BYTES or moon[0] != _MOON_TYPE:
        raise CheckError("provision", "zerotier-idtool made no moon")
    return _PLANET_TYPE + moon[1:-_MOON_TAIL_BYTES]


def parse_peers(mesh: Mesh, node: Node, text: str) -> tuple[Peer, ...]:
    """Peers from `zerotier-cli -j peers`; a member it does not list has neither path nor endpoint."""
    try:
        found = records(json.loads(text))
    except NO_JSON:
        found = []
    entries = {str(entry.get("address")): entry for entry in found}
    root = next((_endpoint(mesh, entry) for entry in found if entry.get("role") == "PLANET"), None)
    return tuple(_peer(mesh, peer, entries.get(address_of(mesh, peer)), root) for peer in mesh.peers(node))


def _peer(mesh: Mesh, peer: Node, entry: Mapping[str, object] | None, root: Address | None) -> Peer:
    if entry is None:
        return Peer(peer.name, None, None)
    relay = mesh.testbed.relay.underlay
    way = "TCP proxy" if entry.get("tunneled") else "root"
    if not _used(entry):
        # no path of its own, but it answered: what it gets comes through the root. Its version is told by a path alone,
        # so where the root always relays, what it is in the list is all there is, and packets must show the rest
        by_root = mesh.scenario.path is Path.RELAY and not over_tcp(mesh.scenario)
        known = entry.get("role") == "LEAF" and (by_root or entry.get("versionMajor") != -1)
        return Peer(peer.name, Path.RELAY, root, via=way) if known else Peer(peer.name, None, None)
    endpoint = _endpoint(mesh, entry)
    # behind the proxy, members see each other at the relay node's address
    if endpoint == relay and relay != peer.underlay:
        return Peer(peer.name, Path.RELAY, endpoint, via=way)
    return Peer(peer.name, Path.DIRECT if endpoint else None, endpoint)


def _used(entry: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The paths that packets to that node take."""
    return [one for one in records(entry.get("paths")) if one.get("active") and one.get("preferred")]


def _endpoint(mesh: Mesh, entry: Mapping[str, object]) -> Address | None:
    used = _used(entry)
    return mesh.endpoint(str(used[0].get("address")).split("/", 1)[0]) if used else None


def _identity() -> Fact[Plan]:
    # finding one takes seconds of a core, and all nodes of a lab share few
    script = Command(("sh", "-ec", _MAKE_IDENTITY, "sh", HOME), timeout_s=120)
    return made(f"{HOME}/identity.secret", script, "<a new identity>")


def _header() -> Fact[Plan]:
    script = Command(("sh", "-ec", _MAKE_HEADER, "sh", HOME))
    return made(API.header_file, script, "<the controller's token>")


def _read_identity() -> Fact[dict[str, Text]]:
    question = Command(("cat", f"{HOME}/identity.public"))
    return Fact((question,), lambda completed: {"identity": content(completed[0])})


def _world(mesh: Mesh, node: Node) -> Fact[Plan]:
    endpoints = ", ".join(f'"{address}/{PORT}"' for address in mesh.addresses(node))
    script = Command(("sh", "-ec", _MAKE_WORLD, "sh", HOME, endpoints))
    return made(f"{HOME}/world", script, "<a root of ours>")


def _read_world() -> Fact[dict[str, Text]]:
    question = Command(("base64", "-w", "0", f"{HOME}/world"))

    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        try:
            return {"planet": base64.b64encode(planet(base64.b64decode(content(completed[0])))).decode()}
        except binascii.Error as error:
            raise CheckError("provision", f"the root's world is no base64: {error}") from error

    return Fact((question,), parse)


def _planet(mesh: Mesh) -> Fact[Plan]:
    """Ensure the planet file that names our root; it must be there before the daemon first starts."""
    wanted = mesh.published_by(mesh.testbed.relay.name, "planet")
    path = f"{HOME}/planet"

    def plan(completed: Sequence[Completed]) -> Plan:
        found = printed(completed[0])
        if found == wanted:
            return Plan()
        return Plan(
            (Command(("sh", "-ec", _DECODE, "sh", path), stdin=wanted),), unified_diff(path, found, wanted)
        )

    return Fact((Command(("base64", "-w", "0", path), ok=(0, 1)),), plan)


def _daemon(mesh: Mesh, *files: WriteFile) -> Service:
    ready = until("zerotier-cli", f"-D{HOME}", "info", deadline_s=15)
    # a changed relay setting needs a fresh start, so it is part of what runs
    environment = {"VPNMESH_SCENARIO": mesh.scenario.name}
    return Service(SERVICE, ("zerotier-one", f"-p{PORT}", HOME), files, environment, ready)


def member(mesh: Mesh) -> Service:
    """A member's daemon, in our network from its start."""
    # the device map names the network's interface
    service = _daemon(mesh, WriteFile(DEVICES, f"{network_id(mesh)}={INTERFACE}\n"))
    if over_tcp(mesh.scenario) and not forced(mesh):
        # until then there is no way to anybody, and what it takes belongs to the seconds of joining
        return replace(service, ready=until("sh", "-c", _TUNNELLED, "sh", HOME, deadline_s=ALONE_S))
    return service


def _membership(mesh: Mesh) -> Fact[Plan]:
    """Ensure the network's file; a daemon that starts anew finds in it what it was told before."""
    path = f"{HOME}/networks.d/{network_id(mesh)}.conf"
    return made(path, Command(("sh", "-ec", _MAKE_MEMBERSHIP, "sh", path)), "<our network>")


def _admitted(mesh: Mesh) -> Fact[Plan]:
    """Ensure that the member's daemon runs, and hear whether the controller lets it in."""
    ask = Command(("sh", "-c", _ADMITTED, "sh", HOME))
    return running(member(mesh), mesh.scenario).map(
        lambda plan: Plan((*plan.steps, ask), plan.diff) if plan else plan
    )


SOLUTION = ZeroTier()
