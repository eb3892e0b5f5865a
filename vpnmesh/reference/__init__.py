"""The paper's published data, tables and claims, with their source; what a run is compared with."""

from dataclasses import dataclass
from importlib import resources

import polars as pl

SOURCE = (
    "Kjorveziroski V, Bernad C, Gilly K, Filiposka S. Full-mesh VPN performance evaluation for a secure"
    " edge-cloud continuum. Softw Pract Exper 2024, Tables A1 and A2. doi:10.1002/spe.3329 (CC BY 4.0)"
)
TESTBED = (
    "six machines, Intel Xeon X5647 (4 cores, 2.93 GHz), 1 Gbit/s switch, pfSense, Ubuntu 22.04, K3s 1.22.17"
)
FIGURES = ("mean_mbit_s", "sd_mbit_s", "cv", "ratio_native_1450", "ratio_native_1230")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of Table A1 (TCP) or A2 (UDP); figures are texts as printed, without the ratio's leading x."""

    table: str
    test: str
    scenario: str
    condition: str
    printed: dict[str, str]


def paper_tables() -> pl.DataFrame:
    """Tables A1 and A2 as numbers; columns table, test, scenario, condition, then `FIGURES`."""
    return _printed().with_columns(pl.col(FIGURES).cast(pl.Float64()))


def paper_rows() -> list[Row]:
    """Tables A1 and A2 as printed."""
    return [
        Row(
            row["table"],
            row["test"],
            row["scenario"],
            row["condition"],
            {figure: row[figure] for figure in FIGURES},
        )
        for row in _printed().iter_rows(named=True)
    ]


@dataclass(frozen=True, slots=True)
class PrintedP:
    """A p-value of Mann-Whitney's test that the paper prints in its text: of the pairs that do not differ."""

    section: str
    test: str
    condition: str
    a: str
    b: str
    p: str


def paper_p_values() -> list[PrintedP]:
    """The printed p-values, as printed (sections 4.1 and 4.3)."""
    return [PrintedP(**row) for row in _csv("paper_p_values.csv").iter_rows(named=True)]


def _printed() -> pl.DataFrame:
    return _csv("paper_tables.csv")


def _csv(name: str) -> pl.DataFrame:
    """A file beside this module, every value a text."""
    return pl.read_csv(resources.files(__name__).joinpath(name).read_bytes(), infer_schema=False)


def _data_planes() -> dict[str, str]:
    """Read without a table: Polars' threads start with the first one, and a process that has them cannot be forked."""
    lines = resources.files(__name__).joinpath("data_planes.csv").read_text(encoding="utf-8").splitlines()
    return dict(line.split(",") for line in lines[1:])


DATA_PLANES: dict[str, str] = _data_planes()
"""Who encrypted in the paper's testbed, by scenario: `kernel` or `userspace` (sections 3.2 and 4.1)."""
