"""Versions beside the paper's, and old versions beside new ones: whichever of the two is the variant."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from vpnmesh.frames.schemas import API, empty
from vpnmesh.model import Cell, Pair
from vpnmesh.report import canvas, first_screen
from vpnmesh.report.compose import compose
from vpnmesh.report.figures import figures
from vpnmesh.report.identity import identity
from vpnmesh.report.page import Items, Paragraph, TableBlock
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.report.tables import RunTables, Study, build_study
from vpnmesh.report.then_and_now import HIGHER, LOWER, SAME, VersionPair, command
from vpnmesh.report.version_sections import to_measure
from vpnmesh.report.versions import NOT_TOLD, order_of, paper_programs, told_versions, used_programs
from vpnmesh.study.journal import parse_event
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, frame_of, journal_line
from vpnmesh.study.scenarios import BUILT_IN
from workflows.reporting.closing import closing

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
OLD_HEADSCALE, NEW_NEBULA, MTU = "tailscale-of-2023", "nebula-newer", "nebula-1420"
FILE = f"""
{OLD_HEADSCALE}: {{variant_of: headscale-direct, program_folder: /opt/old, version: "1.58.2"}}
{NEW_NEBULA}: {{variant_of: nebula-direct, program_folder: /opt/new/, tunnel_mtu: 1300}}
{MTU}: {{variant_of: nebula-direct, tunnel_mtu: 1420}}
""".encode()
CATALOGUE = BUILT_IN.with_file(FILE, "mine.yaml")
TOLD = {
    "tailscaled --version": "1.98.10",
    "tailscale version": "1.98.10",
    "headscale version": "headscale version v0.29.2",
    "derper --version": "1.98.10",
    "/opt/old/tailscaled --version": "1.58.2",
    "/opt/old/tailscale version": "1.58.2",
    "/opt/old/headscale version": "v0.21.0",
    "nebula -version": "Version: 1.6.1+dfsg",
    "/opt/new/nebula -version": "Version: 1.10.3",
    "iperf3": "iperf 3.12",
}
MEANS = {
    "headscale-direct": 400.0,
    OLD_HEADSCALE: 200.0,
    "nebula-direct": 300.0,
    NEW_NEBULA: 150.0,
    MTU: 310.0,
}


def repetition(scenario: str, number: int, outcome: Outcome) -> dict[str, object]:
    cell = Cell(scenario, "none", "tcp", Pair("worker1", "worker2"))
    return journal_line(Record(cell, number, outcome, START, visit=1, sequence=number))


def study(
    means: Mapping[str, float] = MEANS, count: int = 8, told: Mapping[str, str] = TOLD, spread: float = 0.02
) -> Study:
    """The study of a run of these scenarios, with figures spread about their means."""
    chance = np.random.default_rng(7)
    lines = [
        repetition(name, number, Measured((Sample("rate_mbit_s", mean * float(chance.normal(1, spread))),)))
        for name, mean in means.items()
        for number in range(1, count + 1)
    ]
    known = {"kind": "run", "versions": dict(told)}
    return build_study(
        frame_of(map(parse_event, lines)), empty(API).lazy(), (), known, RunTables(), CATALOGUE
    )


def row(found: Study, old: str) -> dict[str, object]:
    return found.tables["then_and_now"].row(by_predicate=pl.col("old") == old, named=True)


def test_programs_are_those_of_the_scenarios_folder_else_of_path() -> None:
    """The one that carries the data plane first; what the folder lacks comes from PATH."""
    old = used_programs(CATALOGUE.named(OLD_HEADSCALE), TOLD)
    assert [(one.name, one.version, one.folder) for one in old] == [
        ("tailscaled", "1.58.2", "/opt/old"),
        ("tailscale", "1.58.2", "/opt/old"),
        ("headscale", "0.21.0", "/opt/old"),
        ("derper", "1.98.10", ""),
    ]
    assert used_programs(CATALOGUE.named("native-1450"), TOLD) == ()
    assert used_programs(CATALOGUE.named("netbird-direct"), TOLD) == ()


def test_a_program_that_has_no_option_for_its_version_is_not_taken_for_the_one_on_path() -> None:
    """It lies in the scenario's folder and refused the question; one that is not there was not found."""
    answers = {
        "relay": {
            "derper --version": "1.98.10",
            "/opt/old/derper --version": "not known: flag provided but not defined: -version",
            "/opt/old/headscale version": "not known: sh: 1: exec: /opt/old/headscale: not found",
            "headscale version": "headscale version v0.29.2",
        }
    }
    told = told_versions(identity({"nodes": answers}))
    used = {
        one.name: (one.version, one.folder) for one in used_programs(CATALOGUE.named(OLD_HEADSCALE), told)
    }
    assert used == {"derper": (NOT_TOLD, "/opt/old"), "headscale": ("0.29.2", "")}


def test_nodes_that_differ_are_told_both() -> None:
    (one,) = used_programs(
        CATALOGUE.named("nebula-direct"), {"nebula -version": "Version: 1.6.1; Version: 1.9.5"}
    )
    assert one.version == "1.6.1 and 1.9.5"


def test_the_versions_table_has_the_papers_beside() -> None:
    """A row per program and folder, with all scenarios that used it; what was not attempted used none."""
    found = study({"headscale-direct": 400.0, OLD_HEADSCALE: 200.0}).tables["versions"]
    rows = {(one["program"], one["version"]): one for one in found.to_dicts()}
    assert rows["headscale", "0.29.2"]["paper"] == rows["headscale", "0.21.0"]["paper"] == "0.21.0"
    assert rows["tailscaled", "1.98.10"]["paper"] is None
    assert rows["derper", "1.98.10"]["scenarios"] == f"headscale-direct, {OLD_HEADSCALE}"
    assert not any(program == "nebula" for program, _ in rows)
    assert paper_programs()["netbird"] == "0.20.0"


def test_the_first_screen_names_versions_only_where_nodes_told_them() -> None:
    facts = dict(first_screen.facts(study()))
    assert facts["Versions"] == "headscale 0.29.2 and 0.21.0 (the paper: 0.21.0)"
    assert "Versions" not in dict(first_screen.facts(study(told={})))


@pytest.mark.parametrize(
    ("version", "order"),
    [("1.10.3", (1, 10, 3)), ("v0.21.0", (0, 21, 0)), ("1.6.1+dfsg", (1, 6, 1)), ("dev", ())],
)
def test_versions_are_ordered_as_numbers(version: str, order: tuple[int, ...]) -> None:
    assert order_of(version) == order


def test_old_versions_stand_before_new_ones_whichever_is_the_variant() -> None:
    """The variant is the older one here and the newer one there; the ratio is new / old in both."""
    found = study()
    then, newer = row(found, OLD_HEADSCALE), row(found, "nebula-direct")
    assert (then["new"], newer["new"]) == ("headscale-direct", NEW_NEBULA)
    assert (
        then["versions"]
        == "tailscaled 1.58.2 -> 1.98.10, tailscale 1.58.2 -> 1.98.10, headscale 0.21.0 -> 0.29.2"
    )
    assert newer["versions"] == "nebula 1.6.1+dfsg -> 1.10.3"
    assert (then["verdict"], newer["verdict"]) == (HIGHER, LOWER)
    for one, ratio in ((then, 2.0), (newer, 0.5)):
        assert one["ratio"] == pytest.approx(ratio, rel=0.05)
        assert one["ratio_low"] < one["ratio"] < one["ratio_high"]  # type: ignore[operator]
    assert (then["mean_old"], then["mean_new"]) == (
        pytest.approx(200, rel=0.05),
        pytest.approx(400, rel=0.05),
    )


def test_a_turned_ratio_is_the_variants_ratio_turned() -> None:
    found = study()
    (beside,) = found.tables["variants"].filter(variant=OLD_HEADSCALE).to_dicts()
    then = row(found, OLD_HEADSCALE)
    assert then["ratio"] == pytest.approx(beside["mean_base"] / beside["mean_variant"])
    assert then["ratio_low"] == pytest.approx(1 / beside["ratio_high"])
    assert then["p_holm"] == beside["p_holm"]


def test_a_variant_of_the_same_versions_is_no_pair() -> None:
    """Another MTU is another variant; nor is anything a pair where no node told a version."""
    assert set(study().tables["then_and_now"]["old"]) == {OLD_HEADSCALE, "nebula-direct"}
    assert study(told={}).tables["then_and_now"].is_empty()


@pytest.mark.parametrize(
    ("means", "count", "verdict"),
    [
        ({"headscale-direct": 400.0, OLD_HEADSCALE: 400.0}, 8, SAME),
        ({"headscale-direct": 400.0, OLD_HEADSCALE: 200.0}, 2, "undecided: 2 and 2 repetitions"),
    ],
)
def test_no_verdict_without_a_test(means: dict[str, float], count: int, verdict: str) -> None:
    found = row(study(means, count, spread=0.1), OLD_HEADSCALE)
    assert found["verdict"] == verdict
    assert ("a test of these pairs needs 4" in str(found["note"])) == (count == 2)


def test_what_was_not_measured_is_said() -> None:
    lines = [
        repetition("headscale-direct", n, Measured((Sample("rate_mbit_s", 400.0 + n),))) for n in range(1, 9)
    ]
    lines.append(repetition(OLD_HEADSCALE, 1, Failed("path", "relayed")))
    known = {"kind": "run", "versions": TOLD}
    frame = frame_of(map(parse_event, lines))
    found = build_study(frame, empty(API).lazy(), (), known, RunTables(), CATALOGUE)
    assert row(found, OLD_HEADSCALE)["verdict"] == "old not measured"


def test_the_page_has_a_section_of_its_own_and_nothing_twice() -> None:
    """Pairs of versions stand there, the other variants where they were; what differs besides is said."""
    found = study()
    page = compose(found, figures(found))
    sections = {one.id: one for one in page.sections}
    tables = [one.name for one in sections["then-and-now"].blocks if isinstance(one, TableBlock)]
    assert tables == [f"then-and-now-{OLD_HEADSCALE}", "then-and-now-nebula-direct"]
    items = [one.items for one in sections["then-and-now"].blocks if isinstance(one, Items)]
    assert items[1] == ("nebula: 1.6.1+dfsg -> 1.10.3", "besides: tunnel_mtu 1280 -> 1300")
    (other,) = [one for one in sections["variants"].blocks if isinstance(one, TableBlock)]
    assert {cells[0].text for cells in other.rows} == {MTU}
    (block,) = [one for one in sections["versions"].blocks if isinstance(one, TableBlock)]
    assert ("headscale", "0.21.0 in /opt/old", "0.21.0", OLD_HEADSCALE) in [
        tuple(cell.text for cell in cells) for cells in block.rows
    ]
    for text in (render_markdown(page), render_html(page)):
        assert "then: tailscaled 1.58.2" in text
        assert "With the newer versions: 1 higher (of 1 figures)." in text


def test_versions_alone_bring_their_figures_along() -> None:
    """Without other variants there is no second section, and the figure is not lost."""
    found = study({"headscale-direct": 400.0, OLD_HEADSCALE: 200.0})
    text = render_markdown(compose(found, figures(found)))
    assert "## Variants side by side" not in text
    assert "![variants-tcp](figures/variants-tcp.svg)" in text


def test_a_run_that_cannot_decide_says_what_measures_it() -> None:
    """Visited once, and too few: both are said, with the command."""
    few = study({"headscale-direct": 400.0, OLD_HEADSCALE: 200.0}, count=2)
    (section,) = [one for one in compose(few, {}).sections if one.id == "then-and-now"]
    (warning,) = [one.text for one in section.blocks if isinstance(one, Paragraph) and one.kind == "warning"]
    assert warning.startswith("Each scenario was visited once")
    assert "1 of 1 figures are undecided" in warning
    pair = VersionPair("headscale-direct", OLD_HEADSCALE, variant_is_old=True, changed=())
    assert warning.endswith(command([pair]))
    assert command([pair]).endswith("--repetitions 6 --blocks 3")


def test_a_study_without_versions_has_neither_section(handmade: Study) -> None:
    assert not {"versions", "then-and-now"} & {one.id for one in compose(handmade, {}).sections}


def on_terminal(found: Study) -> str:
    """What a run's end shows below its results."""
    console = Console(width=170, file=io.StringIO(), color_system=None)
    for shown in closing(found):
        console.print(shown, highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_says_the_same() -> None:
    """Versions beside the paper's, a table per pair in the old-to-new direction, then the first facts."""
    text = " ".join(on_terminal(study()).split())
    assert "│ headscale │ 0.29.2 │ 0.21.0 │ headscale-direct │" in text
    assert f"│ headscale │ 0.21.0 in /opt/old │ 0.21.0 │ {OLD_HEADSCALE} │" in text
    assert f"Then and now: {OLD_HEADSCALE} -> headscale-direct: tailscaled 1.58.2 -> 1.98.10, " in text
    assert (
        "nebula-direct -> nebula-newer: nebula 1.6.1+dfsg -> 1.10.3; besides: tunnel_mtu 1280 -> 1300" in text
    )
    assert "with the newer versions: 1 higher" in text
    assert text.index("Then and now") < text.index("repetitions per cell: 8")
    assert "versions: headscale" not in text


def test_a_terminal_without_versions_shows_only_the_facts(handmade: Study) -> None:
    text = on_terminal(handmade)
    assert "Then and now" not in text
    assert "the paper" not in text


def test_what_never_came_up_is_not_a_matter_of_repetitions() -> None:
    """More repetitions of what fails decide nothing: no command is suggested for it."""
    lines = [
        {**repetition("headscale-direct", n, Measured((Sample("rate_mbit_s", 400.0 + n),))), "visit": n % 2}
        for n in range(1, 9)
    ]
    lines += [{**repetition(OLD_HEADSCALE, n, Failed("path", "x")), "visit": n} for n in (1, 2)]
    known = {"kind": "run", "versions": TOLD}
    frame = frame_of(map(parse_event, lines))
    found = build_study(frame, empty(API).lazy(), (), known, RunTables(), CATALOGUE)
    assert to_measure(found) == ""
    assert "1 old not measured" in on_terminal(found)


def test_long_names_of_scenarios_are_not_cut_off() -> None:
    """Figures grow to the left by what a variant's name takes; those of the paper's names stay as wide as they were."""
    widths = []
    for longest in ("headscale-direct", "headscale-direct-mtu-1500"):
        figure = Figure(figsize=(8.0, 2.0))
        canvas.make_room(figure, ("native", longest))
        widths.append((figure.get_figwidth(), figure.subplotpars.left * figure.get_figwidth()))
    (usual, left), (wide, more) = widths
    assert [usual, left] == pytest.approx([8.0, 1.2])
    assert wide - usual == pytest.approx(more - left)
    # letters of 8 points are about a sixteenth of an inch wide
    assert more >= len("headscale-direct-mtu-1500") / 16


def test_the_first_screen_groups_scenarios_by_what_carried_them(handmade: Study) -> None:
    facts = dict(first_screen.facts(handmade))
    assert facts["Data planes"].endswith(" userspace")
    assert "native" not in facts["Data planes"]
