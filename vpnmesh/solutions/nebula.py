"""Nebula 1.6 to 1.10: certificates instead of a control server, a lighthouse, and relaying by an ordinary member.

The certificate authority and the lighthouse run on the control-plane node; in `nebula-relay` the relay node
joins with `am_relay`. Host keys are made on the nodes, only public keys travel. The path is read from Nebula's
own debug console (an sshd on loopback), `list-hostmap -json`. What changed between the versions is data
(`Dialect`), chosen by what the programs themselves answer. Sources: the example config.yml of Nebula 1.6.1 and
1.10.3, its CHANGELOG.md.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import yaml

from vpnmesh.errors import NO_JSON
from vpnmesh.firewall.policy import Protocol
from vpnmesh.host.dual_stack import Address, written
from vpnmesh.host.files import existing, read
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.service import RUN_DIRECTORY, Service, content, listens, made, running, stop
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, unified_diff
from vpnmesh.solutions.control import Access, SecondMesh
from vpnmesh.solutions.nebula_authority import AUTHORITY, FIRST, authorities_of, authority_stages
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Binary, Mesh, MeshRole, Peer, Solution, Stage, Status
from vpnmesh.solutions.stack import Stack
from vpnmesh.solutions.ways import Listener, Ways

INTERFACE = "vmnebula0"
PORT = 4242
CONSOLE_PORT = 4243
SERVICE = "nebula"
DIRECTORY = f"{STATE_DIRECTORY}/nebula"
CONFIG = f"{DIRECTORY}/config"
MAIN = f"{CONFIG}/10-main.yml"
BLACKLIST = f"{CONFIG}/20-blacklist.yml"

# constant scripts: the folder is the argument
_MAKE_KEYS = """
umask 077; mkdir -p "$1/config"; cd "$1" && rm -f host.key host.pub console console.pub console_host*
nebula-cert keygen -out-key host.key -out-pub host.pub
ssh-keygen -q -t ed25519 -N '' -f console; ssh-keygen -q -t ed25519 -N '' -f console_host
printf '[127.0.0.1]:%s ' "$2" > console_known_hosts; cat console_host.pub >> console_known_hosts
"""
_HANG_UP = 'kill -HUP "$(cat "$1")" 2>/dev/null; true'


class Nebula(Solution):
    """Nebula between master and workers, direct or through the relay node."""

    name = "nebula"
    binaries = (
        Binary("nebula", "nebula", ("nebula", "-version")),
        *(Binary("nebula", "nebula", at=role) for role in (MeshRole.CONTROL, MeshRole.RELAY)),
        *(Binary("nebula-cert", "nebula", at=role) for role in MeshRole),
        *(Binary("ssh-keygen", "openssh-client", at=role) for role in MeshRole),
    )
    processes = ("nebula",)
    interfaces = (INTERFACE,)
    foreign = Foreign("Nebula", ("nebula",), stop="systemctl disable --now nebula")
    colour, marker = "#c8453b", "X"
    parted_by = (
        "by two authorities, and a third for the lighthouse, which serves both: members trust their own and the"
        " lighthouse's alone. A process has one certificate, so that no member is in both"
    )
    lacks = MappingProxyType(
        {
            "unattended-registration": "a member is admitted by a certificate that the authority signs, not by a key"
            " that could be taken back before it is used",
            "subnet-routers": "a network behind a member must be in its certificate, and certificates are signed here"
            " without any",
        }
    )

    def stack(self, _scenario: Scenario, /) -> Stack:
        """One reader of the tun device and one of the UDP socket, which has the kernel's default size.

        `routines: 1` and no `listen.read_buffer` in the configuration (nebula, examples/config.yml).
        """
        return Stack(single_packets=True, cores=2)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Authority, keys, certificates, blacklist, then lighthouse and relay before the members."""
        authority = (mesh.testbed.control_plane.name,)
        everyone = tuple(node.name for node in participants(mesh))
        members = tuple(node.name for node in mesh.members)
        infrastructure = tuple(name for name in everyone if name not in members)
        return (
            Stage(
                "authority", authority, lambda _mesh, _node: FIRST.there(), lambda _mesh, _node: FIRST.read()
            ),
            Stage("keys", everyone, lambda _mesh, _node: _keys(), lambda _mesh, _node: _read_keys()),
            Stage(
                "certificates",
                authority,
                lambda mesh, _node: FIRST.signed(mesh, participants(mesh)),
                lambda mesh, _node: FIRST.read_signed(participants(mesh)),
            ),
            Stage("blacklist", everyone, self.blacklist),
            Stage("lighthouse", infrastructure, _running),
            Stage("members", members, _running),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop the daemon and remove keys, certificates and, where it is, the authority."""
        paths = (f"{RUN_DIRECTORY}/{SERVICE}.pid", f"/sys/class/net/{INTERFACE}", DIRECTORY, AUTHORITY)

        def plan(completed: Sequence[Completed]) -> Plan:
            left = completed[0].stdout.strip()
            if not left:
                return Plan()
            steps = (stop(SERVICE), Command(("rm", "-rf", "--", DIRECTORY, AUTHORITY)))
            return Plan(steps, unified_diff("nebula", left, ""))

        return Fact((existing(*paths),), plan)

    def blacklist(self, mesh: Mesh, node: Node, /) -> Fact[Plan]:
        """Keep Nebula from advertising these interfaces' addresses; a running daemon is told by SIGHUP."""
        rules = {f"{prefix}.*": False for prefix in mesh.blacklisted(node)}
        lists = {"lighthouse": {"local_allow_list": {"interfaces": rules}}} if rules else {}
        wanted = yaml.safe_dump(lists)

        def plan(held: str) -> Plan:
            if held == wanted:
                return Plan()
            steps = (
                Command(("mkdir", "-p", "-m", "0700", CONFIG)),
                WriteFile(BLACKLIST, wanted),
                Command(("sh", "-c", _HANG_UP, "sh", f"{RUN_DIRECTORY}/{SERVICE}.pid")),
            )
            return Plan(steps, unified_diff(BLACKLIST, held, wanted))

        return read(BLACKLIST).map(plan)

    def access(self, mesh: Mesh, access: Access | None, /) -> tuple[Stage, ...]:
        """Each member's own rules for what comes in, by the names in certificates; a SIGHUP has them read again."""
        members = tuple(node.name for node in mesh.members)
        return (Stage("access", members, lambda mesh, node: _ruled(mesh, node, access)),)

    def second_mesh(self, mesh: Mesh, second: SecondMesh | None, /) -> tuple[Stage, ...]:
        """Authorities of their own for the second mesh and for the lighthouse; who trusts whom is who meets whom."""
        everyone = tuple(node.name for node in participants(mesh))
        last = Stage("two meshes", everyone, lambda mesh, node: _running(mesh, node, second))
        return (*authority_stages(mesh, participants(mesh), second), last)

    def data_port(self, _mesh: Mesh, /) -> int:
        """`listen.port` of every participant."""
        return PORT

    def listeners(self, mesh: Mesh, /) -> tuple[Listener, ...]:
        """The lighthouse, and the relay where the scenario relays; both take UDP and answer no probe."""
        relayed = mesh.scenario.path is Path.RELAY
        relay = Listener("Nebula relay", mesh.testbed.relay.name, Protocol.UDP, PORT, relays=True)
        lighthouse = Listener("Nebula lighthouse", mesh.testbed.control_plane.name, Protocol.UDP, PORT)
        return (lighthouse, *((relay,) if relayed else ()))

    def ways(self, mesh: Mesh, _node: Node, peer: Node, /) -> Fact[Ways]:
        """`remoteAddrs` and `currentRemote` of the peer in `list-hostmap -json`."""
        at = str(mesh.overlay(peer).ip)
        hostmap = Command(_console("list-hostmap", "-json"), ok=(0, 1, 255), timeout_s=5)
        return Fact((hostmap,), lambda found: _ways(found[0].stdout, at))

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """What Nebula's console says: a current remote means direct, a relay to me and no remote means relayed."""
        hostmap = Command(_console("list-hostmap", "-json"), ok=(0, 1, 255), timeout_s=5)
        return self.reported(Fact((hostmap,), lambda found: parse_hostmap(mesh, node, found[0].stdout)))


def participants(mesh: Mesh) -> tuple[Node, ...]:
    """The members, the lighthouse, and the relay node where the scenario relays."""
    extra = [mesh.testbed.control_plane]
    if mesh.scenario.path is Path.RELAY:
        extra.append(mesh.testbed.relay)
    return mesh.members + tuple(node for node in extra if node not in mesh.members)


def config(mesh: Mesh, node: Node, access: Access | None = None) -> dict[str, object]:
    """Nebula's configuration of that node, without the blacklist, which is a file of its own.

    Without `access` everything may come in.
    """
    lighthouse = mesh.testbed.control_plane
    at = str(mesh.overlay(lighthouse).ip)
    relayed = mesh.scenario.path is Path.RELAY
    is_relay = relayed and node.name == mesh.testbed.relay.name
    relays = [str(mesh.overlay(mesh.testbed.relay).ip)] if relayed and node in mesh.members else []
    return {
        "pki": {"ca": f"{DIRECTORY}/ca.crt", "cert": f"{DIRECTORY}/host.crt", "key": f"{DIRECTORY}/host.key"},
        "static_host_map": {at: [written(address, PORT) for address in mesh.addresses(lighthouse)]},
        "lighthouse": {
            "am_lighthouse": node.name == lighthouse.name,
            "interval": 10,
            "hosts": [] if node.name == lighthouse.name else [at],
        },
        # with IPv6 in the underlay it listens on both families, which Nebula's `[::]` does
        "listen": {"host": "::" if mesh.families else str(node.underlay), "port": PORT},
        "punchy": {"punch": True},
        "relay": {"am_relay": is_relay, "use_relays": relayed, "relays": relays},
        "tun": {
            "dev": INTERFACE,
            "mtu": mesh.tunnel_mtu,
            "drop_local_broadcast": True,
            "drop_multicast": True,
        },
        "sshd": {
            "enabled": True,
            "listen": f"127.0.0.1:{CONSOLE_PORT}",
            "host_key": f"{DIRECTORY}/console_host",
            "authorized_users": [
                {"user": "vpnmesh", "keys": [str(mesh.published_by(node.name, "console-key"))]}
            ],
        },
        "logging": {"level": "warning", "format": "text"},
        "firewall": {
            "outbound": [{"port": "any", "proto": "any", "host": "any"}],
            "inbound": _inbound(node, access),
        },
    }


def _inbound(node: Node, access: Access | None) -> list[dict[str, object]]:
    if access is None:
        return [{"port": "any", "proto": "any", "host": "any"}]
    return [
        {"port": rule.port or "any", "proto": str(rule.transport or "any"), "host": rule.source}
        for rule in access.rules
        if rule.destination == node.name
    ]


def _ruled(mesh: Mesh, node: Node, access: Access | None) -> Fact[Plan]:
    """Ensure these rules in the configuration of a daemon that runs."""
    wanted = yaml.safe_dump(config(mesh, node, access), sort_keys=False)
    tell = Command(("sh", "-c", _HANG_UP, "sh", f"{RUN_DIRECTORY}/{SERVICE}.pid"))

    def plan(held: str) -> Plan:
        same = held == wanted
        return Plan() if same else Plan((WriteFile(MAIN, wanted), tell), unified_diff(MAIN, held, wanted))

    return read(MAIN).map(plan)


def parse_hostmap(mesh: Mesh, node: Node, text: str) -> tuple[Peer, ...]:
    """Peers from `list-hostmap -json`; a member that Nebula does not know has neither path nor endpoint."""
    entries = _entries(text)
    return tuple(_peer(mesh, peer, entries) for peer in mesh.peers(node))


def _entries(text: str) -> dict[str, Mapping[str, Any]]:
    """Hosts that Nebula knows, by their addresses in the VPN; none where it does not answer."""
    try:
        return {_overlay_address(entry): entry for entry in json.loads(text or "[]")}
    except (*NO_JSON, LookupError, TypeError):
        return {}


def _ways(text: str, at: str) -> Ways:
    entry = _entries(text).get(at, {})
    known, used = entry.get("remoteAddrs"), entry.get("currentRemote")
    listed = known if isinstance(known, list) else []
    relays = entry.get("currentRelaysToMe")
    relay = f"relay {relays[0]}" if isinstance(relays, list) and relays else ""
    return Ways("nebula: list-hostmap -json", tuple(map(_shown, listed)), _shown(used) if used else relay)


def _shown(remote: object) -> str:
    """Address and port: apart in 1.6, one text in 1.10."""
    return f"{remote.get('ip')}:{remote.get('port')}" if isinstance(remote, dict) else str(remote)


def _peer(mesh: Mesh, peer: Node, entries: Mapping[str, Mapping[str, object]]) -> Peer:
    entry = entries.get(str(mesh.overlay(peer).ip), {})
    if remote := entry.get("currentRemote"):
        endpoint = _remote(mesh, entry)
        # an IPv6 remote, or one that cannot be read, is on no path that a scenario has
        return Peer(
            peer.name, Path.DIRECT if endpoint else None, endpoint, via="" if endpoint else str(remote)
        )
    relays = entry.get("currentRelaysToMe")
    if isinstance(relays, list) and relays:
        through = str(relays[0])
        return Peer(peer.name, Path.RELAY, _remote(mesh, entries.get(through, {})), via=through)
    return Peer(peer.name, None, None)


def _overlay_address(entry: Mapping[str, Any]) -> str:
    """Its (first) address in the VPN: `vpnIp` until 1.9, a list from 1.10 on; LookupError where it has none."""
    return str(entry["vpnAddrs"][0] if "vpnAddrs" in entry else entry["vpnIp"])


def _remote(mesh: Mesh, entry: Mapping[str, object]) -> Address | None:
    """Where packets to that host are really sent: address and port apart in 1.6, one text in 1.10."""
    remote = entry.get("currentRemote")
    return mesh.endpoint(str(remote.get("ip") if isinstance(remote, dict) else remote))


def _console(*words: str) -> tuple[str, ...]:
    options = ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=3", "IdentitiesOnly=yes")
    return (
        *("ssh", "-F", "none", "-p", str(CONSOLE_PORT), "-i", f"{DIRECTORY}/console"),
        *(word for option in options for word in ("-o", option)),
        *("-o", f"UserKnownHostsFile={DIRECTORY}/console_known_hosts", "vpnmesh@127.0.0.1", *words),
    )


def _keys() -> Fact[Plan]:
    script = Command(("sh", "-ec", _MAKE_KEYS, "sh", DIRECTORY, str(CONSOLE_PORT)))
    return made(f"{DIRECTORY}/console_known_hosts", script, "<new keys of host and console>")


def _read_keys() -> Fact[dict[str, Text]]:
    questions = (Command(("cat", f"{DIRECTORY}/host.pub")), Command(("cat", f"{DIRECTORY}/console.pub")))
    return Fact(questions, lambda c: {"public-key": f"{content(c[0])}\n", "console-key": content(c[1])})


def _running(mesh: Mesh, node: Node, second: SecondMesh | None = None) -> Fact[Plan]:
    authority = mesh.testbed.control_plane.name
    own, trusted = authorities_of(mesh, node, second)
    files = (
        WriteFile(
            f"{DIRECTORY}/ca.crt", "".join(str(mesh.published_by(authority, one.ca)) for one in trusted)
        ),
        WriteFile(f"{DIRECTORY}/host.crt", mesh.published_by(authority, own.certificate(node))),
        WriteFile(MAIN, yaml.safe_dump(config(mesh, node), sort_keys=False)),
    )
    # the console is the last that it opens
    ready = listens("-t", f"sport = :{CONSOLE_PORT}")
    return running(Service(SERVICE, ("nebula", "-config", CONFIG), files, ready=ready), mesh.scenario)


SOLUTION = Nebula()
