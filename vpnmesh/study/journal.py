"""The lines of a run's journal (`journal.jsonl`) as typed records, one per event; read once, used as objects.

A line is a JSON object with `schema_version`, `type` and the event's own keys. Keys that this version does not know
are kept as they are; a type that it does not know, a key that is missing or a value of another type is an InputError.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

import polars as pl
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vpnmesh.documents.json_text import parse_json
from vpnmesh.documents.names import slug_problem
from vpnmesh.documents.numbers import finite
from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import NO_JSON, InputError
from vpnmesh.frames.schemas import FIGURE_COLUMNS, RESULTS, SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.study.outcome import UNAVAILABLE, figure_problem

NO_RUN = "this is no run of this version"
"""The way out of every line that cannot be read: such a file was written by another version, or changed by hand."""


def _phases(value: object) -> dict[str, float]:
    timed = value.items() if isinstance(value, Mapping) else ()
    return {str(name): found for name, one in timed if (found := finite(one)) is not None}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


Whole = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
"""What fits into a column of a table."""
Name = Annotated[StrictStr, Field(max_length=200)]
"""Twice what a name may have where it is given: what another tool joins is longer, and figures still have room."""
Count = Annotated[int | None, BeforeValidator(_count)]
Figure = Annotated[float | None, BeforeValidator(finite)]
"""Numbers that no result rests on: what is no finite number is none, and makes no line wrong."""


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _this_version(value: int) -> int:
    if value != SCHEMA_VERSION:
        raise ValueError(f"should be {SCHEMA_VERSION}")
    return value


def _slug(text: str) -> str:
    """The name of a test, known here or not: it may be of a package that is not installed where a report is made."""
    if problem := slug_problem(text):
        raise ValueError(problem)
    return text


def _pair(text: str) -> str:
    try:
        Pair.parse(text)
    except InputError as error:
        raise ValueError("should be CLIENT>SERVER") from error
    return text


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
]
"""A moment with its time zone, in UTC once it is read."""


class JournalLine(BaseModel):
    """What every line has. `at` is when it was written, in ISO 8601; a repetition has `started_at` instead."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_version: Annotated[StrictInt, AfterValidator(_this_version)] = SCHEMA_VERSION
    at: str | None = None

    def line(self) -> dict[str, object]:
        """The event as the JSON object of its line, with the keys that were given and no others."""
        kept = self.model_dump(mode="json", exclude_unset=True)
        return {
            "schema_version": self.schema_version,
            "type": type(self).model_fields["type"].default,
            **kept,
        }

    def stamped(self, now: datetime) -> Self:
        """The event with the time at which it is written."""
        return self.model_copy(update={"at": now.isoformat()})


class SessionStarted(JournalLine):
    """A session of the run began, the first or one that goes on with it; `number` counts from 1.

    `adopted` says in what its surroundings are not those of the first session, where `--adopt` accepted that.
    """

    type: Literal["session"] = "session"
    number: Whole
    adopted: list[StrictStr] = []


class VisitStarted(JournalLine):
    """A scenario is about to be deployed, as visit number `visit` of the run.

    `round` is which pass over the scenarios that is, from 1; journals of earlier versions have none. `again` says why
    it is deployed once more within the visit, where it broke down.
    """

    type: Literal["visit"] = "visit"
    visit: Whole = 0
    scenario: StrictStr = ""
    round: Count = None
    again: StrictStr | None = None

    def because(self, reason: str) -> Self:
        """The same visit, set up again for that reason."""
        return self.model_copy(update={"again": reason})


class ScenarioUp(JournalLine):
    """A scenario is deployed and its path proven: what the nodes said of it, and what setting it up took.

    `setup_steps` are changes of nodes, `setup_s` seconds until every pair was on the scenario's path,
    `setup_seconds` the seconds of each phase, `relay_share` the part of a probe's bytes that the relay node sent on,
    `stack` what each node's VPN was seen to use of its network stack (`vpnmesh.host.stack_in_use`).
    """

    type: Literal["standing"] = "standing"
    scenario: StrictStr = ""
    data_plane: StrictStr | None = None
    peers: dict[str, dict[str, str]] = {}
    relay_share: Figure = None
    join_s: Figure = None
    setup_steps: Count = None
    setup_s: Figure = None
    setup_seconds: Annotated[dict[str, float], BeforeValidator(_phases)] = {}
    stack: dict[str, dict[str, str]] = {}


class ClusterUp(JournalLine):
    """A Kubernetes cluster is ready over a scenario's addresses: who installed it, and what that took.

    `versions` are kubelet's by node, `seconds` those of each stage, of waiting and of entering the measured pods.
    """

    type: Literal["cluster"] = "cluster"
    scenario: StrictStr = ""
    installer: StrictStr = ""
    versions: dict[str, str] = {}
    seconds: Annotated[dict[str, float], BeforeValidator(_phases)] = {}


class RepetitionEnded(JournalLine):
    """One attempt at a cell, or the row of a cell that could not be attempted (`stage` "unavailable").

    Every other column of the results table is a key of its own, with the type of its column; `samples` are the
    figures that the table has no column for.
    """

    type: Literal["repetition"] = "repetition"
    scenario: Name
    condition: Name
    test: Annotated[StrictStr, AfterValidator(_slug)]
    pair: Annotated[StrictStr, AfterValidator(_pair)]
    repetition: Whole
    outcome: Literal["measured", "failed"]
    stage: StrictStr | None = None
    reason: StrictStr | None = None
    visit: Whole | None = None
    sequence: Whole | None = None
    started_at: Moment | None = None
    raw: StrictStr | None = None
    samples: dict[str, FiniteFloat] = {}

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        """Hold what has a column of the table, and no field here, against the type of that column."""
        for name, value in self.columns().items():
            try:
                _COLUMNS[RESULTS[name]].validate_python(value)
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise _wrong_column(name, value, said) from None
        for name in FIGURE_COLUMNS:
            if problem := self._figure_problem(name):
                raise _wrong_column(name, self.columns().get(name), problem)
        return self

    def _figure_problem(self, name: str) -> str:
        """What a figure of a test cannot be; "" where the line has none, or a good one."""
        value = finite(self.columns().get(name))
        if value is None:
            return ""
        if self.outcome == "failed":
            return "a failed repetition has no figure"
        return figure_problem(name, value)

    def columns(self) -> dict[str, object]:
        """The columns of the results table that are no field of their own, as far as the line has them."""
        more = self.model_extra or {}
        return {name: more[name] for name in RESULTS if name in more}

    @property
    def cell(self) -> Cell:
        """Which cell was attempted."""
        return Cell(self.scenario, self.condition, self.test, Pair.parse(self.pair))

    @property
    def key(self) -> tuple[str, int]:
        """What makes the attempt the same one after a restart."""
        return (self.cell.key, self.repetition)

    @property
    def unavailable(self) -> bool:
        """Whether this machine could not attempt the cell: such a row is no attempt."""
        return self.stage == UNAVAILABLE

    def row(self) -> dict[str, object]:
        """The attempt under the column names of the results table, None where the line has no value."""
        known = {name: getattr(self, name) for name in RESULTS if name in type(self).model_fields}
        return {**dict.fromkeys(RESULTS), **self.columns(), **known}


def _wrong_column(name: str, value: object, said: str) -> PydanticCustomError:
    return PydanticCustomError("column", "{said}", {"said": said, "key": name, "value": value})


_COLUMNS: Mapping[pl.DataType, TypeAdapter[Any]] = {
    pl.String(): TypeAdapter(StrictStr | None),
    pl.Int64(): TypeAdapter(Whole | None),
    pl.Float64(): TypeAdapter(Annotated[float, Field(strict=True, allow_inf_nan=False)] | None),
    pl.Boolean(): TypeAdapter(StrictBool | None),
}


class TeardownProblem(JournalLine):
    """Something that the teardown of a scenario could not clean, as a sentence."""

    type: Literal["teardown"] = "teardown"
    scenario: StrictStr = ""
    problem: StrictStr = ""


class PairsAtOnce(JournalLine):
    """How many pairs of a scenario are measured at the same time, and why not more.

    `allowed` is what the inventory declares; `alone` and `among` are figures of one pair by itself and among others.
    """

    type: Literal["pairs-at-once"] = "pairs-at-once"
    scenario: StrictStr = ""
    test: StrictStr = ""
    allowed: Whole = 1
    at_once: Whole = 1
    why: StrictStr = ""
    alone: list[FiniteFloat] = []
    among: list[FiniteFloat] = []


class FindingShown(BaseModel):
    """One finding of a diagnosis, as `vpnmesh.why.words` writes it; `evidence` has node, command and what it said."""

    model_config = ConfigDict(extra="allow", frozen=True)

    cause: StrictStr
    effect: StrictStr
    where: StrictStr = ""
    said: StrictStr = ""
    do: StrictStr = ""
    evidence: list[dict[str, str]] = []


class PairDiagnosed(JournalLine):
    """It was asked why a pair's path is as it is (docs/why.md), and what was found.

    `about` is the stage of the repetition that failed, `provision` for a scenario that did not come up, or `relayed`;
    `condition`, `test` and `repetition` are of a failed one. `path` says what the path was like.
    """

    type: Literal["why"] = "why"
    scenario: StrictStr = ""
    pair: StrictStr = ""
    about: StrictStr = ""
    condition: StrictStr | None = None
    test: StrictStr | None = None
    repetition: Count = None
    path: StrictStr = ""
    findings: list[FindingShown] = []

    def with_answer(self, path: str, findings: list[FindingShown]) -> Self:
        """The same question with what was found."""
        return self.model_copy(update={"path": path, "findings": findings})


class RunInterrupted(JournalLine):
    """A signal ended the session; `signal` is its number."""

    type: Literal["interrupted"] = "interrupted"
    signal: Whole | None = None


JournalEvent = (
    SessionStarted
    | VisitStarted
    | ScenarioUp
    | ClusterUp
    | RepetitionEnded
    | TeardownProblem
    | PairsAtOnce
    | PairDiagnosed
    | RunInterrupted
)
EventKind = TypeVar("EventKind", bound=JournalLine)

_EVENT: TypeAdapter[JournalEvent] = TypeAdapter(Annotated[JournalEvent, Field(discriminator="type")])


def parse_event(line: object, place: str = "journal.jsonl", number_of_line: int = 1) -> JournalEvent:
    """The event that a line's JSON value is; InputError names file, key and line."""
    if not isinstance(line, Mapping):
        raise InputError(place, f"line {number_of_line}: is no JSON object", NO_RUN)
    try:
        return _EVENT.validate_python(line)
    except ValidationError as error:
        # the first part is the union's tag, which a line without a known type does not reach
        tagged = not error.errors()[0]["type"].startswith("union_tag")
        key, problem = first_problem(error, skip=1) if tagged else ("type", _type_problem(line))
        raise InputError(f"{place}: {key}", f"line {number_of_line}: {problem}", NO_RUN) from error


def _type_problem(line: Mapping[object, object]) -> str:
    return f"is {str(line['type'])[:60]!r}, none that is known" if "type" in line else "is missing"


def parse_journal(content: bytes, place: str = "journal.jsonl") -> list[JournalEvent]:
    """All whole lines, in the order they were written; a last line that a kill cut off is left out."""
    return [
        parse_event(_json(line, place, count), place, count)
        for count, line in enumerate(whole_lines(content).split(b"\n")[:-1], start=1)
    ]


def whole_lines(content: bytes) -> bytes:
    """A journal without a last line that is not ended."""
    return content[: content.rfind(b"\n") + 1]


def _json(line: bytes, place: str, count: int) -> object:
    try:
        return parse_json(line)
    except NO_JSON as error:
        raise InputError(place, f"line {count}: no JSON: {error}", NO_RUN) from error


def of_kind(events: Iterable[JournalEvent], kind: type[EventKind]) -> list[EventKind]:
    """The events of that kind, in order."""
    return [event for event in events if isinstance(event, kind)]
