"""How claims and advice look figures up: by scenario, condition and protocol, None where there are none."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from vpnmesh.frames.aggregate import Cell, CellSample, cell_samples

DIRECT = ("headscale-direct", "netbird-direct", "zerotier-direct")
RELAYED = ("headscale-relay", "netbird-relay", "zerotier-relay")
VPNS = tuple(name for pair in zip(DIRECT, RELAYED, strict=True) for name in pair)
"""The paper's scenarios over a VPN, in the order of tables."""
DELAYS = ("delay-50ms", "delay-250ms", "delay-350ms")
LOSSES = ("loss-1pct", "loss-5pct", "loss-10pct")


@dataclass(frozen=True, slots=True)
class Figures:
    """A study's means, loads and pairs behind short questions."""

    cells: Mapping[Cell, CellSample]
    means: Mapping[Cell, float]
    loads: Mapping[Cell, float]
    pairs: pl.DataFrame
    api: pl.DataFrame

    @classmethod
    def of(cls, samples: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> "Figures":
        """The figures of a study's repetitions and tables."""
        cpu = tables["resources"].filter(pl.col("end") == "client")
        return cls(
            cell_samples(samples),
            _by_cell(tables["throughput"], "mean_mbit_s"),
            _by_cell(cpu, "cpu_pct_mean"),
            tables["pairwise"],
            tables["api"],
        )

    def rate(self, scenario: str, condition: str, protocol: str) -> float | None:
        """The mean in Mbit/s."""
        return self.means.get((scenario, condition, protocol))

    def cpu(self, scenario: str, condition: str, protocol: str) -> float | None:
        """The client's mean CPU in the study's unit."""
        return self.loads.get((scenario, condition, protocol))

    def family(self, test: str, condition: str) -> pl.DataFrame:
        """The pairs of one test under one condition that have a p-value."""
        here = (pl.col("test") == test) & (pl.col("condition") == condition)
        return self.pairs.filter(here & pl.col("p").is_not_null())


def _by_cell(frame: pl.DataFrame, column: str) -> dict[Cell, float]:
    rows = frame.drop_nulls(column).select("scenario", "condition", "protocol", column).rows()
    return {(scenario, condition, protocol): value for scenario, condition, protocol, value in rows}


def all_of(question: Callable[[str], float | None], names: Iterable[str]) -> dict[str, float] | None:
    """The answer for each name, None if one is missing: a ranking with gaps is no ranking."""
    answers = {name: question(name) for name in names}
    found = {name: answer for name, answer in answers.items() if answer is not None}
    return found if len(found) == len(answers) else None


def ranking(figures: Mapping[str, float], unit: str, *, highest_first: bool = True) -> str:
    """The names with their figures, best first, as a reader would write it."""
    ordered = sorted(figures, key=lambda name: -figures[name] if highest_first else figures[name])
    return ", ".join(f"{name} {figures[name]:.2f}" for name in ordered) + f" {unit}"
