"""What a person sees of a run: a line per finished cell, a bar with the time left, and tables at the end."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from vpnmesh.frames.aggregate import pairs_of
from vpnmesh.frames.summary import summarize
from vpnmesh.measurements import measurement_named
from vpnmesh.model import Condition
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.outcome import Failed, Measured
from vpnmesh.study.record import Record
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from vpnmesh.study.visits import Job, Visit
from workflows.run.terminal import harmless

PLAIN_WIDTH = 150


def make_console() -> Console:
    """A console for results: as wide as the terminal, or wide enough for the tables in a file.

    Nothing in a text is markup: names, and what nodes say, may hold brackets.
    """
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH, soft_wrap=True, markup=False)
    return harmless(console)


class RunProgress:
    """Live progress of a matrix; on a terminal with a bar, elsewhere as plain lines."""

    def __init__(
        self, console: Console, plan: MatrixPlan, done: int, budget_min: float | None = None
    ) -> None:
        self.console = console
        self.failures = 0
        self._planned_s = plan.seconds
        # an adaptive run with a budget goes on until that is over, whatever its plan has
        self._budget_s = 60 * budget_min + plan.beside_s if plan.profile.adaptive and budget_min else None
        pairs = {(one.cell.test, one.cell.pair) for one in plan.cells}
        self._pairs = max(Counter(test for test, _ in pairs).values(), default=1)
        self._started = time.monotonic()
        self._share_before = done / max(1, plan.repetitions)
        self._total = plan.repetitions
        self._done = done
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[failed]}", style="red"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(
            "starting", total=self._total, completed=done, left="", failed=""
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays on the screen."""
        self.console.print(text, highlight=False, markup=False)

    def doing(self, what: str) -> None:
        """What is under way now."""
        self._bar.update(self._task, description=what)

    def expect(self, visits: Iterable[Visit]) -> None:
        """Visits that the plan did not have come now."""
        self._total += sum(len(job.repetitions) for visit in visits for job in visit.jobs)
        self._bar.update(self._task, total=self._total)

    def advance(self, record: Record) -> None:
        """One attempt is done."""
        self._done += 1
        self.failures += isinstance(record.outcome, Failed)
        failed = f"{self.failures} failed" if self.failures else ""
        self._bar.update(self._task, completed=self._done, left=f"{self._left()} left", failed=failed)

    def finished(self, job: Job, records: Sequence[Record]) -> None:
        """All attempts of a job are done: say what came out."""
        cell = job.cell
        headline = measurement_named(cell.test).figures[0]
        values = [value for one in records if (value := _value(one, headline.name)) is not None]
        mean = f"{sum(values) / len(values):9.{headline.decimals}f}" if values else f"{'-':>9}"
        shown = f"{mean} {headline.shown_unit if values else '':6}"
        failures = [one.outcome for one in records if isinstance(one.outcome, Failed)]
        why = f"  FAILED {failures[0].stage}: {failures[0].reason}" if failures else ""
        ok = len(records) - len(failures)
        pair = f"{cell.pair!s:20} " if self._pairs > 1 else ""
        said = f"{cell.scenario:17} {cell.condition:13} {cell.test:4} {pair}{shown}  {ok}/{len(records)}"
        self.say(f"{said}{why[:300]}")

    def _left(self) -> str:
        """The estimate that remains, corrected by how the run has gone so far."""
        share = self._done / max(1, self._total)
        elapsed = time.monotonic() - self._started
        if self._budget_s is not None:
            return _duration(max(0.0, self._budget_s - elapsed))
        gone = share - self._share_before
        total = elapsed / gone if gone > 0.1 else self._planned_s  # noqa: PLR2004 - before that the plan knows better
        return _duration(max(0.0, total * (1 - share)))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"  # noqa: PLR2004


def _value(record: Record, name: str) -> float | None:
    return record.outcome.get(name) if isinstance(record.outcome, Measured) else None


def result_tables(results: pl.DataFrame, catalogue: Catalogue = BUILT_IN) -> Iterable[Table]:
    """One table per throughput test: scenarios, in the catalogue's order, by conditions; mean ± sd, n."""
    summary = summarize(results)
    pairs = len(pairs_of(results))
    over = f", over {pairs} pairs" if pairs > 1 else ""
    for test in [name for name in ("tcp", "udp") if name in summary["test"].to_list()]:
        title = f"{test.upper()} pod to pod, Mbit/s: mean ± sd, measured of attempted{over}"
        yield _table(title, summary.filter(pl.col("test") == test), catalogue)


def _table(title: str, rows: pl.DataFrame, catalogue: Catalogue) -> Table:
    conditions = sorted(set(rows["condition"]), key=_condition_order)
    cells = {(row["scenario"], row["condition"]): row for row in rows.iter_rows(named=True)}
    labels = {}
    for scenario in catalogue.in_order(rows["scenario"]):
        planes = {row["data_plane"] for key, row in cells.items() if key[0] == scenario} - {None, "", "none"}
        labels[scenario] = f"{scenario}\n{' and '.join(sorted(planes))}" if planes else scenario
    return by_condition(title, labels, conditions, {key: _text(row) for key, row in cells.items()})


def by_condition(
    title: str, labels: Mapping[str, str], conditions: Iterable[str], cells: Mapping[tuple[str, str], str]
) -> Table:
    """A table of scenarios, with what each is called there, by conditions; a cell that is missing is empty."""
    table, columns = Table(title=title, title_justify="left"), tuple(conditions)
    table.add_column("scenario", no_wrap=True)
    for condition in columns:
        table.add_column(condition, justify="right")
    for scenario, label in labels.items():
        table.add_row(label, *(cells.get((scenario, condition), "") for condition in columns))
    return table


def _condition_order(name: str) -> tuple[float, ...]:
    return Condition.parse(name).severity


def _text(row: dict[str, object]) -> str:
    if not row["attempted"]:
        return "unavailable"
    count = f"{row['measured']}/{row['attempted']}"
    mean, sd = row["mean_mbit_s"], row["sd_mbit_s"]
    if not isinstance(mean, float):
        return f"failed\n{count}"
    spread = f" ± {sd:.1f}" if isinstance(sd, float) else ""
    return f"{mean:.1f}{spread}\n{count}"
