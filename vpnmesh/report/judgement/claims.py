"""The paper's own claims, read from data and judged one by one.

Verdicts on figures are computed from the study. Verdicts on features rest on dated facts: where the paper itself is
the only source of one, the verdict is "as the paper says". Claims about UDP rest on the means of Table A2 where the
study has no UDP samples and is the paper's; a claim that no data here can decide says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Any, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.report.judgement.claim_check import UNKNOWN_NAME, ClaimCheck, Grounds, known_names
from vpnmesh.report.judgement.claim_verdicts import CheckResult, ClaimVerdict
from vpnmesh.report.judgement.cpu_claims import ExtremeCpu, LessCpu, MostCpuOfAll
from vpnmesh.report.judgement.evidence import Citation, Readings
from vpnmesh.report.judgement.fact_claims import FactsAre
from vpnmesh.report.judgement.pair_claims import PairsDiffer
from vpnmesh.report.judgement.printed_claims import BaselinesAlike, PrintedTwice, RequestRate
from vpnmesh.report.judgement.throughput_claims import (
    AheadOfBaselines,
    BestSolution,
    MeansInOrder,
    RelayAheadOfDirect,
    SolutionsAhead,
    SolutionsMatched,
)
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

PAPER_CLAIMS = "claims.yaml"
CHECKS: Mapping[str, type[ClaimCheck]] = {
    "pairs-differ": PairsDiffer,
    "means-in-order": MeansInOrder,
    "ahead-of-baselines": AheadOfBaselines,
    "solutions-ahead": SolutionsAhead,
    "solutions-matched": SolutionsMatched,
    "relay-ahead-of-direct": RelayAheadOfDirect,
    "best-solution": BestSolution,
    "extreme-cpu": ExtremeCpu,
    "less-cpu": LessCpu,
    "most-cpu-of-all": MostCpuOfAll,
    "baselines-alike": BaselinesAlike,
    "printed-twice": PrintedTwice,
    "request-rate": RequestRate,
    "facts": FactsAre,
}
"""The ways to judge a claim, by the name that `check` has in the data."""
_WAY_OUT = "vpnmesh/reference/README.md says what it takes"
_Model = TypeVar("_Model", bound=BaseModel)


class _WrittenClaim(BaseModel):
    """A claim as it is written."""

    model_config = ConfigDict(extra="forbid")

    section: StrictStr = Field(min_length=1)
    sentence: StrictStr = Field(min_length=1)
    check: StrictStr
    parameters: Any = Field(alias="with")


@dataclass(frozen=True, slots=True)
class StatedClaim:
    """A claim as the paper makes it: its section there, the sentence, and how it is judged."""

    id: str
    section: str
    sentence: str
    check: ClaimCheck


@dataclass(frozen=True, slots=True)
class StatedClaims:
    """Claims in the order of the paper, and the catalogue that names the scenarios which the paper measured."""

    claims: tuple[StatedClaim, ...]
    scenarios: Catalogue


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper, its section there, the verdict, and why."""

    id: str
    section: str
    claim: str
    verdict: ClaimVerdict
    because: str
    evidence: tuple[Citation, ...]


def read_claims(data: bytes, place: str, scenarios: Catalogue, facts: CriteriaCatalogue) -> StatedClaims:
    """The claims that a YAML file holds; InputError names the file, the claim and the key, and the way out."""
    written = parse_yaml(data, place)
    if not isinstance(written, Mapping) or not written:
        raise InputError(place, "holds no claims", "write `ID:` and its keys below, as claims.yaml")
    known = known_names(scenarios, facts)
    found = (_stated(str(name), keys, f"{place}: {name}", known) for name, keys in written.items())
    return StatedClaims(tuple(found), scenarios)


def paper_claims(facts: CriteriaCatalogue) -> StatedClaims:
    """The claims of the paper that ship with the package.

    They speak of the scenarios that ship with it: what a study's own file declares is not what the paper measured.
    """
    data = resources.files("vpnmesh.reference").joinpath(PAPER_CLAIMS).read_bytes()
    return read_claims(data, PAPER_CLAIMS, BUILT_IN, facts)


def claims(
    readings: Readings, facts: CriteriaCatalogue, on: date, stated: StatedClaims | None = None
) -> tuple[Claim, ...]:
    """Every claim with its verdict on these data, in the order of the paper; `stated` None = the paper's own."""
    stated = stated or paper_claims(facts)
    grounds = Grounds(readings, stated.scenarios, facts, on)
    return tuple(_judged(one, grounds) for one in stated.claims)


def _judged(stated: StatedClaim, grounds: Grounds) -> Claim:
    result = _same_planes(grounds.readings, stated.check.judge(grounds))
    return Claim(stated.id, stated.section, stated.sentence, result.verdict, result.because, result.evidence)


def _same_planes(readings: Readings, result: CheckResult) -> CheckResult:
    """The result, undecided where it rests on a scenario that another data plane carried than in the paper."""
    scenarios = result.compared.union(*(cited.row.values() for cited in result.evidence))
    other = {name: text for name, text in readings.other_planes.items() if name in scenarios}
    if not other:
        return result
    named = "; ".join(f"{name}: {text}" for name, text in sorted(other.items()))
    reason = f"another data plane than the paper's ({named})"
    return CheckResult(ClaimVerdict.UNDECIDED, reason, result.evidence)


def table(found: Iterable[Claim]) -> pl.DataFrame:
    """The claims as a frame for `claims.csv` and the page."""
    names = ("claim_id", "section", "claim", "verdict", "because", "evidence")
    rows = [
        (c.id, c.section, c.claim, str(c.verdict), c.because, "; ".join(e.text for e in c.evidence))
        for c in found
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _stated(name: str, keys: object, where: str, known: Mapping[str, tuple[str, ...]]) -> StatedClaim:
    written = _valid(_WrittenClaim, keys, where, known)
    if written.check not in CHECKS:
        raise UnknownNameError(f"{where}: check", "check", written.check, list(CHECKS))
    check = _valid(CHECKS[written.check], written.parameters, f"{where}: with", known)
    return StatedClaim(name, written.section, written.sentence, check)


def _valid(model: type[_Model], keys: object, where: str, known: Mapping[str, tuple[str, ...]]) -> _Model:
    names = [field.alias or name for name, field in model.model_fields.items()]
    if not isinstance(keys, Mapping):
        raise InputError(where, "holds no keys", f"known are: {', '.join(names)}")
    try:
        return model.model_validate(keys, context=known)
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == UNKNOWN_NAME:
        raise UnknownNameError(
            f"{where}: {key}", first["ctx"]["kind"], str(first["input"]), first["ctx"]["known"]
        )
    if first["type"] == "extra_forbidden" and key not in names and len(first["loc"]) == 1:
        raise UnknownNameError(where, "key", key, names)
    raise InputError(f"{where}: {key}", first["msg"].lower(), _WAY_OUT)
