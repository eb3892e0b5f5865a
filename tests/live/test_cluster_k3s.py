"""K3s in the lab's nodes by the paper's recipe: three nodes Ready, measured pods that answer, nothing left."""

import shutil
from collections.abc import Iterator

import pytest

import tasks
from inventory.load import load
from tests.live.conftest import place_for_a_lab
from tests.needs import missing
from vpnmesh.cluster import installer_named, k3s_configuration, k3s_node
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.lab.lifecycle import Lab, up
from vpnmesh.model import Testbed
from vpnmesh.study.scenarios import scenario_named
from workflows.run.cluster import RaisedCluster
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

FOREIGN_UNIT = "/etc/systemd/system/k3s.service"


@pytest.fixture(scope="module")
def containers(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose nodes can run containers, where this machine has a K3s."""
    if shutil.which("k3s") is None:
        missing("k3s", "no k3s on PATH")
    folder = tmp_path_factory.mktemp("k3s") / "lab"
    with place_for_a_lab(folder), up(testbed, owned=True, kubernetes=True) as standing:
        yield standing


@pytest.fixture
def site(containers: Lab) -> Site:
    """That lab, with K3s over every scenario."""
    assert containers.user != "root"
    return Site(*load("lab"), installer=installer_named("k3s"))


def said(site: Site, host: str, script: str, *words: str) -> str:
    """What a shell script says there."""
    argv = ("sh", "-c", script, "sh", *words)
    return str(run_on(site.nr, [host], tasks.run_command, argv=argv)[host].result).strip()


def footprints(site: Site) -> dict[str, dict[str, str]]:
    """What the nodes of the cluster have that a run may change, and the folders that K3s would use."""
    look = 'find "$@" /var/lib/vpnmesh /run/vpnmesh 2> /dev/null; true'
    found = run_on(site.nr, site.k8s, tasks.read_footprint)
    return {
        name: {**found[name].result, "folders": said(site, name, look, *k3s_node.OUTSIDE)}
        for name in site.k8s
    }


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
def test_over(site: Site, name: str) -> None:
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
    assert footprints(site) == before


def token_is_hidden(site: Site, cluster: Cluster) -> None:
    """In no process's arguments, and in a file of root's alone."""
    for node in cluster.members:
        modes = said(site, node.name, 'stat -c %a "$@"', k3s_configuration.TOKEN, k3s_configuration.CONFIG)
        assert modes.split() == ["600", "600"]
        script = 'cat /proc/[0-9]*/cmdline 2> /dev/null | tr "\\0" "\\n" | grep -cF -f "$1"; true'
        assert said(site, node.name, script, k3s_configuration.TOKEN) == "0"


def test_a_foreign_k3s_is_named_and_left_alone(site: Site) -> None:
    """One sentence with the node and the file; that file stays, and nothing of ours comes."""
    said(site, "worker1", 'mkdir -p "$(dirname "$1")"; echo theirs > "$1"', FOREIGN_UNIT)
    try:
        before = footprints(site)
        with (
            pytest.raises(VpnmeshError, match=f"worker1 has {FOREIGN_UNIT}; a cluster of this project"),
            provisioned(site, scenario_named("native-1450")),
        ):
            pytest.fail("it was installed all the same")
        assert said(site, "worker1", 'cat "$1"', FOREIGN_UNIT) == "theirs"
        after = footprints(site)
        assert after["worker1"] == before["worker1"]
    finally:
        said(site, "worker1", 'rm -f "$1"', FOREIGN_UNIT)


def test_killed_daemons_leave_nothing(site: Site) -> None:
    """K3s is killed on the master and one worker, its pods go on; leaving finds and removes all of it."""
    before = footprints(site)
    with provisioned(site, scenario_named("native-1450")):
        for name in (site.testbed.master.name, "worker2"):
            said(site, name, 'kill -9 $(cat "$1")', f"{RUN_DIRECTORY}/{k3s_node.SERVICE}.pid")
    assert site.complaints == []
    assert footprints(site) == before
