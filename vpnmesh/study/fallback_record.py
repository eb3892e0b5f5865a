"""The lines of `fallback.jsonl`: one per attempt, written as it ends; what was seen, or why nothing was."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.json_text import parse_json
from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import NO_JSON, InputError
from vpnmesh.study.fallback import Marks, Seen

SCHEMA_VERSION = 1
UNAVAILABLE = "unavailable"
"""The stage of an attempt for which something was missing when it was to be made: it may be there now."""


class Outcome(StrEnum):
    """How an attempt ended; one that is impossible need not be made again, unless something was missing."""

    MEASURED = "measured"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class When:
    """The moments of an attempt, in seconds since the event was begun; None for an event that is not undone."""

    done_s: float
    ended_s: float
    undo_s: float | None
    undone_s: float | None

    @classmethod
    def of(cls, marks: Marks) -> "When":
        """The marks, counted from the event."""
        return cls(
            round(marks.done_s - marks.begun_s, 3),
            round(marks.ended_s - marks.begun_s, 3),
            marks.since_begun(marks.undo_s),
            marks.since_begun(marks.undone_s),
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One event in one scenario. `scenario` is "" where the solution has none in which the event means anything.

    `stage` and `reason` say why nothing was seen; `raw` is the folder with what the programs said.
    """

    solution: str
    event: str
    repetition: int
    at: str
    outcome: Outcome
    scenario: str = ""
    data_plane: str = ""
    stage: str = ""
    reason: str = ""
    when: When | None = None
    seen: Seen | None = None
    raw: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from all others."""
        return self.solution, self.event, self.repetition


_ATTEMPT = TypeAdapter(Attempt)


def line_of(attempt: Attempt) -> dict[str, object]:
    """The attempt as a line's object."""
    return {"schema_version": SCHEMA_VERSION, **_ATTEMPT.dump_python(attempt, mode="json")}


def read_attempts(text: str, place: str) -> list[Attempt]:
    """The attempts of a file; a last line that a kill cut off is left out. InputError names a line that is wrong."""
    whole, _, _ = text.rpartition("\n")
    return [_read(line, f"{place}: line {number}") for number, line in enumerate(whole.splitlines(), 1)]


def _read(line: str, place: str) -> Attempt:
    try:
        found = parse_json(line)
    except NO_JSON as error:
        raise InputError(place, f"no JSON: {error}") from error
    version = found.pop("schema_version", None) if isinstance(found, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            place, f"schema_version is {json.dumps(version)[:40]}, and {SCHEMA_VERSION} is known"
        )
    try:
        return _ATTEMPT.validate_python(found)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(place, f"{key} {problem}") from error


def newest(attempts: Iterable[Attempt]) -> list[Attempt]:
    """One attempt for each key, the last that was made, in the order in which they were made first."""
    return list({one.key: one for one in attempts}.values())


def finished(attempts: Sequence[Attempt]) -> frozenset[tuple[str, str, int]]:
    """The keys that need no further attempt; one that failed, or for which something was missing, is tried again."""
    return frozenset(
        one.key for one in newest(attempts) if one.outcome is not Outcome.FAILED and one.stage != UNAVAILABLE
    )
