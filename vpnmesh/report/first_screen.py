"""What a reader must know first: where and by what traffic was impaired, how long and how often, on what machines."""

import re
from collections.abc import Mapping

import polars as pl

from vpnmesh.frames.aggregate import unavailable
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.formatting import span
from vpnmesh.report.identity import VIRTUAL_FORWARDING, mapping, virtual_forwarding
from vpnmesh.report.published import own_planes
from vpnmesh.report.setting import NOT_RECORDED, STEADY, meaning
from vpnmesh.report.tables import Study
from vpnmesh.report.time_spent import time_spent
from vpnmesh.report.versions import VERSIONS, beside_paper
from vpnmesh.study.remarks import VISITED_ONCE

_PLACES = {
    "underlay": "below the VPN",
    "vxlan": "inside the VPN, at the pods' VXLAN",
    "pod": "inside the VPN, at the pod",
    "vlan-pair": "at the firewall between two VLANs",
}
_ENDS = {"client": "what the client sends", "server": "what the server sends", "both": "what both ends send"}
_NO_METAL = "the paper forwards on bare metal only, so these are no bare-metal results"
Facts = tuple[tuple[str, str], ...]


def facts(study: Study) -> Facts:
    """Name and value of each fact, in the order they are shown; "not recorded" where there is no value."""
    meant = meaning(study)
    duration = meant["seconds per repetition"]
    rows = [
        ("Impaired at", _placement(meant["placement"])),
        ("Impaired by", meant["engine"]),
        (
            "Seconds per repetition",
            duration if NOT_RECORDED in duration else f"{duration}, {_counted(meant)}",
        ),
        ("Repetitions per cell", _repetitions(study)),
        ("Data planes", _planes(study) or NOT_RECORDED),
        ("Time", time_spent(study) or NOT_RECORDED),
        *(("Versions", text) for text in _versions(study)),
        ("Machines", _machines(study)),
    ]
    if virtual := virtual_forwarding(study.provenance):
        rows.append((VIRTUAL_FORWARDING, f"{virtual}: {_NO_METAL}"))
    if visited_once(study):
        rows.append(("Order", VISITED_ONCE))
    return tuple(rows)


def _counted(meant: Mapping[str, str]) -> str:
    """From when on the seconds count; steady ones are at least as many as asked for."""
    omitted = f"after {meant['omitted seconds']} omitted"
    return f"or more, once the flow is steady, {omitted}" if meant["seconds count"] == STEADY else omitted


def _planes(study: Study) -> str:
    """Each data plane with the scenarios that it carried; baselines have none."""
    together: dict[str, list[str]] = {}
    for name, plane in own_planes(study.samples).rows():
        together.setdefault(plane, []).append(name)
    return "; ".join(
        f"{', '.join(study.scenarios.in_order(names))} {plane}"
        for plane, names in together.items()
        if plane != "none"
    )


def _versions(study: Study) -> tuple[str, ...]:
    """Today's versions beside the paper's, where the nodes told any; the whole table has a section of its own."""
    table = study.tables.get("versions", pl.DataFrame(schema=VERSIONS))
    return tuple(filter(None, (beside_paper(table),)))


def line(study: Study) -> str:
    """The same facts in one line for a terminal, without those that were not recorded."""
    return "; ".join(f"{name.lower()}: {text}" for name, text in known(study))


def known(study: Study) -> Facts:
    """The facts that were recorded."""
    return tuple((name, text) for name, text in facts(study) if text != NOT_RECORDED)


def visited_once(study: Study) -> bool:
    """Whether several scenarios are compared though one of them was visited at one time only."""
    tried = study.samples.filter(~unavailable()).drop_nulls("visit")
    visits = tried.group_by("scenario").agg(pl.col("visit").n_unique())
    return visits.height > 1 and int(visits["visit"].min()) == 1  # type: ignore[arg-type]  # counts are numbers


def _placement(placement: str) -> str:
    """`underlay:client:auto` and what that means."""
    place, _, rest = placement.partition(":")
    end, _, limit = rest.partition(":")
    if place not in _PLACES or end not in _ENDS:
        return placement
    queue = "queue sized to the delay" if limit == "auto" else f"queue of {limit} packets"
    return f"{placement} ({_PLACES[place]}; {_ENDS[end]}; {queue})"


def _repetitions(study: Study) -> str:
    cells = study.tables["throughput"].filter(pl.col("test").is_in(THROUGHPUT_TESTS), pl.col("attempted") > 0)
    parts = []
    for title, rows in (
        ("undisturbed", cells.filter(condition="none")),
        ("impaired", cells.filter(pl.col("condition") != "none")),
    ):
        if counts := rows["attempted"].to_list():
            parts.append((title, span(counts)))
    told = {count for _, count in parts}
    if len(told) == 1:
        return told.pop()
    return ", ".join(f"{count} {title}" for title, count in parts) or "none"


def _machines(study: Study) -> str:
    """What the nodes run on; in a lab, that they share it: a busy relay takes CPU from both ends."""
    said = study.provenance
    machine = str(said.get("machine") or mapping(said.get("environment")).get("CPU") or NOT_RECORDED)
    if not said.get("lab"):
        return machine
    cores = re.search(r"(\d+) cores", machine)
    return f"one: all nodes share its {cores[1] if cores else ''} cores and kernel ({machine})".replace(
        "  ", " "
    )
