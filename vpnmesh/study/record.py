"""What one attempt leaves: a typed record that is a journal line, and a row of `results.parquet`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import ENDS, FIGURE_COLUMNS, RESULTS, SCHEMA_VERSION
from vpnmesh.measurements import measurement_named
from vpnmesh.model import Cell, Pair
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome
from vpnmesh.tools.load import NodeLoad

_PLAIN: dict[pl.DataType, type] = {pl.String(): str, pl.Int64(): int, pl.Boolean(): bool}
_LOADS = ("cpu_pct", "cpu_user_pct", "cpu_system_pct", "ram_mb", "solution_cpu_pct", "solution_ram_mb")


@dataclass(frozen=True, slots=True)
class Record:
    """An attempt at a cell; RTTs in ms of a pod ping under the condition, None where none came back."""

    cell: Cell
    repetition: int
    outcome: Outcome
    started_at: datetime
    elapsed_s: float = 0.0
    visit: int = 0
    sequence: int = 0
    data_plane: str = ""
    rtt_ms_before: float | None = None
    rtt_ms_after: float | None = None
    relay_share: float | None = None
    near_cap: bool | None = None
    impairment_late_ms: float | None = None
    placement: str = ""
    engine: str = ""
    loads: Mapping[str, NodeLoad] = field(default_factory=dict)
    raw: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """What makes the attempt the same one after a restart."""
        return (self.cell.key, self.repetition)

    def further_samples(self) -> dict[str, float]:
        """The figures that the results table has no column for: a ping's RTT, how long a fallback took."""
        samples = self.outcome.samples if isinstance(self.outcome, Measured) else ()
        return {sample.name: sample.value for sample in samples if sample.name not in FIGURE_COLUMNS}

    def row(self) -> dict[str, object]:
        """The record under the column names of the results table, JSON-ready but for the time stamp."""
        failed = self.outcome if isinstance(self.outcome, Failed) else None
        measured = self.outcome if isinstance(self.outcome, Measured) else None
        row: dict[str, object] = dict.fromkeys(RESULTS)
        row |= {
            "scenario": self.cell.scenario,
            "condition": self.cell.condition,
            "test": self.cell.test,
            "pair": str(self.cell.pair),
            "repetition": self.repetition,
            "outcome": "failed" if failed else "measured",
            "stage": failed.stage if failed else None,
            "reason": failed.reason if failed else None,
            "rtt_ms_before": self.rtt_ms_before,
            "rtt_ms_after": self.rtt_ms_after,
            "visit": self.visit,
            "sequence": self.sequence,
            "started_at": self.started_at,
            "elapsed_s": self.elapsed_s,
            "data_plane": self.data_plane,
            "relay_share": self.relay_share,
            "near_cap": self.near_cap,
            "impairment_late_ms": self.impairment_late_ms,
            "placement": self.placement or None,
            "engine": self.engine or None,
            "raw": self.raw,
        }
        if measured:
            row |= {name: measured.get(name) for name in FIGURE_COLUMNS}
        for end in ENDS:
            if load := self.loads.get(end):
                row |= {f"{end}_{figure}": getattr(load, figure) for figure in _LOADS}
                row |= {
                    "machine_cpu_pct": load.machine_cpu_pct,
                    "machine_softirq_pct": load.machine_softirq_pct,
                }
        return row


def journal_line(record: Record) -> dict[str, object]:
    """The record as one JSON object; columns without a value are left out, figures without a column are `samples`."""
    row = {name: value for name, value in record.row().items() if value is not None}
    row["started_at"] = record.started_at.isoformat()
    if further := record.further_samples():
        row["samples"] = further
    return {"schema_version": SCHEMA_VERSION, "type": "repetition", **row}


def frame_of(lines: list[dict[str, object]]) -> pl.DataFrame:
    """The results table from journal lines, in the order they were written."""
    rows = [
        {name: _value(name, line.get(name)) for name in RESULTS}
        for line in lines
        if line.get("type") == "repetition"
    ]
    return pl.DataFrame(rows, schema=RESULTS)


def finished(lines: list[dict[str, object]]) -> frozenset[tuple[str, int]]:
    """The keys of attempts that the journal holds, measured or failed; what was unavailable is tried again."""
    return frozenset(_key(line) for line in lines if line.get("type") == "repetition" and _attempted(line))


def last_sequence(lines: list[dict[str, object]]) -> int:
    """The number of the last row that the journal holds, of whatever outcome; 0 for an empty one."""
    return max(
        (int(str(line.get("sequence", 0))) for line in lines if line.get("type") == "repetition"), default=0
    )


def _attempted(line: Mapping[str, object]) -> bool:
    return line.get("stage") != UNAVAILABLE


def _key(line: Mapping[str, object]) -> tuple[str, int]:
    try:
        pair = Pair.parse(str(line["pair"]))
        cell = Cell(str(line["scenario"]), str(line["condition"]), _test(line), pair)
        return (cell.key, int(str(line["repetition"])))
    except (KeyError, ValueError) as error:
        raise InputError(
            "journal.jsonl", f"a line without {error}", "this is no run of this version"
        ) from error


def _test(line: Mapping[str, object]) -> str:
    """The line's test; UnknownNameError where no module here is of that name."""
    return measurement_named(str(line["test"]), "journal.jsonl").name


def _value(name: str, value: object) -> object:
    """A line's value in its column's type; InputError where it is none of that type."""
    if value is None:
        return None
    try:
        if name == "started_at":
            return datetime.fromisoformat(str(value)).astimezone(UTC)
        if RESULTS[name] == pl.Float64():
            return float(str(value))
    except ValueError:
        pass
    else:
        if isinstance(value, _PLAIN[RESULTS[name]]) and (name == "near_cap" or not isinstance(value, bool)):
            return value
    raise InputError(
        "journal.jsonl",
        f"{name} is {str(value)[:60]!r}, wanted {RESULTS[name]}",
        "this is no run of this version",
    )
