"""Real Calico in the lab's nodes: the datapath that the lab's own pods copy, MTU changed in place, and nothing left.

Skipped where Calico's three programs are missing: no registry has them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from nornir.core.task import Result, Task

import tasks
from tasks.connection import shell
from tests.live.clusters import left_on, site_of_a_cluster
from tests.live.vpn import said
from vpnmesh.cluster import installer_named
from vpnmesh.cluster.calico import Calico
from vpnmesh.cluster.calico_node import left
from vpnmesh.cluster.images import TOOLS
from vpnmesh.cluster.protocol import NAMESPACE, Cluster
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.pods import HOST_VETH, VXLAN, PodNetwork, held, in_pod, pod_address, pod_mtu, pod_network
from vpnmesh.model import Testbed
from vpnmesh.plan import Fact
from vpnmesh.study.scenarios import scenario_named
from workflows.run import provenance
from workflows.run.cluster import RaisedCluster
from workflows.run.deploying import SetUp, run_stages
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.site import Site

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCENARIO = "native-1450"
NARROW = 1230
COPY = "cp /opt/cni/bin/calico-ipam /opt/kept; cp -f /opt/cni/bin/calico /opt/cni/bin/calico-ipam"
LATER = """
"$@" run later -n "$0" --image="$image" --image-pull-policy=Never --restart=Never \
  --overrides="{\\"spec\\":{\\"nodeName\\":\\"$node\\",\\"automountServiceAccountToken\\":false}}"
"$@" wait -n "$0" --for=condition=Ready pod/later --timeout=60s
"""


@pytest.fixture(scope="module")
def site(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab for clusters with Calico, for one module."""
    directory = tmp_path_factory.mktemp("calico") / "lab"
    with site_of_a_cluster(testbed, installer_named("kubernetes-calico"), directory) as site:
        yield site


def look(task: Task, fact: Fact[Any]) -> Result:
    """Ask a node anything."""
    return Result(host=task.host, result=shell(task).gather(fact))


def asked(site: Site, fact: Fact[Any]) -> dict[str, Any]:
    """The fact on every member."""
    return {name: one.result for name, one in run_on(site.nr, site.k8s, look, fact=fact).items()}


def datapath(site: Site) -> dict[str, tuple[str, ...]]:
    """What `held` says of each member, with Calico's interface names as ours and each node's MAC by the node's name."""
    said_by = {
        name: [replace(one, stdout=ours(one.stdout)) for one in completed]
        for name, completed in asked(site, Fact(held().commands, list)).items()
    }
    lines = {name: held().parse(completed) for name, completed in said_by.items()}
    macs = {mac: f"mac of {name}" for name, of_node in lines.items() for mac in own_mac(of_node)}
    return {name: tuple(sorted(by_name(line, macs) for line in of_node)) for name, of_node in lines.items()}


def ours(text: str) -> str:
    """Calico names a pod's interface by a digest of the pod's name."""
    return re.sub(r"\bcali[0-9a-f]{11}\b", HOST_VETH, text)


def own_mac(lines: tuple[str, ...]) -> list[str]:
    """Of the VXLAN device; both Calico and we derive it from the node's name, each in another way."""
    return [line.split()[-1] for line in lines if line.startswith("vxlan ")]


def by_name(line: str, macs: Mapping[str, str]) -> str:
    """The line with every MAC as its node."""
    for mac, name in macs.items():
        line = line.replace(mac, name)
    return line


def test_the_labs_pods_have_calicos_datapath(site: Site) -> None:
    """The same device, neighbours, forwarding entries, routes and pod, node by node; then Calico's own is told apart.

    On the way: pods answer, a second look changes nothing, the MTU is changed in place, and nothing is left.
    """
    before, scenario = provenance.footprint(site), scenario_named(SCENARIO)
    tables = old_tables(site)
    with provisioned(replace(site, installer=None), scenario):
        copied = datapath(site)
    with provisioned(site, scenario) as deployed:
        assert deployed.cluster is not None
        assert datapath(site) == copied
        assert all(len(lines) == 10 for lines in copied.values())
        assert_only_calico_has(site)
        assert_pods_answer(site)
        assert_nothing_is_left_to_do(site, deployed.cluster)
        assert_mtu_changes_in_place(site, deployed.cluster)
        assert_pods_answer(site)
    assert site.complaints == []
    assert left_on(site) == {}
    assert not any(asked(site, left()).values())
    assert old_tables(site) == tables
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []


def old_tables(site: Site) -> dict[str, str]:
    """Tables that the old interface of iptables has in the kernel, which no program takes away again."""
    return {name: said(site, name, "cat /proc/net/ip_tables_names 2> /dev/null; true") for name in site.k8s}


def assert_only_calico_has(site: Site) -> None:
    """What Calico makes beyond the lab's pods: docs/cluster-calico.md lists it."""
    for node in site.testbed.k8s:
        block = str(pod_network_of(site).site(node.name).block)
        assert said(site, node.name, "ip route show proto 80").split()[:2] == ["blackhole", block]
        routes = said(site, node.name, f"ip route show dev {VXLAN}").splitlines()
        assert len(routes) == len(site.k8s) - 1
        tables = said(site, node.name, "nft list tables | grep calico").split("\n")
        assert [table.split()[1:] for table in tables if table] == [["ip", "calico"], ["arp", "calico-arp"]]


def pod_network_of(site: Site) -> PodNetwork:
    """The layout over the underlay."""
    over = {node.name: (node.leg.interface, node.underlay) for node in site.testbed.k8s}
    return pod_network(site.testbed, 1450, over)


def assert_pods_answer(site: Site) -> None:
    """Every pod to every other, with packets as large as the scenario's, which must not be fragmented."""
    for node in site.testbed.k8s:
        for peer in site.testbed.k8s:
            if peer != node:
                ping = in_pod("ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(NARROW - 28))
                said(site, node.name, '"$@"', *ping, str(pod_address(site.testbed, peer)))


def assert_nothing_is_left_to_do(site: Site, raised: RaisedCluster) -> None:
    """Every stage, run again, finds all as it wants it."""
    again = SetUp()
    run_stages(site, raised.installer.stages(raised.cluster), raised.cluster, again)
    assert again.steps == 0


def assert_mtu_changes_in_place(site: Site, raised: RaisedCluster) -> None:
    """The device and new pods have the new one, pods that stand keep theirs; then nothing is left to do."""
    narrow = narrowed(raised.cluster)
    steps = SetUp()
    run_stages(site, Calico().change_of_mtu(narrow), narrow, steps)
    assert steps.steps == 2 * len(site.k8s)
    assert set(asked(site, pod_mtu()).values()) == {1450}
    assert all(f"mtu {NARROW} " in " ".join(lines) for lines in datapath(site).values())
    client = site.testbed.client.name
    kubectl = raised.installer.kubectl(raised.cluster)
    words = ("sh", "-c", f"image={TOOLS} node={client}; {LATER}", NAMESPACE, *kubectl)
    said(site, site.testbed.master.name, '"$@"', *words)
    mtus = said(site, client, "cat /sys/class/net/cali*/mtu").split()
    assert sorted(mtus) == [str(NARROW), "1450"]
    again = SetUp()
    run_stages(site, Calico().change_of_mtu(narrow), narrow, again)
    assert again.steps == 0


def narrowed(cluster: Cluster) -> Cluster:
    """The same cluster with a tunnel's MTU."""
    return replace(cluster, network=replace(cluster.network, mtu=NARROW))


def test_a_dry_run_shows_all_stages_and_touches_nothing(site: Site) -> None:
    """On bare nodes; the token that the master would publish shows as words."""
    before, shown = provenance.footprint(site), []
    cluster = Cluster(site.testbed, pod_network_of(site), dry_run=True)
    assert site.installer is not None
    for stage in site.installer.stages(cluster):
        done = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=cluster, stage=stage, dry_run=True)
        shown += [stage.name for one in done.values() if one.changed]
    assert {"calico kinds", "calico account", "calico addresses", "calico files", "calico felix"} <= set(
        shown
    )
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []


def test_a_copy_of_the_plugin_as_its_address_manager_is_refused(site: Site) -> None:
    """The real programs say what they are; the copy is found before any pod could ask it."""
    client = site.testbed.client.name
    said(site, client, COPY)
    cluster = Cluster(site.testbed, pod_network_of(site))
    [programs, *_] = Calico().stages(cluster, ("kubectl",))
    try:
        with pytest.raises(VpnmeshError, match=f"{client}: .*calico-ipam is a copy of calico"):
            run_stages(site, [programs], cluster)
    finally:
        said(site, client, "mv -f /opt/kept /opt/cni/bin/calico-ipam")
    run_stages(site, [programs], cluster)
