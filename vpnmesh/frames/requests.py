"""Requests of the API test, read lazily: from CSV files to tallies, with no more rows in memory than distinct times.

hey writes times with four decimals, so a million requests have some thousand distinct ones; mean, quantiles
and Mann-Whitney need no more than how often each occurred (`stats.describe.Tally`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from vpnmesh.frames.schemas import API, empty
from vpnmesh.stats.describe import Tally
from vpnmesh.tools import api_requests, hey

KEYS = ("scenario", "condition", "mode")
RequestsKey = tuple[str, str, str]
HEY, OPEN_LOOP = "hey", api_requests.OPEN_LOOP
_TEXT = {"error": pl.String(), "status-code": pl.Int64()}
_COLUMNS = {HEY: hey.COLUMNS, OPEN_LOOP: api_requests.SENDER_COLUMNS}
_SENT = {HEY: "offset", OPEN_LOOP: "intended-offset"}
"""When a request of each mode counts as sent."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file with one run's requests, and their scenario and condition."""

    path: str
    scenario: str
    condition: str
    run: int


@dataclass(frozen=True, slots=True)
class ApiCell:
    """The requests of a scenario under a condition in a mode: all of them, and run by run.

    `requests` counts every row, also the failed ones; the tallies hold those with a status and a time.
    """

    scenario: str
    condition: str
    mode: str
    requests: int
    failed: int
    pooled: Tally
    run_means: tuple[float, ...]
    achieved_rps: float | None
    saturated: bool | None


def scan_hey(files: Sequence[RunFile]) -> pl.LazyFrame:
    """The requests of hey's files, in the schema of `API`; the files' headers have been checked."""
    return scan_requests(files, HEY)


def scan_requests(files: Sequence[RunFile], mode: str) -> pl.LazyFrame:
    """The requests of files of that mode, in the schema of `API`; the files' headers have been checked.

    A short, empty or unreadable field is null, so the row is not `ok`; blank lines are no rows.
    """
    if not files:
        return empty(API).lazy()
    origin = pl.LazyFrame(
        {
            "path": [file.path for file in files],
            "scenario": [file.scenario for file in files],
            "condition": [file.condition for file in files],
            "run": [file.run for file in files],
        },
        schema_overrides={"run": pl.Int64()},
    )
    rows = pl.scan_csv(
        [file.path for file in files],
        schema={name: _TEXT.get(name, pl.Float64()) for name in _COLUMNS[mode]},
        include_file_paths="path",
        truncate_ragged_lines=True,
        ignore_errors=True,
        quote_char=None,
        encoding="utf8-lossy",
        glob=False,
    )
    # a blank line is a row of nulls; two columns tell, the others need not be parsed
    blank = pl.all_horizontal(pl.col(name).is_null() for name in hey.COLUMNS[:2])
    return rows.filter(~blank).join(origin, on="path").select(**_as_requests(mode))


def _as_requests(mode: str) -> dict[str, pl.Expr]:
    response, offset, status = pl.col("response-time"), pl.col(_SENT[mode]), pl.col("status-code")
    ok = response.is_finite() & (response >= 0) & offset.is_finite() & status.is_between(200, 299)
    return {
        "scenario": pl.col("scenario"),
        "condition": pl.col("condition"),
        "mode": pl.lit(mode),
        "run": pl.col("run"),
        "response_s": response,
        "offset_s": offset,
        "status": status,
        "ok": ok.fill_null(value=False),
    }


def api_cells(requests: pl.LazyFrame) -> list[ApiCell]:
    """Every scenario, condition and mode that has requests; reads the rows three times, in batches.

    Three separate queries: in one query Polars would keep all rows in memory between them.
    """
    counts = _by_run(requests).collect(engine="streaming")
    tallies = _tallies(_counted(requests).collect(engine="streaming"))
    load = _load(requests, counts)
    return [
        ApiCell(
            *key,
            requests=int(runs["requests"].sum()),
            failed=int(runs["failed"].sum()),
            pooled=tallies.get(key, Tally.of(())),
            run_means=tuple(runs.drop_nulls("mean_s")["mean_s"].to_list()),
            achieved_rps=load[key][0],
            saturated=load[key][1],
        )
        for key, runs in _split(counts)
    ]


def _split(frame: pl.DataFrame) -> list[tuple[RequestsKey, pl.DataFrame]]:
    groups = frame.partition_by(*KEYS, as_dict=True, maintain_order=True)
    return [((str(key[0]), str(key[1]), str(key[2])), group) for key, group in groups.items()]


def _by_run(requests: pl.LazyFrame) -> pl.LazyFrame:
    """A row per run: how many requests, how they went, from when to when.

    Only bare columns are aggregated: for an expression over a group Polars keeps all its rows in memory.
    """
    ok, response, offset = pl.col("ok"), pl.col("response_s"), pl.col("offset_s")
    answered = {
        # whole nanoseconds: batches are added in any order, and only whole numbers then give the same sum every time
        "busy_ns": (response * 1e9).round().cast(pl.Int64),
        "sent_s": offset,
        "answered_s": offset + response,
    }
    return (
        requests.select(
            *KEYS, "run", "ok", **{name: pl.when(ok).then(value) for name, value in answered.items()}
        )
        .group_by(*KEYS, "run")
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            pl.col("ok").sum().cast(pl.Int64).alias("ok"),
            pl.col("busy_ns").sum(),
            pl.col("sent_s").min().alias("first_s"),
            pl.col("sent_s").max().alias("last_s"),
            pl.col("answered_s").min().alias("first_answer_s"),
            pl.col("answered_s").max().alias("last_answer_s"),
        )
        .with_columns(busy_s=pl.col("busy_ns") / 1e9, failed=pl.col("requests") - pl.col("ok"))
        .with_columns(mean_s=pl.when(pl.col("ok") > 0).then(pl.col("busy_s") / pl.col("ok")))
        .sort(*KEYS, "run")
    )


def _counted(requests: pl.LazyFrame) -> pl.LazyFrame:
    """How often each response time occurred."""
    return (
        requests.filter("ok")
        .group_by(*KEYS, "response_s")
        .agg(pl.len().cast(pl.Int64).alias("count"))
        .sort(*KEYS, "response_s")
    )


def _tallies(counted: pl.DataFrame) -> Mapping[RequestsKey, Tally]:
    return {
        key: Tally(group["response_s"].to_numpy(), group["count"].to_numpy().astype(np.int64))
        for key, group in _split(counted)
    }


def _load(
    requests: pl.LazyFrame, runs: pl.DataFrame
) -> Mapping[RequestsKey, tuple[float | None, bool | None]]:
    """Answers per second, and whether the server was saturated."""
    workers = _workers(requests, runs)
    rows = runs.join(workers, on=[*KEYS, "run"], how="left")
    behind = _behind(requests)
    return {
        key: (_achieved_rps(group), behind[key] if key in behind else _busy(group))
        for key, group in _split(rows)
    }


def _behind(requests: pl.LazyFrame) -> Mapping[RequestsKey, bool | None]:
    """Whether the answers of most runs of an open loop fell behind: ten requests a second are few, and are all read."""
    wanted = requests.filter(pl.col("mode") == OPEN_LOOP, "ok")
    rows = wanted.select(*KEYS, "run", "offset_s", "response_s").collect().sort(*KEYS, "run")
    found: dict[RequestsKey, bool | None] = {}
    for key, group in _split(rows):
        runs = [
            api_requests.behind(run["offset_s"].to_numpy(), run["response_s"].to_numpy())
            for run in group.partition_by("run", maintain_order=True)
        ]
        told = [one for one in runs if one is not None]
        found[key] = 2 * sum(told) > len(told) if told else None
    return found


def _workers(requests: pl.LazyFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """How many requests each run had sent before its first answer: that many workers there are at least."""
    return (
        requests.filter("ok")
        .join(runs.lazy().select(*KEYS, "run", "first_answer_s"), on=[*KEYS, "run"])
        .filter(pl.col("offset_s") < pl.col("first_answer_s"))
        .group_by(*KEYS, "run")
        .agg(pl.len().cast(pl.Int64).alias("workers"))
        .collect(engine="streaming")
    )


def _achieved_rps(runs: pl.DataFrame) -> float | None:
    seconds = float((runs["last_answer_s"] - runs["first_s"]).sum())
    answered = int(runs["requests"].sum()) - int(runs["failed"].sum())
    return answered / seconds if seconds > 0 else None


def _busy(runs: pl.DataFrame) -> bool | None:
    """Whether the workers of a closed loop hardly ever idled (Little's law)."""
    seconds = float((runs["last_answer_s"] - runs["first_s"]).sum())
    if not seconds:
        return None
    workers = runs["workers"].mean()
    if not isinstance(workers, float) or not workers:
        return None
    return bool(float(runs["busy_s"].sum()) / seconds >= api_requests.BUSY * workers)
