"""What one attempt leaves: a typed record that is a journal line, and a row of `results.parquet`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from vpnmesh.frames.schemas import ENDS, FIGURE_COLUMNS, RESULTS, SCHEMA_VERSION
from vpnmesh.model import Cell
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, of_kind
from vpnmesh.study.outcome import Failed, Measured, Outcome
from vpnmesh.tools.load import NodeLoad

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
    at_once: int | None = None
    adopted: bool | None = None

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
            "at_once": self.at_once,
            "adopted": self.adopted,
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


def frame_of(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """The results table from a journal's events, in the order they were written."""
    return pl.DataFrame([one.row() for one in of_kind(events, RepetitionEnded)], schema=RESULTS)


def finished(events: Iterable[JournalEvent]) -> frozenset[tuple[str, int]]:
    """The keys of attempts that the journal has, measured or failed; what was unavailable is tried again."""
    return frozenset(one.key for one in of_kind(events, RepetitionEnded) if not one.unavailable)


def last_sequence(events: Iterable[JournalEvent]) -> int:
    """The number of the last row that the journal has, of whatever outcome; 0 for an empty one."""
    return max((one.sequence or 0 for one in of_kind(events, RepetitionEnded)), default=0)
