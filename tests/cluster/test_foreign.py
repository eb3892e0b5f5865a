"""What is foreign on a cluster's nodes: pods by name, other clusters by their processes and folders; and a tunnel."""

import os
import signal
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from vpnmesh.cluster.foreign import answer_ms, check_pods, foreign_pods, other_clusters
from vpnmesh.cluster.protocol import Cluster, ClusterState, PodState
from vpnmesh.cluster.tunnel import through_tunnel, tunnel
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_network
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed, Secret


@pytest.fixture
def cluster(bed: Testbed) -> Cluster:
    """Over the underlay."""
    return Cluster(bed, pod_network(bed, 1230, {node.name: ("eth0", node.underlay) for node in bed.k8s}))


def pod(name: str, node: str) -> PodState:
    """One that runs."""
    namespace, _, short = name.partition("/")
    return PodState(namespace, short, node, "Running", ready=True)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("vpnmesh/measured-worker1", True),
        ("vpnmesh/anything", True),
        ("kube-system/coredns-5d4dd4b4db-x2x9p", True),
        ("calico-system/calico-node-abcde", True),
        ("kube-system/nginx-1", False),
        ("default/coredns-1", False),
        ("default/measured-worker1", False),
    ],
)
def test_only_ours_and_the_systems_are_wanted(name: str, wanted: bool, cluster: Cluster) -> None:  # noqa: FBT001
    """A name of ours in another namespace is somebody else's."""
    found = foreign_pods(cluster, ClusterState(pods=(pod(name, cluster.testbed.client.name),)))
    assert bool(found) is not wanted


def test_the_check_names_pod_and_node(cluster: Cluster) -> None:
    """Of every one; a pod that is on no node, or on one that is no member, disturbs nobody."""
    worker = cluster.testbed.client.name
    pods = (
        pod("default/web", worker),
        pod("prod/db", cluster.master.name),
        pod("prod/waiting", ""),
        pod("a/b", "x"),
    )
    with pytest.raises(CheckError) as refused:
        check_pods(cluster, ClusterState(pods=pods))
    assert refused.value.stage == "foreign"
    assert f"pod default/web on {worker}, pod prod/db on {cluster.master.name}: " in str(refused.value)
    assert "waiting" not in str(refused.value)
    check_pods(cluster, ClusterState(pods=pods[2:]))


def look(run: Path, folders: tuple[str, ...]) -> tuple[str, ...]:
    """What this machine's processes and these folders are, with our daemons' pid files in `run`."""
    (command,) = other_clusters().commands
    argv = [str(run) if word == RUN_DIRECTORY else word for word in command.argv]
    cut = argv.index("--")
    done = subprocess.run((*argv[:cut], NAME, "--", *folders), capture_output=True, text=True, check=True)
    return other_clusters().parse([Completed((), 0, done.stdout, "")])


NAME = f"vm-kube-{os.getpid()}"[:15]
"""A process's name that no other test of this machine has."""


def test_processes_of_ours_and_their_children_are_not_foreign(tmp_path: Path) -> None:
    """By pid file and descent; the same program of somebody else's is named, and a folder with a file in it."""
    program = tmp_path / NAME
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    (full / "k3s").mkdir(parents=True)
    (full / "k3s" / "config.yaml").touch()
    argv = ("sh", "-c", '"$0" 60 & echo $!; wait', str(program))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        try:
            assert wait_until(lambda: f"process {NAME}" in look(tmp_path, ()), 10)
            (tmp_path / "kubelet.pid").write_text(f"{parent.pid}\n")
            assert f"process {NAME}" not in look(tmp_path, ())
        finally:
            os.kill(child, signal.SIGTERM)
    found = look(tmp_path, (str(empty), str(full), str(tmp_path / "none")))
    assert [one for one in found if one.startswith("folder")] == [f"folder {full}"]


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        (
            '"Response" verb="GET" url="https://10.0.0.1:6443/readyz" status="200 OK" headers="" milliseconds=6',
            6.0,
        ),
        (
            "round_trippers.go:454] GET https://10.0.0.1:6443/readyz?timeout=32s 200 OK in 11 milliseconds",
            11.0,
        ),
        ("nothing of the kind", None),
    ],
)
def test_kubectl_says_how_long_it_took(log: str, wanted: float | None) -> None:
    """In its words of today and of before 1.33; an answer that failed has none."""
    fact = answer_ms(("kubectl",))
    assert fact.parse([Completed((), 0, "ok", log)]) == wanted
    assert fact.parse([Completed((), 1, "", log)]) is None


def test_a_kubeconfig_through_a_tunnel() -> None:
    """The server is here, its certificate is still that of the address in the VPN; it stays a secret."""
    text = yaml.safe_dump(
        {"clusters": [{"name": "c", "cluster": {"server": "https://10.213.0.1:6443"}}], "users": []}
    )
    made = through_tunnel(Secret(text), IPv4Address("10.213.0.1"))
    (one,) = yaml.safe_load(made.reveal())["clusters"]
    assert one["cluster"] == {"server": "https://127.0.0.1:16443", "tls-server-name": "10.213.0.1"}
    assert "10.213.0.1" not in str(made)
    argv = tunnel(("ssh", "-p", "2222", "mesh@node"), IPv4Address("10.213.0.1"))
    assert argv == ("ssh", "-N", "-L", "127.0.0.1:16443:10.213.0.1:6443", "-p", "2222", "mesh@node")


@pytest.mark.parametrize("text", ["", "[]", "clusters: 3", "clusters: [{}]", "a: [b"])
def test_a_kubeconfig_that_is_none(text: str) -> None:
    """A sentence, without what is in it."""
    with pytest.raises(CheckError, match="kubeconfig cannot be read"):
        through_tunnel(text, IPv4Address("10.213.0.1"))
