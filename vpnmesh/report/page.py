"""A report as a value: sections of paragraphs, lists, tables and figures, before anybody decides how they look."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from vpnmesh.report.formatting import TableCell, cell, heading


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; `kind` is `plain` or `warning`."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Items:
    """A list under a sentence; `folded` ones show their items on demand in HTML."""

    title: str
    items: tuple[str, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table with its columns' headings and rounded cells; `file` is where the full figures are."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    file: str = ""


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A figure; `svg` is None where the study has no data for it, and the caption says so."""

    name: str
    caption: str
    svg: str | None


Block = Paragraph | Heading | Items | TableBlock | FigureBlock


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the report with an id for links."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
    """What a reader must know before any figure, shown before the contents."""


def table_block(
    name: str, caption: str, frame: pl.DataFrame, columns: Sequence[str] | None = None, file: str = ""
) -> TableBlock:
    """A frame as a table; `columns` picks and orders those that are shown; `file` if it is not NAME.csv."""
    shown = [column for column in columns or frame.columns if column in frame.columns]
    return TableBlock(
        name,
        caption,
        tuple(heading(column) for column in shown),
        tuple(tuple(cell(column, row[column]) for column in shown) for row in frame.to_dicts()),
        f"tables/{file or name}.csv",
    )
