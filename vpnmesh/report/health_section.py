"""The section on the cluster's health: a sentence per scenario, a timeline per solution, a table per phase."""

from collections.abc import Mapping

import polars as pl

from vpnmesh.report.health import HEALTH
from vpnmesh.report.health_words import sentences
from vpnmesh.report.page import Block, FigureBlock, Items, Paragraph, Section, table_block
from vpnmesh.report.tables import Study

TABLES = ("health", "health_timeline")
"""The tables of this section; the second is the pictures'."""
FIGURE = "health-"
_SAID = (
    "A Kubernetes cluster stood over each scenario while its network was changed in phases: UDP blocked and allowed "
    "again, the relay, the VPN's control plane and the daemons of a worker and of the master killed and started. The "
    "API server was asked four times a second from the worker and from its pod; a silence counts from one second on. "
    "Kubernetes' own times are the defaults: a node is NotReady 50 s after it was last heard of (40 s before 1.32), "
    "its pods are told to go 300 s later."
)
_CAPTION = (
    "{name}: what was seen over time, of the first measured repetition. Shaded: phases. Thin line: as it should be; "
    "bar: away, missing, broken or not ready, with its seconds. The path's two rows are what either end's VPN named, "
    "each with a ping: filled direct, open relayed, a bar where nothing came back. Put back: vpnmesh made the pods' "
    "interface and routes again, since nothing else did."
)
_TABLE = (
    "The worst of all repetitions (n) in each phase, longest in seconds. path_s is how long the VPN took until the "
    "wanted path was there for good, 0 where it never left it; convergence_s what the convergence test of the same run "
    "gave. A dash: not awaited, never there, or never heard. put_back: how often vpnmesh had to put routes back."
)


def health_section(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """Sentences, pictures and table; no section where no cluster was watched."""
    rows = study.tables.get("health", pl.DataFrame(schema=HEALTH))
    if rows.is_empty():
        return []
    drawn = [
        FigureBlock(name, _CAPTION.format(name=name.removeprefix(FIGURE)), svg)
        for name, svg in figures.items()
        if name.startswith(FIGURE)
    ]
    blocks: list[Block] = [
        Paragraph(_SAID),
        Items("Does the cluster survive?", tuple(sentences(study))),
        *drawn,
        table_block("health", _TABLE, rows),
    ]
    return [Section("health", "Cluster health", tuple(blocks))]
