"""Findings about the way between the ends: UDP, NAT, listeners, endpoints, and where large packets die."""

from collections.abc import Iterator, Mapping

from vpnmesh.doctor.judge import TUNNEL_BYTES, underlay_mtu
from vpnmesh.firewall.nftables import TABLE
from vpnmesh.firewall.policy import Protocol
from vpnmesh.host.pods import VXLAN_BYTES
from vpnmesh.model import Node
from vpnmesh.plan import Command
from vpnmesh.solutions.ways import Listener
from vpnmesh.study.checks import right_endpoints
from vpnmesh.why.finding import INTERFACES, Cause, Change, Effect, Evidence, Finding, Fix, where_it_is
from vpnmesh.why.observed import Observed
from vpnmesh.why.questions import PORT
from vpnmesh.why.state_of_path import seen_state

ENOUGH_VIEWS = 2
"""From so many places outside a node must be seen before its NAT can be told to be of one kind or the other."""


def path_findings(seen: Observed) -> Iterator[Finding]:
    """Everything that packets between the ends, and to what both must reach, have shown."""
    for node, peer in seen.ends:
        yield from _udp(seen, node, peer)
        yield from _nat(seen, node)
        yield from _endpoint(seen, node, peer)
    for listener in seen.listeners:
        yield from _listener(seen, listener)
    yield from _mtu(seen)
    yield from _pods(seen)


def _udp(seen: Observed, node: Node, peer: Node) -> Iterator[Finding]:
    """No probe to the peer is answered; behind a NAT its own address takes none, and the NAT is the cause."""
    mine, theirs = seen.answers(node.name), seen.answers(peer.name)
    if not mine.seconds or not theirs.seconds or translated(seen, peer):
        return
    port = seen.solution.data_port(seen.mesh)
    others = ", ".join(sorted(set(mine.mapped) - {peer.name})) or "none"
    if peer.name not in mine.mapped:
        what = "UDP"
        said = f"no UDP packet to {peer.underlay} is answered; answered by: {others}"
    elif port and port not in theirs.arrived.get(node.name, ()):
        what = f"UDP port {port}"
        said = f"UDP to {peer.underlay}:{port} does not arrive, though UDP to other ports does"
    else:
        return
    do = f"let {what} pass between {node.underlay} and {peer.underlay}, in both directions"
    evidence = (
        Evidence(
            node.name, f"echo probe > /dev/udp/{peer.underlay}/{_asked_port(seen, what)} (bash)", "no answer"
        ),
        Evidence(
            peer.name,
            f"tcpdump -ni {peer.leg.interface} udp and host {node.underlay}",
            _arrivals(seen, node, peer),
        ),
        *_tried(seen, node),
    )
    yield Finding(
        Cause.UDP, seen_state(seen).effect, f"{node.name} to {peer.name}", said, do, evidence, _policy(seen)
    )


def _tried(seen: Observed, node: Node) -> tuple[Evidence, ...]:
    """Which addresses of the other end the node's daemon knows, and which it uses, where it says so."""
    told = seen.ways.get(node.name)
    return (Evidence(node.name, told.command, str(told)),) if told else ()


def _asked_port(seen: Observed, what: str) -> int:
    """The port that was missed: the VPN's own, or the probes'."""
    return PORT if what == "UDP" else seen.solution.data_port(seen.mesh) or PORT


def _watching(seen: Observed, name: str) -> str:
    return f"tcpdump -ni {seen.bed.node(name).leg.interface} udp dst port {PORT}"


def _arrivals(seen: Observed, node: Node, peer: Node) -> str:
    ports = sorted(seen.answers(peer.name).arrived.get(node.name, ()))
    return f"probes come by at UDP port {', '.join(map(str, ports))}" if ports else "no probe comes by"


def _policy(seen: Observed) -> Fix | None:
    """A policy of ours that blocks is taken away; any other firewall is its owner's."""
    ours = any(rule.table == TABLE for rule in seen.state(seen.bed.firewall.name).rules)
    return Fix(policy="allow-all") if ours or seen.mesh.scenario.policy != "allow-all" else None


def translated(seen: Observed, node: Node) -> bool:
    """Whether others see the node under another address than its own."""
    return any(address != str(node.underlay) for address, _ in seen.answers(node.name).mapped.values())


def nat_kind(seen: Observed, node: Node) -> str:
    """`none`, `endpoint-independent`, `symmetric`, or `unknown` where too few others answered."""
    views = seen.answers(node.name).mapped
    if not translated(seen, node):
        return "none" if views else "unknown"
    if len(views) < ENOUGH_VIEWS:
        return "unknown"
    return "endpoint-independent" if len(set(views.values())) == 1 else "symmetric"


def _nat(seen: Observed, node: Node) -> Iterator[Finding]:
    """A symmetric NAT, unless the path is direct in spite of it."""
    if nat_kind(seen, node) != "symmetric" or seen_state(seen).direct:
        return
    views = seen.answers(node.name).mapped
    said = "is behind a symmetric NAT: another port towards every peer, so no peer can know where to send"
    do = "map one port for all peers at its router (endpoint-independent mapping, static port, or a forwarded port)"
    evidence = tuple(
        Evidence(other, _watching(seen, other), f"{node.name}'s one socket is {address}:{port}")
        for other, (address, port) in sorted(views.items())
    ) + _tried(seen, node)
    yield Finding(Cause.NAT, seen_state(seen).effect, node.name, said, do, evidence, _policy(seen))


def _endpoint(seen: Observed, node: Node, peer: Node) -> Iterator[Finding]:
    """The peer is reached at an address, or through an interface, that is not the underlay's."""
    status = seen.statuses.get(node.name)
    found = status.peer(peer.name) if status else None
    tried = _tried(seen, node)
    if found and found.endpoint and found.endpoint not in right_endpoints(seen.mesh, node.name, found):
        link = next(
            (one for one in seen.state(peer.name).links.values() if found.endpoint in one.addresses), None
        )
        what = (
            f"{peer.name}'s {link.name}{f' ({link.kind})' if link.kind else ''}"
            if link
            else "no address of the testbed"
        )
        said = f"sends to {peer.name} at {found.endpoint}, {what}, and not at {peer.underlay}"
        do = f"keep the VPN off that interface (its blacklist), or give it {peer.underlay} as the endpoint"
        shown = tried or (Evidence(node.name, f"the status of {seen.solution.name}", said),)
        yield Finding(Cause.ENDPOINT, Effect.SLOW, node.name, said, do, shown, Fix(join=True))
    route = seen.state(node.name).routes.get(str(peer.underlay))
    if route and route != node.leg.interface:
        said = f"packets to {peer.name} at {peer.underlay} leave by {route}, not by {node.leg.interface}"
        own = _own_route(seen, node, peer, route)
        do = f"take that route away: ip route del {own}"
        if not own:
            do = f"give {peer.underlay} a way by {node.leg.interface} (ip rule and ip route say what leads there)"
        evidence = (Evidence(node.name, f"ip route get {peer.underlay}", f"dev {route}"), *tried)
        down = not seen_state(seen).answered
        effect = Effect.DOWN if down else Effect.SLOW
        yield Finding(
            Cause.ENDPOINT, effect, node.name, said, do, evidence, _unroute(node, own, route) if own else None
        )


def _own_route(seen: Observed, node: Node, peer: Node, route: str) -> str:
    """The one route to the peer alone by that interface, whole; "" where the way comes of anything else."""
    own = [
        text
        for text in seen.state(node.name).own_routes
        if f"{text} ".startswith(f"{peer.underlay} ") and f" dev {route} " in f"{text} "
    ]
    return own[0] if len(own) == 1 and "nexthop" not in own[0] else ""


def _unroute(node: Node, own: str, route: str) -> Fix:
    """Take the route away; it comes back with its gateway and all else that it had."""
    remove = Command(("ip", "-4", "route", "del", *own.split()))
    back = where_it_is(f"{INTERFACES}/{route}", "ip", "-4", "route", "replace", *own.split())
    return Fix((Change(node.name, (remove,), (back,), f"- route {own}"),))


def _listener(seen: Observed, one: Listener) -> Iterator[Finding]:
    """What members must reach, and do not: nothing listens there, or nothing gets there."""
    node = seen.bed.node(one.node)
    where = f"{node.underlay}:{one.port}"
    listens = f"{one.protocol} {one.port}" in seen.state(one.node).listening
    asked = {
        name: _asked(seen, name, one, where)
        for name in (seen.pair.client, seen.pair.server)
        if name != one.node
    }
    failed = {name: said for name, said in asked.items() if said}
    unasked = one.node not in seen.after and one.node not in seen.before
    if not failed and (listens or unasked or one.protocol is Protocol.TCP):
        return
    cause = Cause.STUN if one.stun and not one.relays else Cause.RELAY if one.relays else Cause.CONTROL
    if listens or unasked:
        said = f"{one.what} at {one.protocol} {where} does not answer {' and '.join(failed)}"
        do = f"let {one.protocol} port {one.port} pass to {node.underlay}"
        fix = _policy(seen)
    else:
        said = f"{one.what} does not run: nothing listens at {one.protocol} {where}"
        do = f"start it on {one.node}, and look at its log in /run/vpnmesh"
        fix = Fix(join=True)
    command = f"ss -{one.protocol[0]}lnp sport = :{one.port}"
    evidence = [Evidence(one.node, command, "it listens" if listens else "nothing listens")]
    evidence += [Evidence(name, _question(one, where), told) for name, told in failed.items()]
    yield Finding(cause, _missing_effect(seen, cause), one.node, said, do, tuple(evidence), fix)


def _question(one: Listener, where: str) -> str:
    return f"STUN binding request to {where}" if one.stun else f"nc -vz {where.replace(':', ' ')}"


def _asked(seen: Observed, name: str, one: Listener, where: str) -> str:
    """What became of that node's question, "" where it was answered or could not be asked."""
    mine = seen.answers(name)
    if not mine.seconds:
        return ""
    if one.protocol is Protocol.TCP:
        said = mine.tcp.get(where, "open")
        return "" if said == "open" else said
    return "no answer" if one.stun and where not in mine.stun else ""


def _missing_effect(seen: Observed, cause: Cause) -> Effect:
    """A relay or STUN server that is missed costs nothing as long as the direct path stands."""
    state = seen_state(seen)
    if state.direct and state.answered:
        return Effect.LATER
    return Effect.RELAYED if cause is Cause.STUN and state.relayed else state.effect


def _mtu(seen: Observed) -> Iterator[Finding]:
    """Small packets get to the other end, and those that the tunnel needs do not."""
    needed = underlay_mtu(seen.mesh.scenario)
    for node, peer in seen.ends:
        mine = seen.answers(node.name)
        passed = mine.sizes.get(peer.name, ())
        if not passed or max(passed) >= needed:
            continue
        chain = _chain(seen, node, peer)
        # none where no node of the way could be asked
        narrow = [place for place, mtu in chain.items() if mtu == min(chain.values()) < needed]
        at = f"; {narrow[0]} has {chain[narrow[0]]}" if narrow else ""
        hidden = "" if mine.told else ", and no ICMP message says so (a black hole)"
        said = f"a packet of {needed} bytes to {peer.underlay} dies, one of {max(passed)} passes{at}{hidden}"
        do = (
            f"let every interface of the way carry {needed} bytes and ICMP 'fragmentation needed' pass, or take a"
            f" tunnel MTU of {max(passed) - TUNNEL_BYTES}"
        )
        evidence = (
            Evidence(node.name, f"ping -M do -s {needed - 28} {peer.underlay}", "no answer"),
            Evidence("", "ip link show, at every node of the way", _shown(chain)),
        )
        effect = Effect.RELAYED if seen_state(seen).relayed else Effect.DOWN
        yield Finding(
            Cause.MTU,
            effect,
            f"{node.name} to {peer.name}",
            said,
            do,
            evidence,
            _widened(chain, needed),
        )
        return


def _chain(seen: Observed, node: Node, peer: Node) -> dict[str, int]:
    """The MTUs on the way in the order in which a packet meets them, as far as nodes told them."""
    firewall = seen.bed.firewall
    legs = [(node.name, node.leg.interface)]
    legs += [
        (firewall.name, leg.interface) for leg in firewall.legs if leg.vid in (node.leg.vid, peer.leg.vid)
    ]
    legs += [(peer.name, peer.leg.interface)]
    links = {name: seen.state(name).links for name, _ in legs}
    return {f"{name} {one}": links[name][one].mtu for name, one in legs if one in links[name]}


def _shown(chain: Mapping[str, int]) -> str:
    return " > ".join(f"{place} {mtu}" for place, mtu in chain.items()) or "no node of the way could be asked"


def _widened(chain: Mapping[str, int], needed: int) -> Fix | None:
    """Give interfaces that are smaller than needed what the widest one of the way has."""
    widest = max(chain.values(), default=0)
    narrow = {place: mtu for place, mtu in chain.items() if mtu < needed}
    if not narrow or widest < needed:
        return None
    return Fix(tuple(_mtu_change(place, mtu, widest) for place, mtu in narrow.items()))


def _mtu_change(place: str, held: int, wanted: int) -> Change:
    node, _, interface = place.partition(" ")

    def argv(mtu: int) -> tuple[str, ...]:
        return "ip", "link", "set", "dev", interface, "mtu", str(mtu)

    back = where_it_is(f"{INTERFACES}/{interface}", *argv(held))
    return Change(node, (Command(argv(wanted)),), (back,), f"mtu of {interface}: {held} to {wanted}")


def _pods(seen: Observed) -> Iterator[Finding]:
    """The pods' packets are larger than the tunnel carries."""
    for node, _ in seen.ends:
        state, status = seen.state(node.name), seen.statuses.get(node.name)
        tunnel = state.links.get(status.interface) if status else None
        if seen.mesh.scenario.tunnel_mtu is None or tunnel is None or state.pod_mtu is None:
            continue
        if state.pod_mtu + VXLAN_BYTES > tunnel.mtu:
            carried = state.pod_mtu + VXLAN_BYTES
            said = f"pods send {state.pod_mtu} bytes, with VXLAN {carried}, into a tunnel of {tunnel.mtu}"
            do = (
                f"give the pods {tunnel.mtu - VXLAN_BYTES} bytes, or the tunnel {state.pod_mtu + VXLAN_BYTES}"
            )
            evidence = (
                Evidence(node.name, f"ip link show {tunnel.name}", f"mtu {tunnel.mtu}"),
                Evidence(node.name, "ip netns exec vpnmesh-pod ip link show eth0", f"mtu {state.pod_mtu}"),
            )
            yield Finding(Cause.MTU, Effect.SLOW, node.name, said, do, evidence)
