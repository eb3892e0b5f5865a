"""What K3s' stages would do on blank nodes, and every file that they render, over the underlay and over an overlay."""

import re
from ipaddress import IPv4Address

import pytest
import yaml

from tests.golden.goldens import answered, golden, rendered
from vpnmesh.cluster import INSTALLERS, k3s_configuration, k3s_node, reading
from vpnmesh.cluster.installers import k3s
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import PodNetwork, pod_network
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed, Plan, Secret, WriteFile
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named

SCENARIOS = ("native-1450", "headscale-direct")
RELEASE = "k3s version v1.34.4+k3s1 (c6017918)\ngo version go1.24.12"


def network_of(bed: Testbed, name: str) -> PodNetwork:
    """The pods over the scenario's addresses, which a VPN gives out itself: made up here."""
    scenario = scenario_named(name)
    if not solution_named(scenario.solution).is_vpn:
        over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
        return pod_network(bed, scenario.pod_mtu, over)
    given = {
        node.name: ("vpn0", IPv4Address("100.64.0.0") + number) for number, node in enumerate(bed.k8s, 1)
    }
    return pod_network(bed, Mesh(bed, scenario, dry_run=True).scenario.pod_mtu, given)


def cluster_of(bed: Testbed, name: str = "native-1450", version: str = RELEASE) -> Cluster:
    """The cluster as its last stage knows it."""
    published = {(node.name, k3s.VERSION): version for node in bed.k8s}
    token = {(bed.master.name, k3s.AGENT_TOKEN): Secret("K10abc::server:def")}
    return Cluster(bed, network_of(bed, name), {**published, **token})


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_rendered_file(bed: Testbed, name: str) -> None:
    """Stage by stage and node by node, with the mode of each, reviewed."""
    cluster = cluster_of(bed, name)
    text = "".join(
        f"===== {stage.name} on {node}\n{rendered(Plan(files))}"
        for stage in INSTALLERS["k3s"].stages(cluster)
        for node in stage.nodes
        if (files := written(answered(stage.plan(cluster, bed.node(node)))))
    )
    assert golden(f"k3s/{name}.files", text) == text


def written(plan: Plan) -> tuple[WriteFile, ...]:
    """The files that it writes for programs to read."""
    files = (step for step in plan.steps if isinstance(step, WriteFile))
    return tuple(file for file in files if not file.path.endswith(".spec"))


def server_file(cluster: Cluster, version: str = RELEASE) -> dict[str, object]:
    """The master's configuration, read back."""
    file = k3s_configuration.server(cluster, version)
    found: dict[str, object] = yaml.safe_load(str(file.content))
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_papers_flags(bed: Testbed, name: str) -> None:
    """All of the paper's flags, with the scenario's address of the master and the testbed's pod addresses."""
    cluster = cluster_of(bed, name)
    address = str(cluster.address(bed.master))
    found = server_file(cluster)
    assert {"traefik", "servicelb"} <= set(found["disable"])  # type: ignore[call-overload]
    wanted = {
        "node-taint": ["CriticalAddonsOnly=true:NoExecute"],
        "flannel-backend": "none",
        "disable-network-policy": True,
        "cluster-cidr": str(bed.pods),
        "service-cidr": "10.43.0.0/16",
        "advertise-address": address,
        "bind-address": address,
        "node-ip": address,
        "node-external-ip": address,
    }
    assert wanted == {key: found[key] for key in wanted}


def test_no_secret_in_what_people_see(bed: Testbed) -> None:
    """The token is in its own file, 0600, and neither in a command line nor in the configuration or the diff."""
    cluster = cluster_of(bed)
    service = k3s.agent(cluster, bed.node("worker1"))
    modes = {file.path: file.mode for file in service.files}
    assert modes == {k3s_configuration.CONFIG: 0o600, k3s_configuration.TOKEN: 0o600}
    plan = answered(k3s._agent(cluster, bed.node("worker1")))
    assert "K10abc" not in " ".join(service.argv) + plan.diff + str(service.files[0].content)


@pytest.mark.parametrize(
    ("version", "gate", "modes"),
    [
        ("k3s version v1.21.2+k3s1 (x)", "feature-gates=LocalStorageCapacityIsolation=false", 0),
        ("k3s version v1.22.17+k3s1 (x)", "feature-gates=LocalStorageCapacityIsolation=false", 0),
        ("k3s version v1.34.4+k3s1 (x)", "local-storage-capacity-isolation=false", 1),
    ],
)
def test_flags_follow_the_version_that_the_node_has(
    bed: Testbed, version: str, gate: str, modes: int
) -> None:
    """A feature gate that became a flag, and a mode of kube-proxy that older ones lack: either is fatal elsewhere."""
    found = server_file(cluster_of(bed), version)
    assert gate in found["kubelet-arg"]  # type: ignore[operator]
    assert found["kube-proxy-arg"].count("proxy-mode=nftables") == modes  # type: ignore[attr-defined]


def test_a_version_that_nobody_knows() -> None:
    """It counts as old: what is asked of it, all know."""
    assert [k3s_configuration.minor(text) for text in ("k3s version v1.34.4+k3s1", "v2", "")] == [34, 0, 0]


@pytest.mark.parametrize(
    "said", ["has /etc/systemd/system/k3s.service", "runs K3s (process 812)", "runs the pod shop/web-5d8f"]
)
def test_a_foreign_cluster_is_named(bed: Testbed, said: str) -> None:
    """Before anything is written: node, what it is, and the way out in one sentence."""
    fact = k3s_node.foreign(bed.node("worker1"))
    with pytest.raises(CheckError, match=re.escape(f"worker1 {said}; a cluster of this project")):
        fact.parse([Completed(fact.commands[0].argv, 0, f"{said}\n", "")])
    assert fact.parse([Completed(fact.commands[0].argv, 0, "", "")]) == ()


def test_leaving_a_node_that_has_none_of_ours(bed: Testbed) -> None:
    """Without our own list nothing is planned, whatever else the questions found."""
    leaving = INSTALLERS["k3s"].leave(bed, bed.node("worker1"))
    assert answered(leaving, 0, "") == Plan()


def test_settings_are_kept_before_they_are_changed(bed: Testbed) -> None:
    """What was there goes to the node's own list first; where nothing differs, nothing is kept."""
    fact = k3s_node.settings_held()
    count = len(fact.commands) - 1
    held = [Completed(one.argv, 0, "128\n", "") for one in fact.commands[:count]]
    now = Completed(fact.commands[count].argv, 0, "fs.inotify.max_user_instances = 128\n", "")
    plan = fact.parse([*held, now])
    first = plan.steps[0]
    assert getattr(first, "stdin", "") == "fs.inotify.max_user_instances=128\n"
    assert len(plan.steps) == 1 + count
    missing = [Completed(one.argv, 1, "", "") for one in fact.commands]
    assert not fact.parse(missing)


def test_the_api_is_asked_at_the_clusters_address(bed: Testbed) -> None:
    """The master's address in the scenario, not the underlay's."""
    cluster = cluster_of(bed, "headscale-direct")
    state = INSTALLERS["k3s"].state(cluster)
    assert [command.argv[-1] for command in state.commands] == [
        f"https://100.64.0.1:6443{path}" for path in reading.PATHS
    ]
