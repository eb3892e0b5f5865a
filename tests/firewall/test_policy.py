"""The policy model: what it means for a packet, and that every driver renders that meaning."""

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.firewall.appliance import six_nodes
from tests.firewall.goldens import golden
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.firewall import explanation as words
from vpnmesh.firewall import nftables, pfsense_php, pfsense_rest, pfsense_states
from vpnmesh.firewall.pfsense_config import PfsenseConfig
from vpnmesh.firewall.pfsense_objects import Mark, PfsenseObjects, lease, objects
from vpnmesh.firewall.policy import (
    POLICIES,
    Action,
    ManagementPath,
    Nat,
    Packet,
    Policy,
    Protocol,
    Translation,
    blocked,
    can_cut,
    cut_paths,
    expectations,
    passes,
    policy_named,
    resolve,
)
from vpnmesh.model import Role, Testbed
from vpnmesh.plan import Completed

MASTER, WORKER1, WORKER2, RELAY, CONTROL = 10, 20, 30, 40, 50
MARK = Mark("run-1")
NAMES = [policy.name for policy in POLICIES]


def with_servers() -> Testbed:
    return replace(
        six_nodes(), dns_servers=(IPv4Address("192.88.99.34"),), ntp_servers=(IPv4Address("192.88.99.35"),)
    )


def test_udp_between_all_node_vlans_is_blocked_and_tcp_is_not() -> None:
    """Policy block-udp stops UDP between any two nodes and no TCP (paper, headscale-relay and zerotier-relay)."""
    bed, policy = six_nodes(), policy_named("block-udp")
    vids = (MASTER, WORKER1, WORKER2, RELAY, CONTROL)
    pairs = [(one, other) for one in vids for other in vids if one != other]
    assert [blocked(policy, bed, Protocol.UDP, *pair) for pair in pairs] == [True] * 20
    assert [blocked(policy, bed, Protocol.TCP, *pair) for pair in pairs] == [False] * 20


def test_udp_to_the_relay_stays_open_where_only_k8s_vlans_are_cut_off() -> None:
    """Policy block-udp-k8s stops worker to worker, and lets worker to relay pass (paper, netbird-relay)."""
    bed, policy = six_nodes(), policy_named("block-udp-k8s")
    assert blocked(policy, bed, Protocol.UDP, WORKER1, WORKER2)
    assert not blocked(policy, bed, Protocol.UDP, WORKER1, RELAY)
    assert not blocked(policy, bed, Protocol.UDP, RELAY, WORKER1)


def test_named_dns_and_ntp_servers_stay_open() -> None:
    """A blocked VLAN reaches DNS (UDP and TCP) and NTP at the named servers, at that port alone."""
    ruleset = resolve(policy_named("tcp-443-only"), with_servers())
    dns = IPv4Address("192.88.99.34")

    def open_to(protocol: Protocol, port: int, host: IPv4Address = dns) -> bool:
        return passes(ruleset, Packet(protocol, WORKER1, CONTROL, port, host))

    assert (open_to(Protocol.UDP, 53), open_to(Protocol.TCP, 53)) == (True, True)
    assert open_to(Protocol.UDP, 123, IPv4Address("192.88.99.35"))
    assert (open_to(Protocol.UDP, 123), open_to(Protocol.UDP, 54)) == (False, False)


def test_nothing_new_gets_behind_a_nat_and_everything_gets_out() -> None:
    """Behind a NAT a worker can open flows and none can be opened towards it."""
    ruleset = resolve(policy_named("nat-symmetric"), six_nodes())
    assert passes(ruleset, Packet(Protocol.UDP, WORKER1, RELAY, 1, None))
    assert not passes(ruleset, Packet(Protocol.UDP, RELAY, WORKER1, 1, None))
    assert not passes(ruleset, Packet(Protocol.TCP, WORKER1, WORKER2, 22, None))
    assert ruleset.stateful


def test_only_port_443_is_left_under_tcp_443_only() -> None:
    """A Kubernetes node opens TCP 443 to anyone and nothing else; the relay is not held back."""
    ruleset = resolve(policy_named("tcp-443-only"), six_nodes())
    assert passes(ruleset, Packet(Protocol.TCP, WORKER1, RELAY, 443, None))
    assert not passes(ruleset, Packet(Protocol.TCP, WORKER1, RELAY, 22, None))
    assert not passes(ruleset, Packet(Protocol.UDP, WORKER1, RELAY, 443, None))
    assert passes(ruleset, Packet(Protocol.UDP, RELAY, WORKER1, 5, None))


@pytest.mark.parametrize("name", NAMES)
def test_passes_come_before_blocks(name: str) -> None:
    """In every policy the exceptions are decided before the blocks."""
    actions = [rule.action for rule in resolve(policy_named(name), with_servers()).rules]
    assert sorted(actions, key=[Action.PASS, Action.BLOCK].index) == actions


def test_proof_has_a_line_for_every_pair_and_protocol() -> None:
    """Five nodes are 20 ordered pairs, each asked for UDP, TCP and SSH; only UDP fails under block-udp."""
    lines = expectations(policy_named("block-udp"), six_nodes())
    assert len(lines) == 60
    assert {Protocol.UDP} == {line.protocol for line in lines if not line.passes}
    assert sum(not line.passes for line in lines) == 20


def test_controller_in_a_cut_off_vlan_is_noticed() -> None:
    """A controller inside a VLAN that may only use TCP 443 would lose SSH to nodes managed by their underlay."""
    bed = six_nodes()
    nodes = tuple(replace(node, management=str(node.underlay)) for node in bed.nodes)
    bed = replace(bed, nodes=nodes)
    ruleset = resolve(policy_named("tcp-443-only"), bed)

    def ways(source: str) -> dict[str, tuple[ManagementPath, ...]]:
        return {node.name: (ManagementPath(IPv4Address(source), node.underlay),) for node in nodes}

    assert cut_paths(ruleset, bed, ways("192.88.99.11")) == ("k8s-master", "worker2", "relay", "hypervisor")
    assert cut_paths(resolve(policy_named("block-udp"), bed), bed, ways("192.88.99.11")) == ()
    assert cut_paths(ruleset, bed, ways("203.0.113.9")) == ()
    with pytest.raises(KeyError, match="k8s-master"):
        cut_paths(ruleset, bed, {})


def test_one_of_several_addresses_is_enough_to_be_cut_off() -> None:
    """SSH may use any address of a name: a node is lost when one of them is."""
    bed = six_nodes()
    inside, outside = IPv4Address("192.88.99.11"), IPv4Address("198.18.213.13")
    ways = {node.name: [ManagementPath(inside, outside)] for node in bed.nodes}
    ways["worker2"].append(ManagementPath(inside, bed.node("worker2").underlay))
    assert cut_paths(resolve(policy_named("tcp-443-only"), bed), bed, ways) == ("worker2",)


@pytest.mark.parametrize(
    ("name", "can"), [("tcp-443-only", True), ("nat-symmetric", True), ("block-udp", False)]
)
def test_only_what_stops_tcp_can_cut_ssh(name: str, can: bool) -> None:  # noqa: FBT001
    """Under the others no name has to be resolved."""
    assert can_cut(resolve(policy_named(name), six_nodes())) is can


def test_unknown_policy_lists_the_known_ones() -> None:
    """A misspelt policy names those that there are."""
    with pytest.raises(UnknownNameError, match="known are: allow-all, block-udp"):
        policy_named("block-upd")


@pytest.mark.parametrize("run", ["", "a b", "x" * 41, "a:b"])
def test_run_id_that_cannot_stand_in_a_description_is_refused(run: str) -> None:
    """A run id with a colon or a blank would break the prefix that marks our objects."""
    with pytest.raises(InputError, match="is no run id"):
        Mark(run)


@pytest.mark.parametrize("name", NAMES)
def test_nftables_golden(name: str) -> None:
    """The nft script of each policy is the reviewed one; allow-all only removes the table."""
    text = nftables.render(resolve(policy_named(name), with_servers()), with_servers())
    assert golden(f"{name}.nft", text) == text


@pytest.mark.parametrize("name", NAMES)
def test_rest_golden(name: str) -> None:
    """The REST calls of each policy are the reviewed ones, in order; allow-all on a clean firewall makes none."""
    ruleset = resolve(policy_named(name), with_servers())
    wanted = objects(ruleset, with_servers(), MARK, schedule=True)
    plan = pfsense_rest.plan(PfsenseConfig((), ()), wanted, MARK)
    kills = pfsense_states.kill_states(ruleset, with_servers()) if plan else ()
    calls = [(one.method, one.path, one.query, one.body) for one in (*plan.requests, *kills)]
    text = "\n".join(json.dumps(call) for call in calls) + "\n"
    assert golden(f"{name}.rest", text) == text


EASY, HARD = Nat.ENDPOINT_INDEPENDENT, Nat.SYMMETRIC


@pytest.mark.parametrize(
    ("nat", "wanted"),
    [
        (((WORKER1, EASY), (WORKER2, HARD)), (Translation(WORKER1, EASY), Translation(WORKER2, HARD))),
        (((WORKER2, None), (Role.K8S_WORKER, HARD)), (Translation(WORKER1, HARD),)),
        (
            ((Role.K8S_WORKER, HARD), (WORKER2, EASY)),
            (Translation(WORKER1, HARD), Translation(WORKER2, EASY)),
        ),
        (((Role.K8S_WORKER, None),), ()),
    ],
)
def test_every_vlan_can_have_a_nat_of_its_own(
    nat: tuple[tuple[Role | int, Nat | None], ...], wanted: tuple[Translation, ...]
) -> None:
    """A VLAN's own entry wins over its node's role wherever it stands, None is no translation, in rules too."""
    ruleset = resolve(Policy("mixed", nat=nat), six_nodes())
    assert wanted == ruleset.translations
    assert [(one.vid,) for one in wanted] == [rule.destinations for rule in ruleset.rules]


def test_a_nat_of_a_vlan_that_is_not_there_lists_those_that_are() -> None:
    """A typing error must not leave a VLAN untranslated."""
    with pytest.raises(UnknownNameError, match="31") as caught:
        resolve(Policy("mixed", nat=((31, HARD),)), six_nodes())
    assert [str(vid) for vid in (MASTER, WORKER1, WORKER2, RELAY, CONTROL)] == sorted(caught.value.known)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("nat-")])
def test_php_golden(name: str) -> None:
    """The objects that the PHP script writes are the reviewed ones."""
    wanted = objects(resolve(policy_named(name), with_servers()), with_servers(), MARK, schedule=False)
    text = "".join(f"{line}\n" for line in pfsense_php.lines(wanted))
    assert golden(f"{name}.php", text) == text


@pytest.mark.parametrize("name", ["allow-all", "block-udp-k8s"])
def test_php_script_golden(name: str) -> None:
    """The whole script is the reviewed one, its job in clear; allow-all writes no object and ends no state."""
    ruleset, bed = resolve(policy_named(name), with_servers()), with_servers()
    wanted = objects(ruleset, bed, MARK, schedule=True) if ruleset else PfsenseObjects()
    until = lease(datetime(2026, 11, 23, 23, 10, tzinfo=UTC), timedelta(hours=2), MARK) if ruleset else None
    script = pfsense_php.change_script(wanted, ruleset, bed, MARK, until)
    job = script.split("base64_decode('")[1].split("'")[0]
    clear = json.dumps(json.loads(base64.b64decode(job)), indent=1)
    text = script.replace(job, clear)
    assert golden(f"{name}.script.php", text) == text


@pytest.mark.parametrize("name", NAMES)
def test_words_golden(name: str) -> None:
    """The sentences and clicks of each policy are the reviewed ones."""
    ruleset = resolve(policy_named(name), with_servers())
    clicks = words.clicks(objects(ruleset, with_servers(), MARK, schedule=False), MARK.prefix)
    text = "\n".join([*words.sentences(ruleset, with_servers()), "", *clicks, ""])
    assert golden(f"{name}.txt", text) == text


def test_allow_all_is_no_change_where_nothing_is_held() -> None:
    """No table and no objects of ours: every driver's plan is empty."""
    bed, policy = six_nodes(), policy_named("allow-all")
    absent = [Completed((), 1, "", "No such file or directory")]
    assert not nftables.set_policy(policy, bed).parse(absent)
    assert not pfsense_rest.plan(PfsenseConfig((), ()), PfsenseObjects(), MARK)


def test_foreign_rule_in_our_table_is_a_difference() -> None:
    """A rule that somebody put into our table is shown as foreign and removed by the plan."""
    listing = {"nftables": [{"rule": {"chain": "verdicts", "expr": [{"accept": None}]}}]}
    plan = nftables.set_policy(Policy("allow-all"), six_nodes()).parse(
        [Completed((), 0, json.dumps(listing), "")]
    )
    assert 'foreign rule [{"accept": null}]' in plan.diff


def test_there_is_no_second_way_to_block_a_packet() -> None:
    """Of all that runs on nodes only the nftables rendering of a policy holds a verdict that stops packets.

    `vpnmesh/lab` stands apart: it keeps the management ports from each other, which is cabling, not policy. So do the
    probes: they try what a kernel can do in a namespace of their own, through which nothing passes. What a NAT router
    does not let in is no policy either: it is what makes its kind. A diagnosis reads which rules hold such a verdict.
    """
    root = Path(__file__).parents[2]
    verdict = re.compile(r"\b(DROP|REJECT|blackhole|prohibit)\b|counter drop|policy drop|[\"' ]drop[\"']")
    files = [
        path for top in ("vpnmesh", "tasks", "workflows", "inventory") for path in (root / top).rglob("*.py")
    ]
    found = {path.relative_to(root) for path in files if verdict.search(path.read_text(encoding="utf-8"))}
    policy = {str(one) for one in found if one.parts[1] != "lab"} - {"vpnmesh/host/probes.py"}
    policy -= {"vpnmesh/firewall/nat_routers.py", "vpnmesh/why/questions.py"}
    assert policy == {"vpnmesh/firewall/nftables.py"}


def test_replies_are_tracked_only_where_a_block_would_stop_them() -> None:
    """A DNS server inside a blocked VLAN must be able to answer; without one, block-udp needs no states."""
    policy = policy_named("block-udp")
    assert not resolve(policy, six_nodes()).stateful
    assert resolve(policy, with_servers()).stateful
    assert not resolve(policy_named("block-udp-k8s"), with_servers()).stateful
    outside = replace(six_nodes(), dns_servers=(IPv4Address("203.0.113.53"),))
    assert not resolve(policy, outside).stateful
