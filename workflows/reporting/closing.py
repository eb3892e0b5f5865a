"""What a run's end and its report say on a terminal beside the results: versions, then and now, and the first facts."""

from collections.abc import Iterator, Mapping

import polars as pl
from rich.table import Table

from vpnmesh.report import first_screen
from vpnmesh.report.formatting import significant
from vpnmesh.report.health_words import sentences
from vpnmesh.report.tables import Study
from vpnmesh.report.then_and_now import VersionPair, summary
from vpnmesh.report.version_sections import pairs_of, to_measure


def versions_table(study: Study) -> Table | None:
    """Every program with its version here and the paper's; None where nobody recorded versions."""
    rows = study.tables.get("versions", pl.DataFrame())
    if rows.is_empty():
        return None
    table = Table(title="Versions", title_justify="left")
    for name in ("program", "here", "the paper", "used by"):
        table.add_column(name, no_wrap=name != "used by")
    for row in rows.to_dicts():
        here = f"{row['version']} in {row['folder']}" if row["folder"] else row["version"]
        table.add_row(row["program"], here, row["paper"] or "\N{EN DASH}", row["scenarios"])
    return table


def then_and_now_tables(study: Study) -> Iterator[Table | str]:
    """A table per pair of version sets, and what measures them properly where this run could not tell."""
    rows, pairs = study.tables.get("then_and_now", pl.DataFrame()), pairs_of(study)
    if rows.is_empty():
        return
    for pair in pairs:
        yield _pair_table(pair, rows.filter(old=pair.old, new=pair.new))
    if advice := to_measure(study):
        yield advice


def _pair_table(pair: VersionPair, rows: pl.DataFrame) -> Table:
    program, old, new = pair.changed[0]
    besides = f"; besides: {'; '.join(pair.besides)}" if pair.besides else ""
    table = Table(
        title=f"Then and now: {pair.old} -> {pair.new}: {pair.versions}{besides}",
        title_justify="left",
        caption=f"with the newer versions: {summary(rows)}",
        caption_justify="left",
    )
    for name in ("test", "condition", "figure"):
        table.add_column(name, no_wrap=True)
    for name in (f"{program} {old}", new, "now / then (95 %)"):
        table.add_column(name, justify="right")
    table.add_column("with the newer")
    for row in rows.to_dicts():
        figure = f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]
        sides = (_mean(row, side) for side in ("old", "new"))
        table.add_row(row["test"], row["condition"], figure, *sides, _ratio(row), row["verdict"])
    return table


def _mean(row: Mapping[str, object], side: str) -> str:
    mean, sd, count = (row[f"{name}_{side}"] for name in ("mean", "sd", "n"))
    if not isinstance(mean, float):
        return "\N{EN DASH}"
    spread = f" ± {significant(sd)}" if isinstance(sd, float) else ""
    return f"{significant(mean)}{spread} ({count})"


def _ratio(row: Mapping[str, object]) -> str:
    ratio, low, high = (row[name] for name in ("ratio", "ratio_low", "ratio_high"))
    if not isinstance(ratio, float):
        return "\N{EN DASH}"
    limits = f" ({low:.2f} to {high:.2f})" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{ratio:.2f}{limits}"


def closing(study: Study) -> Iterator[Table | str]:
    """What stands below the tables of results at the end of a run."""
    if table := versions_table(study):
        yield table
    yield from then_and_now_tables(study)
    yield from (f"cluster health: {text}" for text in sentences(study))
    yield from (f"{name.lower()}: {text}" for name, text in first_screen.known(study) if name != "Versions")
