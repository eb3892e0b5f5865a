"""Calico's manifests from a cluster, and the plans that bring them to the API: nothing where they are there already."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
import yaml

from tests.golden.goldens import answered, golden
from vpnmesh.cluster.calico import Calico, account, addresses, as_laid_out, kinds, nodes_known, token
from vpnmesh.cluster.calico_apply import applied, contains, dumped
from vpnmesh.cluster.calico_objects import KINDS
from vpnmesh.cluster.calico_objects import account as account_objects
from vpnmesh.cluster.calico_objects import addresses as address_objects
from vpnmesh.cluster.calico_operator import autodetection, installation
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_address, pod_network
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named

KUBECTL = ("kubectl",)


def cluster_of(bed: Testbed, name: str = "native-1450") -> Cluster:
    """A cluster over that scenario's addresses."""
    scenario = scenario_named(name)
    if name.startswith("native"):
        over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
    else:
        mesh = Mesh(bed, scenario)
        over = {node.name: ("tailscale0", IPv4Address(mesh.overlay(node).ip)) for node in bed.k8s}
    return Cluster(bed, pod_network(bed, scenario.pod_mtu, over))


def held(fact: Fact[Plan], objects: object) -> Plan:
    """The plan where the API has these objects."""
    said = json.dumps({"kind": "List", "items": objects})
    return fact.parse([Completed(command.argv, 0, said, "") for command in fact.commands])


@pytest.mark.parametrize("name", ["native-1450", "native-1230", "headscale-direct"])
def test_installation_of_the_operator(bed: Testbed, name: str) -> None:
    """VXLAN, no BGP, the testbed's pod addresses, the scenario's MTU, node addresses of the wanted interface."""
    text = dumped([installation(cluster_of(bed, name))])
    assert golden(f"calico/installation-{name}.yaml", text) == text


def test_the_pod_addresses_are_written_in_one_place(bed: Testbed) -> None:
    """Another pod network of the testbed is in the operator's pool and in ours alike."""
    other = replace(bed, pods=type(bed.pods)("10.99.0.0/16"))
    cluster = cluster_of(other)
    pools: list[Any] = installation(cluster)["spec"]["calicoNetwork"]["ipPools"]
    assert [pool["cidr"] for pool in pools] == ["10.99.0.0/16"]
    assert address_objects(cluster)[0]["spec"]["cidr"] == "10.99.0.0/16"


def test_node_addresses_of_different_interfaces_are_told_one_by_one(bed: Testbed) -> None:
    """One name for all cannot be given then."""
    cluster = cluster_of(bed)
    first, *_ = cluster.members
    network = replace(cluster.network, device={**cluster.network.device, first.name: "eno1"})
    wanted = [f"{cluster.address(node)}/32" for node in cluster.members]
    assert autodetection(replace(cluster, network=network)) == {"cidrs": wanted}


def test_an_interface_is_named_as_a_pattern_that_fits_no_other(bed: Testbed) -> None:
    """`eth0.10` must not be found in `eth0x10`."""
    cluster = cluster_of(bed)
    network = replace(cluster.network, device=dict.fromkeys(cluster.network.device, "eth0.10"))
    assert autodetection(replace(cluster, network=network)) == {"interface": r"^eth0\.10$"}


def test_objects_without_the_operator(bed: Testbed) -> None:
    """Account, rights, pool, and each node's block as the lab's pods have it."""
    text = dumped([*account_objects(), *address_objects(cluster_of(bed))])
    assert golden("calico/objects-native-1450.yaml", text) == text


def test_a_kind_is_defined_once_and_says_only_that_it_exists(bed: Testbed) -> None:
    """No field of the vendor's is described: the schema keeps whatever Calico writes."""
    plan = answered(kinds(KUBECTL))
    [apply, wait] = plan.steps
    assert isinstance(apply, Command)
    definitions = list(yaml.safe_load_all(str(apply.stdin)))
    assert len({one["metadata"]["name"] for one in definitions}) == len(KINDS) == len(definitions)
    schemas = {json.dumps(one["spec"]["versions"][0]["schema"]) for one in definitions}
    assert schemas == {
        '{"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}'
    }
    assert isinstance(wait, Command)
    assert "crd/ippools.crd.projectcalico.org" in wait.argv


def test_what_is_there_is_not_applied_again(bed: Testbed) -> None:
    """Also where the server added fields of its own."""
    cluster = cluster_of(bed)
    objects = json.loads(json.dumps(address_objects(cluster)))
    for one in objects:
        one["metadata"]["uid"] = "1"
        one["spec"]["added"] = True
    assert held(addresses(cluster, KUBECTL), objects) == Plan()


def test_only_what_differs_is_applied_and_shown(bed: Testbed) -> None:
    """A pool of another width: one object is applied, and the diff has both values."""
    cluster = cluster_of(bed)
    objects = json.loads(json.dumps(address_objects(cluster)))
    objects[0]["spec"]["cidr"] = "10.138.0.0/16"
    plan = held(addresses(cluster, KUBECTL), objects)
    [apply] = plan.steps
    assert isinstance(apply, Command)
    assert [one["kind"] for one in yaml.safe_load_all(str(apply.stdin))] == ["IPPool"]
    assert "-  cidr: 10.138.0.0/16" in plan.diff
    assert f"+  cidr: {cluster.pods}" in plan.diff
    assert "blockSize" in plan.diff


@pytest.mark.parametrize("exit_code", [1, 127])
def test_an_api_that_knows_no_such_kind_gets_all_of_them(bed: Testbed, exit_code: int) -> None:
    """kubectl fails for the whole question then."""
    cluster = cluster_of(bed)
    [apply] = answered(addresses(cluster, KUBECTL), exit_code).steps
    assert isinstance(apply, Command)
    assert str(apply.stdin) == dumped(address_objects(cluster))


def test_a_single_object_is_no_list() -> None:
    """kubectl prints one object bare."""
    wanted = {"kind": "Namespace", "metadata": {"name": "a"}}
    fact = applied(KUBECTL, "one", [wanted])
    assert fact.parse([Completed(KUBECTL, 0, json.dumps(wanted), "")]) == Plan()


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": None}, True),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        (None, {"a": 1}, False),
        ("text", {"a": 1}, False),
    ],
)
def test_contains(found: object, wanted: object, expected: bool) -> None:  # noqa: FBT001
    """Mappings may hold more, lists may not."""
    assert contains(found, wanted) is expected


def test_the_account_has_its_token_before_nodes_ask_for_it() -> None:
    """The plan ends with waiting for it."""
    *_, last = answered(account(KUBECTL)).steps
    assert isinstance(last, Command)
    assert last.argv[-1] == "jsonpath={.data.token}"


def test_the_token_is_a_secret() -> None:
    """It is masked wherever it is shown; the authority is public."""
    data = {"data": {"token": "dG9rZW4=", "ca.crt": "Q0E="}}
    found = answered(token(KUBECTL), 0, json.dumps(data))
    assert found == {"calico-token": Secret("token"), "calico-authority": "Q0E="}


def test_an_account_without_token_is_an_error() -> None:
    """Else nodes would get an empty one."""
    with pytest.raises(CheckError, match="gave Calico's account no token"):
        answered(token(KUBECTL), 0, '{"data": {}}')


def test_a_measured_pod_asks_for_its_address(bed: Testbed) -> None:
    """The very address that all tasks know for the node's pod."""
    cluster = cluster_of(bed)
    node = cluster.members[1]
    wanted = {"cni.projectcalico.org/ipAddrs": f'["{pod_address(bed, node)}"]'}
    assert Calico().annotations(cluster, node) == wanted


def test_only_nodes_that_are_missing_are_waited_for(bed: Testbed) -> None:
    """Each by its name, with a deadline."""
    fact = nodes_known(cluster_of(bed), KUBECTL)
    said = [Completed(command.argv, 0, f"node/{command.argv[3]}\n", "") for command in fact.commands]
    assert fact.parse(said) == Plan()
    plan = fact.parse([*said[:-1], Completed(said[-1].argv, 1, "", "NotFound")])
    assert len(plan.steps) == 1
    assert plan.diff == "+node worker2"


def annotated(cluster: Cluster, **other: str) -> str:
    """All nodes as Calico registers them, `other` replacing a node's own address."""
    nodes = [
        {
            "metadata": {
                "name": node.name,
                "annotations": {
                    "projectcalico.org/IPv4Address": f"{other.get(node.name, cluster.address(node))}/24",
                    "projectcalico.org/IPv4VXLANTunnelAddr": str(cluster.network.site(node.name).tunnel),
                },
            }
        }
        for node in cluster.members
    ]
    return json.dumps({"items": nodes})


def test_a_node_with_the_wanted_addresses_passes(bed: Testbed) -> None:
    """Nothing is to be done then."""
    cluster = cluster_of(bed)
    assert answered(as_laid_out(cluster, KUBECTL), 0, annotated(cluster)) == Plan()


def test_an_address_of_another_interface_is_named(bed: Testbed) -> None:
    """Management's or another VPN's: the circle that must not close."""
    cluster = cluster_of(bed)
    with pytest.raises(CheckError, match=r"no node address .* for worker1 but 198\.51\.100\.9/24"):
        answered(as_laid_out(cluster, KUBECTL), 0, annotated(cluster, worker1="198.51.100.9"))


def test_a_node_that_calico_never_registered_is_named(bed: Testbed) -> None:
    """Without annotations there is neither address."""
    with pytest.raises(CheckError, match="for worker2 but none"):
        answered(as_laid_out(cluster_of(bed), KUBECTL), 0, '{"items": []}')


def test_a_dry_run_does_not_ask_what_calico_took(bed: Testbed) -> None:
    """There is no Calico yet."""
    assert as_laid_out(replace(cluster_of(bed), dry_run=True), KUBECTL).parse([]) == Plan()


def test_stages_say_where_they_run(bed: Testbed) -> None:
    """The API is changed on the master alone, programs run on every member."""
    cluster = cluster_of(bed)
    stages = (*Calico().stages(cluster, KUBECTL), *Calico().node_stages(cluster, KUBECTL))
    masters = [stage.name for stage in stages if stage.nodes == (cluster.master.name,)]
    everywhere = [stage.name for stage in stages if len(stage.nodes) == len(cluster.members)]
    assert masters == ["calico kinds", "calico account", "calico addresses", "calico nodes", "calico check"]
    assert everywhere == ["calico programs", "calico files", "calico startup", "calico felix"]
