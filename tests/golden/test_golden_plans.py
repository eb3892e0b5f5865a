"""Inventory in, rendered plans and configurations out; and what a real node said leaves nothing to do."""

import hashlib
import json
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from tests.golden.goldens import answered, golden, rendered, replayed
from vpnmesh.host.pods import PodNetwork, attached, detached, held, pod_network
from vpnmesh.host.service import Service, probe, running
from vpnmesh.host.tuning import Tuning
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, reveal
from vpnmesh.solutions.nebula import BLACKLIST, Nebula, config
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.solutions.wireguard import WireGuard
from vpnmesh.study.scenarios import scenario_named

BLANK_EXITS = (1, 127)
"""A node that has nothing, and one where not even the tools are."""


def mesh_of(bed: Testbed, name: str, published: dict[tuple[str, str], Text] | None = None) -> Mesh:
    return Mesh(bed, scenario_named(name), published or {}, dry_run=True)


def interface_plan(bed: Testbed, captured: Path, name: str = "wireguard-direct") -> Fact[Plan]:
    """WireGuard's last stage on worker1, with the keys that the captured mesh had."""
    keys = json.loads((captured / "wireguard" / "public-keys.json").read_text())
    mesh = mesh_of(bed, name, {(node, "public-key"): key for node, key in keys.items()})
    stages = {stage.name: stage for stage in WireGuard().stages(mesh)}
    return stages["interface"].plan(mesh, bed.node("worker1"))


def native(bed: Testbed) -> PodNetwork:
    over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
    return pod_network(bed, 1450, over)


def tuned(bed: Testbed) -> PodNetwork:
    over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
    return pod_network(bed, 1450, over, Tuning(offloads=False, buffers_bytes=7 << 20))


def over_wireguard(bed: Testbed) -> PodNetwork:
    mesh = mesh_of(bed, "wireguard-direct")
    over = {node.name: ("vmwg0", IPv4Address(mesh.overlay(node).ip)) for node in bed.k8s}
    return pod_network(bed, 1230, over)


@pytest.mark.parametrize("exit_code", BLANK_EXITS)
def test_wireguard_interface(bed: Testbed, captured: Path, exit_code: int) -> None:
    """A member's interface: create, keys and endpoints of both peers, address, MTU 1280; wg missing is the same."""
    plan = answered(interface_plan(bed, captured), exit_code)
    assert golden("wireguard/wireguard-worker1.plan", rendered(plan)) == rendered(plan)


def test_wireguard_interface_stands(bed: Testbed, captured: Path) -> None:
    """What a real member said right after joining leaves nothing to do."""
    fact = interface_plan(bed, captured)
    assert Plan() == replayed(fact, captured / "wireguard" / "interface" / "exchange.json")


def test_wireguard_peer_with_another_key_leaves_the_others_alone(bed: Testbed, captured: Path) -> None:
    """It shows in the diff by both keys, and is replaced on the interface as it is: nobody else is cut off."""
    keys = json.loads((captured / "wireguard" / "public-keys.json").read_text())
    published: dict[tuple[str, str], Text] = {(node, "public-key"): key for node, key in keys.items()}
    mesh = mesh_of(bed, "wireguard-direct", {**published, ("worker2", "public-key"): "bmV3"})
    stage = WireGuard().stages(mesh)[1]
    fact = stage.plan(mesh, bed.node("worker1"))
    plan = replayed(fact, captured / "wireguard" / "interface" / "exchange.json")
    assert plan
    assert f"-peer {keys['worker2']} endpoint 192.88.99.18:51821 allows 10.213.0.3/32" in plan.diff
    assert "+peer bmV3 endpoint 192.88.99.18:51821 allows 10.213.0.3/32" in plan.diff
    (step,) = plan.steps
    assert isinstance(step, Command)
    assert step.argv[:6] == ("wg", "set", "vmwg0", "peer", keys["worker2"], "remove")
    assert "bmV3" in step.argv


def test_wireguard_with_another_key_of_its_own_is_made_anew(bed: Testbed, captured: Path) -> None:
    """Whose peers are right and whose own key is not: the interface is built again."""
    keys = json.loads((captured / "wireguard" / "public-keys.json").read_text())
    published: dict[tuple[str, str], Text] = {(node, "public-key"): key for node, key in keys.items()}
    mesh = mesh_of(bed, "wireguard-direct", {**published, ("worker1", "public-key"): "bmV3"})
    fact = WireGuard().stages(mesh)[1].plan(mesh, bed.node("worker1"))
    plan = replayed(fact, captured / "wireguard" / "interface" / "exchange.json")
    assert next(step.argv[:3] for step in plan.steps if isinstance(step, Command)) == ("ip", "link", "delete")


@pytest.mark.parametrize(
    ("scenario", "node"),
    [
        ("nebula-direct", "worker1"),
        ("nebula-direct", "hypervisor"),
        ("nebula-relay", "worker1"),
        ("nebula-relay", "relay"),
        ("nebula-relay", "hypervisor"),
    ],
)
def test_nebula_config(bed: Testbed, scenario: str, node: str) -> None:
    """A member's, the lighthouse's and the relay's configuration, as the daemon reads it."""
    mesh = mesh_of(bed, scenario, {(node, "console-key"): f"ssh-ed25519 AAAA {node}"})
    text = yaml.safe_dump(config(mesh, bed.node(node)), sort_keys=False)
    assert golden(f"nebula/{scenario}-{node}.yml", text) == text


@pytest.mark.parametrize("exit_code", BLANK_EXITS)
def test_nebula_blacklist(bed: Testbed, exit_code: int) -> None:
    """Calico's and the management's interfaces are never advertised; a running daemon is told."""
    mesh = mesh_of(bed, "nebula-direct")
    plan = answered(Nebula().blacklist(mesh, bed.node("worker1")), exit_code)
    assert golden("nebula/nebula-blacklist.plan", rendered(plan)) == rendered(plan)


def test_nebula_blacklist_stands(bed: Testbed) -> None:
    """The very file that would be written leaves nothing to do; an empty one does not."""
    mesh = mesh_of(bed, "nebula-direct")
    fact = Nebula().blacklist(mesh, bed.node("worker1"))
    written = [step for step in answered(fact).steps if isinstance(step, WriteFile)]
    assert [step.path for step in written] == [BLACKLIST]
    assert Plan() == answered(fact, 0, str(written[0].content))
    assert answered(fact, 0, "")


@pytest.mark.parametrize("exit_code", BLANK_EXITS)
@pytest.mark.parametrize(
    ("network", "name"),
    [(native, "pods-1450.plan"), (over_wireguard, "pods-1230.plan"), (tuned, "pods-1450-tuned.plan")],
    ids=["1450", "1230", "1450-tuned"],
)
def test_pods(bed: Testbed, network: object, name: str, exit_code: int) -> None:
    """Calico's datapath for a worker: MTU, VNI 4096, port 4789, no learning, both peers."""
    assert callable(network)
    plan = answered(attached(network(bed), bed.node("worker1")), exit_code)
    assert golden(name, rendered(plan)) == rendered(plan)


@pytest.mark.parametrize("network", [native, over_wireguard], ids=["native-1450", "wireguard-1230"])
def test_pods_stand(bed: Testbed, captured: Path, network: object, request: pytest.FixtureRequest) -> None:
    """What a real worker said leaves nothing to do, and everything to take away."""
    assert callable(network)
    said = captured / "pods" / request.node.callspec.id / "exchange.json"
    assert Plan() == replayed(attached(network(bed), bed.node("worker1")), said)
    assert taken_away(said, "ours\n")


def taken_away(said: Path, ours: str) -> Plan:
    """What is to be taken away on a node that said this, and whether the VXLAN device can be ours."""
    fact = detached()
    return replayed(
        Fact(fact.commands[:-1], lambda completed: fact.parse([*completed, Completed((), 0, ours, "")])), said
    )


def test_a_vxlan_device_beside_another_kubernetes_is_not_ours(captured: Path) -> None:
    """Without a pod of ours nothing is to be done there; with one the pod alone is told, and the step asks again."""
    said = captured / "pods" / "native-1450" / "exchange.json"
    plan = taken_away(said, "")
    assert "pod" in plan.diff
    assert "vxlan" not in plan.diff
    assert "fdb" not in plan.diff
    (vxlan,) = (one for one in plan.steps if isinstance(one, Command) and "vxlan.calico" in one.argv)
    assert vxlan.argv[:2] == ("sh", "-c")
    assert "kubelet" in vxlan.argv


def test_pods_of_another_mtu_are_made_anew(bed: Testbed, captured: Path) -> None:
    """Native pods where a tunnel's are wanted are removed first, and the diff shows both MTUs."""
    said = captured / "pods" / "native-1450" / "exchange.json"
    plan = replayed(attached(over_wireguard(bed), bed.node("worker1")), said)
    first = plan.steps[0]
    assert not isinstance(first, WriteFile)
    assert first.argv == ("ip", "link", "delete", "cali0")
    assert "-veth cali0 mtu 1450 mac ee:ee:ee:ee:ee:ee" in plan.diff
    assert "+veth cali0 mtu 1230 mac ee:ee:ee:ee:ee:ee" in plan.diff


def test_pods_of_another_tuning_are_made_anew(bed: Testbed, captured: Path) -> None:
    """Plain pods where tuned ones are wanted are removed first, and the other way round; what is set is in the diff."""
    said = captured / "pods" / "native-1450" / "exchange.json"
    plan = replayed(attached(tuned(bed), bed.node("worker1")), said)
    assert "+pod tuned: offloads none, buffers 7340032" in plan.diff
    links, *others = json.loads(said.read_text())
    noted = links["stdout"].replace('"ifname":"cali0"', '"ifname":"cali0","ifalias":"tuned: offloads none"')
    assert noted != links["stdout"]
    fact = attached(native(bed), bed.node("worker1"))
    answers = [
        Completed(tuple(one["argv"]), one["exit_code"], one["stdout"], one["stderr"])
        for one in ({**links, "stdout": noted}, *others)
    ]
    assert "-pod tuned: offloads none" in fact.parse(answers).diff


def test_links_with_an_address_of_their_own_have_it_from_the_first_moment(bed: Testbed) -> None:
    """Between a link with a random address and ours udev may come, and its own stays: no packet of a pod arrives."""
    made = rendered(answered(attached(native(bed), bed.node("worker1")), 1))
    (veth,) = (line for line in made.splitlines() if "link add cali0" in line)
    (vxlan,) = (line for line in made.splitlines() if "link add vxlan.calico" in line)
    assert " address ee:ee:ee:ee:ee:ee " in veth.partition(" type ")[0]
    assert " address 66:" in vxlan.partition(" type ")[0]
    assert not [line for line in made.splitlines() if "link set" in line and " address " in line]


def test_a_pod_whose_gateway_has_another_address_is_made_anew(bed: Testbed, captured: Path) -> None:
    """What udev set on a machine with systemd (96:06:f7:b2:08:bc) is told, and pods do not stand with it."""
    said = captured / "pods" / "native-1450" / "exchange.json"
    answers = [
        Completed(
            tuple(one["argv"]),
            one["exit_code"],
            one["stdout"].replace('"address":"ee:ee:ee:ee:ee:ee"', '"address":"96:06:f7:b2:08:bc"'),
            one["stderr"],
        )
        for one in json.loads(said.read_text())
    ]
    plan = attached(native(bed), bed.node("worker1")).parse(answers)
    assert "-veth cali0 mtu 1450 mac 96:06:f7:b2:08:bc" in plan.diff
    assert "+veth cali0 mtu 1450 mac ee:ee:ee:ee:ee:ee" in plan.diff


def test_a_node_without_pods_has_nothing_to_take_away(captured: Path) -> None:
    """What a real node said before any scenario: it holds nothing."""
    said = captured / "pods" / "blank" / "exchange.json"
    assert replayed(held(), said) == ()
    assert Plan() == taken_away(said, "ours\n")


@pytest.mark.parametrize(("exit_code", "stdout"), [(0, ""), (0, "[]"), (0, "[{}]\n"), (1, ""), (127, "")])
def test_iproute2_that_says_nothing_is_a_node_without_pods(exit_code: int, stdout: str) -> None:
    """Empty answers, `[{}]` (as iproute2 prints for none) and missing tools are nothing held, not errors."""
    assert answered(held(), exit_code, stdout) == ()


SERVICE = Service(
    "daemon", ("daemon", "-c", "/etc/d.conf"), (WriteFile("/etc/d.conf", "x = 1\n"),), {"B": "2", "A": "1"}
)


def test_service_start() -> None:
    """Stop what runs, write the files, start with the environment in front, note the spec last."""
    plan = answered(running(SERVICE))
    assert golden("service-start.plan", rendered(plan)) == rendered(plan)


def test_a_running_service_stands() -> None:
    """The spec of a living process leaves nothing to do, with or without a newline, whichever controller wrote it."""
    for said in (SERVICE.spec(), f"{SERVICE.spec()}\n", SERVICE.spec("0123")):
        assert Plan() == answered(running(SERVICE), 0, said)


@pytest.mark.parametrize("said", ["bd99a4d62a6d748f", " ", "a b c", "\u00fc" * 200, f"{'0' * 32} ", "0123"])
def test_a_spec_that_is_none_starts_the_service_anew(said: str) -> None:
    """Of an older version, cut off, or another's: the service is not taken for the wanted one."""
    assert answered(running(SERVICE), 0, said)


def test_a_short_secret_cannot_be_looked_up() -> None:
    """Another process writes another spec of it, no plain digest is in one, and the diff shows neither."""
    guessed = Service("daemon", ("daemon",), (WriteFile("/etc/d.conf", Secret("winter2024")),))
    plan = answered(running(guessed))
    (spec,) = (step for step in plan.steps if isinstance(step, WriteFile) and step.path.endswith(".spec"))
    salt, digest = reveal(spec.content).split(" ")
    code = "from vpnmesh.host.service import Service; print(Service('daemon', ()).spec())"
    other = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True).stdout
    assert other.split()[0] != salt
    assert guessed.spec(other.split()[0]).split()[1] != digest
    assert reveal(spec.content) == guessed.spec(salt)
    assert (len(salt), spec.mode) == (32, 0o600)
    plain = "\0".join((*guessed.command, "/etc/d.conf", "winter2024")).encode()
    assert hashlib.sha256(plain).hexdigest()[:16] not in plan.diff + reveal(spec.content)
    assert [part for part in (salt, digest, str(spec.content)) if part in plan.diff] == []


@pytest.mark.parametrize("exit_code", BLANK_EXITS)
def test_a_dead_service_is_started_whatever_its_spec_says(exit_code: int) -> None:
    """`kill -0` that fails after the spec was printed is a service that does not run."""
    fact = running(SERVICE)
    said = [Completed(command.argv, exit_code, SERVICE.spec(), "") for command in fact.commands]
    assert fact.parse(said)
    assert answered(probe("daemon"), exit_code, SERVICE.spec()) == ""


@pytest.mark.parametrize(
    "other",
    [
        Service("daemon", ("daemon", "-c", "/etc/e.conf"), SERVICE.files, SERVICE.environment),
        Service("daemon", SERVICE.argv, (WriteFile("/etc/d.conf", "x = 2\n"),), SERVICE.environment),
        Service("daemon", SERVICE.argv, (WriteFile("/etc/x.conf", "x = 1\n"),), SERVICE.environment),
        Service("daemon", SERVICE.argv, SERVICE.files, {"A": "1", "B": "3"}),
        Service("daemon", SERVICE.argv, SERVICE.files),
    ],
    ids=["argument", "content", "path", "environment", "no-environment"],
)
def test_any_change_of_a_service_changes_its_spec(other: Service) -> None:
    """A daemon with another argument, file or environment is started anew."""
    assert other.spec("0123") != SERVICE.spec("0123")
    assert answered(running(other), 0, SERVICE.spec())


def test_the_order_of_an_environment_is_no_change() -> None:
    """The same variables in another order are the same service."""
    other = Service("daemon", SERVICE.argv, SERVICE.files, {"A": "1", "B": "2"})
    assert other.is_what_runs(SERVICE.spec())
