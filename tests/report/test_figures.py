"""Figures: which are drawn, what they filter, when points give way to quantiles, and that they repeat byte by byte."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import partial

import polars as pl
import pytest

from tests.report.conftest import SCENARIOS, made
from vpnmesh.report import figures as drawing
from vpnmesh.report import style
from vpnmesh.report.beyond_paper import near_cap, retention
from vpnmesh.report.canvas import MAX_POINTS
from vpnmesh.report.figures import figures
from vpnmesh.report.style import condition_title
from vpnmesh.report.svg import inline
from vpnmesh.report.tables import Study, build_study
from vpnmesh.study.scenarios import BUILT_IN

look = partial(style.look, catalogue=BUILT_IN)
throughput_cpu = partial(drawing.throughput_cpu, catalogue=BUILT_IN)
distribution = partial(drawing.distribution, catalogue=BUILT_IN)

ALL = {
    "answers-shares", "fig1-tcp", "fig2-udp", "fig3-api", "fig4-tcp-means", "fig5-udp-means", "distribution-tcp",
    "distribution-udp", "distribution-api", "drift-tcp", "drift-udp", "unseen-netem-cap", "unseen-placement",
    "unseen-failed", "unseen-replication",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(handmade: Study) -> dict[str, str]:
    return figures(handmade)


def words(svg: str) -> list[str]:
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]


def marks(svg: str, scenario: str) -> int:
    """How many markers of the scenario's colour a figure holds, the legend's one apart."""
    return sum(look(scenario).colour in use for use in re.findall(r"<use [^>]*>", svg)) - 1


def test_all_figures_are_drawn_from_full_data(drawn: dict[str, str]) -> None:
    """The paper's five, the distributions, the drift, and the four that the paper could not see."""
    assert set(drawn) == ALL


def test_a_protocol_without_data_has_no_figures() -> None:
    """TCP alone gives no UDP figure; nothing empty is drawn in its place."""
    assert {name for name in ALL if "udp" not in name} == set(figures(made(tests=("tcp",))))


def test_a_study_without_requests_has_no_api_figures(handmade: Study) -> None:
    """Without requests no figure of response times."""
    tables = {**handmade.tables, "api": handmade.tables["api"].clear()}
    study = replace(handmade, api=handmade.api.filter(pl.lit(value=False)), tables=tables)
    assert {name for name in ALL if "api" not in name and name != "unseen-replication"} == set(figures(study))


def test_the_same_data_give_the_same_bytes(handmade: Study, drawn: dict[str, str]) -> None:
    """No date, no chance and no order of hashing gets into a file."""
    assert figures(handmade) == drawn


def test_every_figure_is_well_formed_and_says_what_it_is(drawn: dict[str, str]) -> None:
    """Each is XML with a title for those who cannot see it."""
    namespace = "{http://www.w3.org/2000/svg}"
    titles = {name: ET.fromstring(svg).findtext(f"{namespace}title") for name, svg in drawn.items()}
    assert [name for name, title in titles.items() if not title] == []


def test_axes_carry_units(drawn: dict[str, str]) -> None:
    """Every figure with axes names its unit."""
    units = re.compile(r"Mbit/s|%|ms")
    assert [name for name, svg in drawn.items() if not any(units.search(text) for text in words(svg))] == []


def test_a_figure_names_every_scenario(drawn: dict[str, str]) -> None:
    """No scenario is told apart by colour alone: its name stands in each figure."""
    missing = [
        (name, scenario)
        for name, svg in drawn.items()
        for scenario in SCENARIOS
        if not any(scenario in text for text in words(svg))
    ]
    assert missing == []


def test_ink_follows_the_page(drawn: dict[str, str]) -> None:
    """No black is baked in, and a page gets the figure without its own background."""
    assert [name for name, svg in drawn.items() if "#010203" in svg or "#000000" in svg] == []
    assert [name for name, svg in drawn.items() if "<style>svg{" in inline(svg)] == []


def test_the_look_of_a_solution_is_one_colour_and_a_fill_per_path() -> None:
    """Direct and relayed share colour and marker, and differ in fill, hatch and dashes: grey shows it too."""
    direct, relay = look("zerotier-direct"), look("zerotier-relay")
    assert (direct.colour, direct.marker) == (relay.colour, relay.marker)
    assert (direct.filled, relay.filled) == (True, False)
    assert (direct.hatch == relay.hatch, direct.dashes == relay.dashes) == (False, False)


def test_a_variant_has_its_bases_colour_and_is_told_apart_without_it() -> None:
    """Marker, hatch and dashes of a variant differ from its base's and from the next variant's."""
    file = b"""
    big: {variant_of: zerotier-direct, tunnel_mtu: 1420}
    small: {variant_of: zerotier-direct, tunnel_mtu: 1300}
    """
    catalogue = BUILT_IN.with_file(file, "mine.yaml")
    found = list(style.looks(("small", "big", "zerotier-direct"), catalogue).items())
    assert [name for name, _ in found] == ["zerotier-direct", "big", "small"]
    assert len({one.colour for _, one in found}) == 1
    assert len({one.marker for _, one in found}) == len({one.dashes for _, one in found}) == 3
    assert (found[0][1].hatch, bool(found[1][1].hatch)) == ("", True)


def test_two_relays_of_one_solution_differ() -> None:
    """NetBird's relays over UDP and over TCP are open both, and told apart in grey."""
    udp, tcp = look("netbird-relay"), look("netbird-relay-tcp")
    assert (udp.filled, tcp.filled, udp.colour == tcp.colour) == (False, False, True)
    assert (udp.hatch == tcp.hatch, udp.dashes == tcp.dashes) == (False, False)


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("native-1450", True),
        ("native-1230", False),
        ("tinc", True),
        ("tinc-direct", True),
        ("tinc-relay", False),
    ],
)
def test_what_nobody_declared_still_has_a_look(name: str, *, filled: bool) -> None:
    """The baseline with the smaller MTU is open; a scenario of others is relayed only if its name says so."""
    assert look(name).filled is filled


def test_solutions_differ_in_colour_and_in_marker() -> None:
    """No two of the seven solutions share either."""
    looks = [
        look(f"{name}-direct")
        for name in ("headscale", "netbird", "zerotier", "wireguard", "nebula", "netmaker")
    ]
    looks.append(look("native-1450"))
    assert len({one.colour for one in looks}) == len({one.marker for one in looks}) == len(looks)


@pytest.mark.parametrize("paper", ["#ffffff", "#14171a"])
def test_colours_stand_out_on_both_pages(paper: str) -> None:
    """Every solution's colour has a contrast of 3:1 or more with the light and the dark page."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low = []
    for name in ("native", "headscale", "netbird", "zerotier", "wireguard", "nebula", "netmaker", "other"):
        one, two = sorted((light(look(name).colour), light(paper)))
        if (two + 0.05) / (one + 0.05) < 3:
            low.append(name)
    assert low == []


def test_figures_1_and_2_keep_readings_of_zero(handmade: Study) -> None:
    """The notebook filters at >= 0: a repetition without CPU (0) is a point, one with -1 or none is not."""
    samples = handmade.samples.filter(pl.col("test") == "tcp")
    base = marks(throughput_cpu(samples, "tcp"), "netbird-direct")
    one = (
        (pl.col("scenario") == "netbird-direct")
        & (pl.col("condition") == "none")
        & (pl.col("repetition") == 1)
    )

    def with_cpu(value: float) -> pl.DataFrame:
        return samples.with_columns(
            client_cpu_pct=pl.when(one).then(value).otherwise(pl.col("client_cpu_pct"))
        )

    assert marks(throughput_cpu(with_cpu(0.0), "tcp"), "netbird-direct") == base
    # a repetition is a point in both panels: against the client's CPU and against the server's
    assert marks(throughput_cpu(with_cpu(-1.0), "tcp"), "netbird-direct") == base - 2


def test_every_repetition_is_visible_up_to_the_limit(handmade: Study) -> None:
    """The distribution holds a mark per measured repetition (and no legend)."""
    measured = handmade.measured("udp")
    svg = distribution(measured, "udp")
    assert (
        marks(svg, "headscale-direct") + 1
        == measured.filter(pl.col("scenario").str.starts_with("headscale")).height
    )


def test_above_the_limit_quantiles_take_the_place_of_points() -> None:
    """Two thousand and more repetitions become bands, and the file stays small."""
    study = made(repetitions=1 + MAX_POINTS // 30, tests=("tcp",))
    measured = study.measured("tcp")
    more = pl.concat([measured, measured])
    assert more.height > MAX_POINTS >= measured.height
    assert marks(distribution(measured, "tcp"), "netbird-direct") > 100
    assert marks(distribution(more, "tcp"), "netbird-direct") == -1
    assert len(distribution(more, "tcp")) < 120_000


def test_a_cell_that_failed_wholly_says_so(drawn: dict[str, str]) -> None:
    """The bars and the distribution write that nothing was measured instead of leaving a gap."""
    assert "0 of 8 measured" in words(drawn["fig4-tcp-means"])
    assert "nothing measured" in words(drawn["distribution-tcp"])
    assert "8 of 8" in words(drawn["unseen-failed"])


def test_bars_say_where_not_all_was_measured(drawn: dict[str, str]) -> None:
    """A mean of seven of eight repetitions is written as such."""
    assert any("(7 of 8)" in text for text in words(drawn["fig5-udp-means"]))


def test_the_share_of_the_cap_is_the_mean_over_the_cap(handmade: Study) -> None:
    """At 250 ms and MTU 1230 the queue lets 37.7 Mbit/s through: 1000 packets of 1178 bytes."""
    cell = near_cap(handmade.tables["throughput"]).row(
        by_predicate=(pl.col("scenario") == "headscale-direct")
        & (pl.col("condition") == "delay-250ms")
        & (pl.col("test") == "tcp"),
        named=True,
    )
    assert cell["share_pct"] == pytest.approx(100 * cell["mean_mbit_s"] / 37.696)


def test_retention_is_relative_to_the_same_scenario(handmade: Study) -> None:
    """Forty percent of the undisturbed rate is what the invented study keeps at 1 % loss."""
    kept = retention(handmade.tables["throughput"]).filter(condition="loss-1pct")["kept_pct"]
    assert kept.to_list() == pytest.approx([40.0] * kept.len(), rel=0.05)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("none", "undisturbed"), ("loss-5pct", "loss 5 %"), ("delay-50ms+loss-1pct", "delay 50 ms + loss 1 %")],
)
def test_conditions_are_written_for_people(condition: str, expected: str) -> None:
    """Names of files become words with units."""
    assert condition_title(condition) == expected


def test_titles_and_numbers_in_figures_are_not_cut(drawn: dict[str, str]) -> None:
    """Shortening coordinates must not shorten words: p-values keep their digits."""
    assert not [text for text in words(drawn["drift-tcp"]) if "p 0.00" in text and text.endswith("p 0.00")]


def test_repetitions_without_cpu_readings_have_no_figure_1(handmade: Study) -> None:
    """A tool that gives rates alone still gives means and distributions."""
    blind = handmade.samples.with_columns(client_cpu_pct=pl.lit(None, pl.Float64))
    assert set(figures(replace(handmade, samples=blind))) == ALL - {"fig1-tcp", "fig2-udp"}


def test_requests_that_all_failed_are_not_drawn(handmade: Study) -> None:
    """No answered request, no response time."""
    tables = {**handmade.tables, "api": handmade.tables["api"].with_columns(failed=pl.col("requests"))}
    study = replace(handmade, api=handmade.api.with_columns(ok=pl.lit(value=False)), tables=tables)
    assert ALL - set(figures(study)) == {"fig3-api", "distribution-api", "unseen-replication"}


def test_one_scenario_one_condition_one_repetition_is_enough(handmade: Study) -> None:
    """The smallest study: no spread, no baseline, no drift; and still figures."""
    samples = handmade.samples.filter(
        scenario="netbird-direct", condition="loss-1pct", test="tcp", repetition=1
    )
    assert "fig4-tcp-means" in figures(build_study(samples, handmade.api.limit(0)))
