"""The page: what it says, that it escapes what it is given, and that words of missing data take the place of gaps."""

import re
import subprocess
import sys
from dataclasses import replace
from datetime import date

import pytest

from tests.report.conftest import made
from vpnmesh.criteria import data as criteria
from vpnmesh.report.compose import compose
from vpnmesh.report.figures import figures
from vpnmesh.report.formatting import TableCell, cell, p_text
from vpnmesh.report.judgement.claims import claims
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.page import Heading, Items, Page, Paragraph, Section, TableBlock
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.report.tables import Study
from workflows.reporting.presenting import judge

ON = date(2023, 6, 17)


@pytest.fixture(scope="module")
def page(handmade: Study) -> Page:
    found = claims(Readings(handmade), criteria.load(), ON)
    return compose(handmade, figures(handmade), found)


def test_the_html_asks_for_nothing(page: Page) -> None:
    """No source, link or import points out of the file."""
    html = render_html(page)
    outward = re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:,)[^"']+""", html)
    outward += re.findall(r"@import|url\((?!#)", html)
    assert [text for text in outward if "xlink" not in text] == []
    assert "default-src 'none'" in html


def test_the_html_is_small(page: Page) -> None:
    """Ten megabytes at most; this study is far below."""
    assert len(render_html(page).encode()) < 3_000_000


def test_what_a_tool_said_cannot_break_the_page(page: Page) -> None:
    """Reasons and components are text, never markup."""
    html = render_html(page)
    assert "server &lt;busy&gt; &amp; gone" in html
    assert "<busy>" not in html
    assert "invented &lt;one&gt; &amp; only" in html


def test_the_rule_of_measuring_is_that_of_the_source(handmade: Study, paper: Study) -> None:
    """Readings above zero make a published repetition a measurement; a run's own are judged by its checks."""
    drawn = {"fig1-tcp": "<svg/>"}
    imported = render_markdown(compose(paper, drawn))
    own = render_markdown(compose(replace(handmade, provenance={"kind": "run"}), drawn))
    rule = "only with its rate and all CPU and RAM readings above 0"
    assert (rule in imported, rule in own) == (True, False)
    assert ("the tables keep those above 0" in imported, "the tables keep those above 0" in own) == (
        True,
        False,
    )
    assert "every check before and after it held" in own


def test_markdown_has_every_section_and_table(page: Page) -> None:
    """Each section is a heading, each figure a link to its file."""
    text = render_markdown(page)
    assert [section.title for section in page.sections if f"\n## {section.title}\n" not in text] == []
    assert "![fig4-tcp-means](figures/fig4-tcp-means.svg)" in text


def test_markdown_tables_have_as_many_cells_as_headings(page: Page) -> None:
    """A pipe in a cell must not make another column: every line of a table has its first line's bars."""
    wrong, bars = [], 0
    for line in render_markdown(page).splitlines():
        if not line.startswith("|"):
            bars = 0
            continue
        found = len(re.findall(r"(?<!\\)\|", line))
        bars = bars or found
        wrong += [line] if found != bars else []
    assert wrong == []


def test_a_warning_stands_beside_the_papers_columns(page: Page) -> None:
    """What must be known before a row is used comes right after the paper's ratios, not past the edge of the screen."""
    table = next(
        block
        for section in page.sections
        for block in section.blocks
        if isinstance(block, TableBlock) and block.name == "throughput-tcp"
    )
    assert table.columns.index("warning") == 9


def test_only_drawing_loads_what_draws() -> None:
    """Comparing, replaying and refusing bad input take no second for matplotlib."""
    asked = "import sys, workflows.report; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_every_table_is_there_once(page: Page) -> None:
    """A table that has a section of its own is not among the further ones."""
    names = [
        block.name for section in page.sections for block in section.blocks if isinstance(block, TableBlock)
    ]
    assert "claims" in names
    assert [name for name in names if names.count(name) > 1] == []


def test_missing_udp_is_said_at_the_top_and_in_its_place() -> None:
    """TCP alone: a warning in the overview, a sentence where UDP would be, no empty figure."""
    study = made(tests=("tcp",))
    html = render_html(compose(study, figures(study)))
    assert "No UDP repetitions are in these data: its figures and rows are left out." in html
    assert "Figures 2 and 5" in html
    assert 'id="fig2-udp"' not in html


def test_missing_requests_are_said() -> None:
    """Without API runs the page says that Figure 3 is left out."""
    study = made(repetitions=3, runs=0)
    html = render_html(compose(study, figures(study)))
    assert "No API requests are in these data: Figure 3 and its rows are left out." in html
    assert "Not drawn: no API requests in these data." in html


def test_an_empty_study_is_a_page_that_says_so(handmade: Study) -> None:
    """No rows anywhere: every table and figure has its sentence, nothing fails."""
    tables = {name: frame.clear() for name, frame in handmade.tables.items()}
    study = replace(
        handmade,
        samples=handmade.samples.clear(),
        api=handmade.api.limit(0),
        tables=tables,
        scenario_order=(),
    )
    html = render_html(compose(study, figures(study)))
    assert "No rows." in html
    assert "<svg" not in html


def test_warnings_are_visible(page: Page) -> None:
    """Cells that statistics warn of are listed in the overview with their warning."""
    overview = next(section for section in page.sections if section.id == "overview")
    listed = [item for block in overview.blocks if isinstance(block, Items) for item in block.items]
    assert any("8 attempted, 7 measured" in item for item in listed)
    assert any("nothing measured" in item for item in listed)


def test_rounding_is_only_what_is_shown() -> None:
    """A cell shows two digits and is sorted by all of them."""
    assert cell("mean_mbit_s", 707.4512) == TableCell("707.45", 707.4512)
    assert cell("p", 0.39388774680316996) == TableCell("0.39", 0.39388774680316996)
    assert cell("p50_s", 0.24171) == TableCell("0.2417", 0.24171)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_missing_is_a_dash(value: float | None) -> None:
    """No zero, no NaN stands for a missing figure, and it does not sort as one."""
    assert cell("mean_mbit_s", value) == TableCell("\N{EN DASH}")


def test_a_p_value_never_reads_zero() -> None:
    """Smaller than arithmetic can tell is written as an upper limit."""
    assert p_text(0.0) == "< 1e-99"


def test_blocks_render_in_both_forms() -> None:
    """The smallest page, as a snapshot of the Markdown."""
    blocks = (
        Paragraph("careful", "warning"),
        Heading("inner"),
        Items("two", ("a", "b")),
        TableBlock("t", "A table.", ("x", "y|z"), ((TableCell("1", 1.0), TableCell("a|b")),), "tables/t.csv"),
    )
    expected = (
        "# T\n\nlead\n\n## S\n\n> **Warning.** careful\n\n### inner\n\n**two**\n\n- a\n- b\n\n"
        "| x | y\\|z |\n| ---: | --- |\n| 1 | a\\|b |\n\n*A table. Full precision: `tables/t.csv`.*\n"
    )
    assert render_markdown(Page("T", "lead", (Section("s", "S", blocks),))) == expected


def test_judging_adds_the_tables_that_facts_decide(handmade: Study) -> None:
    """Table 1 and the claims are among the tables that are written."""
    tables = judge(handmade, None).study.tables
    assert tables["criteria"].columns[:3] == ["name", "qualifies", "failed"]
    assert (tables["criteria"].height, tables["claims"].height > 20) == (11, True)
