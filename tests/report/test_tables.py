"""The paper's tables from the paper's data: every figure exact to the printed digits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from vpnmesh.frames.aggregate import failures
from vpnmesh.frames.schemas import RESULTS
from vpnmesh.reference import FIGURES, paper_rows
from vpnmesh.report.replay import Replay, replay
from vpnmesh.report.tables import TABLES, Study
from vpnmesh.study.scenarios import PAPER_SCENARIOS
from workflows.report import main
from workflows.reporting.presenting import write_tables
from workflows.reporting.studies import study_from_imports


@pytest.fixture(scope="module")
def study(paper: Study) -> Study:
    return paper


def cells(study: Study) -> dict[tuple[str, str, str], Mapping[str, object]]:
    rows = study.tables["throughput"].iter_rows(named=True)
    return {(row["test"], row["scenario"], row["condition"]): row for row in rows}


@pytest.mark.parametrize(("table", "test"), [("A1", "tcp"), ("A2", "udp")])
def test_every_row_to_the_printed_digit(study: Study, table: str, test: str) -> None:
    """All 42 rows of each table, five figures each, come out of the data as printed."""
    found = cells(study)
    wanted = [row for row in paper_rows() if row.table == table]
    assert (len(wanted), {row.test for row in wanted}) == (42, {test})
    for row in wanted:
        own = found[row.test, row.scenario, row.condition]
        printed = {name: float(row.printed[name]) for name in FIGURES}
        assert printed == {name: float(f"{own[name]:.2f}") for name in FIGURES}, row


def test_the_papers_mann_whitney(study: Study) -> None:
    """native-1230 against netbird-direct, TCP undisturbed: U and p to the last digit, not rejected."""
    pair = study.tables["pairwise"].filter(test="tcp", condition="none", a="native-1230", b="netbird-direct")
    row = pair.to_dicts()[0]
    assert (row["n_a"], row["n_b"], row["u"], row["p"]) == (100, 100, 4652.0, 0.39388774680316996)
    assert (row["reject"], row["reject_holm"]) == (False, False)
    assert row["cliffs_delta"] == pytest.approx(2 * 4652 / 10000 - 1)


def test_the_papers_other_mann_whitneys(study: Study) -> None:
    """Headscale direct and relayed differ in UDP; the two baselines' API does not, at the printed p of 0.22."""
    pairs = study.tables["pairwise"]
    udp = pairs.filter(test="udp", condition="none", a="headscale-direct", b="headscale-relay").to_dicts()[0]
    assert udp["p"] == pytest.approx(2.8122036152458673e-18, rel=1e-12)
    api = pairs.filter(test="api", a="native-1450", b="native-1230").to_dicts()[0]
    assert (api["n_a"], api["n_b"], f"{api['p']:.2f}", api["reject"]) == (49_926, 49_699, "0.22", False)


@pytest.mark.parametrize("test", ["tcp", "udp"])
def test_every_pair_once_and_as_scipy(study: Study, test: str) -> None:
    """28 pairs per condition, a before b, each p that of scipy on the repetitions themselves."""
    order = {name: i for i, name in enumerate(PAPER_SCENARIOS)}
    pairs = study.tables["pairwise"].filter(test=test)
    assert pairs.height == 7 * 28
    rates = {
        (scenario, condition): group["rate_mbit_s"].to_numpy()
        for (scenario, condition), group in study.measured(test).group_by("scenario", "condition")
    }
    for row in pairs.iter_rows(named=True):
        assert order[row["a"]] < order[row["b"]]
        wanted = stats.mannwhitneyu(rates[row["a"], row["condition"]], rates[row["b"], row["condition"]])
        assert row["u"] == float(wanted.statistic)
        assert row["p"] == pytest.approx(float(wanted.pvalue), rel=1e-10)


def test_holm_within_test_and_condition(study: Study) -> None:
    """p_holm is at least p, at most 28 p, and exactly 28 p for the smallest of each family."""
    for _, family in study.tables["pairwise"].filter(test="tcp").group_by("condition"):
        p, adjusted = family["p"].to_numpy(), family["p_holm"].to_numpy()
        assert (adjusted >= p).all()
        assert (adjusted <= np.minimum(1, 28 * p) + 1e-15).all()
        assert adjusted.min() == min(1.0, 28 * p.min())


def test_attempted_and_measured(study: Study) -> None:
    """26 of 2,560 repetitions lack a reading: one of TCP, 25 of UDP, each cell says so, and a note why."""
    throughput = study.tables["throughput"]
    assert (throughput["attempted"].sum(), throughput["measured"].sum()) == (2560, 2534)
    short = throughput.filter(pl.col("attempted") != pl.col("measured"))
    assert (short.filter(test="udp")["attempted"] - short.filter(test="udp")["measured"]).sum() == 25
    assert short.filter(test="tcp").select("scenario", "condition", "attempted", "measured").rows() == [
        ("netbird-relay", "none", 100, 99)
    ]
    assert "netbird-relay none tcp: 1 failed at tool: no reading of client CPU, client RAM" in study.notes


def test_failures_are_in_the_same_order_every_time(study: Study) -> None:
    """Reasons of one cell are sorted: the same results never give two different files."""
    rows = study.tables["failures"].filter(scenario="zerotier-direct", condition="none", test="udp")
    assert rows["reason"].to_list() == [
        "no reading of client CPU, client RAM",
        "no reading of server CPU, server RAM",
    ]
    assert all(failures(study.samples, study.scenarios).equals(study.tables["failures"]) for _ in range(30))


def test_the_failed_repetition_keeps_what_was_read(study: Study) -> None:
    """The figures' rule (at least 0) still sees the bandwidth of the repetition that the tables leave out."""
    failed = study.samples.filter(pl.col("outcome") != "measured", pl.col("test") == "tcp")
    assert failed.select("rate_mbit_s", "client_cpu_pct", "client_ram_mb").rows() == [(218.0, 0.0, None)]


def test_requests(study: Study) -> None:
    """Ten runs per scenario: 398,849 rows, four of them cut; with the times of those the known means of all rows."""
    api = study.tables["api"]
    assert (api["requests"].sum(), api["failed"].sum(), set(api["runs"])) == (398_849, 4, {10})
    assert api.filter(scenario="native-1450").select("requests", "failed").rows() == [(49_927, 1)]
    assert api["saturated"].to_list() == [True] * 8
    every = study.api.group_by("scenario").agg(pl.col("response_s").mean().round(6)).collect()
    assert dict(every.rows()) == {
        "native-1450": 0.249976,
        "native-1230": 0.248421,
        "headscale-direct": 0.282484,
        "headscale-relay": 0.292710,
        "netbird-direct": 0.277569,
        "netbird-relay": 0.310095,
        "zerotier-direct": 0.278726,
        "zerotier-relay": 0.290798,
    }


def test_requests_of_original_files_by_hand(originals: Path) -> None:
    """Mean, spread and quantile of a published CSV are those of its whole rows; the cut last row is a failure."""
    api = study_from_imports(None, originals / "hey").tables["api"]
    (path,) = (originals / "hey" / "02-native-mtu1450-k8s-api-bench").glob("*.csv")
    lines = path.read_text().splitlines()[1:]
    whole = [float(line.split(",")[0]) for line in lines if line.count(",") == 7]
    row = api.filter(scenario="native-1450").to_dicts()[0]
    assert (row["requests"], row["failed"]) == (len(lines), len(lines) - len(whole)) == (4927, 1)
    assert row["mean_s"] == pytest.approx(float(np.mean(whole)), rel=1e-12)
    assert row["sd_s"] == pytest.approx(float(np.std(whole, ddof=1)), rel=1e-12)
    assert row["p99_s"] == pytest.approx(float(np.quantile(whole, 0.99)), rel=1e-12)


def test_api_pairs_per_request_and_per_run(study: Study) -> None:
    """28 pairs per request and 28 per run of ten runs a side, all with a p."""
    pairs = study.tables["pairwise"]
    per_request, per_run = pairs.filter(test="api"), pairs.filter(test="api-runs")
    assert (per_request.height, per_run.height) == (28, 28)
    assert (per_request["p"].null_count(), per_run["p"].null_count(), set(per_run["n_a"])) == (0, 0, {10})
    assert set(pairs["condition"].filter(pairs["test"] == "api")) == {"none"}


def test_resources_are_the_tools_own_figures(study: Study) -> None:
    """CPU and RAM of both ends of all cells, TCP, UDP and idle, in the tool's units."""
    resources = study.tables["resources"]
    assert resources.height == 8 * 7 * 3 * 2
    row = resources.filter(scenario="native-1450", condition="none", test="tcp", end="client").to_dicts()[0]
    assert (row["n"], round(row["cpu_pct_mean"], 4), round(row["ram_mb_mean"], 2)) == (100, 13.3451, 629.74)


def test_delays_are_at_netems_cap(study: Study) -> None:
    """TCP of the baselines at 250 and 350 ms is above 80 % of netem's ceiling, flagged and warned of."""
    flagged = study.tables["throughput"].filter(
        pl.col("near_cap") & pl.col("scenario").str.starts_with("native")
    )
    assert {("native-1450", "delay-250ms"), ("native-1230", "delay-350ms")} <= set(
        flagged.select("scenario", "condition").rows()
    )
    assert flagged["warning"].str.contains("queue").all()


def test_dependence_is_found(study: Study) -> None:
    """NetBird's undisturbed repetitions resemble their neighbours (0.48), and a warning says what they are worth."""
    rows = study.tables["throughput"].filter(test="tcp", scenario="netbird-direct", condition="none")
    row = rows.to_dicts()[0]
    assert round(row["lag1"], 2) == 0.48
    assert "lag-1 autocorrelation 0.48" in row["warning"]


def test_the_kernel_that_differs_is_told(study: Study) -> None:
    """One scenario ran on another kernel than the rest: that is in the notes and in Table 2."""
    assert any("5.15.0-71-generic (zerotier-relay)" in note for note in study.notes)
    environment = dict(study.tables["environment"].rows())
    assert environment["Kubernetes version"] == "v1.22.17+k3s1"
    assert "zerotier-relay" in environment["Kernel"]


def test_own_ratios_agree_with_the_published_ones(study: Study) -> None:
    """The paper's data against the paper's tables: every published ratio lies in the own interval."""
    published = study.tables["published"]
    assert (published.height, published["agrees"].sum()) == (168, 168)
    assert published["own_over_published"].is_between(0.99, 1.01).all()


def test_csv_keeps_every_digit(study: Study, tmp_path: Path) -> None:
    """Numbers read back from the CSV are the numbers that were computed."""
    write_tables(study.tables, tmp_path)
    for name in ("throughput", "pairwise", "api", "resources"):
        table = study.tables[name]
        back = pl.read_csv(tmp_path / "tables" / f"{name}.csv", schema=table.schema)
        assert back.equals(table), name


@pytest.mark.parametrize("given", [("knb",), ("hey",), ("knb", "hey")])
def test_tables_are_all_there_with_either_import(
    given: tuple[str, ...], originals: Path, tmp_path: Path
) -> None:
    """Either import alone gives every table, header only where it has nothing, and exit code 0."""
    out = tmp_path / "made" / "here"
    arguments = [part for tool in given for part in (f"--import-{tool}", str(originals / tool))]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    for name, columns in TABLES.items():
        header = (out / "tables" / f"{name}.csv").read_text().splitlines()[0].split(",")
        assert list(columns) == header[: len(columns)]
    assert dict(pl.read_parquet(out / "results.parquet").schema) == RESULTS


def replayed(study: Study, test: str) -> Replay:
    undisturbed = study.measured(test).filter(condition="none")
    samples = {
        name: undisturbed.filter(scenario=name).sort("sequence")["rate_mbit_s"].to_numpy()
        for name in PAPER_SCENARIOS
    }
    return replay(samples, orders=1000, seed=1, seconds=60.0)


@pytest.mark.slow
def test_replay_keeps_its_promise(study: Study) -> None:
    """Over 1,000 orders: a wrong verdict in at most 1 % of them, for at most 13 % of the measuring seconds."""
    found = replayed(study, "tcp")
    assert found.wrong_orders.estimate <= 0.01
    assert round(found.share_mean, 2) <= 0.13
    assert found.undecided_verdicts == 0
    open_pairs = found.pairs.filter(~pl.col("full_rejects")).select("a", "b").rows()
    assert open_pairs == [("native-1230", "netbird-direct")]


@pytest.mark.slow
def test_replay_of_udp_which_the_design_has_not_seen(study: Study) -> None:
    """UDP: the one pair that stays open (one more in one order) is given up; no verdict is wrong."""
    found = replayed(study, "udp")
    assert (found.wrong_orders.estimate, round(found.share_mean, 2)) == (0.0, 0.16)
    left_open = found.pairs.filter(pl.col("undecided") > 10).select("a", "b").rows()
    assert left_open == [("headscale-direct", "netbird-relay")]
