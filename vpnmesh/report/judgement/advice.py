"""Which VPN for which need: a ranking per need, and for each sentence the cells, ratios and p-values under it.

How ranks come about is in `vpnmesh.report.judgement.ranking`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue
from vpnmesh.criteria.evaluate import evaluate
from vpnmesh.report.comparable import Cells
from vpnmesh.report.judgement.claims import Claim, claims
from vpnmesh.report.judgement.cpu_advice import by_cpu
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.fact_advice import by_fact
from vpnmesh.report.judgement.ranking import Knowledge
from vpnmesh.report.judgement.requirements import NeedKind, UserNeed
from vpnmesh.report.judgement.sentences import NeedAdvice
from vpnmesh.report.judgement.throughput_advice import by_throughput
from vpnmesh.report.judgement.usability import UsabilityNote, usability

CONCLUSIONS = "5"
"""The section of the paper that says which VPN to take."""


@dataclass(frozen=True, slots=True)
class Advice:
    """All advice, the date and basis of its facts, and the verdicts on the paper's conclusions (section 5)."""

    on: date
    basis: Basis
    needs: tuple[NeedAdvice, ...]
    excluded: tuple[str, ...]
    conclusions: tuple[Claim, ...]
    usability: tuple[UsabilityNote, ...]

    def need(self, need_id: str) -> NeedAdvice | None:
        """The advice on one need."""
        return next((found for found in self.needs if found.need == need_id), None)


def advise(
    readings: Readings,
    catalogue: CriteriaCatalogue,
    needs: Sequence[UserNeed],
    on: date,
    basis: Basis = Basis.CLAIMED,
) -> Advice:
    """The advice on each need from a study's figures and the facts known on a date."""
    verdicts = {verdict.product.id: verdict for verdict in evaluate(catalogue, on, basis)}
    known = Knowledge(readings, catalogue, on, basis, verdicts, Cells(readings))
    excluded = tuple(verdict.explain() for verdict in verdicts.values() if not verdict.qualifies)
    answers = {NeedKind.THROUGHPUT: by_throughput, NeedKind.CPU: by_cpu, NeedKind.FACT: by_fact}
    conclusions = tuple(claim for claim in claims(readings, catalogue, on) if claim.section == CONCLUSIONS)
    answered = tuple(answers[need.kind](known, need) for need in needs)
    return Advice(on, basis, answered, excluded, conclusions, usability(known))
