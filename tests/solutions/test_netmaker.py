"""Netmaker: its missing programs by name, its gateway as the server holds it, and paths from WireGuard's tables."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from nornir.core.task import Result

import tasks
from tests.solutions.meshes import CONTROL, RELAY, mesh_of, said, texts
from vpnmesh.errors import UnavailableError
from vpnmesh.host.dual_stack import BOTH, IPV4_ALONE, IPV6_ALONE, Families, address_of, gateway_of
from vpnmesh.model import Path, Testbed
from vpnmesh.plan import Command, Completed, Plan, Secret, reveal
from vpnmesh.solutions import netmaker, netmaker_control
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named
from workflows.run import requirements
from workflows.run.site import Site

SCENARIOS = ("netmaker-direct", "netmaker-relay")
MEMBERS = ("k8s-master", "worker1", "worker2")
ON_MEMBERS = {(program, name) for program in ("netclient", "wg", "iptables") for name in MEMBERS}
ON_CONTROL = {
    (program, "hypervisor")
    for program in ("netmaker", "mosquitto", "mosquitto_passwd", "socat", "openssl", "curl")
}
EVERYTHING = ON_MEMBERS | ON_CONTROL | {("netclient", "relay")}


@pytest.fixture
def nodes_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[tuple[str, str]]], None]:
    """Nodes on which these programs are, and nothing else can be asked or changed."""

    def install(there: set[tuple[str, str]]) -> None:
        def run_on(
            _nr: object, names: list[str], task: object, **asked: tuple[str, ...]
        ) -> dict[str, Result]:
            if task is tasks.read_version:
                assert asked["argv"] == ("uname", "-m")
                return {name: Result(host=None, result="x86_64") for name in names}
            assert task is tasks.find_binaries
            return {
                name: Result(
                    host=None,
                    result={one: "/there" if (one, name) in there else "" for one in asked["programs"]},
                )
                for name in names
            }

        monkeypatch.setattr(requirements, "run_on", run_on)

    return install


def refusal(bed: Testbed, scenario: str) -> str:
    """Why a run cannot have the scenario."""
    with pytest.raises(UnavailableError) as caught:
        requirements.require(Site(None, bed), scenario_named(scenario))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nodes_without_its_programs_are_named(
    scenario: str, bed: Testbed, nodes_with: Callable[[set[tuple[str, str]]], None]
) -> None:
    """Every program that is missing, with all nodes that lack it, and how to get them, in one sentence."""
    nodes_with(set())
    words = refusal(bed, scenario)
    for one in (
        "netclient on k8s-master, worker1, worker2, relay (",
        "netmaker on hypervisor (",
        "mosquitto, mosquitto_passwd on hypervisor (Debian package mosquitto",
    ):
        assert f"no binary {one}" in words
    assert "--pin netmaker" in words


def test_what_is_there_is_not_called_missing(
    bed: Testbed, nodes_with: Callable[[set[tuple[str, str]]], None]
) -> None:
    """One node without netclient is the only one named; the relay node needs it where it relays."""
    nodes_with(EVERYTHING - {("netclient", "worker2")})
    assert refusal(bed, "netmaker-direct").startswith("no binary netclient on worker2 (")
    nodes_with(EVERYTHING - {("netclient", "relay")})
    assert refusal(bed, "netmaker-relay").startswith("no binary netclient on relay (")
    nodes_with(EVERYTHING)
    for scenario in SCENARIOS:
        requirements.require(Site(None, bed), scenario_named(scenario))  # type: ignore[arg-type]


def joined(bed: Testbed, scenario: str) -> Mesh:
    """The mesh with the addresses that the server chose and the tokens that it gave."""
    everyone = (*MEMBERS, RELAY)
    addresses = {(name, "address"): f"10.213.0.{n}" for n, name in enumerate(everyone, 1)}
    tokens = {(CONTROL, f"token/{name}"): Secret(f"token-of-{name}-in-this-test") for name in everyone}
    return mesh_of(bed, scenario, {**addresses, **tokens})


DIRECT_ALLOWED = "key-of-k8s-master\t10.213.0.1/32\nkey-of-worker2\t10.213.0.3/32\n"
DIRECT_ENDS = "key-of-k8s-master\t192.88.99.2:51821\nkey-of-worker2\t192.88.99.18:51821\n"
DIRECT_SEEN = "key-of-k8s-master\t1700000000\nkey-of-worker2\t1700000000\n"
RELAY_ALLOWED = "key-of-relay\t10.213.0.4/32 10.213.0.1/32 10.213.0.3/32\n"
RELAY_ENDS = "key-of-relay\t192.88.99.26:51821\n"
RELAY_SEEN = "key-of-relay\t1700000000\n"


def paths(mesh: Mesh, *shown: str) -> dict[str, tuple[Path | None, str]]:
    """What worker1 says of its peers when `wg show` prints these tables."""
    tables = map(netmaker._table, said(*shown))
    found = netmaker.parse_peers(mesh, mesh.testbed.node("worker1"), *tables)
    return {peer.name: (peer.path, str(peer.endpoint)) for peer in found}


def test_a_members_own_key_is_direct(bed: Testbed) -> None:
    """Packets for its address go to its key, and to its own underlay address."""
    found = paths(joined(bed, "netmaker-direct"), DIRECT_ALLOWED, DIRECT_ENDS, DIRECT_SEEN)
    assert found == {
        "k8s-master": (Path.DIRECT, "192.88.99.2"),
        "worker2": (Path.DIRECT, "192.88.99.18"),
    }


def test_the_relays_key_is_relayed(bed: Testbed) -> None:
    """Both members' addresses are the relay's to carry, and that is where packets go."""
    found = paths(joined(bed, "netmaker-relay"), RELAY_ALLOWED, RELAY_ENDS, RELAY_SEEN)
    assert found == {
        "k8s-master": (Path.RELAY, "192.88.99.26"),
        "worker2": (Path.RELAY, "192.88.99.26"),
    }


def test_the_longest_prefix_decides(bed: Testbed) -> None:
    """As it does for WireGuard: a member beside a relay that takes the whole network is direct."""
    allowed = "key-of-relay\t10.213.0.0/24\nkey-of-worker2\t10.213.0.3/32\n"
    seen = RELAY_SEEN + DIRECT_SEEN
    found = paths(joined(bed, "netmaker-relay"), allowed, RELAY_ENDS + DIRECT_ENDS, seen)
    assert found == {
        "k8s-master": (Path.RELAY, "192.88.99.26"),
        "worker2": (Path.DIRECT, "192.88.99.18"),
    }


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        (DIRECT_ENDS, DIRECT_SEEN.replace("1700000000", "0")),
        ("key-of-k8s-master\t(none)\nkey-of-worker2\t(none)\n", DIRECT_SEEN),
        ("", ""),
    ],
    ids=["no handshake", "no endpoint", "no peers"],
)
def test_a_peer_that_never_answered_has_no_path(ends: str, seen: str, bed: Testbed) -> None:
    """What the server configured is no evidence that packets arrive."""
    found = paths(joined(bed, "netmaker-direct"), DIRECT_ALLOWED, ends, seen)
    assert {path for path, _ in found.values()} == {None}


HOSTS = [{"id": f"host-{name}", "name": name} for name in (*MEMBERS, RELAY)]
NODES: list[dict[str, object]] = [
    {"id": f"node-{name}", "hostid": f"host-{name}"} for name in (*MEMBERS, RELAY)
]
RELAYED = [f"node-{name}" for name in sorted(MEMBERS)]


def gateway_plan(mesh: Mesh, *nodes: dict[str, object]) -> Plan:
    """What is done about the gateway when the server has these hosts and nodes."""
    answers: Sequence[Completed] = said(json.dumps(HOSTS), json.dumps(nodes))
    return netmaker_control.gateway(mesh).parse(answers)


def test_the_relay_node_becomes_the_gateway_of_all_members(bed: Testbed) -> None:
    """One call, with the nodes' ids as the server gave them, by the names of their hosts."""
    mesh = joined(bed, "netmaker-relay")
    (post,) = gateway_plan(mesh, *NODES).steps
    assert isinstance(post, Command)
    assert post.argv[-1].endswith("/api/nodes/vpnmesh/node-relay/gateway")
    assert json.loads(reveal(post.stdin)) == {"relayaddrs": RELAYED, "is_internet_gw": False}


def test_a_gateway_is_left_alone_or_made_anew(bed: Testbed) -> None:
    """Already so is nothing to do; one that relays for others is taken off before."""
    mesh = joined(bed, "netmaker-relay")
    *others, relay = NODES
    held: dict[str, object] = {**relay, "isrelay": True, "is_gw": True, "relaynodes": RELAYED[::-1]}
    assert gateway_plan(mesh, *others, held) == Plan()
    steps = gateway_plan(mesh, *others, {**held, "relaynodes": RELAYED[:1]}).steps
    verbs = [step.argv[step.argv.index("-X") + 1] for step in steps if isinstance(step, Command)]
    assert verbs == ["DELETE", "POST"]


def nodes_plan(mesh: Mesh, *nodes: dict[str, object]) -> list[tuple[str, str, object]]:
    """What is done about clients that are no nodes yet, as method, path and body, when the server has these."""
    answers: Sequence[Completed] = said(json.dumps(HOSTS), json.dumps(nodes))
    steps = [step for step in netmaker_control.nodes(mesh).parse(answers).steps if isinstance(step, Command)]
    return [
        (step.argv[step.argv.index("-X") + 1], step.argv[-1].partition("/api")[2], reveal(step.stdin))
        for step in steps
    ]


def test_no_client_is_told_at_its_start_to_join(bed: Testbed) -> None:
    """That message makes it build its interface anew: no key leaves it, and another takes its place with the broker."""
    mesh = joined(bed, "netmaker-relay")
    assert netmaker_control.key_body("worker1")["networks"] == []
    there = [node for node in NODES if node["id"] != "node-worker2"]
    host = next(one for one in HOSTS if one["name"] == "worker2")
    assert nodes_plan(mesh, *there) == [
        ("POST", "/hosts/host-worker2/networks/vpnmesh", ""),
        ("PUT", "/hosts/host-worker2", json.dumps(host)),
    ]
    assert [method for method, _, _ in nodes_plan(mesh)] == ["POST"] * 4 + ["PUT"] * 4
    assert nodes_plan(mesh, *NODES) == []


def keys_plan(mesh: Mesh, keys: object, hosts: object, lacking: int = 0) -> list[tuple[str, str]]:
    """What is done about keys, as method and path, or body's tag, when the node lacks so many of the files."""
    fact = netmaker_control.enrollment_keys(mesh)
    files = len(fact.commands) - 2
    there = [Completed((), int(number < lacking), "", "") for number in range(files)]
    steps = fact.parse([*said(json.dumps(keys), json.dumps(hosts)), *there]).steps
    calls = [step.argv for step in steps if isinstance(step, Command)]
    tags = [
        json.loads(reveal(step.stdin))["tags"][0].partition(" ")[0]
        for step in steps
        if isinstance(step, Command) and step.stdin
    ]
    return [("DELETE", argv[-1].partition("/api")[2]) for argv in calls if "DELETE" in argv] + [
        ("POST", tag) for tag in tags
    ]


def test_who_left_gets_a_new_key_and_is_forgotten_before(bed: Testbed) -> None:
    """Its key is used up; as long as its host is known, the next one with that endpoint would get another port."""
    registered = {(name, "registered"): "yes" for name in MEMBERS}
    mesh = joined(bed, "netmaker-direct").with_published(registered)
    used = [{"tags": [name], "uses_remaining": 0} for name in MEMBERS]
    assert keys_plan(mesh, used, HOSTS) == []
    assert keys_plan(mesh, [], [], lacking=3) == [("POST", name) for name in MEMBERS]
    left = mesh.with_published({("worker2", "registered"): "no"})
    assert keys_plan(left, used, HOSTS) == [("DELETE", "/hosts/host-worker2?force=true"), ("POST", "worker2")]
    fresh = [*used, {"tags": ["worker2"], "uses_remaining": 1}]
    assert keys_plan(left, fresh, []) == []


def way_out(bed: Testbed, held: str, families: Families = IPV4_ALONE) -> list[str]:
    """What is done on worker1, where these default routes are, as a command."""
    mesh = replace(joined(bed, "netmaker-direct"), families={one.name: families for one in bed.nodes})
    stage = next(one for one in netmaker.SOLUTION.stages(mesh) if one.name == "way out")
    plan = stage.plan(mesh, bed.node("worker1")).parse(said(held))
    return [" ".join(step.argv) for step in plan.steps if isinstance(step, Command)]


def test_a_node_without_a_default_route_gets_one_that_no_packet_takes(bed: Testbed) -> None:
    """netclient throws changes of peers away where it finds none; its own table is not asked by any rule."""
    via = bed.vlan(bed.node("worker1").leg.vid).gateway
    assert way_out(bed, "") == [f"ip -4 route replace default via {via} table 111 metric 4278"]
    assert way_out(bed, "default via 192.88.99.9 dev eth0\n") == []


def test_of_ipv6_alone_the_way_out_and_the_interface_are_ipv6(bed: Testbed) -> None:
    """An IPv4 gateway is out of reach there, and the client puts the server's name before a colon as it is."""
    there = replace(joined(bed, "netmaker-direct"), families={one.name: IPV6_ALONE for one in bed.nodes})
    via = gateway_of(bed, bed.node("worker1").leg.vid)
    assert way_out(bed, "", IPV6_ALONE) == [f"ip -6 route replace default via {via} table 111 metric 4278"]
    control = address_of(bed, bed.control_plane.leg).ip
    assert netmaker_control.environment(there)["SERVER_HTTP_HOST"] == f"[{control}]"


def test_it_is_told_one_address_of_each_client(bed: Testbed) -> None:
    """The server prefers IPv4 where a client has both, so in an underlay with both IPv6 is told alone."""
    mesh = joined(bed, "netmaker-direct")
    node = bed.node("worker1")
    assert netmaker._endpoint(mesh, node) == ("-e", str(node.underlay))
    both = replace(mesh, families={one.name: BOTH for one in bed.nodes})
    option, address = netmaker._endpoint(both, node)
    assert option == "-E"
    assert ":" in address
    apart = replace(both, families={**both.families, "worker1": IPV6_ALONE, "worker2": IPV4_ALONE})
    assert netmaker.SOLUTION.unbuildable_reason(both) == ""
    assert "one address of its server and broker" in netmaker.SOLUTION.unbuildable_reason(apart)


def test_a_token_is_in_a_file_and_nowhere_else(bed: Testbed) -> None:
    """On its way to the node it is in no argument and no diff; the call that reads it there uses it up."""
    mesh = joined(bed, "netmaker-direct")
    stage = next(one for one in netmaker.SOLUTION.stages(mesh) if one.name == "enrollment")
    plan = stage.plan(mesh, bed.node("worker1")).parse(said("", exit_code=1))
    assert "token-of-worker1-in-this-test" not in texts(plan)
    assert netmaker_control.key_body("worker1")["uses_remaining"] == 1


def test_nothing_is_asked_of_the_internet(bed: Testbed) -> None:
    """No public default is left on: STUN, telemetry, DNS, updates, public addresses; all else ends at a closed port."""
    mesh = joined(bed, "netmaker-direct")
    settings = netmaker_control.environment(mesh)
    wanted = {
        "STUN": "false",
        "TELEMETRY": "off",
        "DNS_MODE": "off",
        "MANAGE_DNS": "false",
        "ENDPOINT_DETECTION": "false",
        "NETCLIENT_AUTO_UPDATE": "disabled",
        "DISABLE_REMOTE_IP_CHECK": "on",
        "PUBLIC_IP_SERVICE": "http://127.0.0.1:8081/api/getip",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    assert wanted.items() <= settings.items()
    client = netmaker.client_environment(mesh)
    assert (client["HTTPS_PROXY"], client["NO_PROXY"]) == ("http://127.0.0.1:9", "127.0.0.1,192.88.99.34")
