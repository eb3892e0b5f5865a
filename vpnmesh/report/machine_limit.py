"""Whether a cell's figure is the machine's: the cores, not the VPN, were what ended there."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from vpnmesh.documents.numbers import finite
from vpnmesh.frames.aggregate import CellKey, mean_of, measured_rows
from vpnmesh.frames.schemas import ENDS
from vpnmesh.host.pods import VXLAN_BYTES
from vpnmesh.report.identity import mapping
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import Catalogue

MACHINE_FULL = 0.95
"""Share of a machine's cores: samples are half a second apart and begin and end somewhere inside, so a machine without
an idle moment is read as a little less than all of it."""
PROCESSES_FULL = 0.90
"""Share of the cores that a VPN's processes on one node can keep busy: what they wait for others is not theirs."""


_HEADERS_BYTES, _ETHERNET_BYTES = 52, 14
_NEAR = 0.98


@dataclass(frozen=True, slots=True)
class Machines:
    """Cores by node as the nodes said; `shared` where all nodes are one machine, as in a lab."""

    cores: Mapping[str, int]
    shared: bool
    relay: str = ""

    @classmethod
    def of(cls, provenance: Mapping[str, object]) -> "Machines":
        """What a run's manifest holds; results of others have no nodes."""
        nodes = {name: mapping(node) for name, node in mapping(provenance.get("nodes")).items()}
        told = {str(name): str(node.get("cores", "")) for name, node in nodes.items()}
        listed = mapping(provenance.get("testbed")).get("nodes")
        relays = [
            str(mapping(node).get("name"))
            for node in (listed if isinstance(listed, list) else [])
            if "relay" in (mapping(node).get("roles") or [])  # type: ignore[operator]  # a list by its writer
        ]
        cores = {name: int(text) for name, text in told.items() if text.isdecimal()}
        return cls(cores, bool(provenance.get("lab")), *relays[:1])

    def of_end(self, end: str, pair: str) -> int | None:
        """The cores of the node with that part; None where nobody told."""
        client, _, server = pair.partition(">")
        return self.cores.get({"client": client, "server": server}.get(end, self.relay))


def limits(samples: pl.DataFrame, machines: Machines, catalogue: Catalogue) -> dict[CellKey, str]:
    """The cells whose mean load says that cores were full, with what was full, in words."""
    groups = samples.filter(measured_rows()).partition_by("scenario", "condition", "test", as_dict=True)
    found = {
        (str(scenario), str(condition), str(test)): _full(rows, machines, catalogue)
        for (scenario, condition, test), rows in groups.items()
    }
    return {cell: said for cell, said in found.items() if said}


def _full(rows: pl.DataFrame, machines: Machines, catalogue: Catalogue) -> str:
    pair = str(rows["pair"].drop_nulls().first() or "")
    usable = _usable_cores(str(rows["scenario"].first()), catalogue)
    said = []
    for end in ENDS:
        if (cores := machines.of_end(end, pair)) is None:
            continue
        if not machines.shared:
            said += _if_full(f"the {end}", mean_of(rows, f"{end}_cpu_pct"), cores, MACHINE_FULL)
        own = min(cores, usable or cores)
        load = mean_of(rows, f"{end}_solution_cpu_pct")
        said += _if_full(f"the VPN's processes on the {end}", load, own, PROCESSES_FULL)
    if machines.shared and (cores := machines.of_end("client", pair)):
        full = _if_full("the machine", mean_of(rows, "machine_cpu_pct"), cores, MACHINE_FULL)
        said = [*(f"{one}, {_of_ends(rows)}" for one in full), *said]
    return "; ".join(said)


def _if_full(whose: str, load_pct: float | None, cores: int, share: float) -> list[str]:
    if load_pct is None or load_pct < share * 100 * cores:
        return []
    return [f"{whose} at {load_pct:.0f} of {100 * cores} %"]


def _of_ends(rows: pl.DataFrame) -> str:
    """How much of a shared machine the measured nodes took: the rest went to the testbed, and to whatever else ran."""
    loads = [mean_of(rows, f"{end}_cpu_pct") or 0.0 for end in ENDS]
    return f"{sum(loads):.0f} % by client, server and relay"


def _usable_cores(scenario: str, catalogue: Catalogue) -> int | None:
    """How many cores the scenario's processes can use on one node, where its solution says so."""
    declared = catalogue.get(scenario)
    solution = SOLUTIONS.get(declared.solution) if declared else None
    return solution.stack(declared).cores if declared and solution else None


def fills_ports(rate_mbit_s: float | None, pod_mtu: int, provenance: Mapping[str, object]) -> bool:
    """Whether that much of pods' TCP is what a lab's ports carry: nothing faster could be seen there.

    A segment of full size has 52 bytes of headers with timestamps, and on the wire VXLAN's 50 and Ethernet's 14 more.
    """
    port = finite(mapping(provenance.get("lab")).get("port_rate_mbit_s"))
    most = port * (pod_mtu - _HEADERS_BYTES) / (pod_mtu + VXLAN_BYTES + _ETHERNET_BYTES) if port else None
    return bool(most and rate_mbit_s and rate_mbit_s >= _NEAR * most)


def default_congestion(provenance: Mapping[str, object]) -> str:
    """The nodes' own congestion control, several joined by a slash; "" where nobody asked."""
    told = {
        str(mapping(node).get("tcp_congestion", "")).strip()
        for node in mapping(provenance.get("nodes")).values()
    }
    return "/".join(sorted(name for name in told if name and not name.startswith("not known")))
