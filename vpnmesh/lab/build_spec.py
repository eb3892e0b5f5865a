"""All that the lab's init needs, as one value in one file: the init decides nothing."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vpnmesh.lab.cgroups import CgroupPlan
from vpnmesh.lab.nodes import Account, NodeFile
from vpnmesh.lab.topology import Step, Topology, build_steps, node_sysctls


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node: its name (also its network namespace's), its settings, its files; `emptied` are folders of the machine
    that are empty in the node.
    """

    name: str
    sysctls: tuple[tuple[str, str], ...]
    files: tuple[NodeFile, ...]
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """The lab: `steps` run first, then all nodes start at once, then `uplink` when the controller says so.

    With `cgroups` every node can be a node of Kubernetes.
    """

    steps: tuple[Step, ...]
    uplink: Step
    sysctls: tuple[tuple[str, str], ...]
    accounts: tuple[Account, ...]
    nodes: tuple[NodeSpec, ...]
    cgroups: CgroupPlan | None = None

    def to_json(self) -> str:
        """The spec as the init reads it; it holds private keys."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "BuildSpec":
        """Read what `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        return cls(
            steps=tuple(_step(item) for item in raw["steps"]),
            uplink=_step(raw["uplink"]),
            sysctls=_settings(raw["sysctls"]),
            accounts=tuple(Account(**item) for item in raw["accounts"]),
            nodes=tuple(
                NodeSpec(
                    name=item["name"],
                    sysctls=_settings(item["sysctls"]),
                    files=tuple(NodeFile(**entry) for entry in item["files"]),
                    emptied=tuple(item["emptied"]),
                )
                for item in raw["nodes"]
            ),
            cgroups=CgroupPlan.from_raw(raw["cgroups"]) if raw["cgroups"] else None,
        )


def fingerprint(topology: Topology, hosts_files: Iterable[str]) -> str:
    """What makes two labs the same: network, settings and names, not keys."""
    steps = build_steps(topology, port_isolation=True)
    settings = [node_sysctls(topology, node) for node in topology.nodes]
    text = repr((steps, settings, tuple(hosts_files), str(topology.controller)))
    return hashlib.sha256(text.encode()).hexdigest()


def _step(raw: dict[str, Any]) -> Step:
    return Step(raw["name"], tuple(tuple(command) for command in raw["commands"]))


def _settings(raw: Iterable[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in raw)
