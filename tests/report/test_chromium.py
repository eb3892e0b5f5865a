"""The report as a reader has it: opened in headless Chromium from a file, with no network."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.report.browser import Browser
from tests.report.conftest import invented
from vpnmesh.criteria import data as criteria
from vpnmesh.report.answers_figure import figure
from vpnmesh.report.compose import compose
from vpnmesh.report.figures import figures
from vpnmesh.report.judgement.advice import advise
from vpnmesh.report.judgement.claims import claims
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.requirements import NEEDS
from vpnmesh.report.render import render_html
from vpnmesh.report.tables import Study

ON = date(2023, 6, 17)


@pytest.fixture(scope="module")
def drawn(handmade: Study) -> dict[str, str]:
    return figures(handmade)


@pytest.fixture(scope="module")
def page(handmade: Study, drawn: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    readings, catalogue = Readings(handmade), criteria.load()
    advice = advise(readings, catalogue, NEEDS, ON)
    file = tmp_path_factory.mktemp("page") / "report.html"
    html = render_html(compose(handmade, drawn, claims(readings, catalogue, ON), advice))
    file.write_text(html, encoding="utf-8")
    return file


def test_every_figure_is_drawn(browser: Browser, page: Path, drawn: dict[str, str]) -> None:
    """Each figure is there, has an extent once its part is open, and holds marks beyond its axes."""
    browser.open(page)
    browser.ask("document.getElementById('open-all').click()")
    sizes = browser.ask(
        "Object.fromEntries([...document.querySelectorAll('figure > svg')].map(svg => [svg.parentElement.id, "
        "[svg.getBoundingClientRect().width, svg.getBoundingClientRect().height, "
        "svg.querySelectorAll('path,use').length]]))"
    )
    assert set(sizes) == set(drawn)
    assert [
        name for name, (width, height, marks) in sizes.items() if width < 300 or height < 100 or marks < 20
    ] == []


def test_nothing_is_asked_of_any_network(browser: Browser, page: Path) -> None:
    """The page is the only thing that is loaded, and the browser would refuse anything else."""
    browser.open(page)
    requests = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    refused = browser.ask("fetch('http://192.0.2.1/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"


def test_the_console_is_silent(browser: Browser, page: Path) -> None:
    """No error, no warning, no exception, also after sorting, filtering and changing the theme."""
    browser.open(page)
    browser.ask("document.querySelectorAll('th button').forEach(button => button.click())")
    browser.ask(
        "document.querySelectorAll('input').forEach(i => {i.value='x'; i.dispatchEvent(new Event('input'))})"
    )
    browser.ask("document.getElementById('theme').click()")
    kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
    assert [event for event in browser.events if event["method"] in kinds] == []


COLUMN = (
    "(() => {const t=document.querySelector('#table-throughput-tcp table');"
    "const i=[...t.tHead.querySelectorAll('th')].findIndex(th => th.textContent.startsWith('%s'));"
    "return [t, i]})()"
)


def test_a_click_sorts_by_the_figures_and_another_turns_the_order(browser: Browser, page: Path) -> None:
    """Figures sort as figures, not as words; what is missing stays last both ways."""
    browser.open(page)
    column = COLUMN % "mean, Mbit/s"
    orders = []
    for direction in ("ascending", "descending"):
        browser.ask(f"(([t, i]) => t.tHead.querySelectorAll('th button')[i].click())({column})")
        cells = browser.ask(
            f"(([t, i]) => [...t.tBodies[0].rows].map(r => r.cells[i].dataset.n ?? null))({column})"
        )
        state = browser.ask(
            f"(([t, i]) => t.tHead.querySelectorAll('th')[i].getAttribute('aria-sort'))({column})"
        )
        assert state == direction
        orders.append([None if cell is None else float(cell) for cell in cells])
    numbers = [value for value in orders[0] if value is not None]
    assert len(numbers) > 20
    assert orders[0] == [*sorted(numbers), None]
    assert orders[1] == [*sorted(numbers, reverse=True), None]


def test_every_table_can_be_sorted(browser: Browser, page: Path) -> None:
    """Each heading of each table is a button, reachable by keyboard."""
    browser.open(page)
    tables = browser.ask(
        "[...document.querySelectorAll('table')].map(t => [t.tHead.querySelectorAll('th').length, "
        "t.tHead.querySelectorAll('th > button').length])"
    )
    assert len(tables) >= 8
    assert [pair for pair in tables if pair[0] != pair[1]] == []


def test_a_filter_shows_only_rows_with_every_word(browser: Browser, page: Path) -> None:
    """Typing narrows the table down; the rows that are left hold each word."""
    browser.open(page)
    figure = "document.querySelector('#table-pairwise')"
    typing = "i.value = 'udp headscale-relay'; i.dispatchEvent(new Event('input'))"
    browser.ask(f"(i => {{{typing}}})(document.querySelector('#table-pairwise input'))")
    shown = browser.ask(
        f"[...{figure}.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.textContent)"
    )
    total = browser.ask(f"{figure}.querySelectorAll('tbody tr').length")
    assert 0 < len(shown) < total
    assert [text for text in shown if "udp" not in text or "headscale-relay" not in text] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_figures_stand_out_from_the_page(browser: Browser, page: Path, scheme: str) -> None:
    """Ink on paper has a contrast of 7:1 or more in both schemes, the figures' own text included."""
    browser.open(page, scheme=scheme)
    contrast = browser.ask(
        """(() => {
        const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
            v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const ink = [getComputedStyle(document.body).color,
            getComputedStyle(document.querySelector('figure > svg text')).fill];
        return ink.map(colour => { const [a, b] = [light(colour), paper].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05) }) })()"""
    )
    assert [value for value in contrast if value < 7] == []


@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_never_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    """Wide tables scroll within themselves, on a telephone too."""
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    browser.open(page)
    over = browser.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert over == 0


def test_no_id_is_there_twice(browser: Browser, page: Path) -> None:
    """Figures on one page must not borrow each other's marks or clips."""
    browser.open(page)
    twice = browser.ask(
        "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, at, all) => all.indexOf(id) !== at)"
    )
    assert twice == []


def test_every_link_leads_somewhere_on_the_page(browser: Browser, page: Path) -> None:
    """The contents point at sections that exist."""
    browser.open(page)
    broken = browser.ask(
        "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"
        ".filter(href => !document.querySelector(href))"
    )
    assert broken == []


@pytest.fixture
def desktop(browser: Browser) -> Iterator[Browser]:
    """The browser with a window of 1400 by 900."""
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    yield browser
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_the_first_screen_answers_without_scrolling(desktop: Browser, tmp_path: Path) -> None:
    """Of eight scenarios, four conditions and two tests: all answers, then the whole picture, facts beside it."""
    study, file = invented(12, adaptive=True), tmp_path / "report.html"
    file.write_text(render_html(compose(study, figure(study))), encoding="utf-8")
    desktop.open(file)
    places = desktop.ask(
        "['.summary', '.answers tbody', '#answers-shares > svg', '#facts'].map(name => "
        "document.querySelector('#first ' + name).getBoundingClientRect()).map(r => [r.left, r.top, r.bottom])"
    )
    summary, answers, picture, facts = places
    assert summary[1] > 0
    assert summary[2] <= answers[1] < answers[2] <= picture[1] < picture[2] <= 900
    assert abs(facts[1] - picture[1]) < 40
    assert facts[0] > 700
    rows = desktop.ask("document.querySelectorAll('#first .answers tbody tr').length")
    assert rows == 8


def test_evidence_is_folded_until_it_is_asked_for(browser: Browser, page: Path) -> None:
    """All parts are closed; a click on one opens it, a link opens its own and goes there."""
    browser.open(page)
    is_open = "[...document.querySelectorAll('details.part')].filter(part => part.open).map(part => "
    is_open += "part.querySelector('section').id)"
    assert browser.ask(is_open) == []
    browser.ask("document.querySelector('details.part > summary').click()")
    assert browser.ask(is_open) == ["overview"]
    browser.ask("document.querySelector('nav a[href=\"#pairs\"]').click()")
    place = "document.getElementById('pairs').getBoundingClientRect().top"
    seen = f"new Promise(done => setTimeout(() => done({place}), 300))"
    assert 0 <= browser.ask(seen) < 400
    assert browser.ask(is_open) == ["overview", "pairs"]


def test_without_scripts_a_click_opens_a_part(browser: Browser, page: Path) -> None:
    """Folding is the browser's own; nothing hangs on the page's script."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        place = browser.ask(
            "(r => [r.left + 10, r.top + 10])(document.querySelector('details.part > summary').getBoundingClientRect())"
        )
        browser.ask("document.querySelector('details.part > summary').scrollIntoView()")
        place = browser.ask(
            "(r => [r.left + 30, r.top + 15])(document.querySelector('details.part > summary').getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            browser.call(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )
        assert browser.ask("document.querySelector('details.part').open")
        assert browser.ask("document.getElementById('open-all').hidden")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_all_parts_are_printed(browser: Browser, page: Path) -> None:
    """Printing opens what is folded, and folds it again."""
    browser.open(page)
    closed = "document.querySelectorAll('details:not([open])').length"
    before = browser.ask(closed)
    assert before > 5
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask(closed) == 0
    browser.ask("dispatchEvent(new Event('afterprint'))")
    assert browser.ask(closed) == before
