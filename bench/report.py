"""What the report costs: the whole of it, its statistics against plain pandas and scipy, and 100 times the rows.

Prints seconds, peak memory and ratios; judges nothing. Every figure is taken in a process of its own, since peak
memory is a process's, and the ratio's two sides run one after the other on the same files in the same bench.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.figures import Figure, Size, peak_mb

TIMES = int(os.environ.get("BENCH_TIMES", "100"))
"""How often the rows are repeated in the large tables."""
RUNS = 3
"""How many of each scenario's ten runs are repeated a hundredfold: 12 million requests are enough to see."""


def whole_report() -> dict[str, float]:
    """The paper's study with tables, figures, advice, HTML and Markdown, by the command that users run."""
    with tempfile.TemporaryDirectory() as out:
        argv = [sys.executable, "-m", "workflows.report", "--paper", "--out", out]
        start = time.monotonic()
        subprocess.run(argv, check=True, capture_output=True)
        seconds = time.monotonic() - start
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "peak_mb": children.ru_maxrss / 1000}


def parts() -> dict[str, float]:
    """Where a report's seconds go: modules, statistics with claims and advice, drawing, and making one page of it."""
    start = time.monotonic()
    from vpnmesh.reference.data import paper_data  # noqa: PLC0415 - loading them is one of the parts
    from vpnmesh.report.compose import compose  # noqa: PLC0415
    from vpnmesh.report.figures import figures  # noqa: PLC0415
    from vpnmesh.report.render import render_html, render_markdown  # noqa: PLC0415
    from workflows.reporting.presenting import judge  # noqa: PLC0415
    from workflows.reporting.studies import study_of  # noqa: PLC0415

    loaded = time.monotonic()
    judged = judge(study_of(paper_data()), ())
    counted = time.monotonic()
    figures_drawn = figures(judged.study)
    drawn = time.monotonic()
    page = compose(judged.study, figures_drawn, judged.claims, judged.advice)
    letters = len(render_html(page)) + len(render_markdown(page))
    return {
        "modules": loaded - start,
        "statistics": counted - loaded,
        "drawing": drawn - counted,
        "page": time.monotonic() - drawn,
        "letters": float(letters),
    }


def statistics() -> dict[str, float]:
    """All tables from the reference data in this process, imports of modules apart."""
    from vpnmesh.reference.data import paper_data  # noqa: PLC0415 - each task loads only what it measures
    from workflows.reporting.studies import study_of  # noqa: PLC0415

    start = time.monotonic()
    study = study_of(paper_data())
    return {"seconds": time.monotonic() - start, "pairs": float(study.tables["pairwise"].height)}


def plain_pandas() -> dict[str, float]:
    """The same means, spreads, quantiles and pair tests by pandas groupby and scipy, as a notebook does it."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415 - only the bench needs it
    from scipy import stats  # noqa: PLC0415

    start = time.monotonic()
    rates, api = pd.DataFrame(_pandas_rates()), pd.DataFrame(_pandas_requests())
    rates.groupby(["scenario", "test", "condition"])["rate"].describe()
    groups = dict(list(api.groupby("scenario")["response"]))
    for values in groups.values():
        values.describe(percentiles=[0.5, 0.9, 0.99])
    pairs = 0
    for _, here in rates.groupby(["test", "condition"]):
        samples = dict(list(here.groupby("scenario")["rate"]))
        for a, b in combinations(samples, 2):
            stats.mannwhitneyu(samples[a], samples[b])
            pairs += 1
    for a, b in combinations(groups, 2):
        stats.mannwhitneyu(groups[a], groups[b])
        pairs += 1
    return {"seconds": time.monotonic() - start, "pairs": float(pairs)}


def _pandas_rates() -> dict[str, list[Any]]:
    import polars as pl  # noqa: PLC0415

    from vpnmesh.reference.data import paper_data  # noqa: PLC0415

    measured = (pl.col("outcome") == "measured") & (pl.col("test") != "idle")
    found = paper_data().samples.filter(measured)
    return found.select("scenario", "test", "condition", rate="rate_mbit_s").to_dict(as_series=False)


def _pandas_requests() -> Mapping[str, object]:
    from vpnmesh.reference.data import paper_data  # noqa: PLC0415

    found = paper_data().api.filter("ok").select("scenario", response="response_s").collect()
    return {name: found[name].to_numpy() for name in found.columns}


def hundredfold() -> dict[str, float]:
    """The API's tables from 100 times the CSV files of three runs (links to them), by Polars' lazy path."""
    from vpnmesh.frames.requests import api_cells, scan_hey  # noqa: PLC0415
    from workflows.reporting.published_files import find_hey  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        for path in _written_as_csv(Path(folder, "once")):
            target = Path(folder, "hundredfold", path.parent.name)
            target.mkdir(parents=True, exist_ok=True)
            for i in range(TIMES):
                (target / f"{path.stem}{i:03}.csv").symlink_to(path)
        start = time.monotonic()
        cells = api_cells(scan_hey(find_hey(Path(folder, "hundredfold"))[0]))
        seconds = time.monotonic() - start
    return {"seconds": seconds, "rows": float(sum(cell.requests for cell in cells)), "peak_mb": peak_mb()}


def _written_as_csv(folder: Path) -> list[Path]:
    """The first runs of each scenario in the form of hey's CSV, a folder per scenario."""
    import polars as pl  # noqa: PLC0415

    from vpnmesh.reference.data import paper_data  # noqa: PLC0415
    from vpnmesh.tools import hey  # noqa: PLC0415

    known = {"response-time": "response_s", "status-code": "status", "offset": "offset_s"}
    columns = {name: pl.col(known[name]) if name in known else pl.lit(0.0) for name in hey.COLUMNS}
    requests = paper_data().api.filter(pl.col("run") <= RUNS).collect()
    paths = []
    for (scenario, run), part in requests.group_by("scenario", "run"):
        path = folder / str(scenario) / f"run{run}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.select(**columns).write_csv(path)
        paths.append(path)
    return paths


def hundredfold_repetitions() -> dict[str, float]:
    """All tables from 100 times the paper's repetitions."""
    import polars as pl  # noqa: PLC0415

    from vpnmesh.frames.schemas import API, empty  # noqa: PLC0415
    from vpnmesh.reference.data import paper_data  # noqa: PLC0415
    from vpnmesh.report.tables import build_study  # noqa: PLC0415

    samples = pl.concat([paper_data().samples] * TIMES)
    start = time.monotonic()
    build_study(samples, empty(API).lazy())
    return {"seconds": time.monotonic() - start, "rows": float(samples.height), "peak_mb": peak_mb()}


TASKS: Mapping[str, Callable[[], dict[str, float]]] = {
    task.__name__: task
    for task in (whole_report, parts, statistics, plain_pandas, hundredfold, hundredfold_repetitions)
}


def measure(task: str, times: int) -> dict[str, float]:
    """Run one task in a process of its own."""
    argv = [sys.executable, "-m", "bench.report", task]
    told = {**os.environ, "BENCH_TIMES": str(times)}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=told)
    return {str(name): float(value) for name, value in json.loads(done.stdout).items()}


def run(console: Console, size: Size) -> list[Figure]:
    """Seconds, rows and peak memory of each task, and ours against plain pandas and scipy."""
    found = {}
    for name in TASKS:
        console.print(f"report: {name}", style="dim", highlight=False)
        found[name] = measure(name, size.of(100, 2))
    figures = [
        Figure(name.replace("_", " "), ", ".join(f"{key} {value:,.2f}" for key, value in told.items()))
        for name, told in found.items()
    ]
    ours, plain = (found[name]["seconds"] for name in ("statistics", "plain_pandas"))
    against = f"{plain:.2f} s with plain pandas and scipy"
    return [
        *figures,
        Figure("statistics against a notebook's", f"{ours:.2f} s", against, f"{ours / plain:.2f}"),
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]]()))
