"""Claims on who needs the least or the most CPU, by client and server together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vpnmesh.model import Path
from vpnmesh.report.judgement.claim_check import (
    ClaimCheck,
    Conditions,
    Grounds,
    ScenarioName,
    SolutionName,
    Solutions,
    ThroughputTest,
)
from vpnmesh.report.judgement.claim_verdicts import CheckResult, counted
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.style import condition_title


@dataclass(frozen=True, slots=True)
class _CpuCell:
    """All of the paper's VPNs on one path under one condition: their scenarios and CPU in percent, by solution."""

    test: str
    condition: str
    path: Path
    scenarios: Mapping[str, str]
    both_pct: Mapping[str, float]

    @property
    def title(self) -> str:
        return f"{condition_title(self.condition)} {self.path}"

    def cite(self, grounds: Grounds, solutions: Sequence[str]) -> list[Citation]:
        """The CPU of each of the solutions, one that is there twice once."""
        names = [self.scenarios[solution] for solution in dict.fromkeys(solutions)]
        return [grounds.readings.cite_load(self.test, self.condition, name) for name in names]


def _cells(
    grounds: Grounds, test: str, conditions: Sequence[str], solutions: Sequence[str]
) -> list[_CpuCell]:
    """The cells that have the CPU of every VPN, the solutions among them; others compare nothing."""
    return [
        cell
        for condition in conditions
        for cell in _on_each_path(grounds, test, condition)
        if set(solutions) <= cell.both_pct.keys() == cell.scenarios.keys()
    ]


def _on_each_path(grounds: Grounds, test: str, condition: str) -> Iterator[_CpuCell]:
    for path in Path:
        scenarios = grounds.on_path(path)
        loads = {
            solution: grounds.readings.load(test, condition, name) for solution, name in scenarios.items()
        }
        both_pct = {solution: load.both_pct for solution, load in loads.items() if load}
        yield _CpuCell(test, condition, path, scenarios, both_pct)


def _compared(cells: Sequence[_CpuCell]) -> set[str]:
    return {name for cell in cells for name in cell.scenarios.values()}


class ExtremeCpu(ClaimCheck):
    """In every condition, direct and relayed, the solution has the least (or most) CPU of client plus server."""

    test: ThroughputTest
    conditions: Conditions
    solution: SolutionName
    extreme: Literal["least", "most"]

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the cells in which it has; the reason names who has it in the others."""
        cells = _cells(grounds, self.test, self.conditions, [self.solution])
        found = [self._found(cell) for cell in cells]
        cited = [
            one
            for cell, name in zip(cells, found, strict=True)
            for one in cell.cite(grounds, [self.solution, name])
        ]
        others = [
            f"{cell.title}: {name}" for cell, name in zip(cells, found, strict=True) if name != self.solution
        ]
        right = len(cells) - len(others)
        text = f"{self.extreme} CPU of both ends in {right} of {len(cells)} cells"
        text += f"; otherwise {', '.join(others)}" if others else ""
        return counted(right, len(cells), text, cited, _compared(cells))

    def _found(self, cell: _CpuCell) -> str:
        pick = min if self.extreme == "least" else max
        return pick(cell.both_pct, key=lambda name: cell.both_pct[name])


class LessCpu(ClaimCheck):
    """In every condition, direct and relayed, each of the solutions needs less CPU of both ends than the other."""

    test: ThroughputTest
    conditions: Conditions
    solutions: Solutions
    than: SolutionName

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the comparisons in which a solution needs less; the reason names the others."""
        all_of_them = (*self.solutions, self.than)
        cells = _cells(grounds, self.test, self.conditions, all_of_them)
        cited = [one for cell in cells for one in cell.cite(grounds, all_of_them)]
        others = [
            f"{cell.title}: {name}"
            for cell in cells
            for name in self.solutions
            if cell.both_pct[name] >= cell.both_pct[self.than]
        ]
        of = len(self.solutions) * len(cells)
        text = f"less CPU of both ends than {self.than} in {of - len(others)} of {of} cells"
        text += f"; not so {', '.join(others)}" if others else ""
        return counted(of - len(others), of, text, cited, _compared(cells))


class MostCpuOfAll(ClaimCheck):
    """The scenario has the most CPU of both ends of all the paper's scenarios, baselines included."""

    test: ThroughputTest
    conditions: Conditions
    scenario: ScenarioName

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the conditions in which it has; the reason names who has the most in each."""
        tops: list[str] = []
        cited: list[Citation] = []
        compared: set[str] = set()
        for condition in self.conditions:
            both_pct = self._both_pct(grounds, condition)
            if self.scenario in both_pct and len(both_pct) > 1:
                compared |= both_pct.keys()
                tops.append(max(both_pct, key=lambda name: both_pct[name]))
                names = dict.fromkeys((self.scenario, tops[-1]))
                cited += [grounds.readings.cite_load(self.test, condition, name) for name in names]
        text = f"most CPU of both ends: {', '.join(tops)}"
        return counted(tops.count(self.scenario), len(tops), text, cited, compared)

    def _both_pct(self, grounds: Grounds, condition: str) -> dict[str, float]:
        found = {name: grounds.readings.load(self.test, condition, name) for name in grounds.scenarios.paper}
        return {name: load.both_pct for name, load in found.items() if load}
