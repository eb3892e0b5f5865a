"""What throughput costs: CPU-seconds per Gbit that arrived, and the memory of the VPN's own processes.

CPU is that of client, server and relay together. In a lab a node's CPU is its processes' (`vpnmesh.tools.load`), to
which the kernel charges most of what it does for their packets; on other machines it is all that the machine did.
"""

from collections.abc import Iterator, Mapping

import polars as pl

from vpnmesh.frames.aggregate import CellKey, measured_rows, sort_cells
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.frames.schemas import ENDS
from vpnmesh.report.figure_tables import mean_and_range
from vpnmesh.stats.describe import Floats, describe
from vpnmesh.study.scenarios import Catalogue

EFFICIENCY: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "figure": pl.String(),
    "title": pl.String(),
    "unit": pl.String(),
    "n": pl.Int64(),
    "mean": pl.Float64(),
    "sd": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "least": pl.Float64(),
    "greatest": pl.Float64(),
    # in the row of the nodes' CPU: what was full, in words (`vpnmesh.report.machine_limit`); else empty
    "cpu_bound": pl.String(),
}
"""A row per cell and figure; the interval of the mean is Student's, from `fewest_for_interval` figures on."""

CPU, OWN_CPU = "cpu_s_per_gbit", "solution_cpu_s_per_gbit"
_TITLES = {
    CPU: ("CPU of client, server and relay", "s/Gbit"),
    OWN_CPU: ("CPU of the VPN's own processes there", "s/Gbit"),
    **{f"{end}_solution_ram_mb": (f"memory of the VPN's processes on the {end}", "MB") for end in ENDS},
}
_CELL = ["scenario", "condition", "test"]


def cpu_s_per_gbit(samples: pl.DataFrame) -> dict[CellKey, Floats]:
    """Of each cell, what each of its measured repetitions took of all three nodes' CPU; without readings none."""
    rows = _with_costs(samples).drop_nulls(CPU)
    groups = rows.partition_by(*_CELL, as_dict=True, maintain_order=True)
    return {
        (str(scenario), str(condition), str(test)): group[CPU].to_numpy()
        for (scenario, condition, test), group in groups.items()
    }


def efficiency(samples: pl.DataFrame, bound: Mapping[CellKey, str], catalogue: Catalogue) -> pl.DataFrame:
    """Cost and memory by cell; what is of the VPN's processes only where it has some that were seen to work.

    `bound` = the cells whose figure is the machine's, with what was full.
    """
    groups = _with_costs(samples).partition_by(*_CELL, as_dict=True, maintain_order=True)
    rows = [
        {
            **row,
            "cpu_bound": bound.get((str(key[0]), str(key[1]), str(key[2]))) if row["figure"] == CPU else None,
        }
        for key, group in groups.items()
        for row in _rows(group)
    ]
    return sort_cells(pl.DataFrame(rows, schema=EFFICIENCY, orient="row"), catalogue)


def _with_costs(samples: pl.DataFrame) -> pl.DataFrame:
    """The measured repetitions of TCP and UDP with their costs; null where a node's load was not read.

    A hundred percent are a CPU-second per second, and a thousand Mbit a Gbit.
    """
    gbit_s = pl.col("rate_mbit_s") / 1000
    told = samples.filter(pl.col("test").is_in(THROUGHPUT_TESTS), measured_rows())
    return told.with_columns(
        _all_ends("cpu_pct").truediv(100 * gbit_s).alias(CPU),
        _all_ends("solution_cpu_pct").truediv(100 * gbit_s).alias(OWN_CPU),
    )


def _all_ends(figure: str) -> pl.Expr:
    """The sum over the nodes; null where one has no reading."""
    return pl.sum_horizontal([pl.col(f"{end}_{figure}") for end in ENDS], ignore_nulls=False)


def _rows(group: pl.DataFrame) -> Iterator[dict[str, object]]:
    for figure, (title, unit) in _TITLES.items():
        values = group[figure].drop_nulls().to_numpy()
        # a baseline has no such process, nor has a relay that nobody asked: a zero would look like a measurement
        if not values.size or (figure != CPU and not values.any()):
            continue
        summary = describe(values)
        yield {
            **group.select(_CELL).row(0, named=True),
            "figure": figure,
            "title": title,
            "unit": unit,
            "n": summary.n,
            **mean_and_range(summary, values),
        }
