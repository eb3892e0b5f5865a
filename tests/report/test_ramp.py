"""How flows start, in the report: the series of a run as a figure and a table, and nothing where there is none."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.report.test_few_figures import PROFILE
from tests.report.test_runs import Line, line, rate, rows, run
from vpnmesh.report.compose import compose
from vpnmesh.report.first_screen import facts
from vpnmesh.report.ramp import FEWEST_FOR_BAND, RAMP, SERIES, ramp
from vpnmesh.report.ramp_figure import ramp_figure
from vpnmesh.report.ramp_section import FIGURE, ramp_section
from vpnmesh.report.tables import Study
from vpnmesh.study.scenarios import BUILT_IN
from workflows.reporting.studies import study_from_run

LINES = "[  5]   {:.2f}-{:.2f}   sec  5.0 MBytes  {} Kbits/sec                  \n"


def flow(kbit_s: list[int]) -> str:
    """What a server prints of one flow."""
    return "".join(LINES.format(n / 10, (n + 1) / 10, one) for n, one in enumerate(kbit_s))


def study(folder: Path, repetitions: int, *, steady: bool = True, condition: str = "delay-250ms") -> Study:
    """A run of one scenario whose flows grow by 1 Mbit/s in each tenth, one by one a Mbit/s faster."""
    events: list[Line] = []
    raws = {n: f"raw/native-1450/{condition}/tcp/worker1-to-worker2/{n}" for n in range(1, repetitions + 1)}
    for n, raw in raws.items():
        told = line("native-1450", "tcp", rate(4.0 + n), n, condition)
        events.append({**told, "raw": raw, "samples": {"fill_s": 0.3 + n / 10, "steady_s": 0.2}})
    made = run(folder, events)
    for n, raw in raws.items():
        (made / raw).mkdir(parents=True)
        (made / raw / "server.txt").write_text(flow([1000 * (k + n) for k in range(10)]))
    known = json.loads((made / "manifest.json").read_text()) | {"profile": {**PROFILE, "steady": steady}}
    (made / "manifest.json").write_text(json.dumps(known))
    return study_from_run(made)


@pytest.mark.parametrize("repetitions", [1, FEWEST_FOR_BAND - 1, FEWEST_FOR_BAND])
def test_a_band_needs_four_flows(repetitions: int, tmp_path: Path) -> None:
    """The median is there from one on."""
    found = study(tmp_path / "run", repetitions, condition="none").tables["ramp"]
    assert found["n"].to_list() == 10 * [repetitions]
    assert found["at_s"].to_list() == pytest.approx([(n + 1) / 10 for n in range(10)])
    middle = (repetitions + 1) / 2
    assert found["median_mbit_s"].to_list() == pytest.approx([n + middle for n in range(10)])
    assert found["quartile_low_mbit_s"].null_count() == (0 if repetitions >= FEWEST_FOR_BAND else 10)


def test_a_rate_is_that_of_the_round_trip_before(tmp_path: Path) -> None:
    """Under 250 ms the bursts within a round trip are no news: three tenths are averaged."""
    found = study(tmp_path / "run", 1).tables["ramp"]
    assert found["median_mbit_s"].to_list()[:5] == pytest.approx([1.0, 1.5, 2.0, 3.0, 4.0])


def test_the_section_has_figure_and_times(tmp_path: Path) -> None:
    """Median, lowest and highest time to fill; the figure; and the page is whole with them."""
    made = study(tmp_path / "run", 4)
    (fill,) = rows(made, "fill")
    assert (fill["n"], fill["fill_s_lowest"], fill["fill_s_highest"]) == (4, 0.4, 0.7)
    assert fill["fill_s_median"] == pytest.approx(0.55)
    drawn = ramp_figure(made)
    assert "delay 250 ms" in drawn[FIGURE]
    (section,) = ramp_section(made, drawn)
    assert len(section.blocks) == 2
    assert "ramp" in [one.id for one in compose(made, drawn).sections]


def test_without_series_there_is_no_section(tmp_path: Path) -> None:
    """Runs of before, imports, and runs whose raw/ was taken away."""
    made = study_from_run(run(tmp_path / "run", [line("native-1450", "tcp", rate(900.0), 1, "none")]))
    assert ramp_figure(made) == {}
    assert ramp_section(made, {}) == []
    assert ramp(pl.DataFrame(schema=SERIES), BUILT_IN).schema == pl.Schema(RAMP)


@pytest.mark.parametrize("steady", [True, False])
def test_steady_figures_are_not_slow_start(tmp_path: Path, *, steady: bool) -> None:
    """A second at 250 ms is flagged where it was counted after a second, whatever the flow did then."""
    made = study(tmp_path / "run", 4, steady=steady)
    assert [row["slow_start"] for row in rows(made, "throughput")] == [None if steady else True]


@pytest.mark.parametrize("steady", [True, False])
def test_the_first_screen_says_from_when_seconds_count(tmp_path: Path, *, steady: bool) -> None:
    """A steady flow lasts longer than what was asked for, and starts to count by itself."""
    told = dict(facts(study(tmp_path / "run", 1, steady=steady)))["Seconds per repetition"]
    assert told == (
        "1, or more, once the flow is steady, after 1 omitted" if steady else "1, after 1 omitted"
    )
