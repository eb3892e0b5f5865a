"""Every cause is found from what nodes say of it, with evidence and a way out; a healthy pair has none."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path as FilePath

import pytest

from tests.why.seen import (
    ALL_ON,
    BED,
    DAEMON,
    PAIR,
    PORT,
    SOLUTION,
    healthy,
    pings,
    status,
    with_probes,
    with_state,
    without,
)
from vpnmesh.model import Path
from vpnmesh.plan import Command
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.ways import Ways
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.why.finding import INTERFACES, Cause, Effect, Evidence, Finding, in_order, where_it_is
from vpnmesh.why.judge import diagnose
from vpnmesh.why.judge_paths import nat_kind
from vpnmesh.why.observed import CpuUse, Daemon, DropRule, Link, Observed, PodPings, UdpSocket
from vpnmesh.why.state_of_path import seen_state
from vpnmesh.why.words import Diagnosis, compared, diagnosis_record, lines, plan_lines

SERVER = BED.server.underlay


def only(seen: Observed) -> Finding:
    """The one finding that there is."""
    found = diagnose(seen)
    assert len(found) == 1, found
    return found[0]


def symmetric(seen: Observed, name: str) -> Observed:
    """Every other node sees another port."""
    outside = str(BED.firewall.legs[0].address.ip)
    return with_probes(seen, name, mapped={"relay": (outside, 1), "hypervisor": (outside, 2)})


def test_a_healthy_pair_has_no_finding() -> None:
    assert diagnose(healthy()) == []


def test_a_relayed_pair_without_any_cause_has_none_either() -> None:
    """Nothing is made up: the words say that no cause was found."""
    seen = healthy(Path.RELAY)
    assert diagnose(seen) == []
    told = list(lines(Diagnosis(PAIR, seen_state(seen), ())))
    assert told[-1].startswith("no cause was found")


@pytest.mark.parametrize(("mtu", "answered"), [(1230, False), (None, True)])
def test_a_pod_that_could_not_ping_has_no_answer(mtu: int | None, *, answered: bool) -> None:
    """Where there is a pod; a node without one was not to ping."""
    seen = with_state(healthy(pods=None), "worker1", pod_mtu=mtu)
    assert (seen_state(seen).answered, Diagnosis(PAIR, seen_state(seen), ()).healthy) == (answered, answered)


def test_udp_that_does_not_arrive() -> None:
    mapped = without(healthy().probed["worker1"].mapped, "worker2")
    found = only(with_probes(healthy(Path.RELAY), "worker1", mapped=mapped))
    assert (found.cause, found.effect, found.where) == (Cause.UDP, Effect.RELAYED, "worker1 to worker2")
    assert "answered by: hypervisor, relay" in found.said
    assert [one.node for one in found.evidence] == ["worker1", "worker2"]


def test_one_udp_port_that_does_not_arrive() -> None:
    found = only(with_probes(healthy(Path.RELAY), "worker2", arrived={}))
    assert (found.cause, found.where) == (Cause.UDP, "worker1 to worker2")
    assert f"{SERVER}:{PORT} does not arrive, though UDP to other ports does" in found.said


def test_a_node_whose_probes_did_not_run_is_no_block() -> None:
    """What was not asked is not found."""
    seen = healthy()
    assert diagnose(replace(seen, probed=without(seen.probed, "worker2"))) == []


@pytest.mark.parametrize(
    ("ports", "kind"), [((7, 7), "endpoint-independent"), ((7, 8), "symmetric"), ((7,), "unknown")]
)
def test_the_kind_of_nat_is_told_by_what_others_see(ports: tuple[int, ...], kind: str) -> None:
    outside = str(BED.firewall.legs[0].address.ip)
    views = dict(zip(("relay", "hypervisor"), ((outside, port) for port in ports), strict=False))
    assert nat_kind(with_probes(healthy(), "worker1", mapped=views), BED.client) == kind
    assert nat_kind(healthy(), BED.client) == "none"


def test_a_symmetric_nat() -> None:
    """Its own address takes nothing new, and the NAT is why: no second finding says that UDP is blocked."""
    seen = symmetric(symmetric(healthy(Path.RELAY), "worker1"), "worker2")
    found = diagnose(seen)
    assert [(one.cause, one.where) for one in found] == [(Cause.NAT, "worker1"), (Cause.NAT, "worker2")]
    assert found[0].effect is Effect.RELAYED
    assert [one.node for one in found[0].evidence] == ["hypervisor", "relay"]
    assert diagnose(symmetric(symmetric(healthy(), "worker1"), "worker2")) == []


def test_a_relay_that_does_not_run() -> None:
    """While the path is direct it costs nothing yet; without one it is why the pair is down."""
    where = f"{BED.relay.underlay}:443"
    dead = with_state(healthy(), "relay", listening=frozenset({"udp 3478"}))
    for name in ("worker1", "worker2"):
        dead = with_probes(dead, name, tcp={**dead.probed[name].tcp, where: "Connection refused"})
    found = only(dead)
    assert (found.cause, found.effect, found.where) == (Cause.RELAY, Effect.LATER, "relay")
    assert found.fix is not None
    assert found.fix.join
    down = replace(dead, pods=PodPings(pings(0), pings(0)))
    assert only(down).effect is Effect.DOWN


def test_a_stun_port_that_is_blocked() -> None:
    """It listens and does not answer: something on the way drops it."""
    seen = healthy(Path.RELAY)
    for name in ("worker1", "worker2"):
        seen = with_probes(seen, name, stun={})
    found = only(seen)
    assert (found.cause, found.effect) == (Cause.STUN, Effect.RELAYED)
    assert "does not answer worker1 and worker2" in found.said
    assert found.evidence[0] == Evidence("relay", "ss -ulnp sport = :3478", "it listens")


def test_a_large_packet_that_dies() -> None:
    """The interface that is too small is named, and that nobody told the sender."""
    seen = healthy(Path.RELAY)
    for name, peer in (("worker1", "worker2"), ("worker2", "worker1")):
        seen = with_probes(seen, name, sizes={peer: (500, 1280)})
    legs = {leg.interface: Link(leg.interface, 1500) for leg in BED.firewall.legs}
    found = only(with_state(seen, "firewall", links={**legs, "vlan30": Link("vlan30", 1300)}))
    assert (found.cause, found.effect) == (Cause.MTU, Effect.RELAYED)
    assert (
        "a packet of 1360 bytes to 192.88.99.18 dies, one of 1280 passes; firewall vlan30 has 1300"
        in found.said
    )
    assert "a black hole" in found.said
    assert found.fix is not None
    assert found.fix.changes[0].steps == (Command(("ip", "link", "set", "dev", "vlan30", "mtu", "1500")),)
    (back,) = found.fix.changes[0].undo
    assert back == where_it_is(f"{INTERFACES}/vlan30", "ip", "link", "set", "dev", "vlan30", "mtu", "1300")


def test_a_large_packet_that_dies_where_no_node_can_be_asked() -> None:
    """The probes told it: it is said without the interface that is to blame."""
    seen = with_probes(healthy(Path.RELAY), "worker1", sizes={"worker2": (500, 1280)})
    for name in ("worker1", "worker2", "firewall"):
        seen = with_state(seen, name, links={})
    found = only(seen)
    assert "one of 1280 passes, and no ICMP message" in found.said
    assert found.evidence[-1].said == "no node of the way could be asked"


def test_an_underlay_that_carries_what_the_tunnel_needs_is_no_finding() -> None:
    assert diagnose(with_probes(healthy(), "worker1", sizes={"worker2": (500, 1280, 1360)})) == []


def test_an_endpoint_in_another_overlay() -> None:
    """Whose interface it is, and what the daemon tried."""
    other = IPv4Address("172.31.0.2")
    seen = healthy(ways={"worker1": Ways("tool status", (f"{other}:1", f"{SERVER}:1"), f"{other}:1")})
    links = {**seen.after["worker2"].links, "other0": Link("other0", 1400, "vxlan", (other,))}
    seen = with_state(seen, "worker2", links=links)
    found = only(replace(seen, statuses={**seen.statuses, "worker1": status("worker1", endpoint=other)}))
    assert found.cause is Cause.ENDPOINT
    assert found.said == f"sends to worker2 at {other}, worker2's other0 (vxlan), and not at {SERVER}"
    assert found.evidence[0].said == f"knows {other}:1, {SERVER}:1; uses {other}:1"


def test_a_route_through_another_interface() -> None:
    """It is taken away whole, and comes back whole."""
    own = f"{SERVER} via 10.9.9.1 dev mgmt0 metric 5"
    seen = with_state(healthy(), "worker1", routes={str(SERVER): "mgmt0"}, own_routes=(own,))
    found = only(seen)
    assert (found.cause, found.effect) == (Cause.ENDPOINT, Effect.SLOW)
    assert found.fix is not None
    assert found.fix.words == (f"worker1: - route {own}",)
    (change,) = found.fix.changes
    assert change.steps == (Command(("ip", "-4", "route", "del", *own.split())),)
    back = ("ip", "-4", "route", "replace", *own.split())
    assert change.undo == (where_it_is(f"{INTERFACES}/mgmt0", *back),)


@pytest.mark.parametrize(
    "own",
    [
        (),
        (f"{SERVER} dev eth0",),
        (f"{SERVER}0 dev mgmt0",),
        (f"{SERVER} dev mgmt0", f"{SERVER} dev mgmt0 metric 5"),
    ],
)
def test_a_way_that_comes_of_no_route_of_its_own_is_nobodys_to_take_away(own: tuple[str, ...]) -> None:
    """A subnet's route, a rule's table, or two that could be meant: taking it back would make one that never was."""
    found = only(with_state(healthy(), "worker1", routes={str(SERVER): "mgmt0"}, own_routes=own))
    assert (found.cause, found.fix) == (Cause.ENDPOINT, None)


def test_segmentation_that_is_off() -> None:
    off = {**ALL_ON, "generic-segmentation-offload": False}
    found = only(with_state(healthy(), "worker1", offloads={"eth0": off}))
    assert (found.cause, found.effect) == (Cause.OFFLOAD, Effect.SLOW)
    assert found.fix is not None
    assert found.fix.changes[0].steps == (Command(("ethtool", "-K", "eth0", "gso", "on")),)


def test_receive_coalescing_counts_only_where_others_have_it() -> None:
    """A veth has it off, and so has every node here: nothing is slower than it could be."""
    on = {**ALL_ON, "generic-receive-offload": True}
    found = only(with_state(healthy(), "worker2", offloads={"eth0": on}))
    assert (found.cause, found.where) == (Cause.OFFLOAD, "worker1")


def test_a_receive_buffer_that_drops() -> None:
    """Only what was dropped meanwhile counts: three were before."""
    small = (UdpSocket(DAEMON, PORT, 4608, 215),)
    found = only(with_state(healthy(), "worker2", sockets=small))
    assert (found.cause, found.where) == (Cause.BUFFER, "worker2")
    assert "dropped 212 packets; its receive buffer is 4608 bytes" in found.said


def test_a_daemon_that_gets_no_processor() -> None:
    """Niceness and affinity are named, lifted and put back."""
    seen = with_probes(healthy(), "worker2", cpu={f"{DAEMON} 7": CpuUse(0.1, 3.5, 4.0)})
    bound = (Daemon(DAEMON, 7, "R", 19, "0", replaced=False),)
    found = only(with_state(seen, "worker2", daemons=bound))
    assert (found.cause, found.effect) == (Cause.CPU, Effect.SLOW)
    assert "ran 2% and waited for a processor 88% of the time" in found.said
    assert "(nice 19, bound to 1 of 2 cores)" in found.said
    assert found.fix is not None
    assert found.fix.changes[0].undo[0] == where_it_is("/proc/7", "renice", "-n", "19", "-p", "7")
    # a busy machine is no illness of one of the nodes that share it
    assert diagnose(seen) == []


def test_a_daemon_that_was_watched_for_no_time_says_nothing() -> None:
    """It had no packets to carry: no share of that time is anything."""
    seen = with_probes(healthy(), "worker2", cpu={f"{DAEMON} 7": CpuUse(0.0, 0.0, 0.0)})
    limited = (Daemon(DAEMON, 7, "R", 0, "0-1", replaced=False, quota_pct=2.0, group=""),)
    assert diagnose(with_state(seen, "worker2", daemons=limited)) == []


@pytest.mark.parametrize("group", ["", "gone"])
def test_a_quota_is_lifted_only_where_it_can_be_put_back(group: str, tmp_path: FilePath) -> None:
    """In version 2 of control groups nothing is offered; a group that is gone by then is nobody's failure."""
    seen = with_probes(healthy(), "worker2", cpu={f"{DAEMON} 7": CpuUse(0.1, 3.5, 4.0)})
    folder = f"{tmp_path}/{group}" if group else ""
    limited = (Daemon(DAEMON, 7, "R", 0, "0-1", replaced=False, quota_pct=2.0, group=folder),)
    found = only(with_state(seen, "worker2", daemons=limited))
    assert "its control group allows 2 % of a core" in found.said
    assert (found.fix is not None) == bool(group)
    for change in found.fix.changes if found.fix else ():
        for step in (*change.steps, *change.undo):
            assert isinstance(step, Command)
            assert subprocess.run(step.argv, check=False).returncode in step.ok


def test_a_step_back_is_made_only_where_its_object_is_left(tmp_path: FilePath) -> None:
    """An interface or a process that is gone needs none; one that fails still says so."""
    told = [where_it_is(str(path), "sh", "-c", "exit 7") for path in (tmp_path, tmp_path / "gone")]
    assert [subprocess.run(one.argv, check=False).returncode for one in told] == [7, 0]


@pytest.mark.parametrize(("ahead_s", "effect"), [(3600.0, Effect.RELAYED), (-3.0, Effect.LATER)])
def test_a_clock_that_goes_wrong(ahead_s: float, effect: Effect) -> None:
    found = only(healthy(Path.RELAY, skews_s={"worker2": ahead_s}))
    assert (found.cause, found.effect, found.where) == (Cause.CLOCK, effect, "worker2")


@pytest.mark.parametrize("letter", ["T", "Z"])
def test_a_daemon_that_hangs(letter: str) -> None:
    hung = (Daemon(DAEMON, 7, letter, 0, "0-1", replaced=False),)
    seen = replace(healthy(None), pods=PodPings(pings(0), pings(0)))
    found = only(with_state(seen, "worker2", daemons=hung))
    assert (found.cause, found.effect) == (Cause.DAEMON, Effect.DOWN)
    assert (found.fix is not None) == (letter == "T")


def test_a_daemon_whose_program_is_gone_is_stale() -> None:
    stale = (Daemon(DAEMON, 7, "S", 0, "0-1", replaced=True),)
    assert "it is stale" in only(with_state(healthy(), "worker2", daemons=stale)).said


def test_a_service_that_has_ended() -> None:
    found = only(with_state(healthy(), "relay", lost_services=("derper",)))
    assert (found.cause, found.where) == (Cause.DAEMON, "relay")


def rule(packets: int, text: str = "udp dport 41641 drop") -> DropRule:
    """A rule that has dropped so many."""
    return DropRule("inet", "mine", "input", 4, text, packets)


@pytest.mark.parametrize("text", ["drop", '{"xt": {"name": "limit"}} drop', 'ip saddr {"prefix": {}} drop'])
def test_no_rule_is_tried_around_by_one_that_lets_more_pass(text: str) -> None:
    """Where it cannot be written which packets it drops: the finding says where it is, and that is all."""
    before, after = (with_state(healthy(), "worker2", rules=(rule(packets, text),)) for packets in (5, 12))
    found = only(replace(after, before=before.after, pods=PodPings(pings(0), pings(0))))
    assert (found.cause, found.fix) == (Cause.RULE, None)


def test_a_firewall_rule_counts_only_where_packets_are_missed() -> None:
    """A firewall drops many things: a rule that hit is a cause only where something did not arrive."""
    hit = with_state(healthy(), "worker2", rules=(rule(12),))
    hit = replace(hit, before={**hit.before, "worker2": replace(hit.before["worker2"], rules=(rule(5),))})
    assert diagnose(hit) == []
    down = replace(hit, pods=PodPings(pings(0), pings(0)))
    found = only(down)
    assert (found.cause, found.effect, found.where) == (Cause.RULE, Effect.DOWN, "worker2")
    assert "dropped 7 packets" in found.said
    assert found.fix is not None
    insert = found.fix.changes[0].steps[0].argv  # type: ignore[union-attr]
    assert insert[-3:] == ("position", "4", 'udp dport 41641 accept comment "vpnmesh-why"')


def test_a_node_that_cannot_be_asked() -> None:
    found = only(healthy(silent={"worker2": "no SSH: refused"}))
    assert (found.cause, found.effect) == (Cause.NODE, Effect.DOWN)


def test_a_scenario_that_wants_its_relay() -> None:
    seen = healthy(Path.RELAY)
    wanted = scenario_named("headscale-relay")
    assert only(replace(seen, mesh=replace(seen.mesh, scenario=wanted))).cause is Cause.SCENARIO


def test_pods_that_are_larger_than_the_tunnel() -> None:
    found = only(with_state(healthy(), "worker1", pod_mtu=1280))
    assert "with VXLAN 1330, into a tunnel of 1280" in found.said


def test_the_worst_comes_first_and_each_once() -> None:
    shown = (Evidence("", "a", "b"),)
    slow = Finding(Cause.CPU, Effect.SLOW, "a", "s", "d", shown)
    down = Finding(Cause.RULE, Effect.DOWN, "a", "s", "d", shown)
    assert in_order([slow, down, slow]) == [down, slow]


def test_a_finding_without_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="without evidence"):
        Finding(Cause.CPU, Effect.SLOW, "a", "s", "d", ())


def test_the_words_of_a_diagnosis() -> None:
    """Effect, cause, place; the command and what it said; the way out."""
    seen = with_state(
        healthy(), "worker1", offloads={"eth0": {**ALL_ON, "generic-segmentation-offload": False}}
    )
    found = Diagnosis(PAIR, seen_state(seen), tuple(diagnose(seen)))
    path, said, shown, do = lines(found)
    assert path.startswith("worker1>worker2: worker1 reaches worker2 direct at 192.88.99.18; worker2 reaches")
    assert path.endswith("pod to pod: round trip 1.00 ms")
    assert said.startswith("slow      offload: worker1: generic-segmentation-offload of eth0 off")
    assert shown == "          shown by worker1: ethtool -k eth0 -> generic-segmentation-offload: off"
    assert do == "          do: ethtool -K eth0 gso on"
    assert plan_lines(found.findings) == ["worker1: eth0: gso on"]
    kept = diagnosis_record(found)
    assert kept["healthy"] is False
    healed = Diagnosis(PAIR, seen_state(healthy()), ())
    assert list(compared(found, healed))[-1] == "gone:   offload: worker1"


def test_nobody_waits_for_a_solution_that_tells_nothing() -> None:
    """The seams of a solution have defaults: no port, no listeners, no ways."""
    native = solution_named(scenario_named("native-1450").solution)
    assert native.listeners(healthy().mesh) == ()
    assert native.data_port(healthy().mesh) is None
    assert native.ways(healthy().mesh, BED.client, BED.server) is None
    assert SOLUTION.listeners(healthy().mesh)
