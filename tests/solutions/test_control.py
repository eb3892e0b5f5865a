"""What solutions can be asked while their mesh runs, as plans: rules between members, keys taken back, gateways."""

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
import yaml

from tests.solutions.meshes import CONTROL, mesh_of, said, texts
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Fact, Plan, WriteFile, reveal
from vpnmesh.solutions import SOLUTIONS, zerotier_access
from vpnmesh.solutions.control import Access, AccessRule, Gateway, SecondMesh, Transport, everything_but
from vpnmesh.solutions.protocol import Mesh, Stage

NAMES = ("k8s-master", "worker1", "worker2")
ADDRESSES = {name: IPv4Address(f"100.64.0.{number}") for number, name in enumerate(NAMES, 1)}
ONE_PORT = AccessRule("worker1", "worker2", Transport.TCP, 8001)
APART = (("worker1", "worker2"), ("worker2", "worker1"))
ACCESS = Access((*everything_but(NAMES, *APART), ONE_PORT), ADDRESSES)


def stages_of_access(mesh: Mesh, access: Access | None = ACCESS) -> tuple[Stage, ...]:
    return SOLUTIONS[mesh.scenario.solution].access(mesh, access)


def asked(mesh: Mesh, stage: Stage) -> Fact[Plan]:
    return stage.plan(mesh, mesh.testbed.node(stage.nodes[0]))


def test_everything_but_leaves_out_what_is_forbidden_and_nothing_else() -> None:
    rules = everything_but(NAMES, ("worker1", "worker2"))
    pairs = {(rule.source, rule.destination) for rule in rules}
    assert len(pairs) == 5
    assert ("worker1", "worker2") not in pairs
    assert ("worker2", "worker1") in pairs


@pytest.mark.parametrize("name", [name for name, one in SOLUTIONS.items() if one.is_vpn])
def test_what_a_solution_cannot_be_asked_it_says(name: str, bed: Testbed) -> None:
    """Rules and ways to networks are there, or a reason is; the lists of those with none are the ones known today."""
    mesh, solution = mesh_of(bed, f"{name}-direct"), SOLUTIONS[name]
    gateway = Gateway("worker2", IPv4Network("192.0.2.0/29"), "vmbehind0")
    assert bool(solution.access(mesh, None)) is not ("acl" in solution.lacks)
    if "subnet-routers" in solution.lacks:
        assert not solution.gateway(mesh, gateway)
    else:
        assert solution.gateway(_with_keys(mesh), gateway)


def _with_keys(mesh: Mesh) -> Mesh:
    return mesh.with_published({(node.name, "public-key"): f"public-{node.name}" for node in mesh.members})


def test_headscale_holds_each_rule_and_nothing_else(bed: Testbed) -> None:
    mesh = mesh_of(bed, "headscale-direct")
    fact = asked(mesh, stages_of_access(mesh)[0])
    plan = fact.parse(said('{"acls": []}'))
    written = next(step for step in plan.steps if isinstance(step, WriteFile))
    acls = json.loads(str(written.content))["acls"]
    assert len(acls) == len(ACCESS.rules)
    assert acls[-1] == {
        "action": "accept",
        "src": ["100.64.0.2"],
        "dst": ["100.64.0.3:8001"],
        "proto": "tcp",
    }
    assert not fact.parse(said(str(written.content)))
    own = asked(mesh, stages_of_access(mesh, None)[0]).parse(said(str(written.content)))
    assert '"*:*"' in str(next(step for step in own.steps if isinstance(step, WriteFile)).content)


def test_nebula_has_each_member_let_in_what_is_for_it(bed: Testbed) -> None:
    mesh = mesh_of(bed, "nebula-direct", {(name, "console-key"): "key" for name in NAMES})
    (stage,) = stages_of_access(mesh)
    fact = stage.plan(mesh, bed.node("worker2"))
    plan = fact.parse(said("old"))
    written, told = plan.steps
    assert isinstance(written, WriteFile)
    assert isinstance(told, Command)
    assert yaml.safe_load(str(written.content))["firewall"]["inbound"] == [
        {"port": "any", "proto": "any", "host": "k8s-master"},
        {"port": 8001, "proto": "tcp", "host": "worker1"},
    ]
    assert "kill -HUP" in told.argv[2]
    assert not fact.parse(said(str(written.content)))


def test_netbird_has_a_group_for_each_member_and_a_policy_for_each_rule(bed: Testbed) -> None:
    """Two rules of everything there and back are one policy: management takes no other of everything."""
    mesh = mesh_of(bed, "netbird-direct")
    groups, policies = (asked(mesh, stage) for stage in stages_of_access(mesh))
    peers = json.dumps(
        [{"id": f"p{number}", "ip": str(one)} for number, one in enumerate(ADDRESSES.values())]
    )
    made = [
        json.loads(str(step.stdin))
        for step in groups.parse(said("[]", peers)).steps
        if isinstance(step, Command)
    ]
    assert made[0] == {"name": "only k8s-master", "peers": ["p0"]}
    held = json.dumps([{"id": f"g{number}", "name": f"only {name}"} for number, name in enumerate(NAMES)])
    plan = policies.parse(said(held, '[{"id": "old", "name": "members"}]'))
    sent = [step for step in plan.steps if isinstance(step, Command)]
    rules = [json.loads(str(step.stdin))["rules"][0] for step in sent if step.stdin]
    assert [(one["name"], one["bidirectional"], one["protocol"]) for one in rules] == [
        ("k8s-master and worker1 all", True, "all"),
        ("k8s-master and worker2 all", True, "all"),
        ("worker1 to worker2 tcp 8001", False, "tcp"),
    ]
    assert (rules[2]["sources"], rules[2]["destinations"], rules[2]["ports"]) == (["g1"], ["g2"], ["8001"])
    assert any("DELETE" in step.argv and step.argv[-1].endswith("/api/policies/old") for step in sent)


IDENTITIES = {
    (name, "identity"): f"{number:010x}:0:public" for number, name in enumerate((*NAMES, CONTROL), 1)
}


def test_zerotier_lets_answers_back_and_drops_the_rest(bed: Testbed) -> None:
    """Its rules have no memory: one port of TCP is two more rules for what comes back without opening anything."""
    mesh = mesh_of(bed, "zerotier-direct", IDENTITIES)
    fact = asked(mesh, stages_of_access(mesh)[0])
    (step,) = fact.parse(said("{}")).steps
    assert isinstance(step, Command)
    wanted = json.loads(str(step.stdin))
    kinds = [one["type"].removeprefix("MATCH_") for one in wanted["rules"]]
    assert kinds[:2] == ["ETHERTYPE", "ACTION_ACCEPT"]
    assert kinds[-1] == "ACTION_DROP"
    # ARP, four pairs of everything, one port there and back
    assert kinds.count("ACTION_ACCEPT") == 1 + 4 + 3
    there, with_syn = wanted["rules"][14:19], wanted["rules"][25:-2]
    assert [one.get("zt") for one in there[:2]] == ["0000000002", "0000000003"]
    assert [one.get("start") for one in there] == [None, None, None, 8001, None]
    assert [one.get("zt") for one in with_syn[:2]] == ["0000000003", "0000000002"]
    assert [one.get("mask") for one in with_syn[-2:]] == ["0000000000000002", "0000000000000010"]
    assert not fact.parse(said(json.dumps({**wanted, "name": "vpnmesh"})))
    own = asked(mesh, stages_of_access(mesh, None)[0])
    assert not own.parse(said('{"rules": [{"type": "ACTION_ACCEPT"}]}'))


def test_zerotier_lets_answers_over_udp_come_from_the_port_that_was_asked() -> None:
    access = Access((AccessRule("worker1", "worker2", Transport.UDP, 53),), ADDRESSES)
    found = zerotier_access.rules(access, {"worker1": "a", "worker2": "b"})
    ports = [(one["type"], one["start"]) for one in found if "start" in one]
    assert ports == [("MATCH_IP_DEST_PORT_RANGE", 53), ("MATCH_IP_SOURCE_PORT_RANGE", 53)]


def test_zerotier_takes_a_member_out_and_makes_one_a_gateway(bed: Testbed) -> None:
    """By the controller's own words, about that member alone, beside the network's own route."""
    mesh = mesh_of(bed, "zerotier-direct", IDENTITIES)
    refusal = SOLUTIONS["zerotier"].refusal(mesh, "worker2")
    assert refusal is not None
    fact = asked(mesh, refusal.stages[0])
    (step,) = fact.parse(said('{"authorized": true}')).steps
    assert isinstance(step, Command)
    assert json.loads(str(step.stdin)) == {"authorized": False}
    assert step.argv[-1].endswith("/member/0000000003")
    assert not fact.parse(said('{"authorized": false}'))
    (stage,) = SOLUTIONS["zerotier"].gateway(
        mesh, Gateway("worker2", IPv4Network("192.0.2.0/29"), "vmbehind0")
    )
    (step,) = asked(mesh, stage).parse(said("{}")).steps
    assert isinstance(step, Command)
    assert json.loads(str(step.stdin))["routes"] == [
        {"target": str(bed.overlay), "via": None},
        {"target": "192.0.2.0/29", "via": str(mesh.overlay(bed.node("worker2")).ip)},
    ]


def test_a_key_is_taken_back_before_it_is_tried(bed: Testbed) -> None:
    """By the control plane's own words; what is published has the place of the valid key."""
    headscale = mesh_of(bed, "headscale-direct")
    refusal = SOLUTIONS["headscale"].refusal(headscale, "worker2")
    assert refusal is not None
    plan = asked(headscale, refusal.stages[0]).parse(said("", exit_code=1))
    assert any(isinstance(step, Command) and "preauthkeys expire" in step.argv[2] for step in plan.steps)
    netbird = mesh_of(bed, "netbird-direct")
    refusal = SOLUTIONS["netbird"].refusal(netbird, "worker2")
    assert refusal is not None
    fact = asked(netbird, refusal.stages[1])
    groups, key = '[{"id": "g", "name": "members"}]', '{"id": 7, "key": "K"}'
    plan = fact.parse(said(groups, key, '[{"id": 7, "revoked": false}]'))
    (step,) = plan.steps
    assert isinstance(step, Command)
    assert json.loads(str(step.stdin)) == {"revoked": True, "auto_groups": ["g"]}
    assert not fact.parse(said(groups, key, '[{"id": 7, "revoked": true}]'))
    published = refusal.stages[1].publish(netbird, bed.node(CONTROL)).parse(said(key))
    assert list(published) == [refusal.key]


HOSTS = json.dumps([{"id": f"host-{name}", "name": name} for name in NAMES])
HOST_NODES = json.dumps([{"id": f"node-{name}", "hostid": f"host-{name}"} for name in NAMES])
ALL_NODES: dict[str, object] = {"id": "vpnmesh.all-nodes", "name": "All Nodes", "enabled": True}


def acls(*held: dict[str, object]) -> str:
    return json.dumps({"Code": 200, "Response": held})


def test_netmaker_has_a_policy_for_each_pair_and_forbids_the_rest_last(bed: Testbed) -> None:
    """Its community edition refuses rules of one direction: what is asked for one way is told both ways."""
    mesh = mesh_of(bed, "netmaker-direct")
    owner, policies = stages_of_access(mesh)
    assert "createsuperadmin" in str(asked(mesh, owner).parse(said("", exit_code=1)).steps[0])
    fact = asked(mesh, policies)
    sent = [
        one for one in fact.parse(said(HOSTS, HOST_NODES, acls(ALL_NODES))).steps if isinstance(one, Command)
    ]
    *posts, default = [json.loads(str(one.stdin)) for one in sent]
    assert [(one["name"], one["protocol"], one["ports"]) for one in posts] == [
        ("vpnmesh: k8s-master and worker1 all", "all", []),
        ("vpnmesh: k8s-master and worker2 all", "all", []),
        ("vpnmesh: worker1 and worker2 tcp 8001", "tcp", ["8001"]),
    ]
    assert [one["value"] for one in (*posts[2]["src_type"], *posts[2]["dst_type"])] == [
        "node-worker1",
        "node-worker2",
    ]
    assert {one["allowed_traffic_direction"] for one in posts} == {1}
    assert default == {**ALL_NODES, "enabled": False}
    ours: list[dict[str, object]] = [{**one, "id": f"id {number}"} for number, one in enumerate(posts)]
    assert not fact.parse(said(HOSTS, HOST_NODES, acls(*ours, {**ALL_NODES, "enabled": False})))


def test_netmaker_puts_its_own_policy_back_once_ours_are_gone(bed: Testbed) -> None:
    mesh = mesh_of(bed, "netmaker-direct")
    fact = asked(mesh, stages_of_access(mesh, None)[1])
    ours: dict[str, object] = {"id": "x", "name": "vpnmesh: worker1 and worker2 tcp 8001"}
    theirs: dict[str, object] = {"id": "y", "name": "All Gateways"}
    plan = fact.parse(said(HOSTS, HOST_NODES, acls(ours, theirs, {**ALL_NODES, "enabled": False})))
    calls = [
        (one.argv[one.argv.index("-X") + 1], one.argv[-1].partition("acls")[2])
        for one in plan.steps
        if isinstance(one, Command)
    ]
    assert calls == [("DELETE", "?acl_id=x"), ("PUT", "")]
    assert not fact.parse(said(HOSTS, HOST_NODES, acls(theirs, ALL_NODES)))


def test_netmaker_knows_no_node_and_says_so(bed: Testbed) -> None:
    mesh = mesh_of(bed, "netmaker-direct")
    with pytest.raises(CheckError, match="the server knows no node of k8s-master"):
        asked(mesh, stages_of_access(mesh)[1]).parse(said("[]", "[]", acls(ALL_NODES)))


def test_netmaker_makes_a_member_the_way_to_a_network(bed: Testbed) -> None:
    mesh = mesh_of(bed, "netmaker-direct")
    (stage,) = SOLUTIONS["netmaker"].gateway(
        mesh, Gateway("worker2", IPv4Network("192.0.2.0/29"), "vmbehind0")
    )
    fact = asked(mesh, stage)
    (step,) = fact.parse(said(HOSTS, HOST_NODES, acls())).steps
    assert isinstance(step, Command)
    wanted = json.loads(str(step.stdin))
    assert (wanted["range"], wanted["nodes"]) == ("192.0.2.0/29", {"node-worker2": 256})
    assert not fact.parse(said(HOSTS, HOST_NODES, acls(wanted)))


def test_netmaker_forgets_a_key_whose_value_is_in_no_argument(bed: Testbed) -> None:
    """It is the key of one member, used by the stage that registers it."""
    mesh = mesh_of(bed, "netmaker-direct")
    refusal = SOLUTIONS["netmaker"].refusal(mesh, "worker2")
    assert refusal is not None
    assert refusal.joins in [stage.name for stage in SOLUTIONS["netmaker"].stages(mesh)]
    made, taken = refusal.stages
    assert asked(mesh, made).parse(said("", exit_code=1))
    key = json.dumps({"value": "of-this-test", "token": "told-in-this-test"})
    plan = asked(mesh, taken).parse(said(key, f"[{key}]"))
    assert "of-this-test" not in texts(plan)
    assert not asked(mesh, taken).parse(said(key, "[]"))
    published = taken.publish(mesh, bed.node(CONTROL)).parse(said(key))
    assert {name: reveal(value) for name, value in published.items()} == {refusal.key: "told-in-this-test"}


def test_wireguard_routes_a_network_to_its_gateway(bed: Testbed) -> None:
    mesh = _with_keys(mesh_of(bed, "wireguard-direct"))
    gateway = Gateway("worker2", IPv4Network("192.0.2.0/29"), "vmbehind0")
    (stage,) = SOLUTIONS["wireguard"].gateway(mesh, gateway)
    address = mesh.overlay(bed.node("worker2")).ip
    plan = asked(mesh, stage).parse(said(f"public-worker2\t{address}/32\n", ""))
    commands = [" ".join(step.argv) for step in plan.steps if isinstance(step, Command)]
    assert commands == [
        f"wg set vmwg0 peer public-worker2 allowed-ips {address}/32,192.0.2.0/29",
        "ip route replace 192.0.2.0/29 dev vmwg0",
    ]
    held = said(f"public-worker2\t{address}/32 192.0.2.0/29\n", "192.0.2.0/29 dev vmwg0 scope link")
    assert not asked(mesh, stage).parse(held)


MASTER_IN_BOTH = SecondMesh(("worker2", "k8s-master"), both=("k8s-master",))
FIRST_ID, SECOND_ID = "0000000004abcdef", "0000000004fedcba"


def test_zerotier_lets_members_into_their_own_networks_alone(bed: Testbed) -> None:
    """Two networks with addresses of their own; who is in one alone is let into no other."""
    mesh = mesh_of(bed, "zerotier-direct", IDENTITIES)
    networks, _ = SOLUTIONS["zerotier"].second_mesh(mesh, MASTER_IN_BOTH)
    fact = asked(mesh, networks)
    sent = {
        step.argv[-1].partition("/network/")[2]: json.loads(str(step.stdin))
        for step in fact.parse(said(*["{}"] * len(fact.commands))).steps
        if isinstance(step, Command)
    }
    assert sent[SECOND_ID]["routes"] == [{"target": "10.213.0.128/25", "via": None}]
    let_in = {path: body["authorized"] for path, body in sent.items() if "member" in path}
    assert let_in == {
        f"{FIRST_ID}/member/0000000001": True,
        f"{SECOND_ID}/member/0000000001": True,
        f"{FIRST_ID}/member/0000000002": True,
        f"{SECOND_ID}/member/0000000002": False,
        f"{FIRST_ID}/member/0000000003": False,
        f"{SECOND_ID}/member/0000000003": True,
    }
    addresses = {node.name: SOLUTIONS["zerotier"].in_second(mesh, node) for node in bed.k8s}
    assert addresses["worker2"] == ("ztvpnmesh1", mesh.overlay(bed.node("worker2")).ip + 128)
    assert sent[f"{SECOND_ID}/member/0000000003"]["ipAssignments"] == [str(addresses["worker2"][1])]


@pytest.mark.parametrize(
    ("member", "second", "joined", "steps"),
    [
        ("k8s-master", MASTER_IN_BOTH, [FIRST_ID], [f"join {SECOND_ID}"]),
        ("worker1", MASTER_IN_BOTH, [FIRST_ID], []),
        ("worker2", MASTER_IN_BOTH, [FIRST_ID], [f"leave {FIRST_ID}", f"join {SECOND_ID}"]),
        ("worker2", MASTER_IN_BOTH, [SECOND_ID, "8056c2e21c000001"], []),
        ("worker2", None, [SECOND_ID], [f"leave {SECOND_ID}", f"join {FIRST_ID}"]),
        ("k8s-master", None, [FIRST_ID, SECOND_ID], [f"leave {SECOND_ID}"]),
    ],
)
def test_zerotiers_members_join_and_leave(
    bed: Testbed, member: str, second: SecondMesh | None, joined: list[str], steps: list[str]
) -> None:
    """Only what is missing, with the interfaces' names written before; a network of somebody else is none of ours."""
    mesh = mesh_of(bed, "zerotier-direct", IDENTITIES)
    stage = SOLUTIONS["zerotier"].second_mesh(mesh, second)[1]
    listed = json.dumps([{"id": one} for one in joined])
    plan = stage.plan(mesh, bed.node(member)).parse(said("", listed))
    done = [one.argv for one in plan.steps if isinstance(one, Command)]
    assert [f"leave {one[-1]}" if "leave" in one else f"join {one[-1]}" for one in done] == steps
    written = [str(one.content) for one in plan.steps if isinstance(one, WriteFile)]
    assert written == ([f"{FIRST_ID}=ztvpnmesh0\n{SECOND_ID}=ztvpnmesh1\n"] if steps else [])


def test_a_range_too_small_for_two_networks_is_refused(bed: Testbed) -> None:
    mesh = mesh_of(bed, "zerotier-direct", IDENTITIES)
    small = replace(mesh, testbed=replace(bed, overlay=IPv4Network("10.213.0.0/29")))
    with pytest.raises(UnavailableError, match=r"10\.213\.0\.0/29 has no room for the addresses of a second"):
        SOLUTIONS["zerotier"].in_second(small, bed.nodes[-1])


def test_nebulas_members_trust_their_own_mesh_and_the_lighthouse(bed: Testbed) -> None:
    """Three authorities: two meshes have none in common, and only the lighthouse is trusted by both."""
    signers = ("", "second/", "lighthouse/")
    published = {(name, "console-key"): "key" for name in (*NAMES, CONTROL)}
    published |= {(CONTROL, f"{one}ca"): f"ca of {one or 'first/'};" for one in signers}
    published |= {
        (CONTROL, f"{one}crt/{name}"): f"{one}{name}" for one in signers for name in (*NAMES, CONTROL)
    }
    mesh = mesh_of(bed, "nebula-direct", published)
    *_, last = SOLUTIONS["nebula"].second_mesh(mesh, SecondMesh(("worker2", "k8s-master")))

    def files(stage: Stage, name: str) -> dict[str, str]:
        plan = stage.plan(mesh, bed.node(name)).parse(said(""))
        return {
            one.path.rpartition("/")[2]: str(one.content)
            for one in plan.steps
            if isinstance(one, WriteFile) and one.path.endswith("crt")
        }

    found = {name: files(last, name) for name in last.nodes}
    assert {name: one["ca.crt"] for name, one in found.items()} == {
        "k8s-master": "ca of second/;ca of lighthouse/;",
        "worker1": "ca of first/;ca of lighthouse/;",
        "worker2": "ca of second/;ca of lighthouse/;",
        CONTROL: "ca of lighthouse/;ca of first/;ca of second/;",
    }
    assert [found[name]["host.crt"] for name in ("worker1", "worker2", CONTROL)] == [
        "worker1",
        "second/worker2",
        f"lighthouse/{CONTROL}",
    ]
    (alone,) = SOLUTIONS["nebula"].second_mesh(mesh, None)
    assert files(alone, "worker2") == {"ca.crt": "ca of first/;", "host.crt": "worker2"}


def test_nebulas_second_authority_signs_those_that_move(bed: Testbed) -> None:
    mesh = mesh_of(bed, "nebula-direct", {(name, "public-key"): f"pub {name}" for name in (*NAMES, CONTROL)})
    authorities, certificates, _ = SOLUTIONS["nebula"].second_mesh(mesh, SecondMesh(("worker2",)))
    made = asked(mesh, authorities).parse([*said("", exit_code=1), *said("", exit_code=1)])
    folders = [one.argv[-1] for one in made.steps if isinstance(one, Command)]
    assert folders == ["/var/lib/vpnmesh/nebula-ca/second", "/var/lib/vpnmesh/nebula-ca/lighthouse"]
    fact = asked(mesh, certificates)
    missing = [*said("1.6.1"), *said("", exit_code=1), *said("1.6.1"), *said("", exit_code=1)]
    signed = [
        one.argv for one in fact.parse(missing).steps if isinstance(one, Command) and "sign" in one.argv
    ]
    assert [(one[one.index("-ca-crt") + 1], one[one.index("-name") + 1]) for one in signed] == [
        (f"{folders[0]}/ca.crt", "worker2"),
        (f"{folders[1]}/ca.crt", CONTROL),
    ]


def test_who_has_one_mesh_alone_says_what_parts_its_members(bed: Testbed) -> None:
    """Netmaker has networks, which nobody has tried here; its rules are none that a check could use."""
    meshes = {
        name: mesh_of(bed, f"{name}-direct", IDENTITIES) for name, one in SOLUTIONS.items() if one.is_vpn
    }
    alone = {name for name, mesh in meshes.items() if not SOLUTIONS[name].second_mesh(mesh, None)}
    assert alone == {"headscale", "netbird", "netmaker", "wireguard"}
    assert "single one" in SOLUTIONS["headscale"].parted_by
    assert "one account" in SOLUTIONS["netbird"].parted_by
