"""Whether the machine changes while a run goes on: all cells' figures together, in the order they were taken."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from vpnmesh.model import Cell
from vpnmesh.stats.describe import Floats
from vpnmesh.stats.drift import Drift, drift
from vpnmesh.study.adaptive import rate_of
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, of_kind

FEWEST_FIGURES = 3
"""A cell with fewer says too little of its own mean."""
_THIRDS = 3


def deviations(events: Iterable[JournalEvent]) -> Floats:
    """How far each rate is from its cell's mean, on a log scale (0.01 is 1 %), in the order of measuring."""
    logs: dict[Cell, list[tuple[int, float]]] = defaultdict(list)
    for one in of_kind(events, RepetitionEnded):
        if (rate := rate_of(one)) is not None:
            logs[one.cell].append((one.sequence or 0, float(np.log(rate))))
    kept = [mine for mine in logs.values() if len(mine) >= FEWEST_FIGURES]
    together = [
        (sequence, value - mean)
        for mine in kept
        for mean in [float(np.mean([value for _, value in mine]))]
        for sequence, value in mine
    ]
    return np.array([value for _, value in sorted(together)], dtype=np.float64)


def machine_drift(events: Iterable[JournalEvent]) -> tuple[Drift, float]:
    """Trend and dependence of all deviations, and by what share the last third is above the first (0.05 = 5 %)."""
    found = deviations(events)
    third = found.size // _THIRDS
    change = float(np.exp(found[-third:].mean() - found[:third].mean()) - 1) if third else 0.0
    return drift(found), change


def drift_sentence(events: Iterable[JournalEvent]) -> str:
    """What a reader must know of it while a run goes on; "" where nothing shows."""
    found, change = machine_drift(events)
    if found.drifting:
        direction = "higher" if change > 0 else "lower"
        return (
            f"the machine drifts: rates of all cells together are {abs(change):.1%} {direction} in the last third"
            f" of the run than in the first (Mann-Kendall tau {found.tau:+.2f}, p {found.p:.2g}); scenarios of one"
            " round are compared with each other, so that verdicts do not rest on it"
        )
    if found.dependent:
        return (
            f"neighbouring figures resemble each other (lag-1 autocorrelation {found.lag1:+.2f}):"
            " something on the machine changes from minute to minute"
        )
    return ""
