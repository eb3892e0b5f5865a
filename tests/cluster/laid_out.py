"""Clusters as they are laid out over the lab's underlay, for tests that need no host."""

from collections.abc import Sequence
from pathlib import Path

from vpnmesh.cluster.pki import ROLES
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.host.pods import pod_network
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Text


def cluster_over(bed: Testbed, mtu: int = 1450) -> Cluster:
    """A cluster whose nodes are known by their underlay addresses, with what they would have published."""
    over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
    known: dict[tuple[str, str], Text] = {(bed.master.name, "ca"): "-----BEGIN CERTIFICATE-----\nca\n"}
    for node in bed.k8s:
        for role in ROLES:
            known[node.name, f"{role}-request"] = f"-----BEGIN CERTIFICATE REQUEST-----\n{node.name} {role}\n"
            known[bed.master.name, f"{node.name}-{role}"] = (
                f"-----BEGIN CERTIFICATE-----\n{node.name} {role}\n"
            )
    return Cluster(bed, pod_network(bed, mtu, over), known)


def on_a_blank_node(wanted: Fact[Plan]) -> Plan:
    """The plan where every question fails, as on a node that has nothing."""
    return wanted.parse([Completed(one.argv, 1, "", "") for one in wanted.commands])


def moved(command: Command, folder: str, to: Path) -> tuple[str, ...]:
    """The command with a folder of a node put below another one, to be run here."""
    return tuple(word.replace(folder, str(to)) for word in command.argv)


def commands(plan: Plan) -> Sequence[Command]:
    """The plan's commands, without its files."""
    return [step for step in plan.steps if isinstance(step, Command)]
