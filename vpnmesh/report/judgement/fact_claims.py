"""Claims on what a VPN can do, by the dated facts of the criteria."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from vpnmesh.criteria.catalogue import Basis, Value
from vpnmesh.report.judgement.claim_check import ClaimCheck, Grounds, ProductName, TopicName
from vpnmesh.report.judgement.claim_verdicts import CheckResult, ClaimVerdict, counted
from vpnmesh.report.judgement.evidence import cite_fact


class FactsAre(ClaimCheck):
    """Each product's fact on the date is the expected one; what was found by trying counts before what is claimed.

    A claim that nothing contradicts holds only where every fact has another source than the paper itself.
    """

    topic: TopicName
    expected: Annotated[Mapping[ProductName, Value], Field(min_length=1)]

    def judge(self, grounds: Grounds) -> CheckResult:
        """Count the products whose fact is as expected; the reason has each fact with its source."""
        found = {name: grounds.facts.fact(name, self.topic, grounds.on) for name in self.expected}
        known = {name: fact for name, fact in found.items() if fact}
        values = {name: fact.value(Basis.VERIFIED) for name, fact in known.items()}
        right = [name for name, value in values.items() if value is self.expected[name]]
        said = any(known[name].source.is_the_paper for name in right)
        text = "; ".join(f"{name} {values[name]}: {fact.evidence()}" for name, fact in known.items())
        cited = [cite_fact(name, fact) for name, fact in known.items()]
        result = counted(len(right), len(known), text, cited)
        as_said = result.verdict is ClaimVerdict.HOLDS and said
        return replace(result, verdict=ClaimVerdict.AS_SAID) if as_said else result
