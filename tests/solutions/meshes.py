"""Meshes as they are after joining, for tests that need no host."""

from collections.abc import Mapping

from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Plan, Secret, Step, Text, WriteFile
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named

RELAY = "relay"
CONTROL = "hypervisor"


def mesh_of(bed: Testbed, scenario: str, published: Mapping[tuple[str, str], Text] | None = None) -> Mesh:
    """The mesh of a scenario on the lab's testbed, with what nodes would have published."""
    known: dict[tuple[str, str], Text] = {
        (RELAY, "secret"): Secret("relay-secret-of-this-test"),
        (RELAY, "certificate"): "-----BEGIN CERTIFICATE-----\n",
        (RELAY, "planet"): "AQ==",
        (CONTROL, "certificate"): "-----BEGIN CERTIFICATE-----\n",
        (CONTROL, "headscale-version"): "headscale version v0.29.2",
        (CONTROL, "auth-key"): Secret("auth-key-of-this-test"),
        (CONTROL, "store-key"): Secret("store-key-of-this-test"),
        (CONTROL, "setup-key"): Secret("setup-key-of-this-test"),
    }
    for number, node in enumerate(bed.nodes):
        known[node.name, "node-key"] = f"key-of-{node.name}"
        known[node.name, "identity"] = f"{number:010x}:0:{'0' * 128}"
    return Mesh(bed, scenario_named(scenario), {**known, **(published or {})})


def named_keys(words: str, keys: Mapping[str, str]) -> str:
    """A tool's captured words with each node's public key (by node name) replaced by the one of `mesh_of`."""
    for name, key in keys.items():
        words = words.replace(key, f"key-of-{name}")
    return words


def said(*outputs: str, exit_code: int = 0) -> list[Completed]:
    """What commands answered, in order."""
    return [Completed((), exit_code, output, "") for output in outputs]


def texts(plan: Plan) -> str:
    """All that a log, a diff or a result may show of a plan: every argument, and secrets as they show themselves."""
    return "\n".join([plan.diff, *(_shown(step) for step in plan.steps), repr(plan)])


def _shown(step: Step) -> str:
    if isinstance(step, WriteFile):
        return f"{step.path} {step.content}"
    assert isinstance(step, Command)
    return " ".join(step.argv)
