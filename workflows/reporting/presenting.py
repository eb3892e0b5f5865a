"""Writes what people look at: figures, the HTML and Markdown report, advice, and the archive to share."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath

import polars as pl
from pydantic import TypeAdapter

from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue
from vpnmesh.criteria.evaluate import evaluate
from vpnmesh.criteria.evaluate import table as criteria_table
from vpnmesh.criteria.verified import with_verified
from vpnmesh.errors import InputError
from vpnmesh.reference import paper_tables
from vpnmesh.report import bundle
from vpnmesh.report.compose import compose
from vpnmesh.report.hiding import Hiding, hiding_of
from vpnmesh.report.judgement.advice import Advice, advise
from vpnmesh.report.judgement.claims import Claim, claims
from vpnmesh.report.judgement.claims import table as claims_table
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.requirements import needs_named
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.report.tables import Study
from workflows.reporting.verifications import verifications_in
from workflows.run.store import RunFiles

PAPER_DATE = date(2023, 6, 17)
"""The date that the paper's Table 1 is of."""

CITATION = """Results made with vpnmesh (Apache-2.0), which reproduces and extends:

Kjorveziroski V, Bernad C, Gilly K, Filiposka S. Full-mesh VPN performance evaluation for a secure edge-cloud continuum.
Softw Pract Exper 2024. doi:10.1002/spe.3329.
Their data and notebooks: https://github.com/korvoj/vpn-performance (Apache-2.0).
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A study with what facts and claims say of it."""

    study: Study
    claims: tuple[Claim, ...]
    advice: Advice | None


FORMULA = r"^[=+\-@\t\r]"
"""How a cell begins that spreadsheets calculate (OWASP, "CSV Injection")."""


def judge(study: Study, needs: Sequence[str] | None, verified: Path | None = None) -> Judged:
    """Add Table 1 and the claims to a study's tables, and advice where needs are asked (none named = all).

    `verified` is a folder of live checks: what they found counts before what is claimed, also in who qualifies.
    """
    catalogue, readings = criteria.load(), Readings(study, paper_tables())
    basis = Basis.CLAIMED if verified is None else Basis.VERIFIED
    if verified is not None:
        catalogue = with_verified(catalogue, verifications_in(verified))
    on = facts_date(readings, catalogue)
    found = claims(readings, catalogue, on)
    tables = {
        **study.tables,
        "criteria": criteria_table(evaluate(catalogue, on, basis)),
        "claims": claims_table(found),
    }
    advice = None if needs is None else advise(readings, catalogue, needs_named(needs), on, basis)
    return Judged(replace(study, tables=tables), found, advice)


def facts_date(readings: Readings, catalogue: CriteriaCatalogue) -> date:
    """The day whose facts a study is judged by: the paper's for its data, else its last repetition's, else today."""
    if readings.is_the_papers:
        return PAPER_DATE
    last = readings.study.samples["started_at"].max()
    day = last.date() if isinstance(last, datetime) else datetime.now(UTC).date()
    # before the first evidence nothing at all would be known
    return max(day, min(fact.date for fact in catalogue.facts))


def present(judged: Judged, out: Path) -> None:
    """Write OUT/figures/*.svg, report.html, report.md and, where asked, advice.json."""
    # drawing needs matplotlib, whose import costs more than the statistics: only where there is something to draw
    from vpnmesh.report.figures import figures  # noqa: PLC0415

    drawn = figures(judged.study)
    page = compose(judged.study, drawn, judged.claims, judged.advice)
    files = {f"figures/{name}.svg": svg for name, svg in drawn.items()}
    files |= {"report.html": render_html(page), "report.md": render_markdown(page)}
    if judged.advice:
        files["advice.json"] = advice_json(judged.advice)
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written: {error.strerror}") from error


def write_tables(tables: Mapping[str, pl.DataFrame], out: Path) -> None:
    """Each table as CSV with full float precision; header only where it is empty."""
    folder = out / "tables"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            harmless(table).write_csv(folder / f"{name}.csv")
    except OSError as error:
        raise InputError("--out", f"{folder} cannot be written: {error.strerror}") from error


def harmless(table: pl.DataFrame) -> pl.DataFrame:
    """The table with an apostrophe before every text that a spreadsheet would take for a formula."""
    texts = [name for name, kind in table.schema.items() if kind == pl.String()]
    return table.with_columns(
        pl.when(pl.col(name).str.contains(FORMULA))
        .then(pl.concat_str(pl.lit("'"), pl.col(name)))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )


def write_repetitions(samples: pl.DataFrame, path: Path) -> None:
    """The repetitions as Parquet; InputError where the file cannot be written."""
    try:
        samples.write_parquet(path)
    except OSError as error:
        raise InputError("--out", f"{path} cannot be written: {error.strerror}") from error


def advice_json(advice: Advice) -> str:
    """The advice with all its evidence, for programs."""
    found = TypeAdapter(Advice).dump_python(advice, mode="json")
    return json.dumps({"schema_version": 1, **found}, indent=1, ensure_ascii=False) + "\n"


def write_bundle(study: Study, out: Path, raw: Sequence[tuple[str, Path]]) -> tuple[bundle.Packed, ...]:
    """Write OUT/bundle.zip from OUT and the raw folders (name in the archive, folder)."""
    target = out / "bundle.zip"
    try:
        with target.open("wb") as stream:
            hiding = hiding_of(_testbed(raw))
            return bundle.pack(_members(study, out, raw, hiding), stream, hiding)
    except OSError as error:
        raise InputError("--bundle", f"{target} cannot be written: {error.strerror}") from error


def _testbed(raw: Sequence[tuple[str, Path]]) -> Mapping[str, object]:
    """The testbed of the run that is packed; none of results that others published."""
    runs = [folder for name, folder in raw if name == RUN]
    return RunFiles(runs[0]).manifest().testbed if runs else {}


def _members(
    study: Study, out: Path, raw: Sequence[tuple[str, Path]], hiding: Hiding
) -> Iterator[bundle.Member]:
    yield bundle.Member(PurePosixPath("CITATION.txt"), CITATION.encode())
    licence = Path(__file__).parents[2] / "LICENSE"
    if licence.exists():
        yield bundle.Member(PurePosixPath("LICENSE"), licence.read_bytes())
    provenance = json.dumps(study.provenance, indent=1, default=str, sort_keys=True)
    yield bundle.Member(PurePosixPath("provenance.json"), provenance.encode())
    inside_run = [folder for _, folder in raw if out.resolve().is_relative_to(folder.resolve())]
    for prefix, folder in (("report", out), *raw):
        for path in _files(folder):
            if folder in inside_run and path.resolve().is_relative_to(out.resolve()):
                continue
            yield _member(prefix, folder, path, hiding)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "bundle.zip")


def _member(prefix: str, folder: Path, path: Path, hiding: Hiding) -> bundle.Member:
    below = PurePosixPath(*path.relative_to(folder).parts)
    name = PurePosixPath(prefix) / below
    files = _PACKED.get(prefix, ("*",))
    if not bundle.belongs(below, files):
        return bundle.Member(name, left_out="it is no file of a run or a report")
    if not path.resolve().is_relative_to(folder.resolve()):
        return bundle.Member(name, left_out="it leads out of the folder")
    if path.suffix == ".parquet":
        return bundle.Member(name, _masked_parquet(path, hiding))
    return bundle.Member(name, path.read_bytes())


RUN = "run"
_PACKED = {RUN: bundle.RUN_FILES, "report": bundle.REPORT_FILES}


def _masked_parquet(path: Path, hiding: Hiding) -> bytes:
    """A parquet file with its text columns masked as text files are; empty where it is no whole parquet file."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        return b""
    words = [name for name, kind in frame.schema.items() if kind == pl.String]
    masked = frame.with_columns(
        pl.col(name).replace_strict(_masked_words(frame[name], hiding), return_dtype=pl.String, default=None)
        for name in words
        if frame[name].drop_nulls().len()
    )
    stream = io.BytesIO()
    masked.write_parquet(stream)
    return stream.getvalue()


def _masked_words(column: pl.Series, hiding: Hiding) -> dict[str, str]:
    return {word: bundle.clean(word, hiding)[0] for word in column.drop_nulls().unique().to_list()}
