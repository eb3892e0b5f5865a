"""Several pairs in one cell: a table and heat maps by pair, and statistics that count each pair once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from vpnmesh.frames.aggregate import cell_samples
from vpnmesh.frames.schemas import FIGURES, RESULTS
from vpnmesh.reference import paper_tables
from vpnmesh.report.comparable import Cells, NotComparable
from vpnmesh.report.compose import compose
from vpnmesh.report.figure_tables import described
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.mesh_figures import mesh_figures
from vpnmesh.report.mesh_tables import TABLE
from vpnmesh.report.render import render_markdown
from vpnmesh.report.tables import RunTables, Study, build_study
from vpnmesh.study.pairs import full_mesh
from vpnmesh.study.scenarios import BUILT_IN

MEMBERS = ("k8s-master", "worker1", "worker2", "worker10")
REPETITIONS = 3


def rate(scenario: str, pair: str, repetition: int) -> float:
    """A slow pair among equal ones, and a spread that repetitions share."""
    slow = 300.0 if (scenario, pair) == ("nebula-direct", "worker1>worker2") else 0.0
    return 900.0 - slow + 10 * repetition


@pytest.fixture(scope="module")
def meshed(handmade: Study) -> Study:
    """Twelve pairs of four members, in two scenarios."""
    return _study(handmade, MEMBERS)


def _study(handmade: Study, members: Sequence[str]) -> Study:
    made = []
    for scenario in ("native-1450", "nebula-direct"):
        made += [
            {
                "scenario": scenario,
                "condition": "none",
                "test": "tcp",
                "pair": str(pair),
                "repetition": number,
                "outcome": "measured",
                "rate_mbit_s": rate(scenario, str(pair), number),
                "sequence": number,
                "at_once": 2,
            }
            for pair in full_mesh(members)
            for number in range(REPETITIONS)
        ]
    samples = pl.DataFrame(made, schema_overrides=RESULTS)
    lacking = [
        pl.lit(None, kind).alias(name) for name, kind in RESULTS.items() if name not in samples.columns
    ]
    samples = samples.with_columns(lacking).select(*RESULTS)
    figures = samples.with_columns(
        figure=pl.lit("rate_mbit_s"), unit=pl.lit("Mbit/s"), value="rate_mbit_s"
    ).select(*FIGURES)
    return build_study(samples, handmade.api, recorded=RunTables(described(figures)))


def test_a_row_for_each_pair(meshed: Study) -> None:
    """With the median of its repetitions, and how many pairs were measured at once."""
    rows = meshed.tables["mesh"]
    assert list(TABLE) == rows.columns
    assert rows.height == 2 * 12
    slowest = rows.sort("median").row(0, named=True)
    assert (slowest["scenario"], slowest["client"], slowest["server"]) == (
        "nebula-direct",
        "worker1",
        "worker2",
    )
    assert (slowest["median"], slowest["lowest"], slowest["highest"]) == (610.0, 600.0, 620.0)
    assert (slowest["attempted"], slowest["measured"], slowest["at_once"]) == (3, 3, 2)


def test_a_cell_counts_each_pair_once(meshed: Study) -> None:
    """36 repetitions of twelve pairs are twelve figures for spread, interval and test, and it is said."""
    (row,) = meshed.tables["throughput"].filter(scenario="nebula-direct").to_dicts()
    means = [910.0] * 11 + [610.0]
    assert (row["attempted"], row["measured"], row["pairs"]) == (36, 36, 12)
    assert row["mean_mbit_s"] == pytest.approx(np.mean(means))
    assert row["sd_mbit_s"] == pytest.approx(np.std(means, ddof=1))
    assert row["warning"].startswith("over 12 pairs: mean, deviation and interval are of the pairs' means")
    (pair,) = meshed.tables["pairwise"].filter(test="tcp").to_dicts()
    assert (pair["n_a"], pair["n_b"]) == (12, 12)
    (figure,) = meshed.tables["figures"].filter(scenario="nebula-direct").to_dicts()
    assert (figure["n"], figure["pairs"], figure["sd"]) == (36, 12, row["sd_mbit_s"])


def test_drift_is_looked_for_around_each_pairs_own_mean(meshed: Study) -> None:
    """A pair that is slower than others is no drift; without repetitions there is nothing to see."""
    cell = cell_samples(meshed.samples, BUILT_IN)["nebula-direct", "none", "tcp"]
    assert sorted(set(np.round(cell.in_time - cell.in_time.mean(), 6))) == [-10, 0, 10]
    once = cell_samples(meshed.samples.filter(repetition=0), BUILT_IN)["nebula-direct", "none", "tcp"]
    assert once.in_time.size == 0
    assert once.measured == 12


def test_what_is_to_be_measured_again_is_the_same_pairs(meshed: Study) -> None:
    """And a test of a cell over several pairs has one figure of each, however often each was repeated."""
    asked = {"duration_s": 1, "pairs": {"kind": "sample", "count": 12}}
    cells = Cells(Readings(replace(meshed, provenance={"profile": asked}), paper_tables()))
    said = cells.to_measure([NotComparable(("tcp", "none", "nebula-direct"), 3, 6, None)])
    assert "--pairs sample:12" in said
    few = _few(meshed)
    lack = Cells(Readings(few, paper_tables())).lack(("tcp", "none", "nebula-direct"))
    assert lack is not None
    assert (lack.measured, lack.wanted) == (2, 4)


def _few(meshed: Study) -> Study:
    """Two pairs, three repetitions each: six repetitions, and two figures for a test."""
    rows = meshed.samples.filter(pl.col("pair").is_in(["worker1>worker2", "worker2>worker1"]))
    return build_study(rows, meshed.api, recorded=RunTables())


def test_heat_maps_name_members_and_write_few_numbers(handmade: Study, meshed: Study) -> None:
    """Four members have room for numbers, twelve have not; worker10 comes after worker2."""
    (small,) = mesh_figures(meshed).values()
    assert ">610<" in small
    assert small.index(">worker2<") < small.index(">worker10<")
    (large,) = mesh_figures(_study(handmade, [f"worker{n}" for n in range(12)])).values()
    assert ">worker11<" in large
    assert ">610<" not in large


def test_one_slow_pair_does_not_take_all_colours(meshed: Study) -> None:
    """From ten times the lowest on, colours go by logarithms: the scale's marks are 1, 2 and 5."""
    rows = meshed.tables["mesh"].with_columns(median=pl.col("median") / 100)
    rows = rows.with_columns(median=pl.when(pl.int_range(pl.len()) == 0).then(0.3).otherwise("median"))
    (wide,) = mesh_figures(replace(meshed, tables={**meshed.tables, "mesh": rows})).values()
    assert all(f">{mark}<" in wide for mark in ("0.5", "1", "2", "5"))
    (narrow,) = mesh_figures(meshed).values()
    assert ">0.5<" not in narrow


def test_a_page_shows_the_mesh_and_a_run_of_one_pair_none(meshed: Study, handmade: Study) -> None:
    """Heat map, sentence and table; nothing of it where there is one pair."""
    page = render_markdown(compose(meshed, mesh_figures(meshed)))
    assert "12 of the 12 ordered pairs of 4 members were measured, up to 2 pairs at the same time" in page
    assert "TCP, none: the median of each pair's repetitions." in page
    assert "Pair by pair" not in render_markdown(compose(handmade, {}))
