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

SHARED = Path(os.environ.get("VPNMESH_SHARED", Path(__file__).parents[2] / "shared")) / "paper"
TIMES = 100


def whole_report() -> dict[str, float]:
    """Tables, figures, HTML and Markdown from the shared files, by the command that users run."""
    with tempfile.TemporaryDirectory() as out:
        argv = [sys.executable, "-m", "workflows.report", "--out", out]
        argv += ["--import-knb", str(SHARED / "knb"), "--import-hey", str(SHARED / "hey")]
        start = time.monotonic()
        subprocess.run(argv, check=True, capture_output=True)
        seconds = time.monotonic() - start
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "peak_mb": children.ru_maxrss / 1000}


def statistics() -> dict[str, float]:
    """All tables from the shared files in this process, imports of modules apart."""
    from workflows.studies import study_from_imports  # noqa: PLC0415 - each task loads only what it measures

    start = time.monotonic()
    study = study_from_imports(SHARED / "knb", SHARED / "hey")
    return {"seconds": time.monotonic() - start, "pairs": float(study.tables["pairwise"].height)}


def plain_pandas() -> dict[str, float]:
    """The same means, spreads, quantiles and pair tests by pandas groupby and scipy, as a notebook does it."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415 - only the bench needs it
    from scipy import stats  # noqa: PLC0415

    start = time.monotonic()
    rates, api = pd.DataFrame(_pandas_rates()), _pandas_api()
    rates.groupby(["scenario", "condition"])["rate"].describe()
    groups = dict(list(api.groupby("scenario")["response-time"]))
    for values in groups.values():
        values.describe(percentiles=[0.5, 0.9, 0.99])
    pairs = 0
    for _, here in rates.groupby("condition"):
        samples = dict(list(here.groupby("scenario")["rate"]))
        for a, b in combinations(samples, 2):
            stats.mannwhitneyu(samples[a], samples[b])
            pairs += 1
    for a, b in combinations(groups, 2):
        stats.mannwhitneyu(groups[a], groups[b])
        pairs += 1
    return {"seconds": time.monotonic() - start, "pairs": float(pairs)}


def _pandas_rates() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path in sorted((SHARED / "knb").glob("*/*.json")):
        for record in json.loads(path.read_text()):
            found = record["data"].get("pod2pod", {}).get("tcp")
            if found and min(found["bandwidth"], *(found[end]["ram"] for end in ("client", "server"))) > 0:
                condition = path.stem.partition("-loss")[2]
                rows.append(
                    {"scenario": path.parent.name, "condition": condition, "rate": found["bandwidth"]}
                )
    return rows


def _pandas_api() -> Any:
    import pandas as pd  # noqa: PLC0415

    parts = []
    for path in sorted((SHARED / "hey").glob("*/*.csv")):
        part = pd.read_csv(path)
        part["scenario"] = path.parent.name
        parts.append(part[part["offset"].notna()])
    return pd.concat(parts)


def hundredfold() -> dict[str, float]:
    """The API's tables from 100 times the shared files (links to them), by Polars' lazy path."""
    from vpnmesh.frames.requests import api_cells, scan_hey  # noqa: PLC0415
    from workflows.studies import find_hey  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        for path in (SHARED / "hey").glob("*/*.csv"):
            target = Path(folder) / path.parent.name
            target.mkdir(exist_ok=True)
            for i in range(TIMES):
                (target / f"{path.stem}{i:03}.csv").symlink_to(path)
        start = time.monotonic()
        cells = api_cells(scan_hey(find_hey(Path(folder))[0]))
        seconds = time.monotonic() - start
    return {"seconds": seconds, "rows": float(sum(cell.requests for cell in cells)), **_peak()}


def hundredfold_repetitions() -> dict[str, float]:
    """All tables from 100 times the shared repetitions."""
    import polars as pl  # noqa: PLC0415

    from vpnmesh.frames.schemas import API, empty  # noqa: PLC0415
    from vpnmesh.report.tables import build_study  # noqa: PLC0415
    from workflows.studies import study_from_imports  # noqa: PLC0415

    samples = pl.concat([study_from_imports(SHARED / "knb").samples] * TIMES)
    start = time.monotonic()
    build_study(samples, empty(API).lazy())
    return {"seconds": time.monotonic() - start, "rows": float(samples.height), **_peak()}


def _peak() -> dict[str, float]:
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


TASKS: Mapping[str, Callable[[], dict[str, float]]] = {
    task.__name__: task
    for task in (whole_report, statistics, plain_pandas, hundredfold, hundredfold_repetitions)
}


def measure(task: str) -> dict[str, float]:
    """Run one task in a process of its own."""
    argv = [sys.executable, "-m", "bench.report", task]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return {str(name): float(value) for name, value in found.items()}


def main() -> None:
    """Print all figures, or one task's as JSON where it is named."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(TASKS[sys.argv[1]]()))
        return
    if not SHARED.is_dir():
        sys.stdout.write("report: skipped, the paper's data are not shared on this machine\n")
        return
    found = {name: measure(name) for name in TASKS}
    for name, figures in found.items():
        told = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
        sys.stdout.write(f"report: {name}: {told}\n")
    ratio = found["plain_pandas"]["seconds"] / found["statistics"]["seconds"]
    sys.stdout.write(f"report: plain pandas and scipy take {ratio:.1f} times as long as our statistics\n")


if __name__ == "__main__":
    main()
