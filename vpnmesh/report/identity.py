"""What a run was measured on and with, from its manifest: the few facts that runs are compared and shown by."""

from collections.abc import Iterable, Mapping

from vpnmesh.cluster import PODS
from vpnmesh.model import FORWARDING_ROLES, NodeKind

CPU_UNIT = "percent of one core"
MACHINE_KEYS = ("kind", "substrate", "kernel", "machine", "cpu_unit")
"""Where these agree, rates may be compared as they are."""

_OF_NODES = {"os": "Operating system", "memory_kb": "Memory (kB)", "tcp_congestion": "TCP congestion control"}
_UNKNOWN = "not known"
VIRTUAL_FORWARDING = "Virtual forwarding"
Nodes = Iterable[Mapping[str, object]]


def identity(manifest: Mapping[str, object]) -> dict[str, object]:
    """Substrate, kernel, machine, versions, CPU unit and queue limit; what the manifest itself states wins."""
    nodes = _nodes(manifest)
    derived: dict[str, object] = {
        "kind": "run",
        "substrate": _substrate(manifest),
        "kernel": _joined(_answers(nodes, "kernel")),
        "machine": _joined(f"{_text(node, 'cpu')}, {_text(node, 'cores')} cores" for node in nodes),
        "versions": _versions(manifest, nodes),
        "cpu_unit": CPU_UNIT,
        "netem_limit": mapping(mapping(manifest.get("profile")).get("placement")).get("limit"),
        "environment": _environment(manifest, nodes),
    }
    known = {name: value for name, value in derived.items() if value not in (None, "", {})}
    return {**known, **manifest, "kind": "run"}


def mapping(value: object) -> Mapping[str, object]:
    """A document's mapping, or an empty one for whatever else is there."""
    return value if isinstance(value, Mapping) else {}


def _nodes(manifest: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [node for node in map(mapping, mapping(manifest.get("nodes")).values()) if node]


def _text(node: Mapping[str, object], name: str) -> str:
    return str(node.get(name, _UNKNOWN)).strip()


def _answers(nodes: Nodes, name: str) -> list[str]:
    """What the nodes said, those that could not answer left out."""
    return [text for node in nodes if not (text := _text(node, name)).startswith(_UNKNOWN)]


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts)))


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def cluster_of(manifest: Mapping[str, object]) -> str:
    """What put Kubernetes over every scenario of a run, as `--cluster` names it; PODS for none."""
    return str(manifest.get("cluster") or PODS)


def cluster_option(manifest: Mapping[str, object]) -> str:
    """How a command asks for the same; "" where it need not."""
    cluster = cluster_of(manifest)
    return "" if cluster == PODS else f" --cluster {cluster}"


def _substrate(manifest: Mapping[str, object]) -> str:
    """`lab` or `hosts`, whose pods, and the engine that impairs; empty where the manifest names none of these."""
    if "lab" not in manifest and "engine" not in manifest:
        return ""
    cluster = cluster_of(manifest)
    pods = "" if cluster == PODS else f", pods of {cluster}"
    place = "lab" if manifest.get("lab") else "hosts"
    return f"{place}{pods}, impaired by {manifest.get('engine') or _UNKNOWN}"


def _versions(manifest: Mapping[str, object], nodes: list[Mapping[str, object]]) -> dict[str, str]:
    """Of vpnmesh and of every program that the nodes were asked: its command line is the name."""
    asked = sorted({name for node in nodes for name in node if " " in name} | {"iperf3"})
    found = {
        name: _joined(line for text in _answers(nodes, name) for line in text.splitlines()[:1])
        for name in asked
    }
    if manifest.get("vpnmesh"):
        found["vpnmesh"] = str(manifest["vpnmesh"])
    return {name: text for name, text in found.items() if text}


def _environment(manifest: Mapping[str, object], nodes: list[Mapping[str, object]]) -> dict[str, str]:
    """Table 2 of a run."""
    table = {
        "Machine": _joined(f"{_text(node, 'cpu')}, {_text(node, 'cores')} cores" for node in nodes),
        "Kernel": _joined(_answers(nodes, "kernel")),
        **{title: _joined(_answers(nodes, name)) for name, title in _OF_NODES.items()},
        "Substrate": _substrate(manifest),
        "Nodes": str(len(nodes)) if nodes else "",
        VIRTUAL_FORWARDING: virtual_forwarding(manifest),
        "Nodes differ in": _joined(_texts(manifest.get("node_differences"))),
        "Profile": str(mapping(manifest.get("profile")).get("name", "")),
        "Seed": str(manifest.get("seed", "")),
        "Started": str(manifest.get("started_at", "")),
        "Code": str(manifest.get("git_commit", "")),
        **_versions(manifest, nodes),
    }
    return {name: text for name, text in table.items() if text}


def virtual_forwarding(manifest: Mapping[str, object]) -> str:
    """Where `allow_virtual_forwarding` let a VM forward, empty without it: the paper forwards on bare metal only."""
    if manifest.get("allow_virtual_forwarding") is not True:
        return ""
    listed = mapping(manifest.get("testbed")).get("nodes")
    nodes = [mapping(node) for node in listed] if isinstance(listed, list) else []
    forwarding = {str(role) for role in FORWARDING_ROLES}
    names = [
        _text(node, "name")
        for node in nodes
        if node.get("kind") == NodeKind.VM and forwarding & set(_texts(node.get("roles")))
    ]
    return f"allow_virtual_forwarding is set; on a VM: {', '.join(names) or 'none of them'}"
