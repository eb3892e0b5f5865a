"""What is decided of every pair by the fixed rule, and what deciding the others would take."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tests.report.conftest import made
from vpnmesh.frames.aggregate import CellSample
from vpnmesh.frames.schemas import RESULTS
from vpnmesh.report.pairwise import pairwise, throughput_families
from vpnmesh.report.replay import full_data_truths
from vpnmesh.report.tables import PAIRWISE, RunTables, Study, build_study
from vpnmesh.report.verdicts import NOTHING, SLOW_START, TOO_CLOSE, TOO_FEW, VERDICTS, MeasuredCells, verdicts
from vpnmesh.stats.describe import Floats, Summary
from vpnmesh.stats.power import repetitions_to_match, repetitions_to_tell
from vpnmesh.stats.sequential import PairVerdict

START = datetime(2026, 1, 1, tzinfo=UTC)
NO_REQUESTS = made(1).api.head(0)


def study(
    cells: dict[str, list[float]], condition: str = "none", elapsed_s: float | None = 10.0, **profile: object
) -> Study:
    """TCP repetitions of some scenarios under one condition; a rate of 0 is a failed one."""
    rows = [
        {
            "scenario": name,
            "condition": condition,
            "test": "tcp",
            "pair": "worker1>worker2",
            "repetition": number,
            "outcome": "measured" if rate else "failed",
            "rate_mbit_s": rate or None,
            "sequence": number,
            "started_at": START + timedelta(minutes=number),
            "elapsed_s": elapsed_s,
        }
        for name, rates in cells.items()
        for number, rate in enumerate(rates, start=1)
    ]
    samples = pl.DataFrame(rows, schema_overrides=RESULTS)
    missing = [
        pl.lit(None, kind).alias(name) for name, kind in RESULTS.items() if name not in samples.columns
    ]
    known = {"kind": "run", "profile": profile}
    return build_study(samples.with_columns(missing).select(*RESULTS), NO_REQUESTS, (), known, RunTables())


def around(mean: float, count: int = 10, spread: float = 0.01, seed: int = 1) -> list[float]:
    """Figures with exactly that mean and spread (a share of it)."""
    raw = np.random.default_rng(seed).normal(size=count)
    return list(mean * (1 + spread * (raw - raw.mean()) / raw.std(ddof=1)))


def only(found: Study) -> dict[str, object]:
    """The one row of the verdicts."""
    (row,) = found.tables["verdicts"].to_dicts()
    return row


def test_a_clear_difference_is_decided_with_its_interval() -> None:
    """100 against 80, spread one percent: they differ, and nothing is left to measure."""
    row = only(study({"native-1450": around(100), "nebula-direct": around(80, seed=2)}))
    assert (row["verdict"], row["because"], row["minutes_more"]) == ("differ", None, None)
    assert row["ratio_low"] < 1.25 < row["ratio_high"]  # type: ignore[operator]  # numbers


def test_equal_figures_are_equal_within_the_runs_margin() -> None:
    """Half a percent apart: equal within 2 %, and not where the run asked for 0.5 %."""
    cells = {"native-1450": around(100), "nebula-direct": around(100.5, seed=2)}
    assert only(study(cells))["verdict"] == "equivalent"
    row = only(study(cells, margin_pct=0.5))
    assert (row["verdict"], row["margin_pct"]) == ("undecided", 0.5)


def test_an_open_pair_says_how_far_its_interval_reaches_and_what_would_decide_it() -> None:
    """Spreads of 8 % leave two means 3 % apart open; the minutes are those of the repetitions that are missing."""
    row = only(
        study({"native-1450": around(100, spread=0.08), "nebula-direct": around(97, spread=0.08, seed=2)})
    )
    assert row["verdict"] == "undecided"
    because = str(row["because"])
    assert because.startswith(f"{TOO_CLOSE}: the difference is -")
    figures = int(because.partition("about ")[2].split()[0])
    assert row["minutes_more"] == pytest.approx(2 * (figures - 10) * 10 / 60)


def test_nobody_knows_the_minutes_where_no_repetition_was_timed() -> None:
    """Results of others say no seconds."""
    cells = {"native-1450": around(100, spread=0.08), "nebula-direct": around(97, spread=0.08, seed=2)}
    assert only(study(cells, elapsed_s=None))["minutes_more"] is None


def test_two_figures_decide_nothing_however_far_apart() -> None:
    """Too few say so, with the number that a test needs, and no interval and no forecast."""
    row = only(study({"native-1450": [100, 101], "nebula-direct": [10, 11]}))
    assert row["verdict"] == "undecided"
    assert row["because"] == f"{TOO_FEW}: 2 and 2, and 1 pair needs 6 of each"
    assert (row["ratio_low"], row["ratio_high"], row["minutes_more"]) == (None, None, None)


def test_five_figures_are_not_called_equal() -> None:
    """An interval needs six, whatever it would say."""
    row = only(study({"native-1450": around(100, 5), "nebula-direct": around(100, 5, seed=2)}))
    assert row["verdict"] == "undecided"
    assert str(row["because"]).startswith(TOO_FEW)


def test_a_cell_without_a_figure_is_named() -> None:
    """Every attempt failed: nothing can be said of its pairs."""
    row = only(study({"native-1450": around(100), "nebula-direct": [0, 0]}))
    assert (row["verdict"], row["because"]) == ("undecided", f"{NOTHING}: nebula-direct")


def test_slow_start_is_no_verdict() -> None:
    """One second under 350 ms is slow start in both: more repetitions of that second decide nothing."""
    cells = {"native-1450": around(18.6), "nebula-direct": around(18.7, seed=2)}
    row = only(study(cells, "delay-350ms", duration_s=1, omit_s=1))
    assert row["verdict"] == "undecided"
    assert str(row["because"]).startswith(f"{SLOW_START}: native-1450")
    assert row["minutes_more"] is None


def test_a_runs_own_verdicts_are_kept() -> None:
    """What an adaptive run decided while it measured is not decided again."""
    row = {
        "test": "tcp",
        "condition": "none",
        "a": "native-1450",
        "b": "nebula-direct",
        "verdict": "equivalent",
    }
    own = pl.DataFrame([row], schema=VERDICTS, orient="row")
    base = study({"native-1450": around(100), "nebula-direct": around(80)})
    again = build_study(base.samples, NO_REQUESTS, (), base.provenance, RunTables(verdicts=own))
    assert only(again)["verdict"] == "equivalent"


@pytest.mark.parametrize("test", ["tcp", "udp"])
def test_the_papers_verdicts_are_those_that_a_replay_is_held_against(paper: Study, test: str) -> None:
    """Both judge by one rule: 28 pairs of the undisturbed repetitions."""
    rows = paper.tables["verdicts"].filter(test=test, condition="none").to_dicts()
    cells = paper.measured(test).filter(condition="none").partition_by("scenario", as_dict=True)
    rates = {str(name): rows["rate_mbit_s"].to_numpy() for (name,), rows in cells.items()}
    truths = full_data_truths({name: rates[name] for name in paper.scenario_order}, 0.02)
    assert len(rows) == 28
    for row in rows:
        truth = truths[row["a"], row["b"]]
        assert not truth.contradicts(PairVerdict(row["verdict"]))
        assert (row["verdict"] == "undecided") == (not truth.rejects and not truth.equivalent)


def test_every_pair_is_in_the_table_once(paper: Study) -> None:
    """28 pairs, 7 conditions, 2 tests, in the order of the pairs' table."""
    keys = ["test", "condition", "a", "b"]
    found = paper.tables["verdicts"].select(keys)
    assert found.height == 28 * 7 * 2
    assert found.equals(paper.tables["pairwise"].filter(pl.col("test").is_in(["tcp", "udp"])).select(keys))


def test_the_forecast_finds_what_it_promises() -> None:
    """Four times the difference needs a sixteenth of the figures; a difference beyond the margin is never equal."""
    near, far, base = Summary(10, 102.0, 5.0), Summary(10, 108.0, 5.0), Summary(10, 100.0, 5.0)
    small, large = repetitions_to_tell(near, base, 0.05), repetitions_to_tell(far, base, 0.05)
    assert small is not None
    assert large is not None
    assert small == pytest.approx(16 * large, rel=0.1)
    assert repetitions_to_match(far, base, 0.02, 0.9) is None
    assert repetitions_to_tell(base, base, 0.05) is None
    # 2.802^2 * 2 * 25 / 4 * pi / 3, as in Lehr's rule of 16 variances over the squared difference
    assert small == 103


def first_figures(rates: dict[str, Floats], count: int) -> pl.DataFrame:
    """The verdicts of the first so many undisturbed repetitions of each scenario."""
    cells = {
        (name, "none", "tcp"): CellSample(name, "none", "tcp", count, mine[:count])
        for name, mine in rates.items()
    }
    summaries = {key: cell.tally.summary() for key, cell in cells.items()}
    return verdicts(pairwise(throughput_families(cells), PAIRWISE), MeasuredCells(summaries), 2.0)


@pytest.mark.slow
def test_a_forecast_is_kept_by_the_papers_own_repetitions(paper: Study) -> None:
    """Eight of a hundred repetitions in random order; at the number then forecast most open pairs are decided."""
    random, kept, forecasts = np.random.default_rng(3), 0, 0
    for test in ("tcp", "udp"):
        cells = paper.measured(test).filter(condition="none").partition_by("scenario", as_dict=True)
        recorded = {str(name): rows["rate_mbit_s"].to_numpy() for (name,), rows in cells.items()}
        for _ in range(25):
            rates = {name: random.permutation(mine) for name, mine in recorded.items()}
            for row in first_figures(rates, 8).drop_nulls("because").to_dicts():
                wanted = int(row["because"].partition("about ")[2].split()[0])
                if wanted > min(rates[row["a"]].size, rates[row["b"]].size):
                    continue
                pair = {name: row[name] for name in ("a", "b")}
                kept += first_figures(rates, wanted).filter(**pair)["verdict"][0] != "undecided"
                forecasts += 1
    assert forecasts > 20
    assert kept / forecasts > 0.7
