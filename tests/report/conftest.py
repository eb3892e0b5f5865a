"""Studies to render: one made by hand, the paper's, and original files of the paper's; and a browser to open them."""

import lzma
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.needs import needs
from tests.report.browser import Browser
from vpnmesh.frames.schemas import API, RESULTS, empty
from vpnmesh.reference.data import paper_data
from vpnmesh.report.tables import Study, build_study
from workflows.reporting.studies import study_of

SCENARIOS = (
    "native-1450",
    "native-1230",
    "headscale-direct",
    "headscale-relay",
    "netbird-direct",
    "zerotier-relay",
)
CONDITIONS = {"none": 1.0, "loss-1pct": 0.4, "loss-5pct": 0.1, "delay-50ms": 0.25, "delay-250ms": 0.05}
ORIGINALS = Path(__file__).resolve().parents[1] / "captured" / "published"


def made(repetitions: int = 8, tests: tuple[str, ...] = ("tcp", "udp"), runs: int = 4) -> Study:
    """A study of invented figures: every kind of row, one failed repetition per scenario, one cell wholly failed."""
    chance = np.random.default_rng(4)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows: list[dict[str, object]] = []
    for place, scenario in enumerate(SCENARIOS):
        for condition, factor in CONDITIONS.items():
            for test in tests:
                for number in range(repetitions):
                    dead = (scenario, condition) == ("zerotier-relay", "loss-5pct")
                    failed = dead or (condition == "none" and number == 3)
                    rate = 900.0 * factor / (1 + place / 3) * chance.normal(1, 0.02)
                    rows.append(
                        {
                            "scenario": scenario,
                            "condition": condition,
                            "test": test,
                            "pair": "worker1>worker2",
                            "repetition": number + 1,
                            "outcome": "failed" if failed else "measured",
                            "stage": "tool" if failed else None,
                            "reason": "server <busy> & gone" if failed else None,
                            "rate_mbit_s": None if failed else rate,
                            "sequence": len(rows) + 1,
                            "started_at": start + timedelta(seconds=60 * len(rows)),
                            "data_plane": "none" if place < 2 else "userspace",
                            "client_cpu_pct": 10.0 + place + chance.normal(0, 0.3),
                            "server_cpu_pct": 12.0 + place + chance.normal(0, 0.3),
                            "client_ram_mb": 700.0 + place,
                            "server_ram_mb": 800.0 + place,
                        }
                    )
    requests = [
        {
            "scenario": scenario,
            "condition": "none",
            "mode": "hey",
            "run": run,
            "response_s": float(chance.gamma(20, 0.012)),
            "offset_s": number / 40,
            "status": 200,
            "ok": True,
        }
        for scenario in SCENARIOS
        for run in range(runs)
        for number in range(60)
    ]
    samples = pl.DataFrame(rows, schema_overrides=RESULTS)
    missing = [
        pl.lit(None, kind).alias(name) for name, kind in RESULTS.items() if name not in samples.columns
    ]
    api = pl.DataFrame(requests, schema=API).lazy()
    provenance = {"environment": {"CPU": "invented <one> & only"}, "netem_limit": 1000}
    return build_study(samples.with_columns(missing).select(*RESULTS), api, ("one note",), provenance)


MEANS = {
    "native-1450": 900.0,
    "native-1230": 870.0,
    "headscale-direct": 405.0,
    "headscale-relay": 310.0,
    "netbird-direct": 403.0,
    "netbird-relay": 300.0,
    "zerotier-direct": 250.0,
    "zerotier-relay": 120.0,
}
FACTORS = {"none": 1.0, "loss-1pct": 0.4, "loss-5pct": 0.1, "delay-50ms": 0.3}
"""As large as a default run: eight scenarios, four conditions, two tests."""


def invented(repetitions: int, spread: float = 0.02, **profile: object) -> Study:
    """A run of that size; its repetitions took three seconds each."""
    chance = np.random.default_rng(7)
    rows = [
        {
            "scenario": name,
            "condition": condition,
            "test": test,
            "pair": "worker1>worker2",
            "repetition": number,
            "outcome": "measured",
            "rate_mbit_s": mean * factor * chance.normal(1, spread),
            "sequence": number,
            "elapsed_s": 3.0,
        }
        for name, mean in MEANS.items()
        for condition, factor in FACTORS.items()
        for test in ("tcp", "udp")
        for number in range(1, repetitions + 1)
    ]
    samples = pl.DataFrame(rows, schema_overrides=RESULTS)
    missing = [
        pl.lit(None, kind).alias(name) for name, kind in RESULTS.items() if name not in samples.columns
    ]
    known = {"kind": "run", "profile": {"duration_s": 10, "omit_s": 1, **profile}}
    return build_study(samples.with_columns(missing).select(*RESULTS), empty(API).lazy(), (), known)


@pytest.fixture(scope="session")
def handmade() -> Study:
    """The invented study."""
    return made()


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the paper's original files as they were published: `knb` and `hey`, a folder per scenario in each."""
    folder = tmp_path_factory.mktemp("originals")
    for path in sorted(path for path in ORIGINALS.rglob("*") if path.is_file() and path.name != "README"):
        target = folder / path.relative_to(ORIGINALS)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".xz":
            target.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, target)
    return folder


@pytest.fixture(scope="session")
def paper() -> Study:
    """The paper's data, which ship with the product, as a study."""
    return study_of(paper_data())


@pytest.fixture(scope="session")
def tcp_only() -> Study:
    """The paper's data as if its UDP repetitions had not been published."""
    found = paper_data()
    return study_of(replace(found, samples=found.samples.filter(pl.col("test") != "udp")))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium with a profile of its own; missing it is a failure in CI."""
    chromium = shutil.which("chromium")
    needs(chromium is not None, "Debian's chromium is not installed")
    assert chromium
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened
