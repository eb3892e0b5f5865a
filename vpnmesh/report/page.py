"""A report as a value: sections of paragraphs, lists, tables and figures, before anybody decides how they look."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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


class Kind(StrEnum):
    """What a piece of an order is, so that each may look its own way."""

    NAME = "name"
    SIGN = "sign"
    LEAD = "lead"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of an order."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One test under some conditions: the order, how many pairs are decided, and what the rest would take."""

    test: str
    conditions: tuple[str, ...]
    order: tuple[Words, ...]
    decided: str
    rest: str

    @property
    def text(self) -> str:
        """The order as one line."""
        return "".join(words.text for words in self.order)


@dataclass(frozen=True, slots=True)
class Further:
    """What can be done about open pairs, with the command for it where there is one."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        """Both in one line."""
        return f"{self.text}: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True)
class Answers:
    """What is decided in all: a line per test, then a row per test and condition; `further` is about the rest."""

    summary: tuple[str, ...]
    further: tuple[Further, ...]
    rows: tuple[AnswerRow, ...]
    reading: str


Block = Paragraph | Heading | Items | TableBlock | FigureBlock | Answers


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
    """What a reader must know of any figure, shown beside the answers."""
    first: tuple[Block, ...] = ()
    """The first screen: what is decided, and one picture of it."""


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
