"""The section on a mesh: heat maps, the table by pair, and what to know of both."""

from collections.abc import Mapping

import polars as pl

from vpnmesh.report.formatting import TableCell, cell, significant
from vpnmesh.report.mesh_tables import MESH, TABLE
from vpnmesh.report.page import Block, FigureBlock, Paragraph, Section, TableBlock
from vpnmesh.report.tables import Study

_SHOWN = ("scenario", "condition", "test", "pair", "figure", "attempted", "measured", "median", "lowest",
          "highest", "at once")  # fmt: skip


def mesh(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """The section on the mesh: heat maps, what to know of them, the table; nothing for a run of one pair."""
    rows = study.tables.get(MESH, pl.DataFrame(schema=TABLE))
    if rows.is_empty():
        return []
    blocks: list[Block] = [Paragraph(_said(rows))]
    blocks += [
        FigureBlock(name, f"{_caption(name)} A row is a client, a column a server.", svg)
        for name, svg in figures.items()
        if name.startswith(f"{MESH}-")
    ]
    return [Section(MESH, "Pair by pair", (*blocks, _table(rows)))]


def _said(rows: pl.DataFrame) -> str:
    pairs = rows["pair"].n_unique()
    members = len({*rows["client"], *rows["server"]})
    most = max(rows["at_once"].drop_nulls().to_list(), default=1)
    at_once = "one pair at a time" if most == 1 else f"up to {most} pairs at the same time"
    return (
        f"{pairs} of the {members * (members - 1)} ordered pairs of {members} members were measured, {at_once}. "
        "Everywhere else on this page a cell over several pairs counts each pair once, by the mean of its "
        "repetitions: its deviation and interval are between pairs."
    )


def _caption(name: str) -> str:
    _, test, condition = name.split("-", 2)
    return f"{test.upper()}, {condition}: the median of each pair's repetitions."


def _table(rows: pl.DataFrame) -> TableBlock:
    made = tuple(
        (
            *(cell(name, row[name]) for name in ("scenario", "condition", "test", "pair")),
            cell("title", " ".join(filter(None, (row["title"], row["unit"] and f"({row['unit']})")))),
            *(cell(name, row[name]) for name in ("attempted", "measured")),
            *(_number(row[name]) for name in ("median", "lowest", "highest")),
            cell("at_once", row["at_once"]),
        )
        for row in rows.to_dicts()
    )
    caption = "Every pair by itself: the median of its repetitions, the lowest and the highest; worst pairs by a click."
    return TableBlock("mesh", caption, _SHOWN, made, "tables/mesh.csv")


def _number(value: float | None) -> TableCell:
    return cell("", None) if value is None else TableCell(significant(value), value)
