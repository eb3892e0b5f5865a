"""What live checks found of one VPN, with its version and the day: as JSON, and as facts beside what is claimed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

import yaml
from pydantic import TypeAdapter, ValidationError

from vpnmesh.criteria.catalogue import CriteriaCatalogue, DatedFact, How, StatementSource, Value
from vpnmesh.criteria.checks import CHECKS, NOT_LIVE
from vpnmesh.criteria.observation import Finding
from vpnmesh.errors import InputError, UnknownNameError

SCHEMA_VERSION = 1
FILE = "verification.json"
NOTE_CHARS = 400


@dataclass(frozen=True, slots=True)
class Verification:
    """All findings on one VPN of one day; `versions` are what its programs said, `substrate` what the nodes run on."""

    schema_version: int
    solution: str
    versions: dict[str, str]
    date: date
    testbed: str
    substrate: str
    findings: tuple[Finding, ...]

    @property
    def version(self) -> str:
        """The programs with their versions, in words."""
        return ", ".join(f"{name} {told}" for name, told in self.versions.items()) or "without a version"

    def finding(self, topic: str) -> Finding | None:
        """What was found on that topic, None where it was not checked."""
        return next((one for one in self.findings if one.check == topic), None)

    def with_finding(self, finding: Finding) -> "Verification":
        """With this one in the place of an earlier one of the same check, in the order of all checks."""
        found = {one.check: one for one in (*self.findings, finding)}
        order = [check.id for check in CHECKS]
        return replace(self, findings=tuple(sorted(found.values(), key=lambda one: order.index(one.check))))

    def goes_on_with(self, earlier: "Verification") -> bool:
        """Whether both are of the same programs on the same testbed and day, so that their findings are one table."""
        return replace(self, findings=()) == replace(earlier, findings=())

    def source(self) -> StatementSource:
        """Where these facts come from, as statements name it."""
        where = f"checked live on {self.testbed} ({self.substrate}), {self.date.isoformat()}: {self.version}"
        return StatementSource(f"live-{self.date.isoformat()}", where, "")

    def to_json(self) -> bytes:
        """As a file; `text` of observations is kept in files of its own."""
        bare = [
            replace(one, observations=tuple(replace(seen, text="") for seen in one.observations))
            for one in self.findings
        ]
        return _VERIFICATION.dump_json(replace(self, findings=tuple(bare)), indent=1) + b"\n"


_VERIFICATION = TypeAdapter(Verification)


def read_verification(data: bytes, place: str) -> Verification:
    """What `to_json` wrote; InputError names the file and the key that is wrong."""
    try:
        found = _VERIFICATION.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(place, f"{key or 'file'}: {first['msg']}", f"restore {FILE} as it was") from error
    if found.schema_version != SCHEMA_VERSION:
        raise InputError(place, f"schema_version {found.schema_version} is not known", "use a newer vpnmesh")
    known = [check.id for check in CHECKS]
    for one in found.findings:
        if one.check not in known:
            raise UnknownNameError(place, "check", one.check, known)
    return found


def with_verified(catalogue: CriteriaCatalogue, found: Iterable[Verification]) -> CriteriaCatalogue:
    """The catalogue with a dated row for everything that a check decided; what stayed unknown adds none.

    A VPN that nobody has judged has no row to stand beside: it is left out.
    """
    for verification in found:
        for fact in _facts(catalogue, verification):
            if catalogue.criterion(fact.topic) is None:
                catalogue = replace(catalogue, usability=(*catalogue.usability, fact))
            else:
                catalogue = catalogue.adding(fact)
    return catalogue


def _facts(catalogue: CriteriaCatalogue, found: Verification) -> Iterator[DatedFact]:
    if catalogue.product(found.solution) is None:
        return
    for one in found.findings:
        if one.value is not Value.UNKNOWN:
            yield DatedFact(
                found.solution,
                one.check,
                found.date,
                claimed(catalogue, found, one.check),
                one.value,
                How.HANDS_ON,
                found.source(),
                _note(one),
            )


def claimed(catalogue: CriteriaCatalogue, found: Verification, topic: str) -> Value:
    """What was claimed of it on the day of the check."""
    fact = catalogue.fact(found.solution, topic, found.date)
    return fact.claimed if fact else Value.UNKNOWN


def statements_block(catalogue: CriteriaCatalogue, found: Verification) -> str:
    """What can be added to the VPN's file of statements: a source, a block of cells, and rows of usability."""
    source = found.source()
    facts = list(_facts(catalogue, found))
    cells = {
        fact.topic: {"claimed": str(fact.claimed), "verified": str(fact.verified), "note": fact.note}
        for fact in facts
        if catalogue.criterion(fact.topic)
    }
    rows = [
        {
            "topic": fact.topic,
            "date": fact.date,
            "claimed": str(fact.claimed),
            "verified": str(fact.verified),
            "how": "hands-on",
            "source": source.id,
            "note": fact.note,
        }
        for fact in facts
        if not catalogue.criterion(fact.topic)
    ]
    block = {"date": found.date, "how": "hands-on", "source": source.id, "cells": cells}
    wanted: dict[str, object] = {"sources": {source.id: {"text": source.text, "url": ""}}}
    wanted |= {"observations": [block]} if cells else {}
    wanted |= {"usability": rows} if rows else {}
    return yaml.dump(wanted, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)


class _Plain(yaml.SafeDumper):
    """Writes a value that is there twice out twice, as a person would."""

    def ignore_aliases(self, data: object) -> bool:
        """Never an alias."""
        del data
        return True


def _note(finding: Finding) -> str:
    reason = finding.reason
    return reason if len(reason) <= NOTE_CHARS else f"{reason[: NOTE_CHARS - 3]}..."


@dataclass(frozen=True, slots=True)
class Line:
    """One topic of the table: what is claimed, what the live check found, and why."""

    topic: str
    title: str
    claimed: Value
    verified: Value
    reason: str


def side_by_side(catalogue: CriteriaCatalogue, found: Verification) -> tuple[Line, ...]:
    """Every criterion of Table 1 in its order, then what else was checked; what was not checked is not left out."""
    titles = {criterion.id: criterion.title for criterion in catalogue.criteria}
    titles |= {check.id: check.title for check in CHECKS if check.id not in titles}
    return tuple(_line(catalogue, found, topic, title) for topic, title in titles.items())


def _line(catalogue: CriteriaCatalogue, found: Verification, topic: str, title: str) -> Line:
    finding = found.finding(topic)
    value = finding.value if finding else Value.UNKNOWN
    reason = finding.reason if finding else NOT_LIVE.get(topic, "was not asked for")
    return Line(topic, title, claimed(catalogue, found, topic), value, reason)
