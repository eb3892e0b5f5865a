"""Variants beside their base: what differs in words, the ratio and its test, and honesty where figures are few."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import API, SCHEMA_VERSION, empty
from vpnmesh.model import Cell, Pair
from vpnmesh.report.changes import changes
from vpnmesh.report.compose import compose
from vpnmesh.report.figure_tables import FIGURES
from vpnmesh.report.figures import figures
from vpnmesh.report.page import Items, Paragraph, TableBlock
from vpnmesh.report.render import render_markdown
from vpnmesh.report.run_sections import variants as variants_section
from vpnmesh.report.setting import notes
from vpnmesh.report.tables import RunTables, Study, build_study
from vpnmesh.report.variants import differences, families
from vpnmesh.study.journal import parse_event
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, frame_of, journal_line
from vpnmesh.study.remarks import VISITED_ONCE
from vpnmesh.study.scenarios import BUILT_IN
from workflows.report import main
from workflows.reporting.studies import study_from_run

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FILE = b"""
headscale-no-gro:
  variant_of: headscale-direct
  environment: {TS_TUN_DISABLE_UDP_GRO: "1"}
headscale-1420:
  variant_of: headscale-direct
  tunnel_mtu: 1420
  pod_mtu: 1370
  version: 1.90.0
nobody-measured: {variant_of: nebula-direct, tunnel_mtu: 1420}
"""
CATALOGUE = BUILT_IN.with_file(FILE, "mine.yaml")
BASE, NO_GRO, BIG = "headscale-direct", "headscale-no-gro", "headscale-1420"
RATES = {BASE: 400.0, NO_GRO: 300.0, BIG: 401.0}


def repetition(
    scenario: str, number: int, outcome: Outcome, test: str = "tcp", condition: str = "none", plane: str = ""
) -> dict[str, object]:
    cell = Cell(scenario, condition, test, Pair("worker1", "worker2"))
    return journal_line(Record(cell, number, outcome, START, visit=1, sequence=number, data_plane=plane))


def rates(count: int = 8, planes: dict[str, str] | None = None) -> list[dict[str, object]]:
    """Figures spread by some percent about each scenario's own mean."""
    chance = np.random.default_rng(11)
    return [
        repetition(
            name,
            number,
            Measured((Sample("rate_mbit_s", mean * float(chance.normal(1, 0.02))),)),
            plane=(planes or {}).get(name, ""),
        )
        for name, mean in RATES.items()
        for number in range(1, count + 1)
    ]


def study(lines: list[dict[str, object]], figures: Sequence[tuple[str, str, str, float]] = ()) -> Study:
    """The study of a run that journalled these lines; `figures` = scenario, test, name and value."""
    rows = [
        (scenario, "none", test, "worker1>worker2", 1, name, "%", v, name)
        for scenario, test, name, v in figures
    ]
    recorded = RunTables(pl.DataFrame(rows, schema=FIGURES, orient="row"))
    return build_study(
        frame_of(map(parse_event, lines)), empty_api(), (), {"kind": "run"}, recorded, CATALOGUE
    )


def empty_api() -> pl.LazyFrame:
    return empty(API).lazy()


def row(found: Study, variant: str) -> dict[str, object]:
    return found.tables["variants"].row(by_predicate=pl.col("variant") == variant, named=True)


def test_what_differs_is_said_in_words() -> None:
    """Scalars with both values, a new key by itself, a removed one and a changed one."""
    base = CATALOGUE.named(BASE)
    assert differences(base, CATALOGUE.named(NO_GRO)) == ("TS_TUN_DISABLE_UDP_GRO=1",)
    assert differences(base, CATALOGUE.named(BIG)) == (
        "pod_mtu 1230 -> 1370",
        "tunnel_mtu 1280 -> 1420",
        "version any -> 1.90.0",
    )
    turn, own = CATALOGUE.named("netbird-relay"), CATALOGUE.named("netbird-relay-tcp")
    assert differences(turn, own) == ("policy block-udp-k8s -> block-udp", "relay=turn -> own")
    assert differences(CATALOGUE.named(NO_GRO), base) == ("without TS_TUN_DISABLE_UDP_GRO=1",)
    assert differences(base, base) == ()


def test_only_measured_variants_of_measured_bases_are_families() -> None:
    assert families([BIG, BASE, NO_GRO, "nobody-measured"], CATALOGUE) == {BASE: (NO_GRO, BIG)}
    assert families([BIG, NO_GRO], CATALOGUE) == {}


def test_the_ratio_and_its_test_are_those_of_the_figures() -> None:
    """Means, Mann-Whitney (scipy's) and Holm over the two variants; the interval holds the ratio that was put in."""
    found = study(rates())
    values = {
        name: found.samples.filter(scenario=name)["rate_mbit_s"].to_numpy() for name in (BASE, NO_GRO, BIG)
    }
    slower, alike = row(found, NO_GRO), row(found, BIG)
    assert (slower["n_base"], slower["n_variant"], slower["differs"]) == (8, 8, "TS_TUN_DISABLE_UDP_GRO=1")
    assert slower["mean_base"] == pytest.approx(values[BASE].mean())
    assert slower["sd_variant"] == pytest.approx(values[NO_GRO].std(ddof=1))
    assert slower["ratio"] == pytest.approx(values[NO_GRO].mean() / values[BASE].mean())
    low, high = slower["ratio_low"], slower["ratio_high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < 0.75 < high < 1
    expected = [stats.mannwhitneyu(values[name], values[BASE]).pvalue for name in (NO_GRO, BIG)]
    assert [slower["p"], alike["p"]] == pytest.approx(expected)
    assert slower["p_holm"] == pytest.approx(2 * expected[0])
    assert (slower["note"], alike["note"]) == ("", "")


def test_too_few_figures_give_no_interval_and_no_p() -> None:
    found = row(study(rates(count=3)), NO_GRO)
    assert (found["p"], found["ratio_low"], found["n_variant"]) == (None, None, 3)
    assert found["ratio"] == pytest.approx(0.75, rel=0.1)
    assert found["note"] == "3 figures, a test of these pairs needs 5"


def test_failed_repetitions_and_other_data_planes_are_said() -> None:
    """A variant of which nothing was measured has its row; so has one that another data plane carried."""
    planes = {BASE: "userspace", NO_GRO: "kernel"}
    lines = [line for line in rates(planes=planes) if line["scenario"] != BIG]
    lines += [repetition(BIG, number, Failed("path", "relayed")) for number in (1, 2)]
    found = study(lines)
    assert row(found, NO_GRO)["note"] == "another data plane: userspace -> kernel"
    dead = row(found, BIG)
    assert (dead["n_variant"], dead["mean_variant"], dead["ratio"], dead["p"]) == (0, None, None, None)
    assert dead["note"] == f"{BIG}: 0 of 2 measured"


def test_a_variant_whose_other_test_failed_is_not_called_not_run() -> None:
    """Of a ping without any answer there is no figure, and yet it was attempted; a third was never asked."""
    lines = [*rates(), repetition(BASE, 1, Measured((Sample("lost_pct", 0.0),)), "ping")]
    lines.append(repetition(NO_GRO, 1, Failed("tool", "none of 5 came back"), "ping"))
    found = study(lines, figures=[(BASE, "ping", "lost_pct", 0.0)]).tables["variants"].filter(test="ping")
    assert dict(found.select("variant", "note").rows()) == {
        NO_GRO: f"{NO_GRO}: 0 of 1 measured",
        BIG: f"{BIG}: not run",
    }


def test_slow_start_is_no_finding_about_a_variant() -> None:
    """TCP that spends its seconds in slow start tells of the round trip: the ratio is shown, not tested."""
    lines = [{**line, "condition": "delay-250ms"} for line in rates()]
    known = {"kind": "run", "profile": {"duration_s": 2}}
    found = row(
        build_study(frame_of(map(parse_event, lines)), empty_api(), (), known, RunTables(), CATALOGUE), NO_GRO
    )
    assert (found["p"], found["ratio_low"]) == (None, None)
    assert f"{BASE}: slow start, not the VPN" in str(found["note"])


def test_a_studys_page_has_variants_only_where_there_are_some(handmade: Study) -> None:
    """Heading, what differs, table and figure; nothing of it in a study without variants."""
    found = study(rates())
    drawn = figures(found)
    page = compose(found, drawn)
    (section,) = [one for one in page.sections if one.id == "variants"]
    (items,) = [one for one in section.blocks if isinstance(one, Items)]
    assert items.items == (
        f"{NO_GRO}: TS_TUN_DISABLE_UDP_GRO=1",
        f"{BIG}: pod_mtu 1230 -> 1370; tunnel_mtu 1280 -> 1420; version any -> 1.90.0",
    )
    (table,) = [one for one in section.blocks if isinstance(one, TableBlock)]
    assert len(table.rows) == 2
    assert table.rows[0][5].text.endswith("(8)")
    assert "variants-tcp" in drawn
    text = render_markdown(page)
    assert "## Variants side by side" in text
    assert "![variants-tcp](figures/variants-tcp.svg)" in text
    without = compose(handmade, figures(handmade))
    assert [one.id for one in without.sections if one.id in ("variants", "tests")] == []


def test_a_variant_without_its_base_is_said_to_be_alone() -> None:
    """Nothing is set beside it, and the page says why."""
    found = study([line for line in rates() if line["scenario"] == BIG])
    text = render_markdown(compose(found, figures(found)))
    assert f"{BIG} is a variant of {BASE}, which this run did not measure" in text
    assert found.tables["variants"].is_empty()


def test_one_name_for_two_scenarios_is_not_compared() -> None:
    """Another MTU is another question, and refused; another environment is under test, and said."""
    a = study(rates())
    mtu = BUILT_IN.with_file(
        FILE.replace(b"tunnel_mtu: 1420\n  pod", b"tunnel_mtu: 1440\n  pod", 1), "other.yaml"
    )
    with pytest.raises(InputError, match=r"headscale-1420: tunnel_mtu 1420 -> 1440; .*as a variant"):
        changes(a, replace(a, scenarios=mtu))
    gro = BUILT_IN.with_file(FILE.replace(b'GRO: "1"', b'GRO: "0"'), "other.yaml")
    told = notes(a, replace(a, scenarios=gro))
    assert "headscale-no-gro: TS_TUN_DISABLE_UDP_GRO=1 -> 0" in told
    assert changes(a, replace(a, scenarios=gro)).height == 3


def test_a_run_writes_variants_of_every_test(tmp_path: Path) -> None:
    """From the run's directory to files: throughput and ping, by the scenarios that its manifest keeps."""
    pings = [
        repetition(
            name, number, Measured((Sample("rtt_ms", rtt + number / 100), Sample("lost_pct", 0.0))), "ping"
        )
        for name, rtt in ((BASE, 1.0), (NO_GRO, 2.0))
        for number in range(1, 9)
    ]
    manifest = {"schema_version": SCHEMA_VERSION, "scenarios": CATALOGUE.as_written()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (*rates(), *pings)))
    told = CliRunner().invoke(main, [str(tmp_path)])
    assert told.exit_code == 0, told.output
    written = pl.read_csv(tmp_path / "report" / "tables" / "variants.csv")
    (ping,) = written.filter(test="ping", variant=NO_GRO, figure="rtt_ms").to_dicts()
    assert (ping["n_base"], ping["n_variant"], ping["unit"]) == (8, 8, "ms")
    assert ping["ratio"] == pytest.approx(2.045 / 1.045)
    assert ping["p_holm"] == pytest.approx(ping["p"])
    assert (tmp_path / "report" / "figures" / "variants-tcp.svg").exists()
    assert study_from_run(tmp_path).scenario_order == (BASE, NO_GRO, BIG)


def test_variants_measured_at_one_time_each_are_said_to_be_confounded() -> None:
    """A p-value beside two scenarios that were visited once says as much of the hour as of the variant."""
    (section,) = variants_section(study(rates()), {})
    assert [
        block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == "warning"
    ] == [f"{VISITED_ONCE[0].upper()}{VISITED_ONCE[1:]}."]
    again = study([{**line, "visit": 1 + number % 2} for number, line in enumerate(rates())])
    (section,) = variants_section(again, {})
    assert all(block.kind == "plain" for block in section.blocks if isinstance(block, Paragraph))
