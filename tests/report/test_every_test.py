"""Every kind of test has its place in the report, also one that the report has never heard of."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.report.figure_tables import title_and_unit
from vpnmesh.report.formatting import significant
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, journal_line
from workflows.report import main
from workflows.reporting.studies import study_from_run

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def repetition(
    test: str, number: int, outcome: Outcome, scenario: str = "nebula-direct"
) -> dict[str, object]:
    """A repetition as a run journals it; its kind of test may be one that nobody knows."""
    cell = Cell(scenario, "none", test, Pair("worker1", "worker2"))
    return journal_line(Record(cell, number, outcome, START, visit=1, sequence=number))


def samples(**figures: float) -> Measured:
    return Measured(tuple(Sample(name, value) for name, value in figures.items()))


def run(folder: Path, lines: list[dict[str, object]]) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION}))
    (folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


LINES = [
    *(repetition("ping", n, samples(rtt_ms=1.0 + n / 10, lost_pct=0.0)) for n in range(1, 8)),
    repetition("ping", 8, Failed("tool", "none of 5 came back")),
    *(repetition("idle", n, samples(cpu_pct=3.0 + n)) for n in (1, 2)),
    *(repetition("convergence", n, samples(to_relay_s=4.0 + n)) for n in (1, 2)),
    *(repetition("handshakes", n, samples(handshakes_per_s=120.0, tickets=7.0)) for n in (1, 2)),
    repetition("handshakes", 1, Failed("path", "relayed"), "nebula-relay"),
    repetition("udp", 1, samples(rate_mbit_s=90.0, lost_pct=1.5)),
]


@pytest.mark.parametrize(
    ("figure", "title", "unit"),
    [
        ("rtt_ms", "rtt", "ms"),
        ("cpu_pct", "cpu", "%"),
        ("to_relay_s", "to relay", "s"),
        ("rate_mbit_s", "rate", "Mbit/s"),
        ("handshakes_per_s", "handshakes", "1/s"),
        ("retransmits", "retransmits", ""),
        ("tickets_sold", "tickets sold", ""),
    ],
)
def test_an_unknown_figure_is_shown_by_its_name_and_the_unit_at_its_end(
    figure: str, title: str, unit: str
) -> None:
    assert title_and_unit(figure) == (title, unit)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0012345, "0.001234"),
        (1.5, "1.5"),
        (123.456, "123.5"),
        (123456.7, "123457"),
        (-2e9, "-2000000000"),
    ],
)
def test_figures_of_any_size_are_written_out(value: float, text: str) -> None:
    assert significant(value) == text


def test_every_figure_of_every_test_is_a_row(tmp_path: Path) -> None:
    """Mean, sd and Student's interval from six on; attempted counts the failed, and those alone have a row, too."""
    found = study_from_run(run(tmp_path / "run", LINES)).tables["figures"]
    names = [tuple(row) for row in found.select("scenario", "test", "figure").rows()]
    assert names == [
        ("nebula-direct", "convergence", "to_relay_s"),
        ("nebula-direct", "handshakes", "handshakes_per_s"),
        ("nebula-direct", "handshakes", "tickets"),
        ("nebula-direct", "idle", "cpu_pct"),
        ("nebula-direct", "ping", "lost_pct"),
        ("nebula-direct", "ping", "rtt_ms"),
        ("nebula-direct", "udp", "rate_mbit_s"),
        ("nebula-direct", "udp", "lost_pct"),
        ("nebula-relay", "handshakes", None),
    ]
    (rtt,) = found.filter(test="ping", figure="rtt_ms").to_dicts()
    values = [1.0 + n / 10 for n in range(1, 8)]
    assert (rtt["attempted"], rtt["n"], rtt["unit"], rtt["least"], rtt["greatest"]) == (8, 7, "ms", 1.1, 1.7)
    low, high = stats.t.interval(0.95, 6, stats.tmean(values), stats.sem(values))
    assert (rtt["mean"], rtt["sd"]) == pytest.approx((stats.tmean(values), stats.tstd(values)))
    assert (rtt["low"], rtt["high"]) == pytest.approx((low, high))
    (idle,) = found.filter(test="idle").to_dicts()
    assert (idle["n"], idle["mean"], idle["low"]) == (2, 4.5, None)
    (lost,) = found.filter(scenario="nebula-relay").to_dicts()
    assert (lost["attempted"], lost["n"], lost["mean"]) == (1, 0, None)


def test_each_test_has_one_table_on_the_page(tmp_path: Path) -> None:
    """A user's own kind, too; throughput keeps its sections, and nothing is shown twice."""
    folder = run(tmp_path / "run", LINES)
    told = CliRunner().invoke(main, [str(folder)])
    assert told.exit_code == 0, told.output
    text = (folder / "report" / "report.md").read_text()
    section = text.partition("## Every test's figures\n")[2].partition("\n## ")[0]
    captions = [line.partition(":")[0] for line in section.splitlines() if line.startswith("*")]
    assert captions == ["*convergence", "*handshakes", "*idle", "*ping", "*udp"]
    assert "| nebula-direct | none | handshakes | 1/s | 2 | 2 | 120 | 0 |" in section
    assert "| nebula-relay | none | \N{EN DASH} | \N{EN DASH} | 1 | 0 |" in section
    assert "| rate | Mbit/s |" not in section
    further = text.partition("## Further tables\n")[2].partition("\n## ")[0]
    assert "Round trips between the pods" not in further
    assert (folder / "report" / "report.html").read_text().count("<td>handshakes</td>") == 2
    written = pl.read_csv(folder / "report" / "tables" / "figures.csv")
    assert set(written["test"]) == {"ping", "idle", "convergence", "handshakes", "udp"}


def test_a_table_without_its_journal_still_shows_its_figures(tmp_path: Path) -> None:
    """What only the journal holds is gone; the columns of results.parquet are figures all the same."""
    folder = run(tmp_path / "run", LINES)
    study_from_run(folder).samples.write_parquet(folder / "results.parquet")
    (folder / "journal.jsonl").unlink()
    found = study_from_run(folder).tables["figures"].drop_nulls("figure")
    assert found.select("test", "figure").rows() == [
        ("ping", "lost_pct"),
        ("udp", "rate_mbit_s"),
        ("udp", "lost_pct"),
    ]
