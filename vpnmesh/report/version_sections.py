"""The sections on versions that only a run has: every program beside the paper's, and what newer versions changed."""

from collections.abc import Mapping

import polars as pl

from vpnmesh.report.first_screen import visited_once
from vpnmesh.report.formatting import TableCell, cell
from vpnmesh.report.page import Block, Heading, Items, Paragraph, Section, TableBlock
from vpnmesh.report.run_sections import ratio_cell, variant_figures, with_spread
from vpnmesh.report.tables import Study
from vpnmesh.report.then_and_now import UNDECIDED, VersionPair, command, summary, version_pairs
from vpnmesh.report.versions import told_versions
from vpnmesh.stats.intervals import fewest_for_interval
from vpnmesh.study.remarks import VISITED_ONCE

TABLES = ("versions", "then_and_now")
"""The tables that these sections show."""
_VERSION_COLUMNS = ("program", "version here", "the paper's", "used by")


def versions(study: Study) -> list[Section]:
    """Every program that the scenarios used; nothing where nobody recorded versions."""
    rows = study.tables.get("versions", pl.DataFrame())
    if rows.is_empty():
        return []
    made = tuple(
        (
            cell("program", row["program"]),
            cell("version", f"{row['version']} in {row['folder']}" if row["folder"] else row["version"]),
            cell("paper", row["paper"]),
            cell("scenarios", row["scenarios"]),
        )
        for row in rows.to_dicts()
    )
    caption = (
        "The programs that the scenarios of this run used, as the nodes told their versions, beside what the paper "
        "ran; a dash where the paper states none."
    )
    block = TableBlock("versions", caption, _VERSION_COLUMNS, made)
    return [Section("versions", "Versions here and in the paper", (block,))]


def pairs_of(study: Study) -> tuple[VersionPair, ...]:
    """The scenarios of the study that ran other versions of the same programs."""
    return version_pairs(study.scenario_order, study.scenarios, told_versions(study.provenance))


def then_and_now(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """What other versions of the same programs changed, where a run measured both; else nothing."""
    rows, pairs = study.tables.get("then_and_now", pl.DataFrame()), pairs_of(study)
    if rows.is_empty() or not pairs:
        return []
    blocks: list[Block] = [
        Paragraph(
            "Old and new versions of the same programs, measured by this run at the same place, by the same engine, on "
            "the same machine. A ratio above 1 is a higher figure with the newer versions."
        )
    ]
    if advice := to_measure(study):
        blocks.append(Paragraph(advice, "warning"))
    # where there are other variants as well, the figures stand among those
    if only_versions(study):
        blocks += variant_figures(figures)
    for pair in pairs:
        blocks += _beside(pair, rows.filter(old=pair.old, new=pair.new))
    return [Section("then-and-now", "Then and now", tuple(blocks))]


def to_measure(study: Study) -> str:
    """Why this run cannot say what the versions changed, and what measures it; "" where it can."""
    rows, pairs = study.tables["then_and_now"], pairs_of(study)
    undecided = sum(verdict.startswith(UNDECIDED) for verdict in rows["verdict"])
    reasons = []
    if visited_once(study):
        reasons.append(VISITED_ONCE.partition(";")[0])
    if undecided:
        reasons.append(f"{undecided} of {rows.height} figures are undecided")
    if not reasons:
        return ""
    said = "; ".join(reasons)
    return f"{said[0].upper()}{said[1:]}. To measure old and new at several times each: {command(pairs)}"


def only_versions(study: Study) -> bool:
    """Whether every variant of the study is another set of versions, so that no other section sets them beside."""
    shown = {(pair.base, pair.variant) for pair in pairs_of(study)}
    found = study.tables["variants"].select("base", "variant").unique().rows()
    return all(pair in shown for pair in found)


def _beside(pair: VersionPair, rows: pl.DataFrame) -> list[Block]:
    program, old, new = pair.changed[0]
    columns = (
        "test", "condition", "figure", f"then: {program} {old}", f"now: {program} {new}", "now / then (95 %)",
        "p (Holm)", "with the newer", "note",
    )  # fmt: skip
    caption = (
        f"{pair.old} -> {pair.new}: mean ± sd (n), the ratio of means with its 95 % interval (Fieller, from "
        f"{fewest_for_interval()} figures each), and Mann-Whitney's p after Holm's correction over all pairs of the "
        "variants' table that share test, condition and figure. Undecided: too few repetitions for any test; the note "
        "says how many it takes."
    )
    changed = (
        *(f"{name}: {a} -> {b}" for name, a, b in pair.changed),
        *(f"besides: {what}" for what in pair.besides),
    )
    made = tuple(_row(row) for row in rows.to_dicts())
    table = TableBlock(f"then-and-now-{pair.old}", caption, columns, made, "tables/then_and_now.csv")
    return [
        Heading(f"{pair.old} -> {pair.new}"),
        Items("What changed", changed),
        Paragraph(f"With the newer versions: {summary(rows)} (of {rows.height} figures)."),
        table,
    ]


def _row(row: Mapping[str, object]) -> tuple[TableCell, ...]:
    return (
        *(cell(name, row[name]) for name in ("test", "condition")),
        cell("figure", f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]),
        with_spread(row, "old"),
        with_spread(row, "new"),
        ratio_cell(row),
        *(cell(name, row[name]) for name in ("p_holm", "verdict")),
        cell("note", row["note"] or None),
    )
