"""Requests of the API test: cut rows, failures, load, and memory that depends on distinct times only."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vpnmesh.errors import ToolError
from vpnmesh.frames.requests import RunFile, api_cells, scan_hey
from vpnmesh.frames.schemas import API, empty
from vpnmesh.tools import hey

CAPTURED = Path(__file__).parents[1] / "captured" / "hey" / "cut-row-synthetic" / "k8s-api-benchmark-run7.csv"
HEADER = ",".join(hey.COLUMNS)


def requests(**columns: object) -> pl.LazyFrame:
    """A frame of requests; what is not given is a plain answered request of one scenario."""
    given = pl.LazyFrame(columns)
    usual = {
        "scenario": "x",
        "condition": "none",
        "mode": "hey",
        "run": 1,
        "status": 200,
        "ok": True,
        "offset_s": 0.0,
    }
    names = given.collect_schema().names()
    given = given.with_columns(**{k: pl.lit(v) for k, v in usual.items() if k not in names})
    return given.select([pl.col(name).cast(dtype) for name, dtype in API.items()])


def test_cut_and_failed_rows_are_counted_not_measured() -> None:
    """Blank lines are no rows; without status, without time, a 503 and the cut row are failed requests."""
    (cell,) = api_cells(scan_hey([RunFile(str(CAPTURED), "x", "none", 7)]))
    assert (cell.requests, cell.failed) == (7, 4)
    assert cell.pooled.written_out().tolist() == [0.1, 0.2, 0.4]


def test_no_files_no_cells() -> None:
    """Nothing to scan is an empty frame in the same schema."""
    assert dict(scan_hey([]).collect_schema()) == API
    assert api_cells(empty(API).lazy()) == []


@pytest.mark.parametrize("line", ["", "a,b,c", '{"start": 1}', HEADER + ",more"])
def test_other_headers_are_refused(line: str) -> None:
    """A file whose first line is not hey's header is named as such."""
    with pytest.raises(ToolError, match="hey: "):
        hey.check_header(line)


def test_headers_of_windows_and_of_editors() -> None:
    """A carriage return or a byte order mark does not make it another tool's file."""
    hey.check_header("\ufeff" + HEADER + "\r\n")


@pytest.mark.parametrize(
    ("name", "run"), [("k8s-api-benchmark-run3.csv", 3), ("run_12.csv", 12), ("x.csv", None)]
)
def test_run_numbers(name: str, run: int | None) -> None:
    """The run's number is in the file's name."""
    assert run == hey.run_of(name)


def test_runs_are_kept_apart() -> None:
    """A cell knows its pooled sample and the mean of each run."""
    (cell,) = api_cells(requests(run=[1, 1, 2, 2], response_s=[0.1, 0.3, 0.2, 0.6]))
    assert pytest.approx(list(cell.run_means)) == [0.2, 0.4]
    assert cell.pooled.n == 4


def test_all_failed_is_a_cell_without_figures() -> None:
    """A run in which no request was answered is counted and has no mean."""
    (cell,) = api_cells(requests(response_s=[None, None], ok=[False, False], status=[None, None]))
    assert (
        cell.requests,
        cell.failed,
        cell.run_means,
        cell.pooled.n,
        cell.achieved_rps,
        cell.saturated,
    ) == (2, 2, (), 0, None, None)


def test_busy_workers_are_a_saturated_server() -> None:
    """Ten workers that never wait are saturation; ten that wait most of the time are not."""
    busy = requests(response_s=[1.0] * 40, offset_s=[float(i // 10) for i in range(40)])
    calm = requests(response_s=[0.01] * 40, offset_s=[float(i // 10) for i in range(40)])
    assert [api_cells(frame)[0].saturated for frame in (busy, calm)] == [True, False]
    assert api_cells(busy)[0].achieved_rps == pytest.approx(10.0)


def test_open_loop_that_falls_behind_is_saturated() -> None:
    """Sending by the clock: answers that come later and later mean the server does not keep up."""
    offsets = [i / 10 for i in range(100)]
    behind = requests(
        mode=["open-loop"] * 100, offset_s=offsets, response_s=[0.05 * i for i in range(1, 101)]
    )
    along = requests(mode=["open-loop"] * 100, offset_s=offsets, response_s=[0.05] * 100)
    assert [api_cells(frame)[0].saturated for frame in (behind, along)] == [True, False]


def test_a_million_rows_are_a_tally(tmp_path: Path) -> None:
    """10^6 rows of hey become at most as many values as times are distinct, with numpy's mean and quantiles."""
    rng = np.random.default_rng(3)
    times = np.round(rng.gamma(4, 0.06, 1_000_000), 4)
    frame = pl.DataFrame({name: np.zeros(times.size) for name in hey.COLUMNS}).with_columns(
        pl.Series("response-time", times),
        pl.Series("offset", np.arange(times.size) / 400),
        pl.lit(200).alias("status-code"),
    )
    path = tmp_path / "run1.csv"
    frame.write_csv(path)
    (cell,) = api_cells(scan_hey([RunFile(str(path), "x", "none", 1)]))
    assert times.size == cell.pooled.n
    assert cell.pooled.values.size < 15_000
    assert math.isclose(float(times.mean()), cell.pooled.summary().mean or 0, rel_tol=1e-12)
    assert float(np.quantile(times, 0.99)) == pytest.approx(cell.pooled.quantile(0.99), abs=1e-12)
