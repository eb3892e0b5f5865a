"""Where a VPN's lead or lag comes from: the host's TCP tuning, packets that come one by one, or the tunnel itself.

A ratio to the plain baseline is taken apart by baselines that were given, one thing after the other, what the VPN's own
stack uses (`vpnmesh.solutions.stack`): VPN / plain = (tuned / plain) * (tuned further / tuned) * (VPN / last of them).
The product is exact for the means. What no such baseline explains stays the tunnel's; where cores were full
(`vpnmesh.report.machine_limit`) it is the machine's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from vpnmesh.frames.aggregate import CellKey, CellSample
from vpnmesh.host.tuning import HOST_CONGESTION, Tuning
from vpnmesh.model import Scenario
from vpnmesh.report.efficiency import cpu_s_per_gbit
from vpnmesh.report.identity import mapping
from vpnmesh.report.machine_limit import default_congestion, fills_ports
from vpnmesh.report.style import capped_by
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.stack import Part
from vpnmesh.stats.describe import Floats, Summary, describe
from vpnmesh.stats.intervals import fewest_for_interval, ratio_interval
from vpnmesh.study.scenarios import Catalogue

_STEPS = {Part.TCP: "tcp", Part.OFFLOADS: "offloads"}


def _with_interval(name: str) -> dict[str, pl.DataType]:
    return {name: pl.Float64(), f"{name}_low": pl.Float64(), f"{name}_high": pl.Float64()}


ORIGIN: dict[str, pl.DataType] = {
    "test": pl.String(),
    "condition": pl.String(),
    "scenario": pl.String(),
    # the plain baseline, and the one that was given most of the VPN's stack
    "baseline": pl.String(),
    "tuned": pl.String(),
    "n": pl.Int64(),
    "n_baseline": pl.Int64(),
    # mean of the scenario / mean of the plain baseline, and the parts whose product it is
    **_with_interval("ratio"),
    **_with_interval("tcp"),
    **_with_interval("offloads"),
    **_with_interval("tunnel"),
    # CPU-seconds per Gbit, scenario / the tuned baseline
    **_with_interval("cpu_cost"),
    # what was full, in words; empty where nothing was
    "cpu_bound": pl.String(),
    "baseline_cpu_bound": pl.String(),
    # scenarios that this run lacks to take the ratio apart further, joined by a comma
    "lacking": pl.String(),
    "note": pl.String(),
}
"""A row per scenario with a tunnel, condition and test that the plain baseline has too."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What rows are made from."""

    cells: Mapping[CellKey, CellSample]
    slow: frozenset[CellKey]
    costs: Mapping[CellKey, Floats]
    bound: Mapping[CellKey, str]
    catalogue: Catalogue
    by_host: bool = False
    """Whether the pods were asked for the nodes' own congestion control anyway: then it is no part of any stack."""
    provenance: Mapping[str, object] = field(default_factory=dict)

    def summary(self, scenario: str, cell: CellKey) -> Summary:
        """The rates of that scenario under the cell's condition and test."""
        found = self.cells.get((scenario, *cell[1:]))
        return found.tally.summary() if found else Summary(0, None, None)

    def cost(self, scenario: str, cell: CellKey) -> Summary:
        """As `summary`, of the CPU-seconds per Gbit."""
        found = self.costs.get((scenario, *cell[1:]))
        return Summary(0, None, None) if found is None else describe(found)


def origin(
    samples: pl.DataFrame,
    cells: Mapping[CellKey, CellSample],
    slow: frozenset[CellKey],
    bound: Mapping[CellKey, str],
    catalogue: Catalogue,
    provenance: Mapping[str, object],
) -> pl.DataFrame:
    """Every ratio to a plain baseline, taken apart.

    `cells` and `slow` as `vpnmesh.report.variants` has them; `bound` = the cells whose figure is the machine's.
    """
    asked = mapping(provenance.get("profile")).get("congestion")
    given = _Given(
        cells,
        slow,
        cpu_s_per_gbit(samples),
        bound,
        catalogue,
        asked in (HOST_CONGESTION, default_congestion(provenance)),
        provenance,
    )
    rows = [row for cell in cells if (row := _row(cell, given))]
    return pl.DataFrame(rows, schema=ORIGIN, orient="row")


@dataclass(frozen=True, slots=True)
class _Chain:
    """The baselines that lead from the plain one to a scenario's stack, as far as the run has them."""

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    lacking: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, base: str, cell: CellKey, given: _Given) -> "_Chain":
        """A baseline that is missing ends the chain: what follows cannot be told from it."""
        steps = list(_steps(scenario, cell, given))
        lacking = [name for _, name in steps if not given.summary(name, cell).n]
        there = next((place for place, (_, name) in enumerate(steps) if name in lacking), len(steps))
        names = (base, *(name for _, name in steps[:there]))
        return cls(names, tuple(part for part, _ in steps[:there]), tuple(lacking))

    def ratios(self, cell: CellKey, given: _Given) -> dict[str, object]:
        """The parts of the scenario's ratio to the plain baseline, the tunnel's last."""
        means = [given.summary(name, cell) for name in (*self.names, cell[0])]
        words = [*(_STEPS[part] for part in self.parts), "tunnel"]
        found: dict[str, object] = {}
        for word, before, after in zip(words, means, means[1:], strict=False):
            found |= _ratio(word, after, before)
        return found


def _row(cell: CellKey, given: _Given) -> dict[str, object] | None:
    scenario = given.catalogue.get(cell[0])
    base = _plain(scenario, given.catalogue) if scenario else None
    if scenario is None or base is None:
        return None
    own, plain = given.summary(cell[0], cell), given.summary(base, cell)
    if not own.n or not plain.n:
        return None
    chain = _Chain.of(scenario, base, cell, given)
    tuned = chain.names[-1]
    row = {
        "test": cell[2],
        "condition": cell[1],
        "scenario": cell[0],
        "baseline": base,
        "tuned": tuned,
        "n": own.n,
        "n_baseline": plain.n,
        **_ratio("ratio", own, plain),
        **chain.ratios(cell, given),
        **_ratio("cpu_cost", given.cost(cell[0], cell), given.cost(tuned, cell)),
        "cpu_bound": given.bound.get(cell),
        "baseline_cpu_bound": given.bound.get((tuned, *cell[1:])),
        "lacking": ", ".join(chain.lacking) or None,
    }
    if any((name, *cell[1:]) in given.slow for name in (cell[0], *chain.names)):
        return {**_without_intervals(row), "note": "slow start, not the VPN"}
    return {**row, "note": "; ".join(_notes(cell, base, scenario, given)) or None}


def _notes(cell: CellKey, base: str, scenario: Scenario, given: _Given) -> Iterator[str]:
    """What else than a VPN and its stack decided one of the two figures."""
    if fills_ports(given.summary(base, cell).mean, scenario.pod_mtu, given.provenance):
        yield f"{base} fills the lab's ports: without their limit it may be faster"
    yield from (
        f"{name} is near what {capped_by(cell[1])} lets through"
        for name in (cell[0], base)
        if given.cells[name, cell[1], cell[2]].near_cap
    )


def _steps(scenario: Scenario, cell: CellKey, given: _Given) -> Iterator[tuple[Part, str]]:
    """The baselines between the plain one and the scenario's stack, by name; UDP knows no congestion control."""
    if cell[2] != "tcp" or scenario.solution not in SOLUTIONS:
        return
    for part, tuning in SOLUTIONS[scenario.solution].stack(scenario).tunings():
        usual = given.by_host and tuning.congestion is not None
        wanted = replace(tuning, congestion=None) if usual else tuning
        if wanted and not (usual and part is Part.TCP):
            yield part, _tuned(scenario, wanted, given.catalogue) or _to_be_written(scenario, wanted)


def _plain(scenario: Scenario, catalogue: Catalogue) -> str | None:
    """The baseline of a scenario with a tunnel: the one of its pods' MTU; None for what is a baseline itself."""
    if scenario.solution not in SOLUTIONS or not SOLUTIONS[scenario.solution].is_vpn:
        return None
    return _tuned(scenario, Tuning(), catalogue)


def _tuned(scenario: Scenario, tuning: Tuning, catalogue: Catalogue) -> str | None:
    """The first scenario without a tunnel whose pods have that MTU and exactly that tuning."""
    return next(
        (
            one.name
            for one in catalogue.scenarios
            if one.pod_mtu == scenario.pod_mtu
            and one.solution in SOLUTIONS
            and not SOLUTIONS[one.solution].is_vpn
            and SOLUTIONS[one.solution].tuning(one) == tuning
        ),
        None,
    )


def _to_be_written(scenario: Scenario, tuning: Tuning) -> str:
    """What a baseline that nobody declared would be, in words."""
    parts = ["the nodes' congestion control"] if tuning.congestion is not None else []
    parts += [] if tuning.offloads else ["no offloads"]
    return f"a baseline of MTU {scenario.pod_mtu} with {' and '.join(parts)}"


def _ratio(name: str, a: Summary, b: Summary) -> dict[str, object]:
    """The ratio of two means, with its interval from `fewest_for_interval` figures each."""
    enough = min(a.n, b.n) >= fewest_for_interval()
    interval = ratio_interval(a, b) if enough else None
    return {
        name: a.mean / b.mean if a.mean is not None and b.mean else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _without_intervals(row: Mapping[str, object]) -> dict[str, object]:
    return {name: None if name.endswith(("_low", "_high")) else value for name, value in row.items()}
