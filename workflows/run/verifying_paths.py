"""Live checks of paths: full mesh, relays by protocol, NAT traversal, and whether words can be read on the way."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.errors import CheckError, UnavailableError, VpnmeshError
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Status
from vpnmesh.study.checks import DIRECT_SHARE, RELAYED_SHARE
from vpnmesh.study.nat_grid import Found, NatPair
from vpnmesh.study.secrecy import MarkerTrial, read_outside
from vpnmesh.tools import flows, ping
from workflows.run import firewall
from workflows.run.nat import refuse_without_router
from workflows.run.nat_grid import deployed, measure_cell
from workflows.run.provision import firewall_policy
from workflows.run.verifying import Verifier, big_pings, carried_bytes, seen, words

ALL_UDP_BLOCKED, ONLY_TCP_443 = "block-udp", "tcp-443-only"
NAT = NatPair(NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED)
HTTPS = 443


def full_mesh(checks: Verifier) -> list[Observation]:
    """Every pair direct, said by both ends, and the relay node idle while all pairs ping each other."""
    checks.up(checks.direct)
    relay = checks.site.testbed.relay
    members = checks.site.k8s
    place = {relay.name: [relay.leg.interface]}
    pairs = list(combinations(members, 2))
    watched = checks.watch(place, [(one, big_pings(checks.address(other))) for one, other in pairs])
    carried = sum(carried_bytes(one.stdout) for one in watched.said)
    idle = watched.heard[relay.name]
    share = _all_bytes(idle) / carried
    answered = [ping.parse(one.stdout) for one in watched.said]
    silent = [pair for pair, one in zip(pairs, answered, strict=True) if one.lost > one.sent / 2]
    to_relay = checks.watch(place, [(checks.client, big_pings(relay.underlay))])
    counted = _all_bytes(to_relay.heard[relay.name]) / carried_bytes(to_relay.said[0].stdout)
    statuses = checks.statuses()
    paths = [_direct(statuses, one, other) for one, other in pairs]
    return [
        seen(
            "pairs that are direct at both ends",
            f"{len(pairs)} of {len(pairs)}",
            f"{sum(paths)} of {len(pairs)}",
            holds=all(paths),
            text=_paths(statuses),
        ),
        seen(
            f"bytes at {relay.name} of those that all pairs sent each other",
            f"at most {DIRECT_SHARE:.0%}",
            f"{share:.2%}",
            holds=share <= DIRECT_SHARE,
            text=idle.text(),
        ),
        seen(
            "pairs of which one answers the other's pings",
            f"{len(pairs)} of {len(pairs)}",
            f"{len(pairs) - len(silent)} of {len(pairs)}",
            holds=not silent,
            text="\n".join(one.text for one in answered),
        ),
        seen(
            f"the same pings sent to {relay.name} itself are counted there",
            f"at least {RELAYED_SHARE:.0%} of their bytes",
            f"{counted:.0%}",
            holds=counted >= RELAYED_SHARE,
            part=Part.CONTROL,
            text=to_relay.heard[relay.name].text(),
        ),
    ]


def _direct(statuses: Mapping[str, Status], one: str, other: str) -> bool:
    ends = (statuses[one].peer(other), statuses[other].peer(one))
    return all(end is not None and end.path is Path.DIRECT for end in ends)


def _paths(statuses: Mapping[str, Status]) -> str:
    lines = [
        f"{name} to {peer.name}: {peer.path or 'no path'} at {peer.endpoint} {peer.via}".rstrip()
        for name, status in statuses.items()
        for peer in status.peers
    ]
    return "\n".join(lines)


def _all_bytes(heard: flows.Heard) -> int:
    if heard.uncounted:
        raise CheckError("flows", f"{heard.uncounted} packets came too fast to be counted")
    return sum(flow.bytes for flow in heard.flows)


def relay_udp(checks: Verifier) -> list[Observation]:
    """Some relayed scenario, under a policy that leaves UDP to the relay open: over UDP, and unread by the relay."""
    checks.listening = True
    found: list[Observation] = []
    reasons = []
    for scenario in checks.scenarios(Path.RELAY):
        if scenario.policy == ALL_UDP_BLOCKED:
            continue
        try:
            checks.up(scenario)
        except VpnmeshError as error:
            reasons.append(f"{scenario.name}: {error}")
            continue
        found = _relayed(checks, scenario, "udp")
        if all(one.holds for one in found):
            return found
    if not found:
        raise UnavailableError(
            "; ".join(reasons) or f"{checks.solution} has no scenario that is relayed over UDP"
        )
    return found


def relay_tcp(checks: Verifier) -> list[Observation]:
    """Under a block of all UDP the pair is carried over TCP, unread by the relay; and told: with TCP 443 alone."""
    checks.listening = True
    own = [one for one in checks.scenarios(Path.RELAY) if one.policy == ALL_UDP_BLOCKED]
    others = checks.scenarios(Path.RELAY)
    if not others:
        raise UnavailableError(f"{checks.solution} has no scenario that is relayed")
    scenario = own[0] if own else replace(others[0], name=f"{others[0].name}-no-udp", policy=ALL_UDP_BLOCKED)
    try:
        checks.up(scenario)
    except CheckError as error:
        return _never_relayed(checks, scenario, others[0], error)
    found = [*_relayed(checks, scenario, "tcp"), _policy_holds(checks, scenario.policy)]
    return [*found, _with_443_alone(checks, scenario)]


def _never_relayed(
    checks: Verifier, scenario: Scenario, without_block: Scenario, error: CheckError
) -> list[Observation]:
    """No path under the block: unmet, where the block holds, and the same scenario stands without it."""
    told = seen("a path while all UDP is blocked", "relayed over TCP", error, holds=False)
    if error.stage != "path" or scenario.name == without_block.name:
        raise error
    checks.up(without_block)
    control = f"the same under policy {without_block.policy}"
    stands = seen(control, "a relayed path", "a relayed path", holds=True, part=Part.CONTROL)
    # what did not come up was not there any more for packets to show that the block holds
    firewall_policy(checks.site, scenario.policy)
    blocked = _policy_holds(checks, scenario.policy)
    checks.down()
    return [told, stands, blocked]


def _relayed(checks: Verifier, scenario: Scenario, protocol: str) -> list[Observation]:
    """By which protocol the pair's bytes pass the relay node."""
    relay = checks.site.testbed.relay
    place = {relay.name: [relay.leg.interface]}
    probe = big_pings(checks.address(checks.server))
    watched = checks.watch(place, [(checks.client, probe)])
    heard, carried = watched.heard[relay.name], carried_bytes(watched.said[0].stdout)
    by_protocol = flows.bytes_by_protocol(heard.flows)
    # every byte comes in and goes out again
    share = by_protocol.get(protocol, 0) / (2 * carried) if carried else 0.0
    others = ", ".join(
        f"{name} {count / (2 * carried):.0%}" for name, count in by_protocol.items() if carried
    )
    to_relay = checks.watch(place, [(checks.client, big_pings(relay.underlay))])
    pinged = carried_bytes(to_relay.said[0].stdout)
    apart = flows.bytes_by_protocol(to_relay.heard[relay.name].flows)
    mistaken = apart.get(protocol, 0) / pinged if pinged else 1.0
    as_icmp = apart.get("icmp", 0) / pinged if pinged else 0.0
    return [
        seen(
            f"{scenario.name}: the pair's bytes that pass {relay.name} over {protocol.upper()}",
            f"at least {RELAYED_SHARE:.0%}",
            f"{share:.0%} ({others or 'nothing came through'})",
            holds=share >= RELAYED_SHARE,
            text=heard.text(),
        ),
        seen(
            f"pings to {relay.name} itself are counted as what they are",
            f"at least {RELAYED_SHARE:.0%} as ICMP, at most 10% as {protocol.upper()}",
            f"{as_icmp:.0%} and {mistaken:.0%}",
            holds=as_icmp >= RELAYED_SHARE and mistaken <= 1 - RELAYED_SHARE,
            part=Part.CONTROL,
            text=to_relay.heard[relay.name].text(),
        ),
        *([_secret(checks, *trial)] if (trial := checks.trials.get(scenario.name)) else []),
    ]


def _policy_holds(checks: Verifier, policy: str) -> Observation:
    """What packets show of the firewall's policy."""
    lines = firewall.prove(checks.site.nr, checks.site.testbed, policy)
    held = sum(line.holds for line in lines)
    return seen(
        f"packets between all nodes do what policy {policy} says",
        f"{len(lines)} of {len(lines)}",
        f"{held} of {len(lines)}",
        holds=held == len(lines),
        part=Part.CONTROL,
        text="\n".join(map(str, lines)),
    )


def _with_443_alone(checks: Verifier, scenario: Scenario) -> Observation:
    """Whether members that may open nothing but TCP 443 join and are relayed."""
    narrow = replace(scenario, name=f"{scenario.name}-443", policy=ONLY_TCP_443)
    try:
        checks.up(narrow)
    except VpnmeshError as error:
        told = f"do not come up: {words(error)}"
        what = "members that may open nothing but TCP 443"
        return seen(what, "relayed", told, holds=True, part=Part.TOLD, text=str(error))
    relay = checks.site.testbed.relay
    probe = big_pings(checks.address(checks.server))
    heard = checks.watch({relay.name: [relay.leg.interface]}, [(checks.client, probe)]).heard[relay.name]
    over = [
        one
        for one in heard.flows
        if one.protocol == "tcp" and HTTPS in (one.source_port, one.destination_port)
    ]
    share = sum(one.bytes for one in over) / max(1, sum(one.bytes for one in heard.flows))
    return seen(
        "members that may open nothing but TCP 443",
        "relayed",
        f"join, and {share:.0%} of what passes {relay.name} is TCP to or from port 443",
        holds=True,
        part=Part.TOLD,
        text=heard.text(),
    )


def nat_traversal(checks: Verifier) -> list[Observation]:
    """Both workers behind routers of their own that let in only what was asked for: a direct path all the same."""
    refuse_without_router(checks.site)
    checks.down()
    if reason := solution_named(checks.solution).lacks.get("nat-traversal"):
        raise UnavailableError(f"{checks.solution}: {reason}")
    packets: list[str] = []

    def kept(_pair: NatPair, text: str) -> str:
        packets.append(text)
        return ""

    checks.say(f"setting up {checks.direct.name} behind {NAT}")
    with deployed(checks.site, checks.solution, checks.direct) as grid:
        record = measure_cell(grid, NAT, kept)
    checks.stood.append(checks.direct.name)
    if record.found in (Found.UNAVAILABLE, Found.BROKEN):
        raise CheckError("nat", record.reason)
    took = f" after {record.direct_s:.1f} s" if record.direct_s is not None else ""
    why = f" ({record.reason})" if record.reason else ""
    return [
        seen(
            f"the workers' path with each behind a {NAT.client} NAT",
            Found.DIRECT,
            f"{record.found}{took}{why}",
            holds=record.found is Found.DIRECT,
            text="\n".join(packets),
        ),
        seen(
            "probes through both NATs show that kind, and that a hole can be punched through them",
            "both",
            record.reason if record.found is Found.UNPROVEN else f"hole punched: {record.punched}",
            holds=record.found is not Found.UNPROVEN and bool(record.punched),
            part=Part.CONTROL,
            text="\n".join(f"{name}: {words}" for name, words in record.proof.items()),
        ),
    ]


def encryption(checks: Verifier) -> list[Observation]:
    """The marker of every scenario that stood, at least one direct and one relayed if it has such, beside no VPN."""
    checks.listening = True
    for path in (Path.DIRECT, Path.RELAY):
        _hear_marker(checks, path)
    ours = [_secret(checks, *tried) for tried in checks.trials.values()]
    baseline = checks.catalogue.named(checks.catalogue.baselines[0])
    checks.up(baseline)
    _, plain = checks.trials[baseline.name]
    where = read_outside(baseline, checks.site.testbed, plain)
    return [
        *ours,
        seen(
            f"{baseline.name}, without a VPN: where the marker is read on the underlay",
            "at both ends",
            ", ".join(map(str, where)) or "nowhere",
            holds={tap.node for tap in where} >= {checks.client, checks.server},
            part=Part.CONTROL,
            text=_heard(plain),
        ),
    ]


def _hear_marker(checks: Verifier, path: Path) -> None:
    """Listen for the marker on that path, unless it was; UnavailableError where it has scenarios, and none comes up."""
    if any(tried.path is path for tried, _ in checks.trials.values()):
        return
    reasons = []
    # what stands now was not listened to when it came up
    checks.down()
    for scenario in checks.scenarios(path):
        try:
            checks.up(scenario)
        except VpnmeshError as error:
            reasons.append(f"{scenario.name}: {error}")
        else:
            return
    if reasons:
        raise UnavailableError("; ".join(reasons))


def _secret(checks: Verifier, scenario: Scenario, trial: MarkerTrial) -> Observation:
    where = read_outside(scenario, checks.site.testbed, trial)
    inside = sum(heard.marked for tap, heard in trial.heard.items() if tap.inside)
    return seen(
        f"{scenario.name}: where the marker is read outside of the overlay",
        "nowhere",
        ", ".join(map(str, where)) or f"nowhere ({inside} frames with it were read inside)",
        holds=not where,
        text=_heard(trial),
    )


def _heard(trial: MarkerTrial) -> str:
    lines = [
        f"{tap}{' (inside)' if tap.inside else ''}: {one.packets} packets, {one.bytes} bytes, "
        f"{one.marked} with the marker"
        for tap, one in trial.heard.items()
    ]
    return "\n".join([*lines, f"sent {trial.sent.sent} bytes by each protocol; back: {trial.sent}"])
