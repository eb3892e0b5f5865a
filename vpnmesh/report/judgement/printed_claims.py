"""Claims that rest on single figures as the paper prints them: in its text, in Tables A1 and A2, or as a rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from vpnmesh.frames.requests import HEY
from vpnmesh.report.judgement.claim_check import (
    BaselineName,
    ClaimCheck,
    ConditionName,
    Grounds,
    Positive,
    ScenarioName,
    Share,
    ThroughputTest,
)
from vpnmesh.report.judgement.claim_verdicts import NO_DATA, CheckResult, ClaimVerdict, counted
from vpnmesh.report.judgement.evidence import Citation, Readings
from vpnmesh.report.style import condition_title


def _printed(readings: Readings, test: str, condition: str, scenario: str) -> Mapping[str, Any] | None:
    """The row of Table A1 or A2; None where there is none, or the tables are not at hand."""
    if readings.reference is None:
        return None
    rows = readings.reference.filter(test=test, condition=condition, scenario=scenario).to_dicts()
    return rows[0] if rows else None


def _ratio(row: Mapping[str, Any], baseline: str) -> float:
    """A row's printed ratio: the baseline's mean over the scenario's."""
    return float(row[f"ratio_{baseline.replace('-', '_')}"])


class BaselinesAlike(ClaimCheck):
    """The baselines carry as much by one test as by the other, to within a share.

    Tables A1 and A2 have no rows of baselines. Where the second test's figures are published ones, a baseline's mean
    is the printed row's mean times its ratio to that baseline.
    """

    tests: tuple[ThroughputTest, ThroughputTest]
    condition: ConditionName
    within: Share
    printed_row: ScenarioName

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the baselines whose two means are alike; the reason has both means of each."""
        readings, (first, second) = grounds.readings, self.tests
        right, texts = 0, []
        cited: list[Citation] = []
        for baseline in grounds.scenarios.baselines:
            own, other = readings.cell(first, self.condition, baseline), self._other_mean(readings, baseline)
            if own and other:
                right += abs(other / own.mean_mbit_s - 1) < self.within
                text = f"{second.upper()} {other:.0f}, {first.upper()} {own.mean_mbit_s:.0f} Mbit/s"
                texts.append(f"{baseline}: {text}")
                cited += self._cited(readings, baseline)
        source = f" ({second.upper()} from Table A2's ratios)" if readings.published(second) else ""
        return counted(right, len(texts), "; ".join(texts) + source, cited)

    def _other_mean(self, readings: Readings, baseline: str) -> float | None:
        """The baseline's mean by the second test: measured, else from the printed ratio."""
        if own := readings.cell(self.tests[1], self.condition, baseline):
            return own.mean_mbit_s
        row = _printed(readings, self.tests[1], self.condition, self.printed_row)
        if row is None or not readings.published(self.tests[1]):
            return None
        return _ratio(row, baseline) * float(row["mean_mbit_s"])

    def _cited(self, readings: Readings, baseline: str) -> list[Citation]:
        known = [test for test in self.tests if readings.cell(test, self.condition, baseline)]
        return [readings.cite_cell(test, self.condition, baseline) for test in known]


class PrintedTwice(ClaimCheck):
    """The text prints one mean for a cell and the table another: the repetitions give one, to the printed digit.

    Without repetitions, the table's ratio to the baseline fits one of the two; the baseline's mean follows from
    another printed row.
    """

    test: ThroughputTest
    condition: ConditionName
    scenario: ScenarioName
    mean_mbit_s: Positive
    baseline: BaselineName
    printed_row: ScenarioName

    def judge(self, grounds: Grounds) -> CheckResult:
        """The claim holds where the text's figure is the one; only the paper's own data decide it."""
        readings = grounds.readings
        own = readings.cell(self.test, self.condition, self.scenario)
        printed = _printed(readings, self.test, self.condition, self.scenario)
        if own is None or printed is None or not readings.is_the_papers:
            return NO_DATA
        figures = (self.mean_mbit_s, float(printed["mean_mbit_s"]))
        cited = (readings.cite_cell(self.test, self.condition, self.scenario),)
        if own.published:
            return self._by_ratio(readings, printed, figures, cited)
        fits = [figure for figure in figures if round(own.mean_mbit_s, 2) == figure]
        text = f"the mean of {own.measured} repetitions, {own.mean_mbit_s:.2f} Mbit/s, is {_named(fits)}"
        return CheckResult(self._verdict(fits), text, cited)

    def _by_ratio(
        self,
        readings: Readings,
        printed: Mapping[str, Any],
        figures: Sequence[float],
        cited: tuple[Citation, ...],
    ) -> CheckResult:
        other = _printed(readings, self.test, self.condition, self.printed_row)
        if other is None:
            return NO_DATA
        mean, ratio = (
            float(other["mean_mbit_s"]) * _ratio(other, self.baseline),
            _ratio(printed, self.baseline),
        )
        fits = [figure for figure in figures if round(mean / figure, 2) == ratio]
        text = (
            f"the printed ratio to {self.baseline}, {ratio}, fits {_named(fits)} (baseline {mean:.1f} Mbit/s)"
        )
        return CheckResult(self._verdict(fits), text, cited)

    def _verdict(self, fits: Sequence[float]) -> ClaimVerdict:
        return ClaimVerdict.HOLDS if self.mean_mbit_s in fits else ClaimVerdict.CONTRADICTED


def _named(fits: Sequence[float]) -> str:
    return ", ".join(f"{figure:g}" for figure in fits) or "neither"


class RequestRate(ClaimCheck):
    """No scenario's API was asked more often than so many times a second, by the paper's command."""

    most_rps: Positive

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the scenarios whose achieved rate is within the limit."""
        table = grounds.readings.study.tables["api"]
        asked = table.filter(mode=HEY).drop_nulls("achieved_rps")
        rows = asked.to_dicts()
        rates = [float(row["achieved_rps"]) for row in rows]
        right = sum(rate <= self.most_rps for rate in rates)
        text = f"achieved {min(rates):.0f} to {max(rates):.0f} requests per second" if rates else ""
        return counted(right, len(rows), text, [_cite_rate(row) for row in rows])


def _cite_rate(row: Mapping[str, Any]) -> Citation:
    """The rate at which a scenario's API was asked, in words."""
    names = {name: str(row[name]) for name in ("scenario", "condition", "mode")}
    rate = float(row["achieved_rps"])
    text = f"{row['scenario']}, API, {condition_title(row['condition'])}: {rate:.0f} requests per second"
    return Citation("api", names, {"achieved_rps": rate}, text)
