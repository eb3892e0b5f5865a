"""What every check of a claim is: parameters that are read from data, and a result on a study and dated facts.

A check is a pydantic model: its fields are the keys below `with` in claims.yaml. Names of scenarios, solutions,
conditions, products and topics are compared with the known ones while the data are read.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationInfo
from pydantic_core import PydanticCustomError

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.model import PAPER_CONDITIONS, Path
from vpnmesh.report.judgement.claim_verdicts import CheckResult
from vpnmesh.report.judgement.evidence import PUBLISHED, Citation, Readings
from vpnmesh.report.judgement.scenario_kinds import paper_scenarios_by_solution, paper_solutions
from vpnmesh.stats.compare import ALPHA
from vpnmesh.study.scenarios import Catalogue

UNKNOWN_NAME = "unknown_name"
"""The type of pydantic's error for a name that is none of the known ones."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a claim is judged on: a study, the paper's scenarios, and the facts known on a date."""

    readings: Readings
    scenarios: Catalogue
    facts: CriteriaCatalogue
    on: date

    def on_path(self, path: Path) -> dict[str, str]:
        """Each of the paper's VPNs with its scenario on that path."""
        return paper_scenarios_by_solution(self.scenarios, path)

    def on_each_path(self, a: str, b: str) -> Iterator[tuple[str, str]]:
        """The scenarios of two solutions that have the same path, direct first."""
        for path in Path:
            named = self.on_path(path)
            if a in named and b in named:
                yield named[a], named[b]

    def compare(self, test: str, condition: str, a: str, b: str) -> list[Citation]:
        """Two scenarios against each other; none where a cell is unknown, or samples are too small for a test."""
        if not (self.readings.cell(test, condition, a) and self.readings.cell(test, condition, b)):
            return []
        cited = self.readings.cite_pair(test, condition, a, b)
        return [cited] if cited.table == PUBLISHED or "p_holm" in cited.figures else []


def is_ahead(pair: Citation) -> bool:
    """Whether the first mean is larger, by the test after Holm's correction where there are samples."""
    return pair.figures["ratio"] > 1 and pair.figures.get("p_holm", 0.0) < ALPHA


class ClaimCheck(BaseModel, ABC):
    """One way to judge a claim, with the parameters that one claim gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def judge(self, grounds: Grounds) -> CheckResult:
        """The verdict on this study, its reason, and what it rests on."""


def known_names(scenarios: Catalogue, facts: CriteriaCatalogue) -> Mapping[str, tuple[str, ...]]:
    """The names that claims of the paper may use, by kind; the context in which checks are validated."""
    topics = (*(one.id for one in facts.criteria), *(one.topic for one in facts.usability))
    return {
        "scenario": scenarios.paper,
        "baseline": scenarios.baselines,
        "solution": paper_solutions(scenarios),
        "condition": tuple(one.name for one in PAPER_CONDITIONS),
        "product": tuple(one.id for one in facts.products),
        "topic": tuple(dict.fromkeys(topics)),
    }


def _one_of_the(kind: str) -> AfterValidator:
    def known(name: str, info: ValidationInfo) -> str:
        names = info.context[kind] if info.context else ()
        if name not in names:
            raise PydanticCustomError(UNKNOWN_NAME, "unknown name", {"kind": kind, "known": list(names)})
        return name

    return AfterValidator(known)


ScenarioName = Annotated[StrictStr, _one_of_the("scenario")]
BaselineName = Annotated[StrictStr, _one_of_the("baseline")]
SolutionName = Annotated[StrictStr, _one_of_the("solution")]
ConditionName = Annotated[StrictStr, _one_of_the("condition")]
ProductName = Annotated[StrictStr, _one_of_the("product")]
TopicName = Annotated[StrictStr, _one_of_the("topic")]
ThroughputTest = Literal["tcp", "udp"]
Conditions = Annotated[tuple[ConditionName, ...], Field(min_length=1)]
Solutions = Annotated[tuple[SolutionName, ...], Field(min_length=1)]
Tests = Annotated[tuple[ThroughputTest, ...], Field(min_length=1)]
Share = Annotated[float, Field(strict=True, gt=0, lt=1)]
Positive = Annotated[float, Field(strict=True, gt=0)]
