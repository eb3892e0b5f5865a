"""What a history keeps of each run: a row per repetition of throughput, with all that decides which line it is on."""

import json
from collections.abc import Mapping
from dataclasses import fields

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import measured_rows, pairs_of, unavailable
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.model import Scenario
from vpnmesh.report.identity import MACHINE_KEYS
from vpnmesh.report.setting import MEANT, NOT_RECORDED, meaning
from vpnmesh.report.tables import Study
from vpnmesh.report.versions import told_versions, used_programs

HISTORY: dict[str, pl.DataType] = {
    "name": pl.String(),
    "started_at": pl.Datetime("us", "UTC"),
    "meaning": pl.String(),
    "machine": pl.String(),
    "scenario": pl.String(),
    "meant": pl.String(),
    "version": pl.String(),
    "baseline": pl.Int64(),
    "condition": pl.String(),
    "test": pl.String(),
    "outcome": pl.String(),
    "reason": pl.String(),
    "rate_mbit_s": pl.Float64(),
}
"""`meaning` (JSON) and `meant` decide what a figure means: they are the same along a line. `machine` = where rates may
be compared as they are. `version` is that of the program that carries the scenario's data plane, null where none told;
`baseline` is the scenario's place among the baselines, null for any other. `rate_mbit_s` is null where nothing was
measured."""


def history_rows(study: Study, name: str) -> pl.DataFrame:
    """The rows of one run, called `name` in every table; InputError where it holds no repetition of throughput."""
    kept = study.samples.filter(pl.col("test").is_in(THROUGHPUT_TESTS) & ~unavailable())
    if kept.is_empty():
        raise InputError(
            name, "holds no repetition of TCP or UDP", "leave it out, or let it measure some first"
        )
    by_scenario = {one: _of_scenario(study, one) for one in kept["scenario"].unique()}
    rate = pl.when(measured_rows()).then(pl.col("rate_mbit_s"))
    rows = kept.with_columns(
        pl.lit(name).alias("name"),
        pl.lit(kept["started_at"].min(), dtype=pl.Datetime("us", "UTC")).alias("started_at"),
        pl.lit(json.dumps(meaning(study))).alias("meaning"),
        pl.lit(_machine(study)).alias("machine"),
        rate.alias("rate_mbit_s"),
        *(
            pl.col("scenario")
            .replace_strict({one: known[column] for one, known in by_scenario.items()}, return_dtype=kind)
            .alias(column)
            for column, kind in HISTORY.items()
            if column in ("meant", "version", "baseline")
        ),
    )
    return rows.select(list(HISTORY))


def _of_scenario(study: Study, name: str) -> Mapping[str, object]:
    baselines = study.scenarios.baselines
    return {
        "meant": _meant(study.scenarios.get(name)),
        "version": _version(study, name),
        "baseline": baselines.index(name) if name in baselines else None,
    }


def _meant(scenario: Scenario | None) -> str:
    """What decides the meaning of a scenario's figures, in words: `path direct, pod_mtu 1230`."""
    if scenario is None:
        return NOT_RECORDED
    named = [(one.name, getattr(scenario, one.name)) for one in fields(Scenario) if one.name in MEANT]
    return ", ".join(f"{name} {value}" for name, value in named if value not in (None, ""))


def _version(study: Study, name: str) -> str | None:
    scenario = study.scenarios.get(name)
    used = used_programs(scenario, told_versions(study.provenance)) if scenario else ()
    return f"{used[0].name} {used[0].version}" if used else None


def _machine(study: Study) -> str:
    """Kernel, machine and pair of nodes, as far as they were recorded."""
    pairs = ", ".join(pairs_of(study.samples))
    known = {key: study.provenance.get(key) for key in MACHINE_KEYS}
    return json.dumps({**known, "pair": pairs}, default=str)


def check_history(found: Mapping[str, pl.DataType], place: str) -> None:
    """InputError unless these are the columns of `HISTORY`."""
    wrong = next((name for name, kind in HISTORY.items() if found.get(name) != kind), None)
    if wrong:
        raise InputError(
            place,
            f"column {wrong} is {found.get(wrong, 'missing')}, wanted {HISTORY[wrong]}",
            "take the folder away: it is made again from the runs",
        )
