"""What a claim's check comes to: a verdict, the reason, and the figures and facts under it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.report.judgement.evidence import Citation


class ClaimVerdict(StrEnum):
    """What the data say to a claim; `AS_SAID`: only the paper itself supports it."""

    HOLDS = "holds"
    PARTLY = "partly"
    CONTRADICTED = "contradicted"
    AS_SAID = "as the paper says"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A verdict, its reason, and what it rests on; `compared` = all scenarios that were weighed, cited or not."""

    verdict: ClaimVerdict
    because: str
    evidence: tuple[Citation, ...] = ()
    compared: frozenset[str] = frozenset()


NO_DATA = CheckResult(ClaimVerdict.UNDECIDED, "these data hold nothing that decides it")


def counted(
    right: int, of: int, because: str, evidence: Sequence[Citation] = (), compared: Iterable[str] = ()
) -> CheckResult:
    """The result of a claim that should be true in `of` places and is true in `right` of them."""
    if not of:
        return NO_DATA
    partly = ClaimVerdict.PARTLY if right else ClaimVerdict.CONTRADICTED
    verdict = ClaimVerdict.HOLDS if right == of else partly
    return CheckResult(verdict, because, tuple(evidence), frozenset(compared))
