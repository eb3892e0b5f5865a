"""Claims on which scenario or solution carries more: orders of means, leads, and who is the best."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vpnmesh.model import Path
from vpnmesh.report.judgement.claim_check import (
    ClaimCheck,
    ConditionName,
    Conditions,
    Grounds,
    ScenarioName,
    Share,
    SolutionName,
    Solutions,
    Tests,
    ThroughputTest,
    is_ahead,
)
from vpnmesh.report.judgement.claim_verdicts import CheckResult, ClaimVerdict, counted
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.judgement.scenario_kinds import paper_tunnels
from vpnmesh.stats.compare import ALPHA


class MeansInOrder(ClaimCheck):
    """The scenarios come in this order of means, each before the next with a test that rejects."""

    test: ThroughputTest
    conditions: Conditions
    scenarios: Annotated[tuple[ScenarioName, ...], Field(min_length=2)]

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the steps of the order that hold."""
        cited = [
            pair
            for condition in self.conditions
            for a, b in pairwise(self.scenarios)
            for pair in grounds.compare(self.test, condition, a, b)
        ]
        right = sum(is_ahead(pair) for pair in cited)
        return counted(right, len(cited), f"{right} of {len(cited)} steps hold", cited)


class AheadOfBaselines(ClaimCheck):
    """The scenarios are ahead of both baselines in every condition."""

    test: ThroughputTest
    conditions: Conditions
    scenarios: Annotated[tuple[ScenarioName, ...], Field(min_length=1)]

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the leads over a baseline; the reason names the cells without one."""
        cited = [
            pair
            for condition in self.conditions
            for scenario in self.scenarios
            for baseline in grounds.scenarios.baselines
            for pair in grounds.compare(self.test, condition, scenario, baseline)
        ]
        right = sum(is_ahead(pair) for pair in cited)
        low = [pair.text.split(", ratio")[0] for pair in cited if not is_ahead(pair)]
        text = f"better than the baseline in {right} of {len(cited)} cells"
        text += f"; not so: {'; '.join(low)}" if low else ""
        return counted(right, len(cited), text, cited)


class SolutionsAhead(ClaimCheck):
    """The solutions are ahead of others on the same path in every cell; no difference is no lead."""

    tests: Tests
    conditions: Conditions
    solutions: Solutions
    than: Solutions

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the leads; the reason names the cells in which a solution is behind."""
        cited = [
            pair
            for a in self.solutions
            for b in self.than
            for pair in _on_each_path(grounds, self.tests, self.conditions, a, b)
        ]
        right = [pair for pair in cited if is_ahead(pair)]
        behind = [pair for pair in cited if pair.figures["ratio"] < 1]
        even = len(cited) - len(right) - len(behind)
        text = f"ahead in {len(right)} of {len(cited)} cells"
        text += f", no difference shown in {even}" if even else ""
        text += f"; behind: {'; '.join(pair.text for pair in behind)}" if behind else ""
        return counted(len(right), len(cited), text, cited)


class SolutionsMatched(ClaimCheck):
    """Two solutions lie within a share of each other on the same path, or no test tells them apart."""

    tests: Tests
    conditions: Conditions
    solutions: tuple[SolutionName, SolutionName]
    within: Share

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the cells in which they are matched; the reason names the others."""
        cited = list(_on_each_path(grounds, self.tests, self.conditions, *self.solutions))
        apart = [pair for pair in cited if self._are_apart(pair)]
        matched = len(cited) - len(apart)
        text = f"within {100 * self.within:g} % or without a difference in {matched} of {len(cited)} cells"
        text += f"; apart: {'; '.join(pair.text for pair in apart)}" if apart else ""
        return counted(matched, len(cited), text, cited)

    def _are_apart(self, pair: Citation) -> bool:
        return abs(pair.figures["ratio"] - 1) > self.within and pair.figures.get("p_holm", 0.0) < ALPHA


class RelayAheadOfDirect(ClaimCheck):
    """The solutions' relayed paths are ahead of their own direct ones in every condition."""

    test: ThroughputTest
    conditions: Conditions
    solutions: Solutions

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the leads of a relay."""
        relayed, direct = grounds.on_path(Path.RELAY), grounds.on_path(Path.DIRECT)
        both = [name for name in self.solutions if name in relayed and name in direct]
        cited = [
            pair
            for condition in self.conditions
            for name in both
            for pair in grounds.compare(self.test, condition, relayed[name], direct[name])
        ]
        right = sum(is_ahead(pair) for pair in cited)
        return counted(right, len(cited), f"the relay is ahead in {right} of {len(cited)} cells", cited)


class ExpectedBest(BaseModel):
    """The solution that the paper calls the best in a cell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test: ThroughputTest
    condition: ConditionName
    solution: SolutionName


class BestSolution(ClaimCheck):
    """In each cell the best of the paper's VPNs, at its better path, is the expected one.

    A larger mean makes it the best; where a test does not confirm one of the leads, the claim holds partly.
    """

    cells: Annotated[tuple[ExpectedBest, ...], Field(min_length=1)]

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the cells in which the expected solution has the best mean; the reason names the unconfirmed leads."""
        cited: list[Citation] = []
        compared: set[str] = set()
        for cell in self.cells:
            own, others = _means(grounds, cell)
            if own and others:
                best, rival = (max(means, key=lambda name: means[name]) for means in (own, others))
                cited += grounds.compare(cell.test, cell.condition, best, rival)
                compared |= own.keys() | others.keys()
        right = sum(pair.figures["ratio"] > 1 for pair in cited)
        unsure = [pair.text for pair in cited if not is_ahead(pair)]
        text = f"the best mean in {right} of {len(cited)} cells"
        text += f"; not shown: {'; '.join(unsure)}" if unsure else ""
        found = counted(right, len(cited), text, cited, compared)
        unconfirmed = found.verdict is ClaimVerdict.HOLDS and unsure
        return replace(found, verdict=ClaimVerdict.PARTLY) if unconfirmed else found


def _means(grounds: Grounds, cell: ExpectedBest) -> tuple[dict[str, float], dict[str, float]]:
    """The means of the expected solution's scenarios in a cell, and those of the other VPNs."""
    own: dict[str, float] = {}
    others: dict[str, float] = {}
    for scenario in paper_tunnels(grounds.scenarios):
        if found := grounds.readings.cell(cell.test, cell.condition, scenario.name):
            means = own if scenario.solution == cell.solution else others
            means[scenario.name] = found.mean_mbit_s
    return own, others


def _on_each_path(
    grounds: Grounds, tests: Sequence[str], conditions: Sequence[str], a: str, b: str
) -> Iterator[Citation]:
    """Solution a against solution b in every cell, direct against direct and relayed against relayed."""
    for test in tests:
        for condition in conditions:
            for first, second in grounds.on_each_path(a, b):
                yield from grounds.compare(test, condition, first, second)
