"""A run's directory: journal, manifest and tables that somebody changed, cut off, or wrote with another version."""

import io
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from tests.fuzz import mutation
from tests.fuzz.target import Case, Target
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.checks import CHECKS
from vpnmesh.criteria.observation import Finding, Observation, Part
from vpnmesh.criteria.verified import Verification, read_verification
from vpnmesh.doctor.paths import PathRound, RecordedPath, RecordedPaths, parse_paths
from vpnmesh.errors import NO_JSON, InputError
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.frames.events import figures_of, setup, stacks
from vpnmesh.frames.schemas import RESULTS, SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.study.journal import parse_event, parse_journal
from vpnmesh.study.manifest import Manifest, read_manifest
from vpnmesh.study.nat_grid import Found, NatRecord, line_of, pairs_of, read_lines
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record, frame_of, journal_line
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from workflows.reporting.history_store import take
from workflows.reporting.studies import repetitions, study_from_run
from workflows.run.requested import PROFILE, read_request
from workflows.run.store import RunFiles

Files = dict[str, bytes]
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PAIR = Pair("worker1", "worker2")


def _outcomes(number: int) -> Outcome:
    if number % 7 == 6:
        return Failed("tool", "server <busy> & gone")
    return Measured(
        (
            Sample("rate_mbit_s", 900.0 + number),
            Sample("sent_mbit_s", 910.0 + number),
            Sample("steady_s", 1.5),
        )
    )


@cache
def lines() -> tuple[dict[str, object], ...]:
    """A small run as it is journalled: every kind of event, two scenarios, seven repetitions each."""
    head: list[dict[str, object]] = [
        {"type": "session", "number": 1, "at": START.isoformat()},
        {"type": "visit", "visit": 1, "scenario": "native-1450", "round": 1},
        {"type": "standing", "scenario": "native-1450", "data_plane": "none", "setup_steps": 12, "setup_s": 3.5,
         "setup_seconds": {"members": 2.0, "proof": 1.5}, "peers": {"worker1": {"worker2": "direct"}},
         "stack": {"worker1": {"TCP of derper": "cubic"}}, "relay_share": 0.0, "join_s": 1.0},
        {"type": "cluster", "scenario": "native-1450", "installer": "k3s", "versions": {"worker1": "v1.34.4"}},
        {"type": "pairs-at-once", "scenario": "native-1450", "test": "tcp", "allowed": 2, "at_once": 1, "why": "busy",
         "alone": [900.0], "among": [500.0]},
    ]  # fmt: skip
    cells = [Cell(name, condition, "tcp", PAIR) for name in ("native-1450", "headscale-direct") for condition in
             ("none", "loss-5pct")]  # fmt: skip
    ended = [
        journal_line(Record(cell, n, _outcomes(n + k), START + timedelta(minutes=10 * k + n), 2.0, visit=1,
                            sequence=10 * k + n, placement="underlay:client:1000", engine="netem", raw="raw/x"))
        for k, cell in enumerate(cells) for n in range(1, 8)
    ]  # fmt: skip
    tail: list[dict[str, object]] = [
        {"type": "teardown", "scenario": "native-1450", "problem": "left"}, {"type": "interrupted", "signal": 2}
    ]  # fmt: skip
    return tuple({"schema_version": SCHEMA_VERSION, **one} for one in (*head, *ended, *tail))


@cache
def journal() -> bytes:
    """The journal of that run."""
    return "".join(json.dumps(one) + "\n" for one in lines()).encode()


@cache
def manifest() -> bytes:
    """The manifest of that run."""

    known = {
        "schema_version": SCHEMA_VERSION, "seed": 7, "inventory": "lab", "engine": "netem",
        "profile": json.loads(PROFILE.dump_json(PROFILES["quick"])),
        "scenarios": BUILT_IN.as_written(), "packages": {"polars": "1"}, "unavailable_tests": {"api": "no etcd"},
        "nodes": {"worker1": {"kernel": "6.1"}, "worker2": {"kernel": "6.1"}}, "controller": {"kernel": "6.1"},
        "testbed": {"nodes": [{"name": "worker1"}]}, "started_at": START.isoformat(), "argv": ["x"],
        "sessions": [{"started_at": START.isoformat(), "engine": "netem"}],
        "footprint_before": {"worker1": {"routes": ["x"]}}, "footprint_after": {"worker1": {"routes": ["x"]}},
    }  # fmt: skip
    return json.dumps(known).encode()


def _journal_call(data: bytes) -> tuple[list[Any], pl.DataFrame, pl.DataFrame]:
    events = parse_journal(data)
    setup(events)
    stacks(events)
    return events, frame_of(events), figures_of(events)


def _journal_judge(case: Case[bytes], found: tuple[list[Any], pl.DataFrame, pl.DataFrame]) -> str:
    """A line is a row, each figure is exactly the one of its line, and the last line counts once it has its end."""
    events, table, _ = found
    told = [json.loads(line) for line in case.value.split(b"\n")[:-1]]
    if len(events) != len(told):
        return f"lost: {len(events)} of {len(told)} lines"
    ended = [one for one in told if one["type"] == "repetition"]
    if table.height != len(ended):
        return f"lost: {table.height} of {len(ended)} repetitions"
    for one, row in zip(ended, table.iter_rows(named=True), strict=True):
        for key in ("scenario", "condition", "test", "repetition", "rate_mbit_s", "sent_mbit_s", "outcome"):
            told_one = one.get(key)
            # a column of floats has the float next to a whole number of thirty digits
            wanted = (
                float(told_one) if isinstance(row[key], float) and isinstance(told_one, int) else told_one
            )
            if row[key] != wanted:
                return f"another figure: {key} {row[key]!r} of {one.get(key)!r}"
        if row["outcome"] == "measured" and row["rate_mbit_s"] is not None and not row["rate_mbit_s"] > 0:
            return f"no rate: {row['rate_mbit_s']}"
        if row["outcome"] == "failed" and row["rate_mbit_s"] is not None:
            return f"a failed repetition with a figure: {row['rate_mbit_s']}"
    return ""


def _manifest_call(data: bytes) -> Manifest:
    try:
        content = json.loads(data)
    except NO_JSON:
        raise InputError("manifest.json", "no JSON") from None
    found = read_manifest(content, "manifest.json")
    Catalogue.of_run(found.entries(), "manifest.json")
    request = read_request(found, "run")
    assert request.seed == content["seed"]
    return found


def _json_bytes(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.15:
        return mutation.raw(rng, data)
    return mutation.json_text(rng, data.decode()).encode("utf-8", "surrogatepass")


def folder(files: Files, place: str) -> Path:
    """The run's directory with these files."""
    for name, data in files.items():
        (Path(place) / name).write_bytes(data)
    return Path(place)


def _run_seeds() -> Sequence[Files]:
    return ({"journal.jsonl": journal(), "manifest.json": manifest()},)


def _run_files(rng: Random, files: Files) -> Files:
    def change(rng: Random, data: bytes, name: str) -> bytes:
        return mutation.json_lines(rng, data) if name.endswith("l") else _json_bytes(rng, data)

    return mutation.one_of(files, change, rng)


def paths_file() -> bytes:
    """Two paths, one of which lost what it sent in a round."""
    rounds = (PathRound(25, 25, 1.5, 2.5), PathRound(25, 0, None, None))
    paths = (RecordedPath("worker1", "relay", rounds), RecordedPath("worker1", "worker2", rounds[:1]))
    return RecordedPaths(1, "edge", "2026-01-01T00:00:00+00:00", "real", paths).to_json()


def _paths_judge(_case: Case[bytes], found: Any) -> str:
    bad = [path for path in found.paths if not 0 <= path.loss_pct <= 100 or (path.rtt_ms or 0) < 0]
    return f"no path: {bad[0]}" if bad else ""


def _study_call(files: Files) -> object:
    with tempfile.TemporaryDirectory() as place:
        return study_from_run(folder(files, place))


def _history_call(files: Files) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as store:
        run = folder(files, place)
        return take([run], Path(store)).rows.collect()


@cache
def table() -> bytes:
    """`results.parquet` of that run."""
    stream = io.BytesIO()
    frame_of([parse_event(one) for one in lines()]).write_parquet(stream)
    return stream.getvalue()


def _parquet(rng: Random, data: bytes) -> bytes:
    """The table with bytes turned over, columns lost or of another type, or values that are none."""
    if rng.random() < 0.4:
        return mutation.raw(rng, data)
    frame = pl.read_parquet(io.BytesIO(data))
    name = rng.choice(frame.columns)
    stream = io.BytesIO()
    _table_steps(frame, name)[rng.randrange(9)]().write_parquet(stream)
    return stream.getvalue()


def _table_steps(frame: pl.DataFrame, name: str) -> list[Any]:
    rate = pl.col("rate_mbit_s")
    return [
        lambda: frame.drop(name),
        lambda: frame.rename({name: f"{name} "}),
        lambda: frame.with_columns(pl.lit(None).alias(name)),
        lambda: frame.with_columns(pl.lit("x").alias(name)),
        lambda: frame.with_columns(pl.lit(float("nan")).alias("rate_mbit_s")),
        lambda: frame.with_columns(
            pl.when(pl.col("repetition") == 1).then(float("inf")).otherwise(rate).alias("rate_mbit_s")
        ),
        lambda: frame.with_columns((-rate).alias("rate_mbit_s")),
        frame.clear,
        lambda: frame.with_columns(
            pl.when(pl.col("repetition") == 1).then(None).otherwise(pl.col(name)).alias(name)
        ),
    ]


def _table_call(data: bytes) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as place:
        run = folder({"results.parquet": data, "manifest.json": manifest()}, place)
        return repetitions(RunFiles(run), [])[0]


def _table_judge(_case: Case[bytes], found: pl.DataFrame) -> str:
    if {name: found.schema[name] for name in RESULTS} != RESULTS:
        return f"schema: {found.schema}"
    measured = found.filter(pl.col("outcome") == "measured")
    bad = [one for one in measured["rate_mbit_s"].drop_nulls() if not math.isfinite(one) or one <= 0]
    if bad:
        return f"no rate: {bad[0]}"
    keys = ("scenario", "condition", "test", "repetition", "outcome")
    lost = [name for name in keys if found[name].null_count()]
    return f"a row without its {lost[0]}" if lost else ""


def _figures_judge(case: Case[Any], found: Any) -> str:
    rows = found.samples if hasattr(found, "samples") else found
    return _table_judge(case, rows) if hasattr(found, "samples") else ""


def _nothing(_case: Case[Any], _found: object) -> str:
    return ""


CELLS = "".join(
    f"{line_of(NatRecord('somebody', 'somebody-direct', one.client, one.server, found, 'now', rate_mbit_s=1.5))}\n"
    for one, found in zip(pairs_of(NatKind), [*Found] * 2, strict=False)
).encode()


def _cells_call(data: bytes) -> tuple[NatRecord, ...]:
    return read_lines(data.decode(errors="replace"), "cells.jsonl")


def _cells_judge(_case: Case[bytes], found: tuple[NatRecord, ...]) -> str:
    odd = [one for one in found if "/" in one.solution or not math.isfinite(one.rate_mbit_s or 0)]
    return f"{odd[0]} is a cell" if odd else ""


def _verification_seed() -> bytes:
    seen = (Observation("a packet", "passes", "passes", holds=True, part=part) for part in Part)
    findings = [Finding(one.id, value, "seen", 1.5) for one, value in zip(CHECKS, [*Value] * 9, strict=False)]
    with_seen = replace(findings[0], observations=tuple(seen), scenarios=("somebody-direct",))
    versions = {"somebodyd": "1.2.3"}
    return Verification(
        1, "somebody", versions, START.date(), "lab", "lab", (with_seen, *findings[1:])
    ).to_json()


def _verification_judge(_case: Case[bytes], found: Verification) -> str:
    """Every value is one of three, and each topic's fact says what its finding does."""
    odd = [one for one in found.findings if not (math.isfinite(one.seconds) and one.value in Value)]
    return f"{odd[0]} is a finding" if odd else ""


TARGETS: tuple[Target[Any], ...] = (
    Target(
        "verification",
        lambda: (_verification_seed(),),
        _json_bytes,
        lambda data: read_verification(data, "verification.json"),
        _verification_judge,
        0.5,
    ),
    Target("journal", lambda: (journal(),), mutation.json_lines, _journal_call, _journal_judge, 2.5),
    Target("manifest", lambda: (manifest(),), _json_bytes, _manifest_call, _nothing, 1.5),
    Target(
        "recorded paths",
        lambda: (paths_file(),),
        _json_bytes,
        lambda data: parse_paths(data, "paths.json"),
        _paths_judge,
        0.5,
    ),
    Target("cells of a NAT grid", lambda: (CELLS,), mutation.json_lines, _cells_call, _cells_judge, 0.5),
    Target("study of a run", _run_seeds, _run_files, _study_call, _figures_judge, 0.3),
    Target("history of runs", _run_seeds, _run_files, _history_call, _nothing, 0.3),
    Target("results.parquet", lambda: (table(),), _parquet, _table_call, _table_judge, 1.0),
)
