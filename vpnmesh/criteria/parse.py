"""Reads criteria.yaml into a `Catalogue`; every error names the block and the cell that is wrong."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vpnmesh.criteria.catalogue import Catalogue, Criterion, Fact, How, Product, Source, Value
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError


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
    product: str
    date: date
    how: How
    source: str
    cells: dict[str, Value | _Cell]


class _Usability(_Strict):
    product: str
    topic: str
    date: date
    claimed: Value
    verified: Value = Value.UNKNOWN
    how: How
    source: str
    note: str = ""
    seconds: float | None = None


class _File(_Strict):
    schema_version: Literal[1]
    criteria: tuple[Criterion, ...]
    sources: dict[str, _Source]
    products: tuple[Product, ...]
    observations: tuple[_Observation, ...]
    usability: tuple[_Usability, ...]


def parse(text: str, place: str = "criteria.yaml") -> Catalogue:
    """The catalogue that a file holds; InputError says which key is wrong, unknown or twice there."""
    try:
        data = _File.model_validate(parse_yaml(text.encode(), place))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(place, f"{key or 'file'}: {first['msg']}") from error
    sources = {
        key: Source(key, found.text, found.url, found.is_the_paper) for key, found in data.sources.items()
    }
    facts = [fact for block in data.observations for fact in _facts(block, sources, place)]
    usability = [_usability(row, sources, place) for row in data.usability]
    catalogue = Catalogue(data.criteria, data.products, tuple(facts), tuple(usability))
    _check_names(catalogue, place)
    return catalogue


def _source(sources: dict[str, Source], key: str, place: str) -> Source:
    if key not in sources:
        raise UnknownNameError(place, "source", key, sorted(sources))
    return sources[key]


def _facts(block: _Observation, sources: dict[str, Source], place: str) -> list[Fact]:
    facts = []
    for topic, value in block.cells.items():
        cell = value if isinstance(value, _Cell) else _Cell(claimed=value)
        source = _source(sources, cell.source or block.source, f"{place}: {block.product}.{topic}")
        how = cell.how or block.how
        facts.append(
            Fact(block.product, topic, block.date, cell.claimed, cell.verified, how, source, cell.note)
        )
    return facts


def _usability(row: _Usability, sources: dict[str, Source], place: str) -> Fact:
    source = _source(sources, row.source, f"{place}: {row.product}.{row.topic}")
    return Fact(
        row.product, row.topic, row.date, row.claimed, row.verified, row.how, source, row.note, row.seconds
    )


def _check_names(catalogue: Catalogue, place: str) -> None:
    products = sorted(product.id for product in catalogue.products)
    criteria = sorted(criterion.id for criterion in catalogue.criteria)
    seen: set[tuple[str, str, date]] = set()
    for fact in (*catalogue.facts, *catalogue.usability):
        if fact.product not in products:
            raise UnknownNameError(place, "product", fact.product, products)
        key = (fact.product, fact.topic, fact.date)
        if key in seen:
            raise InputError(place, f"{fact.product}.{fact.topic} has two rows of {fact.date}")
        seen.add(key)
    for fact in catalogue.facts:
        if fact.topic not in criteria:
            raise UnknownNameError(f"{place}: {fact.product}", "criterion", fact.topic, criteria)
