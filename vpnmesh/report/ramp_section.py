"""The figure and the table of how flows start, as a section of the report; nothing where no run kept series."""

from collections.abc import Mapping

import polars as pl

from vpnmesh.report.page import Block, FigureBlock, Section, table_block
from vpnmesh.report.ramp import FEWEST_FOR_BAND
from vpnmesh.report.tables import Study

TABLES = ("ramp", "fill")
"""The tables of this section; the first is the figure's."""
FIGURE = "ramp-tcp"
_CAPTION = (
    "How TCP flows start: throughput at the receiver since the flow's start, the median of a cell's flows and, from "
    f"{FEWEST_FOR_BAND} on, the band between their quartiles; each rate is the mean of the round trip that ends then. "
    "A figure counts from when its flow is steady, so what is seen here before that is in no mean."
)
_FILL = (
    "How long flows take to fill the pipe: seconds until a round trip carried nine tenths of the steady rate (median, "
    "lowest, highest), and until the flow counted as steady. Times are as fine as the series' intervals."
)


def ramp_section(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """Figure and table; no section where there is neither."""
    filled = study.tables.get("fill", pl.DataFrame())
    blocks: list[Block] = [
        *([FigureBlock(FIGURE, _CAPTION, figures[FIGURE])] if FIGURE in figures else []),
        *([table_block("fill", _FILL, filled)] if not filled.is_empty() else []),
    ]
    return [Section("ramp", "How flows start", tuple(blocks))] if blocks else []
