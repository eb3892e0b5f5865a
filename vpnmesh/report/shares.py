"""Every scenario's throughput as a share of the baseline's: what the picture of the first screen shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from vpnmesh.report.tables import Study
from vpnmesh.stats.sequential import PairVerdict

FIGURE = "answers-shares"


@dataclass(frozen=True, slots=True)
class Share:
    """A scenario's mean as a share of the baseline's, with its interval where there is one."""

    share: float
    low: float | None
    high: float | None
    decided: bool


def baseline(study: Study) -> str | None:
    """The first baseline of the catalogue that has figures; None where the study has none."""
    found = set(study.tables["throughput"].filter(pl.col("measured") > 0)["scenario"])
    return next((name for name in study.scenarios.baselines if name in found), None)


def shares(study: Study) -> dict[tuple[str, str, str], Share]:
    """By test, condition and scenario: what the verdicts' table says of the pair with the baseline."""
    if (base := baseline(study)) is None:
        return {}
    rows = study.tables["verdicts"].filter((pl.col("a") == base) | (pl.col("b") == base)).to_dicts()
    found = {}
    for row in rows:
        other = row["b"] if row["a"] == base else row["a"]
        if share := _share(row, inverse=row["a"] == base):
            found[row["test"], row["condition"], other] = share
    return found


def _share(row: Mapping[str, Any], *, inverse: bool) -> Share | None:
    ratio, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    if not ratio:
        return None
    decided = row["verdict"] != PairVerdict.UNDECIDED
    if not inverse:
        return Share(ratio, low, high, decided)
    bounded = low is not None and high is not None and low > 0
    return Share(
        1 / ratio, 1 / high if bounded and high else None, 1 / low if bounded and low else None, decided
    )
