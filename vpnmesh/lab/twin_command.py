"""`lab up --like INVENTORY`: build the twin of a testbed, keep its inventory beside the lab, and say what differs."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vpnmesh.doctor.paths import RecordedPaths, parse_paths
from vpnmesh.documents.inventory_text import Entry, InventoryText
from vpnmesh.errors import InputError
from vpnmesh.lab.controller import used_networks
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.inventory_files import default_folder, read_inventory
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S, Lab, Progress, up
from vpnmesh.lab.replay import Ends, ReplayedPath, check_paths
from vpnmesh.lab.replaying import check_engine, look, replay
from vpnmesh.lab.sizes import write_inventory
from vpnmesh.lab.topology import plan_topology
from vpnmesh.lab.twin import Machine, Twin, differences, plan_twin, port_rate_of
from vpnmesh.tools.ping import PingSummary

NAME = "twin"


@dataclass(frozen=True, slots=True)
class TwinRequest:
    """What is asked for: the documents of an inventory, where they come from, and how the lab shall be."""

    like: InventoryText
    place: str
    port_rate_mbit_s: float | None
    rate_is_asked: bool
    kubernetes: bool
    paths: Path | None = None


def plan(request: TwinRequest) -> tuple[Twin, float | None]:
    """The twin, and the rate of its ports: as asked, else the least that the inventory states, at most the lab's."""
    twin = plan_twin(request.like, lab_login(), request.place, used_networks())
    rate = request.port_rate_mbit_s
    if not request.rate_is_asked:
        rate = port_rate_of(twin.real, DEFAULT_PORT_RATE_MBIT_S)
    plan_topology(twin.testbed, port_rate_mbit_s=rate)
    return twin, rate


def read_paths(request: TwinRequest, twin: Twin) -> RecordedPaths | None:
    """The paths that are to be replayed, checked against the testbed; None where none are."""
    if request.paths is None:
        return None
    place = f"--paths: {request.paths}"
    try:
        found = parse_paths(request.paths.read_bytes(), place)
    except OSError as error:
        raise InputError(place, f"cannot be read: {error.strerror}") from error
    check_paths(found, twin.testbed, place)
    return found


def lab_login() -> Entry:
    """How a lab's nodes are logged in to: what the defaults of its own inventory say, without their data."""
    return {key: value for key, value in read_inventory(default_folder()).defaults.items() if key != "data"}


def build(twin: Twin, rate: float | None, request: TwinRequest, progress: Progress) -> Lab:
    """Bring the twin up, or find it up, and write its inventory into the lab's directory."""
    found = read_paths(request, twin)
    if found is not None:
        check_engine()
    lab = up(twin.testbed, port_rate_mbit_s=rate, kubernetes=request.kubernetes, progress=progress)
    write_inventory(twin.text, folder())
    if found is not None:
        show_replay(replay(lab, twin.testbed, found, f"--paths: {request.paths}"), look(lab, twin.testbed))
    return lab


def folder() -> Path:
    """Where the inventory of the twin is while it is up."""
    return lab_directory(None).twin


def show(twin: Twin, rate: float | None) -> None:
    """The nodes as they are built, and what differs from the real ones."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_nodes(twin))
    machine = Machine(len(os.sched_getaffinity(0)), platform.release(), rate)
    table = Table("", twin.real.name, twin.testbed.name, title="What differs")
    for one in differences(twin, machine):
        table.add_row(one.matter, one.real, one.twin)
    console.print(table)


def show_replay(paths: Sequence[ReplayedPath], seen: Mapping[Ends, PingSummary]) -> None:
    """Every path as it was recorded, as the twin has it now, and what was added for that."""
    table = Table(
        *("path", "recorded, ms", "twin alone, ms", "added, ms", "twin now, ms (least)", "recorded loss, %"),
        title="Paths",
    )
    for path in paths:
        rtt = seen[path.first, path.second].rtt
        now = "no answer" if rtt is None else f"{rtt.min_ms:.2f}"
        figures = (f"{path.recorded_ms:.2f}", f"{path.own_ms:.2f}", f"{path.delay_ms:g}", now)
        table.add_row(f"{path.first} - {path.second}", *figures, f"{path.recorded_loss_pct:.2f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_recorded(found: RecordedPaths) -> None:
    """Every path that would be replayed."""
    for path in found.paths:
        click.echo(f"{path.first} - {path.second}: {path.rtt_ms:.2f} ms, {path.loss_pct:.2f} % lost")


def _nodes(twin: Twin) -> Table:
    table = Table("node", "roles", "VLAN", "prefix", "interface", "address", "managed at")
    for node in twin.testbed.nodes:
        for index, leg in enumerate(node.legs):
            first, last = (node.name, ", ".join(sorted(node.roles))), node.management
            vlan = twin.testbed.vlan(leg.vid)
            table.add_row(
                *(("", "") if index else first),
                *(str(leg.vid), str(vlan.prefix), leg.interface, str(leg.address.ip)),
                "" if index else last,
            )
    return table


def tell_how_to_use() -> None:
    """Which name other commands take it by."""
    click.echo(f"other commands take it by --inventory {NAME}, with the names of the real nodes")
