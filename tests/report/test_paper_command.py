"""`python -m workflows.report --paper`: the study from what is installed, in one command."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from vpnmesh.report.judgement.reproduction import matches, reproduced
from vpnmesh.report.tables import Study
from workflows.report import main


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("paper") / "out"
    result = report("--paper", "--out", out)
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_it_tells_what_matched(told: tuple[Path, str]) -> None:
    """Both tables to the printed digit, both printed p-values, the claims' verdicts, and the advice."""
    lines = told[1].splitlines()
    assert "Table A1 (TCP): 42 of 42 rows exact to the printed digit" in lines
    assert "Table A2 (UDP): 42 of 42 rows exact to the printed digit" in lines
    assert "Mann-Whitney, TCP, native-1230 and netbird-direct: U 4652, p 0.39389 (printed: 0.39)" in lines
    assert any(line.startswith("Mann-Whitney, API, native-1450 and native-1230: U") for line in lines)
    assert "claims: 9 holds, 10 partly, 4 contradicted, 4 as the paper says" in lines
    assert "stable: 1. netbird, 2. zerotier, 3. headscale" in lines
    assert "repetitions: 26 failed, 3814 measured; requests: 398849" in told[1]


def test_it_writes_the_whole_study(told: tuple[Path, str]) -> None:
    """The five figures, both tables, every pair, claims and advice are there."""
    out = told[0]
    for name in ("fig1-tcp", "fig2-udp", "fig3-api", "fig4-tcp-means", "fig5-udp-means"):
        assert (out / "figures" / f"{name}.svg").stat().st_size > 10_000
    pairs = pl.read_csv(out / "tables" / "pairwise.csv")
    assert dict(pairs["test"].value_counts().rows()) == {"tcp": 196, "udp": 196, "api": 28, "api-runs": 28}
    verdicts = pl.read_csv(out / "tables" / "claims.csv")["verdict"]
    assert (verdicts.len(), "undecided" in verdicts) == (27, False)
    assert len(json.loads((out / "advice.json").read_text())["needs"]) == 9


def test_a_row_that_does_not_match_is_named(paper: Study) -> None:
    """One mean a hundredth off: 41 of 42, and which it is; a table without rows matches nothing."""
    off = (
        pl.when((pl.col("test") == "udp") & (pl.col("scenario") == "netbird-relay")).then(0.01).otherwise(0.0)
    )
    table = paper.tables["throughput"].with_columns(
        mean_mbit_s=pl.col("mean_mbit_s")
        + pl.when(pl.col("condition") == "loss-5pct").then(off).otherwise(0.0)
    )
    first, second = matches(table, paper.tables["pairwise"].clear())
    assert first == "Table A1 (TCP): 42 of 42 rows exact to the printed digit"
    assert second == (
        "Table A2 (UDP): 41 of 42 rows exact to the printed digit; not so: netbird-relay loss-5pct"
    )
    assert [(found.exact, found.of) for found in reproduced(table.clear())] == [(0, 42), (0, 42)]


def test_replay_is_of_both_protocols(tmp_path: Path) -> None:
    """--paper --replay tells of TCP and of UDP, a table of pairs for each."""
    result = report("--paper", "--replay", "--orders", 20, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["tcp", "udp"]
    for test in ("tcp", "udp"):
        assert pl.read_csv(tmp_path / "tables" / f"replay-{test}.csv").height == 28


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (("some-run",), "RUN and --paper at once"),
        (("--import-knb", "k"), "--import-... and --paper at once"),
        (("--import-hey", "h"), "--import-... and --paper at once"),
        (("--compare", "a", "b"), "--paper and --compare or --fidelity at once"),
    ],
)
def test_another_source_beside_it_is_refused(beside: tuple[str, ...], named: str, tmp_path: Path) -> None:
    """One sentence and exit code 2, before anything is read or written."""
    result = report("--paper", *beside, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (2, f"error: command line: {named}; name one of them\n")
    assert not (tmp_path / "out").exists()


def test_two_sources_are_refused_elsewhere_too(tmp_path: Path) -> None:
    """A run beside an import, or beside --compare, is as unclear."""
    for beside in (("--import-knb", tmp_path), ("--compare", tmp_path, tmp_path)):
        result = report(tmp_path, *beside)
        assert (result.exit_code, "at once; name one of them" in result.stderr) == (2, True)
