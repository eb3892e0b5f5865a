"""Calico by its operator: applied once, MTU in place by the paper's patch, readiness told in sentences."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.golden.goldens import answered
from vpnmesh.cluster import installer_named
from vpnmesh.cluster.calico_operator import (
    CalicoOperator,
    images_unpacked,
    installation,
    installed,
    mtu_changed,
    operator,
    plugins_found,
    unpacked,
)
from vpnmesh.cluster.calico_status import carried_out, operator_state
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_network
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan

KUBECTL = ("kubectl",)


@pytest.fixture
def cluster(bed: Testbed) -> Cluster:
    """Over the underlay, MTU 1450."""
    return Cluster(bed, pod_network(bed, 1450, {n.name: (n.leg.interface, n.underlay) for n in bed.k8s}))


def told(fact: Fact[Any], *answers: object) -> list[Completed]:
    """Each question answered with this JSON; None is a question that failed."""
    return [
        Completed(command.argv, int(said is None), "" if said is None else json.dumps(said), "not found")
        for command, said in zip(fact.commands, answers, strict=True)
    ]


def standing(cidr: str, mtu: int) -> dict[str, object]:
    """An Installation as the API gives it."""
    return {"kind": "Installation", "spec": {"calicoNetwork": {"ipPools": [{"cidr": cidr}], "mtu": mtu}}}


def test_images_come_out_of_the_release(tmp_path: Path) -> None:
    """Its archives and nothing else of it, once; without a release that is said."""
    packed, into = tmp_path / "release-v9/images", tmp_path / "images"
    packed.mkdir(parents=True)
    for name in ("calico-node.tar", "calico-cni.tar", "README"):
        (packed / name).write_text(name)
    fact = images_unpacked(str(into), str(tmp_path))
    [step] = fact.parse(told(fact, None)).steps
    assert isinstance(step, Command)
    without = subprocess.run(step.argv, capture_output=True, text=True, check=False)
    assert (without.returncode, "no archives of images" in without.stderr) == (1, True)
    pack = ("tar", "-czf", str(tmp_path / "release-v9.tgz"), "-C", str(tmp_path), "release-v9")
    subprocess.run(pack, check=True)
    subprocess.run(step.argv, check=True)
    assert sorted(path.name for path in into.iterdir()) == ["calico-cni.tar", "calico-node.tar"]
    assert fact.parse(told(fact, {})) == Plan()


def test_k3s_with_the_operator_brings_its_release() -> None:
    """The paper's recipe is one name, and all that the controller can bring is brought."""
    paper = installer_named("k3s-calico-operator")
    assert paper.artifacts == (("k3s", "program"), ("calico", "release"))
    assert paper.brings_pod_network


def test_the_papers_patch() -> None:
    """Word for word, where the MTU differs; nothing where it does not."""
    fact = mtu_changed(KUBECTL, 1230)
    assert fact.parse(told(fact, standing("10.0.0.0/16", 1230))) == Plan()
    plan = fact.parse(told(fact, standing("10.0.0.0/16", 1450)))
    [patch] = plan.steps
    assert isinstance(patch, Command)
    wanted = ("patch", "installation.operator.tigera.io", "default", "--type", "merge", "-p")
    assert patch.argv == (*KUBECTL, *wanted, '{"spec":{"calicoNetwork":{"mtu":1230}}}')
    assert "-mtu: 1450\n+mtu: 1230" in plan.diff


def test_a_standing_installation_is_left_alone(cluster: Cluster) -> None:
    """As it was applied, with what the operator added."""
    fact = installed(cluster, KUBECTL)
    found = json.loads(json.dumps(installation(cluster)))
    found["spec"]["calicoNetwork"]["ipPools"][0]["name"] = "default-ipv4-ippool"
    found["spec"]["registry"] = "example.org"
    assert fact.parse(told(fact, found, found)) == Plan()


def test_an_installation_with_other_pod_addresses_is_not_touched(cluster: Cluster) -> None:
    """The operator would never change them; the sentence says what to do."""
    fact = installed(cluster, KUBECTL)
    with pytest.raises(
        CheckError, match=r"with the pod addresses 10\.138\.0\.0/16, not .*remove the Installation"
    ):
        fact.parse(told(fact, None, standing("10.138.0.0/16", 1450)))


def test_the_vendors_manifests_are_applied_where_they_differ() -> None:
    """By the server: they are too large for a note of what was applied."""
    fact = operator(KUBECTL, "/m")
    assert answered(fact, 0) == Plan()
    plan = answered(fact, 1)
    first = plan.steps[0]
    assert isinstance(first, Command)
    assert first.argv[-3:] == ("apply", "--server-side", "--force-conflicts")
    assert "+/m/tigera-operator.yaml applied" in plan.diff


def test_manifests_come_out_of_the_vendors_archive(tmp_path: Path) -> None:
    """The script itself, on an archive laid out as a release is; a release without the first file is fine."""
    inner = tmp_path / "release-v3.25.1" / "manifests"
    inner.mkdir(parents=True)
    (inner / "tigera-operator.yaml").write_text("kind: Deployment\n")
    folder = tmp_path / "calico"
    folder.mkdir()
    subprocess.run(
        ("tar", "-czf", folder / "release-v3.25.1.tgz", "-C", tmp_path, "release-v3.25.1"), check=True
    )
    [step] = answered(unpacked(str(folder))).steps
    assert isinstance(step, Command)
    subprocess.run(step.argv, check=True)
    assert (folder / "tigera-operator.yaml").read_text() == "kind: Deployment\n"
    assert answered(unpacked(str(folder)), 0) == Plan()


def test_neither_manifests_nor_archive_is_one_sentence(tmp_path: Path) -> None:
    """What is missing, and where."""
    [step] = answered(unpacked(str(tmp_path))).steps
    assert isinstance(step, Command)
    done = subprocess.run(step.argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said == f"no tigera-operator.yaml and no release-VERSION.tgz of Calico in {tmp_path}"


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    """One of a component's conditions."""
    return {"type": kind, "status": status, "message": message}


def component(name: str, *conditions: dict[str, str]) -> dict[str, object]:
    """What the operator says of a component."""
    return {"metadata": {"name": name}, "status": {"conditions": list(conditions)}}


def waiting_pod(why: str) -> dict[str, object]:
    """A pod whose one container waits."""
    state = {"ready": False, "state": {"waiting": {"reason": why}}}
    return {
        "metadata": {"name": "calico-node-x"},
        "spec": {"nodeName": "worker1"},
        "status": {"containerStatuses": [state]},
    }


READY = {"items": [component("calico", condition("Available", "True"))]}
NODES = {"status": {"desiredNumberScheduled": 3, "numberReady": 3}}


def test_an_available_calico_is_ready() -> None:
    """Nothing to wait for."""
    fact = operator_state(KUBECTL)
    assert fact.parse(told(fact, READY, NODES, {"items": []})).unready == ()
    wait = carried_out(KUBECTL)
    assert wait.parse(told(wait, READY, NODES, {"items": []})) == Plan()


def test_what_is_missing_is_told_in_sentences() -> None:
    """The operator's own words, nodes, and each pod that waits with its reason."""
    fact = operator_state(KUBECTL)
    bad = component(
        "calico", condition("Available", "False"), condition("Degraded", "True", "Pod has crash looping")
    )
    few = {"status": {"desiredNumberScheduled": 3, "numberReady": 1}}
    state = fact.parse(told(fact, {"items": [bad]}, few, {"items": [waiting_pod("ErrImagePull")]}))
    assert state.unready == (
        "calico is not available: Pod has crash looping",
        "Calico is ready on 1 of 3 nodes",
        "pod calico-node-x on worker1: ErrImagePull",
    )


def test_an_operator_that_never_spoke_is_told() -> None:
    """No status, no pods, no namespace yet."""
    fact = operator_state(KUBECTL)
    state = fact.parse(told(fact, None, None, None))
    assert state.unready == (
        "the operator says nothing of calico: not found",
        "Calico is ready on 0 of 0 nodes",
    )


def test_waiting_ends_with_the_deadline(tmp_path: Path) -> None:
    """The script itself, with a kubectl that never says True: it ends without an error, the look after it tells."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho False\n")
    kubectl.chmod(0o755)
    fact = carried_out((str(kubectl),), ready_s=0)
    [step] = answered(fact).steps
    assert isinstance(step, Command)
    assert subprocess.run(step.argv, check=False, env=dict(os.environ)).returncode == 0
    assert "-Calico is ready on 0 of 0 nodes" in answered(fact).diff


def test_the_runtime_will_find_what_the_operator_installs() -> None:
    """Links into the usual folder, made before anything is there; nothing where they lead there already."""
    fact = plugins_found()
    links = [step.argv for step in answered(fact).steps if isinstance(step, Command)][1:]
    assert [argv[-2] for argv in links] == ["/opt/cni/bin/calico", "/opt/cni/bin/calico-ipam"]
    said = [Completed(argv, 0, f"{argv[-2]}\n", "") for argv in links]
    assert fact.parse(said) == Plan()


def test_all_else_is_done_on_the_master(cluster: Cluster) -> None:
    """Nodes are changed by the operator's own pods."""
    calico = CalicoOperator()
    plugins, *stages = (*calico.stages(cluster, KUBECTL), *calico.node_stages(cluster, KUBECTL))
    assert plugins.nodes == tuple(node.name for node in cluster.members)
    assert {stage.nodes for stage in stages} == {(cluster.master.name,)}
    assert calico.configuration(cluster, cluster.members[0]) == ()
