"""Every pair of scenarios under every condition: whether they differ, how far, and by what ratio."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import polars as pl

from vpnmesh.frames.aggregate import CellKey, CellSample
from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.frames.requests import ApiCell
from vpnmesh.stats.compare import ALPHA, can_reject, fewest_for_test, holm, mann_whitney
from vpnmesh.stats.describe import Summary, Tally
from vpnmesh.stats.intervals import fewest_for_interval, ratio_interval
from vpnmesh.study.scenarios import Catalogue

API_TEST = "api"
API_RUNS_TEST = "api-runs"
FEW_FOR_TEST = "figures, a test of these pairs needs"
"""What `withheld` says where more figures would help; whatever else it says, more of the same would not."""


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """One scenario's sample within a family."""

    scenario: str
    sample: Tally
    summary: Summary

    @classmethod
    def of(cls, scenario: str, sample: Tally) -> "FamilyMember":
        """The group with its summary made once, not once per pair."""
        return cls(scenario, sample, sample.summary())


@dataclass(frozen=True, slots=True)
class Family:
    """The pairs that are corrected together: of one test under one condition (and one mode of the API test)."""

    test: str
    condition: str
    groups: tuple[FamilyMember, ...]
    mode: str | None = None
    unfit: frozenset[str] = frozenset()
    """Scenarios whose TCP was in slow start: they are shown and not tested."""

    @property
    def pairs(self) -> int:
        """How many pairs are corrected together: those of the scenarios that have figures."""
        return comb(sum(group.sample.n > 0 for group in self.groups), 2)


def throughput_families(
    cells: Mapping[CellKey, CellSample], slow_start: frozenset[CellKey] = frozenset()
) -> list[Family]:
    """TCP, then UDP, each condition by itself, scenarios in the order of the cells; slow start is not tested."""
    conditions = conditions_in_order(cell.condition for cell in cells.values())
    return [
        replace(
            _family(
                test, condition, {s.scenario: s.tally for s in cells.values() if (s.condition, s.test) == key}
            ),
            unfit=frozenset(scenario for scenario, *where in slow_start if tuple(where) == key),
        )
        for test in THROUGHPUT_TESTS
        for condition in conditions
        if any((key := (condition, test)) == (s.condition, s.test) for s in cells.values())
    ]


def api_families(cells: Sequence[ApiCell], catalogue: Catalogue) -> list[Family]:
    """Per request as in the paper, and per run (means), since requests of one run are not independent."""
    modes = sorted({cell.mode for cell in cells})
    conditions = conditions_in_order(cell.condition for cell in cells)
    families = []
    for test in (API_TEST, API_RUNS_TEST):
        for mode in modes:
            for condition in conditions:
                chosen = [cell for cell in cells if (cell.mode, cell.condition) == (mode, condition)]
                by_name = {cell.scenario: cell for cell in chosen}
                samples = {
                    name: by_name[name].pooled if test == API_TEST else Tally.of(by_name[name].run_means)
                    for name in catalogue.in_order(by_name)
                }
                families += [_family(test, condition, samples, mode)] if chosen else []
    return families


def _family(test: str, condition: str, samples: Mapping[str, Tally], mode: str | None = None) -> Family:
    return Family(test, condition, tuple(FamilyMember.of(*one) for one in samples.items()), mode)


def pairwise(families: Iterable[Family], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A row per pair of each family, every pair once, in the order of scenarios."""
    rows = [row for family in families for row in _rows(family)]
    return pl.DataFrame(
        rows,
        schema={**schema, "mode": pl.String(), "ratio_method": pl.String(), "withheld": pl.String()},
        orient="row",
    )


def _rows(family: Family) -> list[dict[str, object]]:
    rows = [_row(family, a, b) for a, b in combinations(family.groups, 2)]
    adjusted = holm([row["p"] for row in rows])  # type: ignore[misc]  # p is float or None by construction
    for row, p_holm in zip(rows, adjusted, strict=True):
        row["p_holm"] = p_holm
        row["reject_holm"] = None if p_holm is None else p_holm < ALPHA
    return rows


def _row(family: Family, a: FamilyMember, b: FamilyMember) -> dict[str, object]:
    test = mann_whitney(a.sample, b.sample)
    withheld = _withheld(family, a, b)
    p = None if withheld else test.p
    enough = min(test.n_a, test.n_b) >= fewest_for_interval() and not {a.scenario, b.scenario} & family.unfit
    interval = ratio_interval(a.summary, b.summary) if enough else None
    ratio = a.summary.mean / b.summary.mean if a.summary.mean is not None and b.summary.mean else None
    return {
        "test": family.test,
        "condition": family.condition,
        "a": a.scenario,
        "b": b.scenario,
        "n_a": test.n_a,
        "n_b": test.n_b,
        "u": test.u,
        "p": p,
        "reject": None if p is None else p < ALPHA,
        "cliffs_delta": test.cliffs_delta,
        "ratio": ratio,
        "ratio_low": interval.low if interval else None,
        "ratio_high": interval.high if interval else None,
        "mode": family.mode,
        "ratio_method": interval.method if interval else None,
        "withheld": withheld or None,
    }


def _withheld(family: Family, a: FamilyMember, b: FamilyMember) -> str:
    """Why a pair gets no p, "" where it gets one."""
    if slow := [group.scenario for group in (a, b) if group.scenario in family.unfit]:
        return f"slow start: {', '.join(slow)}"
    sizes = (a.sample.n, b.sample.n)
    if not can_reject(*sizes, family.pairs):
        return f"{min(sizes)} {FEW_FOR_TEST} {fewest_for_test(family.pairs)}"
    return ""
