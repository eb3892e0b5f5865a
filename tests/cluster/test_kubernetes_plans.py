"""What nodes are asked for by the installer of Kubernetes' own programs: flags, files, addresses, and no secret."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest
import yaml

from tests.cluster.laid_out import cluster_over, on_a_blank_node
from vpnmesh.cluster import control_plane, installer_named, kubeconfigs, kubelet, measured, runtime
from vpnmesh.cluster.leaving import SERVICES, taken_off
from vpnmesh.cluster.places import SOCKET
from vpnmesh.cluster.protocol import ClusterProgram, ClusterRole
from vpnmesh.cluster.vxlan import conflist
from vpnmesh.host.pods import POD, PodNetwork, attached, pod_address
from vpnmesh.host.tuning import Tuning
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Plan, WriteFile


def test_the_api_is_where_the_master_is_and_the_pods_addresses_are_said_once(bed: Testbed) -> None:
    """Bound and advertised at the cluster address; every daemon that wants the pods' addresses gets the testbed's."""
    cluster = cluster_over(bed)
    address = str(cluster.address(bed.master))
    flags = control_plane.api_server(cluster).argv
    assert {f"--advertise-address={address}", f"--bind-address={address}", "--secure-port=6443"} <= set(flags)
    services = (*control_plane.services(cluster), kubelet.proxy(cluster, bed.client))
    said = [word for one in services for word in one.argv if word.startswith("--cluster-cidr=")]
    assert said == [f"--cluster-cidr={bed.pods}"] * 2


def test_every_daemon_is_one_that_leaving_ends(bed: Testbed) -> None:
    """By its name: one that is added must be ended, too."""
    cluster = cluster_over(bed)
    started = (
        *control_plane.services(cluster),
        runtime.service(),
        kubelet.kubelet(cluster, bed.client),
        kubelet.proxy(cluster, bed.client),
    )
    assert sorted(one.name for one in started) == sorted(SERVICES)


def test_kubelet_changes_nothing_of_a_machine_that_nodes_share(bed: Testbed) -> None:
    """In a lab it only compares kernel settings; the master is tainted, workers are not."""
    cluster = cluster_over(bed)
    settings = {
        node.name: yaml.safe_load(yaml.safe_dump(kubelet.kubelet_settings(cluster, node))) for node in bed.k8s
    }
    assert all(one["protectKernelDefaults"] for one in settings.values())
    assert all(one["containerRuntimeEndpoint"] == f"unix://{SOCKET}" for one in settings.values())
    tainted = [name for name, one in settings.items() if one.get("registerWithTaints")]
    assert tainted == [bed.master.name]


@pytest.mark.parametrize("mtu", [1450, 1230])
def test_the_first_pod_of_a_node_is_the_measured_one(bed: Testbed, mtu: int) -> None:
    """Its address is given out first; the gateway is another one of the block, and the MTU the network's."""
    cluster = cluster_over(bed, mtu)
    gateways = set()
    for node in bed.k8s:
        (plugin,) = json.loads(conflist(cluster, node))["plugins"]
        ((span,),) = plugin["ipam"]["ranges"]
        site = cluster.network.site(node.name)
        assert span["rangeStart"] == str(pod_address(bed, node))
        assert ip_address(span["gateway"]) in site.block
        assert span["gateway"] not in (str(site.pod), str(site.tunnel))
        assert plugin["mtu"] == mtu
        gateways.add(span["gateway"])
    assert len(gateways) == len(bed.k8s)


def test_measured_pods_are_pinned_and_need_no_registry(bed: Testbed) -> None:
    """One on each node, which bears the master's taint; annotations are those of the pods' network."""
    items = json.loads(measured.manifest(cluster_over(bed), {bed.client.name: {"a": "b"}}))["items"]
    pods = {one["spec"]["nodeName"]: one for one in items if one["kind"] == "Pod"}
    assert set(pods) == {node.name for node in bed.k8s}
    for name, pod in pods.items():
        assert pod["metadata"]["name"] == f"measured-{name}"
        assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
        assert {one["imagePullPolicy"] for one in pod["spec"]["containers"]} == {"Never"}
    assert pods[bed.client.name]["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in pods[bed.server.name]["metadata"]


def test_no_key_is_in_any_plan(bed: Testbed) -> None:
    """Keys are made where they stay: what travels to a node are certificates and names of files."""
    cluster = cluster_over(bed)
    for stage in installer_named("kubernetes").stages(cluster):
        for name in stage.nodes:
            plan = on_a_blank_node(stage.plan(cluster, bed.node(name)))
            texts = [
                str(step.content) if isinstance(step, WriteFile) else str(step.stdin) for step in plan.steps
            ]
            assert not [text for text in (*texts, plan.diff) if "PRIVATE KEY" in text]


def test_a_dry_run_has_words_for_what_is_made_later(bed: Testbed) -> None:
    """Every stage on every node, though nobody has published anything yet."""
    cluster = replace(cluster_over(bed), published={}, dry_run=True)
    diffs = [
        on_a_blank_node(stage.plan(cluster, bed.node(name))).diff
        for stage in installer_named("kubernetes").stages(cluster)
        for name in stage.nodes
    ]
    assert all(diffs)
    assert f"<{bed.master.name}'s ca, made when applied>" in "".join(diffs)


def test_a_kubeconfig_for_people_holds_all_that_it_needs() -> None:
    """Authority, certificate and key as data, not as names of files on a node."""
    config = yaml.safe_load(kubeconfigs.with_keys("https://10.0.0.1:6443", "a", "b", "c"))
    assert config["clusters"][0]["cluster"] == {
        "certificate-authority-data": "YQ==",
        "server": "https://10.0.0.1:6443",
    }
    assert config["users"][0]["user"] == {"client-certificate-data": "Yg==", "client-key-data": "Yw=="}


def test_a_blank_node_has_nothing_to_leave() -> None:
    """Leaving goes by what is found."""
    wanted = taken_off()
    assert not wanted.parse([Completed(one.argv, 0, "", "") for one in wanted.commands])


def test_one_trace_is_enough_to_leave() -> None:
    """A shim that outlived everything else is ended, and all the rest looked for."""
    wanted = taken_off()
    *answers, last = (Completed(one.argv, 0, "", "") for one in wanted.commands)
    plan = wanted.parse([*answers, replace(last, stdout="daemon 42\n")])
    assert "daemon 42" in plan.diff
    assert len(plan.steps) > len(SERVICES)


def test_tuned_pods_are_refused_in_words(bed: Testbed) -> None:
    """Whoever makes a pod's interface would have to tune it."""
    cluster, installer = cluster_over(bed), installer_named("kubernetes")
    assert installer.unbuildable_reason(cluster) == ""
    tuned = replace(cluster, network=replace(cluster.network, tuning=Tuning(offloads=False)))
    assert "--cluster pods" in installer.unbuildable_reason(tuned)


def test_a_vendors_programs_do_where_all_of_them_are_there() -> None:
    """One program for everything, or everything's own program; a part of them is not enough."""
    wanted = ClusterProgram("kubernetes", at=(ClusterRole.WORKER,), stand_ins=("kubelet", "kube-proxy"))
    assert wanted.served_by(["kubernetes"])
    assert wanted.served_by(["kubelet", "kube-proxy", "other"])
    assert not wanted.served_by(["kubelet"])
    assert not ClusterProgram("etcd").served_by([])


def lines(network: PodNetwork, bed: Testbed, *said: str) -> Plan:
    """The plan of a node that answers these texts to the questions, in order."""
    wanted = attached(network, bed.client)
    answers = [*said, *[""] * (len(wanted.commands) - len(said))]
    return wanted.parse(
        [Completed(one.argv, 0, text, "") for one, text in zip(wanted.commands, answers, strict=True)]
    )


def test_a_cluster_makes_its_own_pods(bed: Testbed) -> None:
    """Only `vxlan.calico` is ours then: no namespace and no veth is made, nor taken for a difference."""
    network = replace(cluster_over(bed).network, own_pods=False)
    plan = lines(network, bed)
    texts = [
        text for step in plan.steps if isinstance(step, Command) for text in (*step.argv, str(step.stdin))
    ]
    assert not [text for text in texts if POD in text or "cali0" in text]
    assert [text for text in texts if "type vxlan" in text]
    with_pod = lines(network, bed, "", "", "", "", f"{POD} (id: 0)\n", '[{"mtu": 1450, "addr_info": []}]')
    assert with_pod.diff == plan.diff
