"""What a run's end and its report open with on a terminal: what is decided, what is open, and what knowing it takes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleRenderable
from rich.table import Table
from rich.text import Text

from vpnmesh.report.answer_words import told
from vpnmesh.report.page import AnswerRow, Answers, Kind
from vpnmesh.report.tables import Study

_STYLES = {Kind.NAME: "", Kind.SIGN: "bold", Kind.LEAD: "dim", Kind.NOTE: "italic dim"}


def opening(study: Study, run: Path | None = None) -> Iterator[Table | Text]:
    """The answers; `run` is the run's directory, for the command that goes on with it."""
    found = told(study, str(run or "RUN"))
    if not found.rows:
        return
    for sentence in found.summary:
        yield Text(sentence, "bold")
    yield _table(found)
    yield from (Text(str(one)) for one in found.further)


def show(console: Console, parts: Iterable[ConsoleRenderable | str]) -> None:
    """Print one after the other; commands are not broken into lines, so that they can be copied."""
    for part in parts:
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def _table(found: Answers) -> Table:
    table = Table(caption=found.reading, caption_justify="left", caption_style="dim", box=box.SIMPLE_HEAD)
    table.add_column("test", no_wrap=True)
    table.add_column("condition")
    table.add_column("fastest first", ratio=1)
    table.add_column("decided", no_wrap=True, justify="right")
    table.add_column("the rest takes")
    before = ""
    for row in found.rows:
        if before not in ("", row.test):
            table.add_section()
        table.add_row(
            row.test if row.test != before else "",
            ", ".join(row.conditions),
            _order(row),
            row.decided,
            row.rest,
        )
        before = row.test
    return table


def _order(row: AnswerRow) -> Text:
    return Text.assemble(*((words.text, _STYLES[words.kind]) for words in row.order))
