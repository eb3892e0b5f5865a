"""How much of what the paper prints a study gives to the printed digit: Tables A1 and A2, and two p-values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from vpnmesh.reference import FIGURES, PrintedP, Row, paper_p_values, paper_rows

NAMES = {"A1": "TCP", "A2": "UDP"}


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One printed table: rows whose five figures are all as printed, rows in all, and the cells that are not."""

    table: str
    exact: int
    of: int
    others: tuple[str, ...]

    def sentence(self) -> str:
        """The count in words, with the cells that differ."""
        text = f"Table {self.table} ({NAMES[self.table]}): {self.exact} of {self.of} rows exact to the printed digit"
        return text + (f"; not so: {', '.join(self.others)}" if self.others else "")


def matches(throughput: pl.DataFrame, pairs: pl.DataFrame) -> Iterator[str]:
    """A sentence for each printed table, then one for each printed p-value whose pair the study has."""
    for table in reproduced(throughput):
        yield table.sentence()
    for printed in paper_p_values():
        yield from _p_values(printed, pairs)


def _p_values(printed: PrintedP, pairs: pl.DataFrame) -> Iterator[str]:
    where = {"test": printed.test, "condition": printed.condition, "a": printed.a, "b": printed.b}
    names = f"{printed.test.upper()}, {printed.a} and {printed.b}"
    for row in pairs.filter(**where).drop_nulls("p").to_dicts():
        yield f"Mann-Whitney, {names}: U {row['u']:.0f}, p {row['p']:.5f} (printed: {printed.p})"


def reproduced(throughput: pl.DataFrame) -> tuple[Reproduced, ...]:
    """Table A1, then A2; a cell that the study lacks is not exact."""
    own = {(row["test"], row["scenario"], row["condition"]): row for row in throughput.to_dicts()}
    return tuple(_reproduced(table, own) for table in NAMES)


def _reproduced(table: str, own: Mapping[tuple[str, str, str], Mapping[str, object]]) -> Reproduced:
    rows = [row for row in paper_rows() if row.table == table]
    others = [row for row in rows if not is_exact(row, own.get((row.test, row.scenario, row.condition)))]
    named = tuple(f"{row.scenario} {row.condition}" for row in others)
    return Reproduced(table, len(rows) - len(others), len(rows), named)


def is_exact(row: Row, own: Mapping[str, object] | None) -> bool:
    """Whether all five figures of a printed row come out when they are rounded as it is: to two digits."""
    if own is None:
        return False
    found = {name: own[name] for name in FIGURES}
    return all(
        isinstance(figure, float) and float(f"{figure:.2f}") == float(row.printed[name])
        for name, figure in found.items()
    )
