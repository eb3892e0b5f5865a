"""Claims that all pairs of scenarios differ, by the tests of the pairwise table."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from vpnmesh.frames.requests import HEY
from vpnmesh.report.formatting import p_text
from vpnmesh.report.judgement.claim_check import ClaimCheck, Conditions, Grounds, ScenarioName
from vpnmesh.report.judgement.claim_verdicts import NO_DATA, CheckResult, ClaimVerdict
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.style import condition_title

_NAMED = 6
"""Up to so many pairs without a difference are named; more are counted by condition."""


class PairsDiffer(ClaimCheck):
    """All pairs of the paper's scenarios reject at 0.05 without correction, as the paper tested, but one.

    Where pairs are missing from a condition, a pair that does not differ still speaks against the claim, and nothing
    speaks for it.
    """

    test: Literal["tcp", "udp", "api", "api-runs"]
    conditions: Conditions
    alike: tuple[ScenarioName, ScenarioName] | None = None

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the pairs that do not differ; the evidence names them, or the pair with the largest p."""
        names = grounds.scenarios.paper
        table = grounds.readings.study.tables["pairwise"].filter(
            pl.col("test") == self.test,
            pl.col("condition").is_in(self.conditions),
            pl.col("a").is_in(names) & pl.col("b").is_in(names),
            # of the API as the paper asked it
            pl.col("mode").is_null() | (pl.col("mode") == HEY),
        )
        rows = table.drop_nulls("p").to_dicts()
        if not rows:
            few = CheckResult(ClaimVerdict.UNDECIDED, "too few in each sample for a test")
            return few if table.height else NO_DATA
        same = [row for row in rows if not row["reject"]]
        wrong = sum(self._is_wrong(row) for row in rows)
        missing = math.comb(len(names), 2) * table["condition"].n_unique() - len(rows)
        text = _told(rows, same) + (f"; {missing} pairs are missing" if missing else "")
        cited = tuple(_cite_test(row) for row in same or [max(rows, key=lambda row: float(row["p"]))])
        compared = frozenset(row[end] for row in rows for end in ("a", "b"))
        return CheckResult(_verdict(wrong, len(rows), missing), text, cited, compared)

    def _is_wrong(self, row: Mapping[str, Any]) -> bool:
        """Whether a tested pair is not as claimed: alike, or different where it is the exception."""
        excepted = self.alike is not None and {row["a"], row["b"]} == set(self.alike)
        return bool(row["reject"]) == excepted


def _verdict(wrong: int, of: int, missing: int) -> ClaimVerdict:
    if wrong:
        return ClaimVerdict.PARTLY if wrong < of / 2 else ClaimVerdict.CONTRADICTED
    return ClaimVerdict.UNDECIDED if missing else ClaimVerdict.HOLDS


def _told(rows: Sequence[Mapping[str, Any]], same: Sequence[Mapping[str, Any]]) -> str:
    """How many pairs do not differ, in which condition, and which they are where they are few."""
    holm = sum(not row["reject_holm"] for row in rows)
    text = f"{len(same)} of {len(rows)} pairs do not differ, {holm} after Holm's correction"
    if len(same) > _NAMED:
        counts = Counter(row["condition"] for row in same)
        conditions = dict.fromkeys(row["condition"] for row in rows)
        return f"{text}: {', '.join(f'{condition_title(name)} {counts[name]}' for name in conditions)}"
    named = [
        f"{row['a']}/{row['b']} {condition_title(row['condition'])} (p {p_text(row['p'])})" for row in same
    ]
    return f"{text}: {', '.join(named)}" if named else text


def _cite_test(row: Mapping[str, Any]) -> Citation:
    """A pair's test in words."""
    where = f"{row['test'].upper()}, {condition_title(row['condition'])}"
    text = f"{where}: {row['a']} against {row['b']}: U {row['u']:g}, p {p_text(row['p'])}"
    names = {name: str(row[name]) for name in ("test", "condition", "a", "b")}
    return Citation("pairwise", names, {"u": row["u"], "p": row["p"]}, text)
