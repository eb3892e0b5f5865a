"""K3s in the lab's nodes by the paper's recipe: three nodes Ready, measured pods that answer, nothing left."""

import shutil
from collections.abc import Iterator

import pytest

import tasks
from inventory.load import load
from tests.live.conftest import place_for_a_lab
from tests.needs import missing
from vpnmesh.cluster import installer_named, k3s_configuration, k3s_node
from vpnmesh.cluster.protocol import Cluster, Stage
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.pods import in_pod, pod_address, pod_network
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.lab.lifecycle import Lab, up
from vpnmesh.model import Testbed
from vpnmesh.study.scenarios import scenario_named
from workflows.run.cluster import RaisedCluster, remove_cluster
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

SETTINGS = "sysctl -e net.core.rmem_max net.core.wmem_max fs.inotify.max_user_instances"
FOREIGN_UNIT = "/etc/systemd/system/k3s.service"


@pytest.fixture(scope="module")
def containers(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose nodes can run containers."""
    folder = tmp_path_factory.mktemp("k3s") / "lab"
    with place_for_a_lab(folder), up(testbed, owned=True, kubernetes=True) as standing:
        yield standing


@pytest.fixture
def k3s() -> None:
    """Skip where this machine has no K3s."""
    if shutil.which("k3s") is None:
        missing("k3s", "no k3s on PATH")


@pytest.fixture
def site(containers: Lab) -> Site:
    """That lab, with K3s over every scenario."""
    assert containers.user != "root"
    return Site(*load("lab"), installer=installer_named("k3s"))


def said(site: Site, host: str, script: str, *words: str) -> str:
    """What a shell script says there."""
    argv = ("sh", "-c", script, "sh", *words)
    return str(run_on(site.nr, [host], tasks.run_command, argv=argv)[host].result).strip()


def footprints(site: Site) -> set[str]:
    """What the nodes of the cluster have that a run may change, and what is in folders that K3s uses, a line each."""
    look = 'find "$@" 2> /dev/null; find /var/lib/vpnmesh /run/vpnmesh -mindepth 1 2> /dev/null; true'
    lines = set()
    for name, result in run_on(site.nr, site.k8s, tasks.read_footprint).items():
        found: dict[str, list[str]] = result.result
        lines |= {f"{name} {kind}: {line}" for kind, all_of_it in found.items() for line in all_of_it}
        lines |= {f"{name} file: {path}" for path in said(site, name, look, *k3s_node.OUTSIDE).splitlines()}
    return lines


def raised(up: Provisioned) -> RaisedCluster:
    """The scenario's cluster."""
    assert up.cluster is not None
    return up.cluster


def changed_again(site: Site, standing: RaisedCluster) -> list[str]:
    """The stages that would change something on a second run, with the diff."""
    cluster, found = standing.cluster, []
    for stage in standing.installer.stages(cluster):
        results = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=cluster, stage=stage, dry_run=True)
        found += [f"{stage.name} on {name}: {one.diff}" for name, one in results.items() if one.changed]
    return found


def pods_answer(site: Site) -> dict[str, bool]:
    """Whether every measured pod reaches every other, by pair."""
    answers = {}
    for one in site.testbed.k8s:
        for other in site.testbed.k8s:
            argv = in_pod("ping", "-c", "1", "-W", "5", str(pod_address(site.testbed, other)))
            text = said(site, one.name, 'exec "$@"', *argv)
            answers[f"{one.name} {other.name}"] = "1 received" in text
    return answers


@pytest.mark.parametrize("name", ["native-1450", "headscale-direct"])
def test_over(k3s: None, site: Site, name: str) -> None:
    """All nodes Ready at the scenario's addresses, pods reach each other, a second run changes nothing."""
    before = footprints(site)
    with provisioned(site, scenario_named(name)) as up:
        standing = raised(up)
        print(name, {phase: round(took, 1) for phase, took in standing.set_up.seconds.items()})
        addresses = {node.name: str(standing.cluster.address(node)) for node in standing.cluster.members}
        assert {node.name: node.address for node in standing.state.nodes} == addresses
        assert all(node.version.startswith("v1.") for node in standing.state.nodes)
        assert set(pods_answer(site).values()) == {True}
        assert changed_again(site, standing) == []
        token_is_hidden(site, standing.cluster)
    assert site.complaints == []
    assert footprints(site) ^ before == set()


def token_is_hidden(site: Site, cluster: Cluster) -> None:
    """In no process's arguments, and in a file of root's alone."""
    for node in cluster.members:
        modes = said(site, node.name, 'stat -c %a "$@"', k3s_configuration.TOKEN, k3s_configuration.CONFIG)
        assert modes.split() == ["600", "600"]
        script = 'cat /proc/[0-9]*/cmdline 2> /dev/null | tr "\\0" "\\n" | grep -cF -f "$1"; true'
        assert said(site, node.name, script, k3s_configuration.TOKEN) == "0"


def prepare(site: Site) -> None:
    """The first stage over the underlay, which needs no K3s: all that K3s finds on a node when it starts."""
    assert site.installer is not None
    over = {node.name: (node.leg.interface, node.underlay) for node in site.testbed.k8s}
    cluster = Cluster(site.testbed, pod_network(site.testbed, 1450, over))
    first = site.installer.stages(cluster)[0]
    silent = Stage(first.name, first.nodes, first.plan)
    run_on(site.nr, first.nodes, tasks.join_stage, mesh=cluster, stage=silent)


def of_worker1(lines: set[str]) -> set[str]:
    """Those that are about that node."""
    return {line for line in lines if line.startswith("worker1 ")}


@pytest.mark.parametrize("path", [FOREIGN_UNIT, "/etc/systemd/system/k3s-agent.service"])
def test_a_foreign_k3s_is_named_and_left_alone(site: Site, path: str) -> None:
    """One sentence with the node and the file; that file stays, and nothing of ours comes to that node."""
    said(site, "worker1", 'mkdir -p "$(dirname "$1")"; echo theirs > "$1"', path)
    try:
        before = of_worker1(footprints(site))
        with pytest.raises(VpnmeshError, match=f"worker1 has {path}; a cluster of this project"):
            prepare(site)
        assert of_worker1(footprints(site)) ^ before == set()
        remove_cluster(site, installer_named("k3s"))
        assert said(site, "worker1", 'cat "$1"', path) == "theirs"
    finally:
        said(site, "worker1", 'rm -f "$1"', path)


def test_files_that_were_there_stay(site: Site) -> None:
    """What the node had of its own in places that K3s uses is there afterwards, and nothing else."""
    own = "/var/lib/kubelet/theirs"
    said(site, "worker1", 'mkdir -p "$(dirname "$1")"; echo theirs > "$1"', own)
    try:
        before = footprints(site)
        settings = said(site, "worker2", SETTINGS)
        prepare(site)
        assert "worker1" in said(site, "worker1", 'grep -l . "$1"; hostname', k3s_node.OURS)
        assert "/var/lib/kubelet" not in said(site, "worker1", 'cat "$1"', k3s_node.OURS).splitlines()
        prepare(site)
        remove_cluster(site, installer_named("k3s"))
        assert site.complaints == []
        assert footprints(site) ^ before == set()
        assert said(site, "worker2", SETTINGS) == settings
        assert said(site, "worker1", 'cat "$1"', own) == "theirs"
    finally:
        said(site, "worker1", "rm -rf /var/lib/kubelet")


def test_killed_daemons_leave_nothing(k3s: None, site: Site) -> None:
    """K3s is killed on the master and one worker, its pods go on; leaving finds and removes all of it."""
    before = footprints(site)
    with provisioned(site, scenario_named("native-1450")):
        for name in (site.testbed.master.name, "worker2"):
            said(site, name, 'kill -9 $(cat "$1")', f"{RUN_DIRECTORY}/{k3s_node.SERVICE}.pid")
    assert site.complaints == []
    assert footprints(site) ^ before == set()
