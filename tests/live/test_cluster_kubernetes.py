"""A real Kubernetes cluster in the lab's nodes: measured by the ordinary run, told of in its own words, taken off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import tasks
from tests.live.clusters import left_on, site_of_a_cluster
from tests.live.vpn import said
from vpnmesh.cluster import installer_named
from vpnmesh.cluster.control_plane import API_READY_S
from vpnmesh.cluster.images import PROGRAMS
from vpnmesh.cluster.installers.kubernetes import Kubernetes
from vpnmesh.cluster.places import PKI, ctr
from vpnmesh.cluster.protocol import POD_PREFIX, Cluster
from vpnmesh.cluster.vxlan import Vxlan
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.model import Condition, Node, Testbed
from vpnmesh.plan import Secret, WriteFile
from vpnmesh.study.journal import ClusterUp, TeardownProblem, of_kind
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from workflows.run import provenance
from workflows.run.cluster import (
    RaisedCluster,
    await_ready,
    read_state,
    remove_cluster,
    unready,
)
from workflows.run.deploying import SetUp, run_stages
from workflows.run.hosts import run_on
from workflows.run.impair import choose_engine
from workflows.run.progress import RunProgress
from workflows.run.provision import Provisioned, attach, provisioned
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCENARIO = "native-1450"
OCCUPY = """
python3 -c "import socket,time; s=socket.create_server(('', $1)); time.sleep(120)" > /dev/null 2>&1 < /dev/null &
echo $!; sleep 0.5
"""


@pytest.fixture(scope="module")
def site(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab for clusters, for one module."""
    directory = tmp_path_factory.mktemp("cluster") / "lab"
    with site_of_a_cluster(testbed, installer_named("kubernetes"), directory) as site:
        yield site


@pytest.fixture
def bare(site: Site) -> Iterator[Provisioned]:
    """A scenario without a cluster, for tests that raise one themselves, in part or wrongly; taken off at the end."""
    before = provenance.footprint(site)
    without = replace(site, installer=None)
    with provisioned(without, scenario_named(SCENARIO)) as deployed:
        run_on(site.nr, site.k8s, tasks.detach_pods)
        yield deployed
        assert site.installer is not None
        remove_cluster(site, site.installer)
        assert left_on(site) == {}
    assert (site.complaints, without.complaints) == ([], [])
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []


def cluster_over(site: Site, deployed: Provisioned) -> Cluster:
    """The cluster that would be raised over what is deployed."""
    return Cluster(site.testbed, attach(site, deployed.mesh, deployed.statuses))


def test_real_pods_are_measured_by_the_ordinary_run(site: Site, tmp_path: Path) -> None:
    """Over a plain network and over a VPN, undisturbed and impaired: figures, events, and nothing left."""
    before = provenance.footprint(site)
    profile = replace(
        PROFILES["quick"],
        scenarios=(SCENARIO, "nebula-direct"),
        conditions=(Condition(), Condition.parse("delay-50ms")),
        tests=("tcp", "ping"),
        repetitions_clean=1,
        repetitions_impaired=1,
        blocks=1,
        cluster="kubernetes",
    )
    plan = plan_matrix(profile, site.testbed.pairs, seed=1)
    store = Store.create(tmp_path / "run", secrets=site.secrets)
    matrix = MatrixRun(site, plan, store, choose_engine(site))
    with RunProgress(Console(quiet=True), plan, 0) as progress:
        matrix.run(progress)
    assert [(row.cell.key, row.reason) for row in store.repetitions if row.outcome != "measured"] == []
    assert len(store.repetitions) == 8
    events = of_kind(store.events, ClusterUp)
    assert {event.scenario for event in events} == {SCENARIO, "nebula-direct"}
    assert all(set(event.versions) == set(site.k8s) and event.seconds["nodes"] > 0 for event in events)
    assert of_kind(store.events, TeardownProblem) == []
    assert left_on(site) == {}
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []


def test_what_stands(site: Site) -> None:
    """Pods have the addresses of the lab's own, a second look changes nothing, and the master is tainted."""
    with provisioned(site, scenario_named(SCENARIO)) as deployed:
        raised = deployed.cluster
        assert raised is not None
        for node in site.testbed.k8s:
            address = str(pod_address(site.testbed, node))
            assert address in said(
                site, node.name, '"$@"', *in_pod("ip", "-o", "-4", "address", "show", "eth0")
            )
        again = SetUp()
        run_stages(site, raised.installer.stages(raised.cluster), raised.cluster, again)
        assert again.steps == 0
        entered = run_on(
            site.nr, site.k8s, tasks.enter_pods, installer=raised.installer, cluster=raised.cluster
        )
        assert not any(one.changed for one in entered.values())
        attach(site, deployed.mesh, deployed.statuses)
        assert unready(raised.cluster, read_state(site, raised.installer, raised.cluster)) == []
        taints = kubectl(
            site, raised, "get", "node", site.testbed.master.name, "-o", "jsonpath={.spec.taints[*].key}"
        )
        assert taints == "CriticalAddonsOnly"
        digests = {said(site, name, '"$@"', *ctr("images", "ls")) for name in site.k8s}
        assert len(digests) == 1
        assert_kubeconfig_serves(site, raised)
        assert_etcd_killed_is_said_and_mended(site, raised)


def kubectl(site: Site, raised: RaisedCluster, *words: str) -> str:
    """What kubectl says on the master."""
    argv = (*raised.installer.kubectl(raised.cluster), *words)
    return str(
        run_on(site.nr, [site.testbed.master.name], tasks.run_command, argv=argv)[
            site.testbed.master.name
        ].result
    )


def assert_kubeconfig_serves(site: Site, raised: RaisedCluster) -> None:
    """It is a secret, works from another node as it is, and a token that nobody gave is refused."""
    master, worker = site.testbed.master.name, site.testbed.client.name
    found = run_on(
        site.nr, [master], tasks.read_kubeconfig, installer=raised.installer, cluster=raised.cluster
    )
    config = found[master].result
    assert isinstance(config, Secret)
    script = (
        'umask 077; printf %s "$1" > /root/conf; kubernetes kubectl --kubeconfig /root/conf get nodes -o name'
    )
    assert len(said(site, worker, script, config.reveal()).split()) == len(site.k8s)
    refused = 'curl -sk -o /dev/null -w "%{http_code}" -H "Authorization: Bearer nobody" "$1/api/v1/nodes"'
    assert said(site, worker, refused, raised.cluster.server) == "401"
    said(site, worker, "rm -f /root/conf")


def assert_etcd_killed_is_said_and_mended(site: Site, raised: RaisedCluster) -> None:
    """Without etcd the API answers with an error, which is told; the stages, run again, start it."""
    master = site.testbed.master.name
    said(site, master, 'kill -9 "$(cat /run/vpnmesh/cluster-etcd.pid)"')
    with pytest.raises(CheckError, match="no answer of https"):
        await_ready(site, raised.installer, raised.cluster, ready_s=3)
    run_stages(site, raised.installer.stages(raised.cluster), raised.cluster)
    await_ready(site, raised.installer, raised.cluster)


class Misled(Kubernetes):
    """A cluster in which a lot is wrong: an image that is nowhere, and a plugin that is not there."""

    def __init__(self) -> None:
        """With a network of its own."""
        super().__init__(NoPlugin())


class NoPlugin(Vxlan):
    """On the client's node the network is made by a plugin that nobody has."""

    def configuration(self, cluster: Cluster, node: Node, /) -> tuple[WriteFile, ...]:
        """The file with another name in it."""
        if node.name != cluster.testbed.client.name:
            return super().configuration(cluster, node)
        (file,) = super().configuration(cluster, node)
        return (replace(file, content=str(file.content).replace('"ptp"', '"no-such-plugin"')),)


def test_what_is_not_ready_is_told_with_its_reason(
    site: Site, bare: Provisioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that is missing, an image that is missing, a kubelet that nobody's certificate vouches for."""
    bed, cluster, misled = site.testbed, cluster_over(site, bare), Misled()
    *before, nodes, pods = misled.stages(cluster)
    cluster = run_stages(site, before, cluster)
    said(site, bed.master.name, '"$@"', *ctr("images", "rm", *PROGRAMS))
    said(
        site,
        bed.server.name,
        'cd "$1"; openssl req -x509 -new -key kubelet.key -subj /CN=nobody -out kubelet.crt',
        PKI,
    )
    cluster = run_stages(site, [nodes, pods], cluster)
    with pytest.raises(CheckError) as caught:
        await_ready(site, misled, cluster, ready_s=20)
    told = dict(
        part.split(" is not ready (")
        for part in str(caught.value).removeprefix("cluster: ").split("; ")
        if " is not ready (" in part
    )
    assert "never registered" in told[f"node {bed.server.name}"]
    assert "no-such-plugin" in told[f"pod {POD_PREFIX}{bed.client.name}"]
    assert f"pod {POD_PREFIX}{bed.master.name}" in told


def test_a_port_that_is_taken_is_said(site: Site, bare: Provisioned) -> None:
    """Somebody else at 6443 on the master: the stage fails with the API server's words, soon."""
    master = site.testbed.master.name
    pid = said(site, master, OCCUPY, "6443").strip()
    started = time.monotonic()
    try:
        with pytest.raises(VpnmeshError, match="address already in use"):
            run_stages(
                site, installer_named("kubernetes").stages(cluster_over(site, bare)), cluster_over(site, bare)
            )
        assert time.monotonic() - started < API_READY_S
    finally:
        said(site, master, 'kill "$1"', pid)


UP = """
import sys
from inventory.load import load
from vpnmesh.cluster import installer_named
from vpnmesh.study.scenarios import scenario_named
from workflows.run.provision import provisioned
from workflows.run.site import Site
print("begun", flush=True)
with provisioned(Site(*load("lab"), installer=installer_named("kubernetes")), scenario_named(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("after_s", [2.0, 7.0, 14.0])
def test_a_controller_killed_on_the_way_up_leaves_nothing_that_stays(site: Site, after_s: float) -> None:
    """kill -9 while it installs: leaving goes by what is there, and leaves nothing."""
    before = provenance.footprint(site)
    argv = (sys.executable, "-c", UP, SCENARIO)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "begun\n"
        time.sleep(after_s)
        os.kill(controller.pid, signal.SIGKILL)
    assert site.installer is not None
    remove_cluster(site, site.installer)
    run_on(site.nr, site.k8s, tasks.detach_pods)
    time.sleep(1)
    assert site.take_complaints() == []
    assert left_on(site) == {}
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []
