"""Reads criteria.yaml and the statements on each VPN into a `Catalogue`; errors name the file and the place in it."""

from collections.abc import Iterable, Mapping
from datetime import date
from math import inf
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vpnmesh.criteria.catalogue import (
    CriteriaCatalogue,
    Criterion,
    DatedFact,
    How,
    Product,
    StatementSource,
    Value,
)
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError

CRITERIA_FILE = "criteria.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Source(_Strict):
    text: str
    url: str
    is_the_paper: bool = False


class _Cell(_Strict):
    claimed: Value
    verified: Value = Value.UNKNOWN
    how: How | None = None
    source: str | None = None
    note: str = ""


class _Observation(_Strict):
    date: date
    how: How
    source: str
    cells: dict[str, Value | _Cell]


class _Usability(_Strict):
    topic: str
    date: date
    claimed: Value
    verified: Value = Value.UNKNOWN
    how: How
    source: str
    note: str = ""
    seconds: float | None = None


class _CriteriaFile(_Strict):
    schema_version: Literal[1]
    criteria: tuple[Criterion, ...]
    sources: dict[str, _Source]


class _StatementsFile(_Strict):
    schema_version: Literal[1]
    product: Product
    table_1_row: int | None = None
    sources: dict[str, _Source] = {}
    observations: tuple[_Observation, ...]
    usability: tuple[_Usability, ...] = ()


_FileT = TypeVar("_FileT", bound=_Strict)


def parse(criteria: str, statements: Mapping[str, str] | None = None) -> CriteriaCatalogue:
    """The catalogue of the criteria's file and of the statements on each VPN.

    `statements` are the texts by the names of their files (`NAME.yaml`). VPNs come in the order of Table 1, then by
    name. Raises InputError, with the file and the key in it, for what is wrong, unknown or there twice.
    """
    shared = _checked(_CriteriaFile, criteria, CRITERIA_FILE)
    files = {place: _checked(_StatementsFile, text, place) for place, text in (statements or {}).items()}
    facts: list[DatedFact] = []
    usability: list[DatedFact] = []
    for place, file in sorted(files.items(), key=lambda one: _row(one[1])):
        if place != f"{file.product.id}.yaml":
            raise InputError(place, f"is about '{file.product.id}'", f"name the file {file.product.id}.yaml")
        sources = _sources(shared.sources) | _sources(file.sources)
        facts += [fact for block in file.observations for fact in _facts(file.product, block, sources, place)]
        usability += [_usability(file.product, row, sources, place) for row in file.usability]
    products = tuple(file.product for file in sorted(files.values(), key=_row))
    catalogue = CriteriaCatalogue(shared.criteria, products, tuple(facts), tuple(usability))
    _check_topics(catalogue)
    return catalogue


def _checked(kind: type[_FileT], text: str, place: str) -> _FileT:
    try:
        return kind.model_validate(parse_yaml(text.encode(), place))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(place, f"{key or 'file'}: {first['msg']}") from error


def _row(file: _StatementsFile) -> tuple[float, str]:
    return (inf if file.table_1_row is None else file.table_1_row, file.product.id)


def _sources(written: Mapping[str, _Source]) -> dict[str, StatementSource]:
    return {key: StatementSource(key, one.text, one.url, one.is_the_paper) for key, one in written.items()}


def _source(sources: Mapping[str, StatementSource], key: str, place: str) -> StatementSource:
    if key not in sources:
        raise UnknownNameError(place, "source", key, sorted(sources))
    return sources[key]


def _facts(
    product: Product, block: _Observation, sources: Mapping[str, StatementSource], place: str
) -> Iterable[DatedFact]:
    for topic, value in block.cells.items():
        cell = value if isinstance(value, _Cell) else _Cell(claimed=value)
        source = _source(sources, cell.source or block.source, f"{place}: {topic}")
        how = cell.how or block.how
        yield DatedFact(product.id, topic, block.date, cell.claimed, cell.verified, how, source, cell.note)


def _usability(
    product: Product, row: _Usability, sources: Mapping[str, StatementSource], place: str
) -> DatedFact:
    source = _source(sources, row.source, f"{place}: {row.topic}")
    return DatedFact(
        product.id, row.topic, row.date, row.claimed, row.verified, row.how, source, row.note, row.seconds
    )


def _check_topics(catalogue: CriteriaCatalogue) -> None:
    criteria = sorted(criterion.id for criterion in catalogue.criteria)
    seen: set[tuple[str, str, date]] = set()
    for fact in (*catalogue.facts, *catalogue.usability):
        place = f"{fact.product}.yaml"
        if (key := (fact.product, fact.topic, fact.date)) in seen:
            raise InputError(place, f"{fact.topic} has two rows of {fact.date}", "delete one of them")
        seen.add(key)
    for fact in catalogue.facts:
        if fact.topic not in criteria:
            raise UnknownNameError(f"{fact.product}.yaml", "criterion", fact.topic, criteria)
