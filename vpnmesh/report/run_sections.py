"""The sections that only a run has: every figure of every kind of test, and variants beside what they vary."""

from collections.abc import Container, Mapping

import polars as pl

from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.figure_tables import RATE
from vpnmesh.report.first_screen import visited_once
from vpnmesh.report.formatting import TableCell, cell, significant
from vpnmesh.report.page import Block, FigureBlock, Heading, Items, Paragraph, Section, TableBlock
from vpnmesh.report.tables import Study
from vpnmesh.report.variants import alone
from vpnmesh.stats.intervals import fewest_for_interval
from vpnmesh.study.remarks import VISITED_ONCE

TABLES = ("figures", "variants")
"""The tables that these sections show."""
_SAID = {
    "convergence": "How long paths took to change: to the relay once UDP was blocked, back to direct, and after the "
    "client's daemons were killed; an outage is the longest silence meanwhile. What never settled is attempted and not "
    "measured.",
    "ping": "Round trips between the pods.",
    "api": "A list of pods asked from a worker's pod by the clock, ten times a second in all: times count from when a "
    "request was due. Errors are requests without a good answer, by kind beside them.",
    "api-hey": "The same list by the paper's command: saturated says that hey's workers were always waiting, so that "
    "the times are those of a busy server.",
}
_FIGURE_COLUMNS = (
    "scenario", "condition", "figure", "unit", "attempted", "measured", "mean", "sd", "mean, 95 % from", "to",
    "lowest", "highest",
)  # fmt: skip
_VARIANT_COLUMNS = (
    "variant", "test", "condition", "figure", "base: mean ± sd (n)", "variant: mean ± sd (n)",
    "variant / base (95 %)", "p", "p (Holm)", "note",
)  # fmt: skip


def tests_shown(study: Study) -> tuple[str, ...]:
    """The tests that have a table of figures of their own; throughput is in sections of its own."""
    return tuple(dict.fromkeys(_shown(study)["test"]))


def tests(study: Study) -> list[Section]:
    """A table per test with every figure that it gave; nothing for results of others."""
    rows = _shown(study)
    blocks = [_figures_of(test, rows.filter(test=test)) for test in tests_shown(study)]
    return [Section("tests", "Every test's figures", tuple(blocks))] if blocks else []


def _shown(study: Study) -> pl.DataFrame:
    found = study.tables.get("figures", pl.DataFrame())
    if found.is_empty():
        return pl.DataFrame(schema={"test": pl.String()})
    in_sections = pl.col("test").is_in(THROUGHPUT_TESTS)
    return found.filter(~in_sections | (pl.col("figure") != RATE).fill_null(value=False))


def _figures_of(test: str, rows: pl.DataFrame) -> TableBlock:
    said = f"{_SAID[test]} " if test in _SAID else ""
    caption = (
        f"{test}: {said}Mean, sample standard deviation, the 95 % interval of the mean (from {fewest_for_interval()} "
        "figures), the lowest and the highest; a dash where nothing was measured."
    )
    if pairs := rows["pairs"].drop_nulls().to_list():
        caption += f" Over {max(pairs)} pairs: mean, deviation and interval are of the pairs' means."
    made = tuple(
        (
            *(cell(name, row[name]) for name in ("scenario", "condition", "title", "unit", "attempted", "n")),
            *(_number(row[name]) for name in ("mean", "sd", "low", "high", "least", "greatest")),
        )
        for row in rows.to_dicts()
    )
    return TableBlock(f"figures-{test}", caption, _FIGURE_COLUMNS, made, "tables/figures.csv")


def _number(value: float | None) -> TableCell:
    return cell("", None) if value is None else TableCell(significant(value), value)


def variants(
    study: Study, figures: Mapping[str, str], elsewhere: Container[tuple[str, str]] = ()
) -> list[Section]:
    """Each scenario with its variants side by side, where a run measured both; else nothing.

    `elsewhere` are pairs of base and variant that have a section of their own.
    """
    rows = study.tables.get("variants", pl.DataFrame())
    if not rows.is_empty():
        here = [pair not in elsewhere for pair in rows.select("base", "variant").rows()]
        rows = rows.filter(pl.Series(here, dtype=pl.Boolean))
    missing = alone(study.scenario_order, study.scenarios)
    if rows.is_empty() and not missing:
        return []
    blocks: list[Block] = [
        Paragraph(
            f"{name} is a variant of {base}, which this run did not measure: there is nothing beside it.",
            "warning",
        )
        for name, base in missing.items()
    ]
    if visited_once(study) and not rows.is_empty():
        blocks.append(Paragraph(f"{VISITED_ONCE[0].upper()}{VISITED_ONCE[1:]}.", "warning"))
    return [Section("variants", "Variants side by side", (*blocks, *_side_by_side(rows, figures)))]


def _side_by_side(rows: pl.DataFrame, figures: Mapping[str, str]) -> list[Block]:
    if rows.is_empty():
        return []
    blocks: list[Block] = [
        Paragraph(
            "A variant is a scenario that says only what differs from another one, its base. Both were measured by "
            "this run: at the same place, by the same engine, on the same machine. Two that differ in more than one "
            "respect show what all of that does together."
        )
    ]
    blocks += variant_figures(figures)
    for base in dict.fromkeys(rows["base"]):
        blocks += _beside(base, rows.filter(base=base))
    return blocks


def variant_figures(figures: Mapping[str, str]) -> list[FigureBlock]:
    """The throughput of each base and its variants, one figure per test."""
    return [
        FigureBlock(
            f"variants-{test}",
            f"{test.upper()}: mean throughput of each base and its variants per condition, with the standard "
            "deviation. In brackets: repetitions measured of attempted, where not all were.",
            drawn,
        )
        for test in THROUGHPUT_TESTS
        if (drawn := figures.get(f"variants-{test}"))
    ]


def _beside(base: str, rows: pl.DataFrame) -> list[Block]:
    differs = dict(rows.select("variant", "differs").rows())
    told = tuple(f"{name}: {what or 'nothing but its name'}" for name, what in differs.items())
    caption = (
        f"{base} and its variants. The ratio is variant mean / base mean with its 95 % interval (Fieller, from "
        f"{fewest_for_interval()} figures each); p is Mann-Whitney's, two-sided; p (Holm) corrects over the variants "
        "that share test, condition and figure."
    )
    made = tuple(_row(row) for row in rows.to_dicts())
    table = TableBlock(f"variants-{base}", caption, _VARIANT_COLUMNS, made, "tables/variants.csv")
    return [Heading(base), Items("What differs", told), table]


def _row(row: Mapping[str, object]) -> tuple[TableCell, ...]:
    return (
        *(cell(name, row[name]) for name in ("variant", "test", "condition")),
        cell("figure", f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]),
        with_spread(row, "base"),
        with_spread(row, "variant"),
        ratio_cell(row),
        *(cell(name, row[name]) for name in ("p", "p_holm")),
        cell("note", row["note"] or None),
    )


def ratio_cell(row: Mapping[str, object]) -> TableCell:
    """A ratio with its interval, where there is one."""
    ratio, low, high = (row[name] for name in ("ratio", "ratio_low", "ratio_high"))
    if not isinstance(ratio, float):
        return cell("", None)
    interval = f" ({low:.3f} to {high:.3f})" if isinstance(low, float) and isinstance(high, float) else ""
    return TableCell(f"{ratio:.3f}{interval}", ratio)


def with_spread(row: Mapping[str, object], side: str) -> TableCell:
    """A mean with its standard deviation and how many figures it is of."""
    mean, sd, n = (row[f"{name}_{side}"] for name in ("mean", "sd", "n"))
    if not isinstance(mean, float):
        return cell("", None)
    spread = f" ± {significant(sd)}" if isinstance(sd, float) else ""
    return TableCell(f"{significant(mean)}{spread} ({n})", mean)
