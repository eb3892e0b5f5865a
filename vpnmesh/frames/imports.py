"""From a tool's files to rows of the results table, with notes on what was not usable."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.names import PublishedFile
from vpnmesh.frames.schemas import RESULTS
from vpnmesh.study.outcome import UNAVAILABLE
from vpnmesh.tools import knb

Row = dict[str, object]
_LATEST = datetime.max.replace(tzinfo=UTC)
_OUTLIER_FACTOR = 100.0
_NOTHING = knb.Contents((), frozenset())


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows in the schema of results, what was dropped or repaired, and the machine's facts by scenario.

    `asked` is what all repetitions were asked for (`duration_s`, `omit_s`), as far as the files say.
    """

    samples: pl.DataFrame
    notes: tuple[str, ...] = ()
    facts: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    asked: Mapping[str, object] = field(default_factory=dict)


def import_knb(files: Iterable[tuple[PublishedFile, str]]) -> Imported:
    """Every repetition of the files (source and text); what cannot be used becomes a note or a failed row."""
    rows, notes, unused = list[Row](), list[str](), Counter[tuple[str, str]]()
    facts: dict[str, frozenset[tuple[str, str]]] = defaultdict(frozenset)
    for source, text in files:
        found, told, contents = _read_file(source, text)
        rows += found
        notes += told
        facts[source.scenario] |= contents.facts
        unused.update((source.scenario, section) for section in contents.other_sections)
    rows, duplicates = _without_duplicates(rows)
    notes += [
        f"{scenario}: {n} {section} sections not used (pod to pod is what is compared)"
        for (scenario, section), n in unused.items()
    ]
    notes += [f"{name}: {n} repetitions were there twice, counted once" for name, n in duplicates.items()]
    samples = as_results(rows)
    return Imported(samples, (*notes, *failure_notes(samples), *unit_notes(samples)), dict(facts))


def _read_file(source: PublishedFile, text: str) -> tuple[list[Row], list[str], knb.Contents]:
    """The rows of one file; no row where not even the condition is known."""
    try:
        condition = knb.condition_of(source.file_name)
    except InputError as error:
        return [], [f"{source.name}: left out: {error}"], _NOTHING
    if condition is None:
        return [], [f"{source.name}: left out: its name states no loss and delay"], _NOTHING
    test = knb.wanted_test(source.file_name)
    try:
        contents = knb.parse(text, test)
    except ToolError as error:
        row = _failed_row(source, condition.name, test, error.reason, 1)
        return ([row] if test else []), [f"{source.name}: not usable: {error.reason}"], _NOTHING
    rows = [_row(source, condition.name, i, rep) for i, rep in enumerate(contents.repetitions)]
    tests = {test} if test else {rep.test for rep in contents.repetitions}
    rows += [
        _failed_row(source, condition.name, name, reason, i)
        for i, reason in enumerate(contents.broken)
        for name in sorted(tests)
    ]
    return rows, _file_notes(source, contents), contents


def _file_notes(source: PublishedFile, contents: knb.Contents) -> list[str]:
    notes = []
    if contents.repaired:
        notes.append(f"{source.name}: invalid JSON, repaired: {len(contents.repetitions)} repetitions read")
    return [*notes, *(f"{source.name}: {reason}" for reason in contents.broken)]


def _row(source: PublishedFile, condition: str, index: int, repetition: knb.Repetition) -> Row:
    """One repetition as a row; readings that the tool did give are kept, also where the repetition failed."""
    row: Row = {
        "scenario": source.scenario,
        "condition": condition,
        "test": repetition.test,
        "pair": repetition.pair,
        "outcome": "failed" if repetition.problem else "measured",
        "stage": "tool" if repetition.problem else None,
        "reason": repetition.problem,
        "rate_mbit_s": repetition.rate_mbit_s,
        "started_at": repetition.started_at,
        "raw": f"{source.name}#{index}",
        "identity": (repetition.name, repetition.started_at),
    }
    for end, load in (("client", repetition.client), ("server", repetition.server)):
        row |= {f"{end}_{name}": getattr(load, name) for name in load.__slots__}
    return row


def _failed_row(source: PublishedFile, condition: str, test: str | None, reason: str, index: int) -> Row:
    return {
        "scenario": source.scenario,
        "condition": condition,
        "test": test,
        "outcome": "failed",
        "stage": "tool",
        "reason": reason,
        "raw": f"{source.name}#unreadable-{index}",
        "identity": (source.name, index),
    }


def _without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], Counter[str]]:
    """Rows of the same repetition (tool's name and start) once; a repetition without either is itself."""
    seen, kept, duplicates = set[object](), list[Row](), Counter[str]()
    for row in rows:
        identity = row.pop("identity")
        key = (row["scenario"], row["condition"], row["test"], identity)
        if identity != ("", None) and key in seen:
            duplicates[f"{row['scenario']} {row['condition']} {row['test']}"] += 1
            continue
        seen.add(key)
        kept.append(row)
    return kept, duplicates


def as_results(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows in the order they were measured in, numbered within their cell and over all."""
    ordered = sorted(rows, key=lambda row: (row.get("started_at") or _LATEST, str(row["raw"])))
    numbers: Counter[tuple[object, ...]] = Counter()
    for sequence, row in enumerate(ordered, start=1):
        cell = (row["scenario"], row["condition"], row["test"])
        numbers[cell] += 1
        row |= {"repetition": numbers[cell], "sequence": sequence}
    return pl.DataFrame(ordered, schema=RESULTS, orient="row")


def failure_notes(samples: pl.DataFrame) -> list[str]:
    """One sentence per cell and reason for repetitions that failed; one per reason for what could not be attempted."""
    failed = (
        samples.filter((pl.col("outcome") != "measured") & (pl.col("stage") != UNAVAILABLE))
        .group_by("scenario", "condition", "test", "stage", "reason", maintain_order=True)
        .len()
    )
    return [
        *_unavailable_notes(samples),
        *(
            f"{row['scenario']} {row['condition']} {row['test']}: {row['len']} failed at {row['stage']}:"
            f" {row['reason']}"
            for row in failed.iter_rows(named=True)
        ),
    ]


def _unavailable_notes(samples: pl.DataFrame) -> list[str]:
    """What is missing keeps whole scenarios from being attempted: their cells are counted, not listed."""
    lacking = samples.filter(pl.col("stage") == UNAVAILABLE)
    cells = lacking.unique(["scenario", "condition", "test", "reason"], maintain_order=True)
    return [
        f"{_cells_named(rows)}: {reason}"
        for (reason,), rows in cells.partition_by("reason", as_dict=True, maintain_order=True).items()
    ]


def _cells_named(rows: pl.DataFrame) -> str:
    if rows.height == 1:
        return " ".join(rows.select("scenario", "condition", "test").row(0))
    return f"{', '.join(rows['scenario'].unique(maintain_order=True))} ({rows.height} cells)"


def unit_notes(samples: pl.DataFrame) -> list[str]:
    """A warning per cell whose figures are a hundred times off its median or the other scenarios': another unit?"""
    rate = pl.col("rate_mbit_s")
    cells = (
        samples.filter((pl.col("outcome") == "measured") & rate.is_not_null())
        .group_by("scenario", "condition", "test", maintain_order=True)
        .agg(_far_from(rate, rate.median()).sum().alias("odd"), pl.len(), rate.median().alias("median"))
        .with_columns(far=_far_from(pl.col("median"), pl.col("median").median().over("condition", "test")))
    )
    beyond = f"by more than a factor of {_OUTLIER_FACTOR:g}: mixed units? They are kept"
    return [
        f"{row['scenario']} {row['condition']} {row['test']}: {_differing(row)} {beyond}"
        for row in cells.filter(pl.col("far") | (pl.col("odd") > 0)).iter_rows(named=True)
    ]


def _differing(row: Row) -> str:
    if row["odd"]:
        return f"{row['odd']} of {row['len']} rates differ from the median"
    return "all rates differ from those of the other scenarios"


def _far_from(figure: pl.Expr, usual: pl.Expr) -> pl.Expr:
    return (figure > _OUTLIER_FACTOR * usual) | (figure * _OUTLIER_FACTOR < usual)
