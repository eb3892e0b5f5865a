"""Everything a report shows, as one value: the repetitions, the requests, and the tables made from them.

A `Study` is made from files by `workflows.reporting.studies` and rendered by `vpnmesh.report.render`; it knows neither
where its rows came from nor how they will look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from vpnmesh.documents.numbers import finite
from vpnmesh.frames.aggregate import CellKey, CellSample, cell_samples, failures, resources, unavailable
from vpnmesh.frames.events import SETUP, STACKS, WHY
from vpnmesh.frames.requests import ApiCell, api_cells
from vpnmesh.frames.schemas import check_results
from vpnmesh.impairment.engine import PORT_RATE_MBIT_S
from vpnmesh.report.api_paper import beside_papers
from vpnmesh.report.convergence_tables import convergence, ping
from vpnmesh.report.efficiency import efficiency
from vpnmesh.report.environment import ENVIRONMENT, environment
from vpnmesh.report.figure_tables import FIGURES, figure_table
from vpnmesh.report.health import HealthTables, health
from vpnmesh.report.machine_limit import Machines, limits
from vpnmesh.report.mesh_tables import MESH, by_pair
from vpnmesh.report.origin import origin
from vpnmesh.report.pairwise import api_families, pairwise, throughput_families
from vpnmesh.report.published import published
from vpnmesh.report.ramp import SERIES, fill, ramp
from vpnmesh.report.then_and_now import then_and_now, version_pairs
from vpnmesh.report.throughput import PAPER_COLUMNS, Measuring, throughput
from vpnmesh.report.variants import variants
from vpnmesh.report.verdicts import DEFAULT_MARGIN_PCT, VERDICTS, MeasuredCells, verdicts
from vpnmesh.report.versions import told_versions, versions
from vpnmesh.stats.describe import describe
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

PAIRWISE: dict[str, pl.DataType] = {
    "test": pl.String(),
    "condition": pl.String(),
    "a": pl.String(),
    "b": pl.String(),
    "n_a": pl.Int64(),
    "n_b": pl.Int64(),
    "u": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "reject": pl.Boolean(),
    "reject_holm": pl.Boolean(),
    "cliffs_delta": pl.Float64(),
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
}

API_TABLE: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "mode": pl.String(),
    "requests": pl.Int64(),
    "failed": pl.Int64(),
    "mean_s": pl.Float64(),
    "sd_s": pl.Float64(),
    "p50_s": pl.Float64(),
    "p90_s": pl.Float64(),
    "p99_s": pl.Float64(),
    "achieved_rps": pl.Float64(),
    "saturated": pl.Boolean(),
}

API_BEYOND: dict[str, pl.DataType] = {"runs": pl.Int64(), "sd_of_run_means_s": pl.Float64()}

RESOURCES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "end": pl.String(),
    "n": pl.Int64(),
    "cpu_pct_mean": pl.Float64(),
    "cpu_pct_sd": pl.Float64(),
    "ram_mb_mean": pl.Float64(),
    "ram_mb_sd": pl.Float64(),
}

RESOURCES_BEYOND: dict[str, pl.DataType] = {
    "solution_cpu_pct_mean": pl.Float64(),
    "solution_cpu_pct_sd": pl.Float64(),
    "solution_ram_mb_mean": pl.Float64(),
}
"""Load of the VPN's own processes at that end; null where the kernel carries the traffic, or it was not recorded."""

CRITERIA: dict[str, pl.DataType] = {
    "name": pl.String(),
    "qualifies": pl.String(),
    "failed": pl.String(),
}

TABLES = {
    "throughput": PAPER_COLUMNS,
    "pairwise": PAIRWISE,
    "verdicts": VERDICTS,
    "api": API_TABLE,
    "resources": RESOURCES,
    "environment": ENVIRONMENT,
    "criteria": CRITERIA,
}
"""The tables of every report and the columns each starts with; further columns and tables may follow."""


@dataclass(frozen=True, slots=True)
class Study:
    """One set of results with everything computed from it; figures and text are made from this alone.

    `samples` has the columns of `schemas.RESULTS`, one row per attempted repetition: statistics use those
    with outcome `measured`. `api` has the columns of `schemas.API`, one row per request, lazily. `tables`
    holds at least the keys of `TABLES`. `notes` say what was dropped or repaired, how often and why.
    `scenario_order` names the scenarios that have rows; `scenarios` is the catalogue that they were chosen from.
    """

    samples: pl.DataFrame
    api: pl.LazyFrame
    tables: Mapping[str, pl.DataFrame]
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    scenario_order: tuple[str, ...] = ()
    scenarios: Catalogue = BUILT_IN

    def measured(self, test: str) -> pl.DataFrame:
        """The repetitions of a test (tcp, udp, idle) that gave figures."""
        return self.samples.filter((pl.col("test") == test) & (pl.col("outcome") == "measured"))


@dataclass(frozen=True, slots=True)
class RunTables:
    """What a run recorded beside its results table: figures in long form (`FIGURES`), and what setting up took.

    `verdicts` (`VERDICTS`) are those that an adaptive run came to; a fixed one has none of its own. `series` are the
    intervals of its flows (`ramp.SERIES`). `health` is how its clusters fared, `why` what was found where
    a pair failed or was relayed (`WHY`).
    """

    figures: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FIGURES))
    setup: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SETUP))
    verdicts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VERDICTS))
    stacks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STACKS))
    series: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SERIES))
    health: HealthTables = field(default_factory=HealthTables)
    why: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=WHY))


def build_study(
    samples: pl.DataFrame,
    api: pl.LazyFrame,
    notes: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
    recorded: RunTables | None = None,
    catalogue: Catalogue = BUILT_IN,
) -> Study:
    """Compute every table from repetitions and requests; either may be empty, the tables are all there.

    `provenance` may hold `pod_mtu` (scenario -> bytes), `netem_limit` (packets; None = sized to the delay or
    not netem), and `environment` (what Table 2 is made of). `recorded` is a run's; results of others have no such
    tables. `catalogue` = the scenarios that could be chosen. InputError if the samples are not in the schema.
    """
    known, kept = dict(provenance or {}), recorded or RunTables()
    cells = cell_samples(check_results(samples, "results"), catalogue)
    requests = api_cells(api)
    scenarios = catalogue.in_order({*samples["scenario"], *(cell.scenario for cell in requests)})
    by_cell = throughput(cells, _measuring(known, catalogue), catalogue)
    slow = frozenset(by_cell.filter("slow_start").select("scenario", "condition", "test").rows())
    pairs = pairwise([*throughput_families(cells, slow), *api_families(requests, catalogue)], PAIRWISE)
    tables = {
        "throughput": by_cell,
        "pairwise": pairs,
        "verdicts": _verdicts(kept, pairs, MeasuredCells.of(cells, samples), known),
        "api": _api_table(requests, catalogue),
        "resources": resources(samples, catalogue).select(*RESOURCES, *RESOURCES_BEYOND),
        "environment": environment(known),
        "criteria": pl.DataFrame(schema=CRITERIA),
        "failures": failures(samples, catalogue),
        "setup": _by_scenario(kept.setup, catalogue),
        "convergence": convergence(samples, kept.figures, catalogue),
        "ping": ping(samples, kept.figures, catalogue),
        "published": published(samples, by_cell, pairs, catalogue),
    }
    if recorded:
        tables["api"] = beside_papers(tables["api"])
        tables["figures"] = figure_table(samples, kept.figures, catalogue)
        tables[MESH] = by_pair(samples, kept.figures, catalogue)
        tables["ramp"] = ramp(kept.series, catalogue)
        tables["fill"] = fill(kept.figures, catalogue)
        if not kept.health.phases.is_empty():
            tables["health"] = health(kept.health.phases, kept.figures, catalogue)
            tables["health_timeline"] = kept.health.timeline
        if not kept.why.is_empty():
            tables["why"] = kept.why
        tables["variants"] = variants(samples, cells, slow, kept.figures, catalogue)
        tables |= {
            **_origins(samples, cells, slow, catalogue, known),
            "stacks": _by_scenario(kept.stacks, catalogue),
        }
        told = told_versions(known)
        tables["versions"] = versions(told, catalogue, _attempted(samples, catalogue))
        found = {*tables["variants"]["base"], *tables["variants"]["variant"]}
        tables["then_and_now"] = then_and_now(tables["variants"], version_pairs(found, catalogue, told))
    return Study(samples, api, tables, tuple(notes), known, scenarios, catalogue)


def _verdicts(
    kept: RunTables, pairs: pl.DataFrame, measured: MeasuredCells, known: Mapping[str, object]
) -> pl.DataFrame:
    """What an adaptive run decided while it measured, else what the figures decide by the fixed rule."""
    if not kept.verdicts.is_empty():
        return kept.verdicts
    profile = known.get("profile")
    asked = finite(profile.get("margin_pct")) if isinstance(profile, Mapping) else None
    return verdicts(pairs, measured, asked or DEFAULT_MARGIN_PCT)


def _origins(
    samples: pl.DataFrame,
    cells: Mapping[CellKey, CellSample],
    slow: frozenset[CellKey],
    catalogue: Catalogue,
    known: Mapping[str, object],
) -> dict[str, pl.DataFrame]:
    """Where differences come from, and what throughput costs."""
    bound = limits(samples, Machines.of(known), catalogue)
    return {
        "origin": origin(samples, cells, slow, bound, catalogue, known),
        "efficiency": efficiency(samples, bound, catalogue),
    }


def _attempted(samples: pl.DataFrame, catalogue: Catalogue) -> tuple[str, ...]:
    """The scenarios of which anything was attempted: what is unavailable ran no program."""
    return catalogue.in_order(samples.filter(~unavailable())["scenario"])


def _measuring(known: Mapping[str, object], catalogue: Catalogue) -> Measuring:
    """What provenance says of how cells were measured; what it does not say is left at its default."""
    limit, profile, lab = known.get("netem_limit"), known.get("profile"), known.get("lab")
    asked = profile if isinstance(profile, Mapping) else {}
    port_rate = finite(lab.get("port_rate_mbit_s")) if isinstance(lab, Mapping) else None
    return Measuring(
        {one.name: one.pod_mtu for one in catalogue.scenarios} | _numbers(known.get("pod_mtu")),
        limit if isinstance(limit, int) else None,
        finite(asked.get("duration_s")),
        finite(asked.get("omit_s")) or 0.0,
        port_rate or PORT_RATE_MBIT_S,
        steady=asked.get("steady") is True,
    )


def _numbers(value: object) -> dict[str, int]:
    return {str(k): int(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _by_scenario(frame: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    order = {name: place for place, name in enumerate(catalogue.in_order(frame["scenario"]))}
    return frame.sort(pl.col("scenario").replace_strict(order, return_dtype=pl.Int64), maintain_order=True)


def _api_table(cells: Sequence[ApiCell], catalogue: Catalogue) -> pl.DataFrame:
    order = {name: i for i, name in enumerate(catalogue.in_order(cell.scenario for cell in cells))}
    rows = [_api_row(cell) for cell in sorted(cells, key=lambda c: (order[c.scenario], c.condition, c.mode))]
    return pl.DataFrame(rows, schema={**API_TABLE, **API_BEYOND}, orient="row")


def _api_row(cell: ApiCell) -> dict[str, object]:
    """Runs pooled for mean and spread, as the paper; the spread of the runs' means beside it."""
    pooled, runs = cell.pooled.summary(), describe(cell.run_means)
    return {
        "scenario": cell.scenario,
        "condition": cell.condition,
        "mode": cell.mode,
        "requests": cell.requests,
        "failed": cell.failed,
        "mean_s": pooled.mean,
        "sd_s": pooled.sd,
        "p50_s": cell.pooled.quantile(0.5),
        "p90_s": cell.pooled.quantile(0.9),
        "p99_s": cell.pooled.quantile(0.99),
        "achieved_rps": cell.achieved_rps,
        "saturated": cell.saturated,
        "runs": runs.n,
        "sd_of_run_means_s": runs.sd,
    }
