"""`workflows.cluster` as a user calls it: up, looked at, refused beside, interrupted at any time, and taken down.

What the command does around an installer is tried with one that needs no Kubernetes (`tests.cluster.stand_in`).
"""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inventory.load import load
from tests.cluster import stand_in
from tests.conftest import ROOT
from tests.live.vpn import need
from vpnmesh.cluster import installer_named
from vpnmesh.host.sysctls import REDIRECTS
from vpnmesh.lab.lifecycle import Lab, down, find, up
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Testbed
from workflows.run import provenance
from workflows.run.site import Site

pytestmark = pytest.mark.live

UP = ("cluster", "up", "--scenario", "wireguard-direct", "--cluster", stand_in.NAME)
INSTALLED = "on these addresses, Kubernetes: nodes"
THEIRS = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  automountServiceAccountToken: false
  containers: [{name: web, image: web, imagePullPolicy: Never}]
"""
"""A pod whose image is nowhere: it is on a node all the same."""
JOINED = "the members have joined"


@pytest.fixture
def environment(place: Path, tmp_path: Path) -> dict[str, str]:
    """A network and a lab directory of the test's own, with the stand-in installed."""
    folder = tmp_path / "packages"
    folder.mkdir()
    stand_in.install(folder)
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "PYTHONUNBUFFERED": "1"}


def call(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`vpnmesh` with these arguments, to its end."""
    argv = (sys.executable, "-m", "workflows", *arguments)
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@contextmanager
def until(words: str, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`cluster up`, once it has said that."""
    argv, pipe = (sys.executable, "-m", "workflows", *UP), subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if words in line:
                break
        else:
            assert process.stderr
            pytest.fail("".join(said) + process.stderr.read())
        try:
            yield process
        finally:
            process.kill()


def state(place: Path) -> Path:
    """Where the command keeps what stands."""
    return Path(f"{place}-state") / "cluster"


def left(place: Path) -> list[str]:
    """Files of the command that are still there; its lock is nobody's business."""
    return sorted(path.name for path in state(place).iterdir() if path.name not in ("lock", "logs"))


def footprint() -> dict[str, dict[str, list[str]]]:
    """What a run could leave on any node of the lab."""
    site = Site(*load("lab"))
    try:
        return provenance.footprint(site)
    finally:
        site.nr.close_connections()


def redirects(pid: int, setting: str = "") -> str:
    """The node's setting, after it was set if so asked."""
    argv = ("nsenter", "-t", str(pid), "-n", "sysctl", "-n", f"{REDIRECTS}{setting}")
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("scenario", ["headscale-direct"])
def test_kubernetes_over_a_vpn_is_used_from_here(
    scenario: str, place: Path, testbed: Testbed, environment: dict[str, str], tmp_path: Path
) -> None:
    """Up from nothing; kubectl here, through the tunnel that was told, sees the nodes by their addresses in the VPN;
    `status` says the same, a pod of somebody's own is named, and `down` leaves nothing.
    """
    file = tmp_path / "kubeconfig"
    site = Site(*load("lab"), installer=installer_named("kubernetes"))
    up(testbed, kubernetes=True)
    need(site, scenario)
    site.nr.close_connections()
    before = footprint()
    made = call(environment, "cluster", "up", "--scenario", scenario, "--kubeconfig", str(file))
    assert made.returncode == 0, made.stdout + made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    command = next(line for line in made.stdout.splitlines() if line.strip().startswith("ssh -N"))
    with subprocess.Popen(shlex.split(command.strip().removesuffix(" &"))) as tunnel:
        try:
            nodes = json.loads(kubectl(file, "get", "nodes", "-o", "json"))["items"]
            kubectl(file, "create", "namespace", "theirs")
            kubectl(file, "-n", "theirs", "create", "-f", "-", stdin=THEIRS)
            seen = wait_until(
                lambda: status(environment), 60, good=lambda one: "theirs" in str(one["troubles"])
            )
        finally:
            tunnel.terminate()
    addresses = {one["address"] for node in nodes for one in node["status"]["addresses"]}
    assert {one["address"] for one in seen["nodes"]} <= addresses
    assert all(one["ready"] for one in seen["nodes"])
    assert any(one.startswith("foreign pod theirs/web on ") for one in seen["troubles"])
    assert 0 <= seen["api_ms"] < 20_000
    gone = call(environment, "cluster", "down")
    assert (gone.returncode, gone.stderr, left(place), file.exists()) == (0, "", [], False)
    assert footprint() == before


def kubectl(file: Path, *words: str, stdin: str = "") -> str:
    """What kubectl says on this machine, with the kubeconfig; the tunnel may take a moment."""
    argv = ("kubernetes", "kubectl", f"--kubeconfig={file}", *words)

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)

    done = wait_until(ask, 30, good=lambda one: one.returncode == 0)
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(environment: Mapping[str, str]) -> dict[str, Any]:
    """What `cluster status` says, as JSON."""
    found: dict[str, Any] = json.loads(call(environment, "cluster", "status", "--json").stdout)
    return found


def test_up_stays_and_down_leaves_nodes_as_found(
    place: Path, testbed: Testbed, environment: dict[str, str]
) -> None:
    """In a lab that is up: stages are told, `status` says all, a second `up` starts nothing, no run starts beside it,
    another scenario is refused by name, and `down` leaves the nodes as they were and the lab up; twice is fine.
    """
    lab = up(testbed, kubernetes=True)
    pid = lab.node_pid(testbed.client.name)
    # as machines have it; the lab's nodes do not
    redirects(pid, "=1")
    before = footprint()
    made = call(environment, *UP)
    assert made.returncode == 0, made.stderr
    order = [
        made.stdout.index(words) for words in (JOINED, "every pair has its path", INSTALLED, "are proven")
    ]
    assert order == sorted(order)
    kubeconfig = state(place) / "kubeconfig"
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert kubeconfig.read_text().count("127.0.0.1:16443") == 1
    assert "sesame" not in made.stdout + made.stderr
    said = call(environment, "cluster", "status", "--json")
    seen = json.loads(said.stdout)
    assert (said.returncode, seen["ready"], seen["scenario"], seen["api_ms"]) == (
        0,
        True,
        "wireguard-direct",
        7,
    )
    assert {one["path"] for one in seen["paths"]} == {"direct"}
    assert len(seen["paths"]) == 6
    pids = services(lab)
    again = call(environment, *UP)
    assert (again.returncode, services(lab)) == (0, pids), again.stderr
    assert again.stdout.startswith("stands already")
    other = call(environment, "cluster", "up", "--scenario", "native-1450", "--cluster", stand_in.NAME)
    assert other.returncode == 2
    assert "stand-in over wireguard-direct stands already" in other.stderr
    refused = call(environment, "growth", "--scenario", "nebula-direct")
    assert refused.returncode == 2
    assert "a cluster stands on these nodes (stand-in over wireguard-direct)" in refused.stderr
    # as the kernel's WireGuard does with a machine
    redirects(pid, "=0")
    gone = call(environment, "cluster", "down")
    assert (gone.returncode, gone.stderr, left(place)) == (0, "", [])
    assert footprint() == before
    assert redirects(pid) == "1"
    assert find()
    twice = call(environment, "cluster", "down")
    assert (twice.returncode, twice.stdout) == (0, "no cluster stands: nothing to take down\n")
    assert call(environment, "cluster", "status").returncode == 3


def services(lab: Lab) -> list[str]:
    """The pids of all daemons of ours on the master."""
    master = lab.node_pid(lab.record.nodes[0].name)
    folder = Path(f"/proc/{master}/root/run/vpnmesh")
    return sorted(f"{path.name} {path.read_text().strip()}" for path in folder.glob("*.pid"))


@pytest.mark.parametrize("words", [JOINED, INSTALLED])
def test_ctrl_c_takes_off_what_was_made(words: str, place: Path, environment: dict[str, str]) -> None:
    """Exit code 130, nothing on the machine, and the lab that was brought up for it is gone."""
    with until(words, environment) as process:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (130, "nothing of it is left\n")
    assert (left(place), find()) == ([], None)
    assert not place.exists()


@pytest.mark.parametrize("way_out", [("cluster", "down"), ("teardown",)])
def test_kill_9_in_the_middle(
    way_out: tuple[str, ...], place: Path, testbed: Testbed, environment: dict[str, str]
) -> None:
    """`status` says that it was interrupted, `up` refuses, and `down` or teardown leave nodes as they were."""
    up(testbed, kubernetes=True)
    before = footprint()
    with until(INSTALLED, environment) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    said = call(environment, "cluster", "status")
    assert (said.returncode, said.stdout) == (
        3,
        "stand-in over wireguard-direct: raising was interrupted; clean up: vpnmesh cluster down\n",
    )
    again = call(environment, *UP)
    assert again.returncode == 2
    assert "vpnmesh cluster down" in again.stderr
    gone = call(environment, *way_out)
    assert (gone.returncode, gone.stderr, left(place)) == (0, "", [])
    assert footprint() == before


def test_a_node_that_dies_meanwhile_is_named_once(
    place: Path, testbed: Testbed, environment: dict[str, str]
) -> None:
    """One sentence says which node and one what is left there; the record stays until the lab is gone."""
    lab = up(testbed, kubernetes=True)
    with until(JOINED, environment) as process:
        os.kill(lab.node_pid(testbed.server.name), signal.SIGKILL)
        _, error = process.communicate(timeout=200)
    assert process.returncode == 1
    lines = error.splitlines()
    assert [line for line in lines if line.startswith("error: ") and testbed.server.name in line] == lines[
        -1:
    ]
    assert len([line for line in lines if line.startswith("left: ")]) <= 2, error
    assert left(place) == ["cluster.json"]
    down()
    said = call(environment, "cluster", "status")
    assert (said.returncode, "which is not up any more" in said.stdout) == (3, True)
    assert call(environment, "cluster", "down").returncode == 0
    assert left(place) == []


def test_somebody_elses_cluster_is_not_touched(
    place: Path, testbed: Testbed, environment: dict[str, str]
) -> None:
    """A kubelet and K3s' folder on a worker are named with the node, before anything is changed; the doctor names them
    too, and a port that is taken.
    """
    lab = up(testbed, kubernetes=True)
    client, master = (lab.node_pid(name) for name in (testbed.client.name, testbed.master.name))
    root = Path(f"/proc/{client}/root")
    (root / "etc/rancher/k3s").mkdir(parents=True)
    (root / "etc/rancher/k3s/config.yaml").write_text("token: theirs\n")
    (root / "run/kubelet").write_bytes(Path("/usr/bin/sleep").read_bytes())
    (root / "run/kubelet").chmod(0o755)
    before = footprint()
    listen = "import socket, time; s = socket.create_server(('', 6443)); time.sleep(300)"
    with (
        subprocess.Popen(("nsenter", "-t", str(client), "-m", "-p", "-n", "/run/kubelet", "300")) as theirs,
        subprocess.Popen(("nsenter", "-t", str(master), "-m", "-p", "-n", "python3", "-c", listen)) as taken,
    ):
        done = call(environment, *UP)
        found = json.loads(
            call(
                environment, "doctor", "--cluster", stand_in.NAME, "--json", "--scenarios", "native-1450"
            ).stdout
        )
        after = footprint()
        assert (theirs.poll(), taken.poll()) == (None, None)
        down()
    assert (done.returncode, left(place), after) == (2, [], before)
    for there in ("process kubelet", "folder /etc/rancher"):
        assert f"{testbed.client.name}: Kubernetes: {there}" in done.stderr
    assert "nothing was changed" in done.stderr
    fatal = {
        (one["where"], one["said"]) for one in found if one["check"] == "cluster" and one["grade"] == "fatal"
    }
    assert fatal == {
        (testbed.client.name, "another cluster or container engine: process kubelet"),
        (testbed.client.name, "another cluster or container engine: folder /etc/rancher"),
        (testbed.master.name, "port TCP 6443 (API server) is taken"),
    }
