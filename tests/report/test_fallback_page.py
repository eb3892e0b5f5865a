"""The page of the fallback study: a row per solution and event, the paper's words, a timeline, and every reason."""

from dataclasses import replace

import pytest

from tests.study.test_fallback_figures import MARKS, made, sent, stream
from vpnmesh.criteria.data import load
from vpnmesh.report.fallback import (
    NEVER_BACK,
    SUMMARY,
    attempt_table,
    compose_fallback,
    first_text,
    marked_text,
    paper_words,
    reasons,
    silence_text,
    summary,
    without_interval,
)
from vpnmesh.report.fallback_figure import fallback_figures
from vpnmesh.report.render import render_html
from vpnmesh.study.fallback import Silence, seen
from vpnmesh.study.fallback_record import Attempt, Outcome
from vpnmesh.study.scenarios import BUILT_IN

NONE = Attempt(
    "wireguard",
    "control-lost",
    1,
    "2026-01-01T00:00:00+00:00",
    Outcome.IMPOSSIBLE,
    reason="it has no control plane",
)


def test_the_page_says_what_was_seen_and_what_could_not_be() -> None:
    """A headscale that fell back, beside the paper's words with their section; wireguard's reason is a row."""
    attempts = [replace(made(), solution="headscale", scenario="headscale-direct"), NONE]
    drawn = fallback_figures(attempts, BUILT_IN)
    assert set(drawn) == {"headscale-path-cut"}
    page = render_html(compose_fallback(attempts, drawn, load()))
    assert "near instantaneous, both ways" in page
    assert "Kjorveziroski et al. 2024, sections 3.2.2-3.2.5" in page
    assert page.count("impossible: it has no control plane") == 2
    assert "800 of 4000" in page
    assert page.count("<svg") == 1


def test_every_gap_has_its_bar() -> None:
    """A bar for each run of datagrams that were lost, and none where nothing was."""
    spans = [(6, 6.1), (8, 8.3), (9, 9.02)]
    drawn = [
        fallback_figures(
            [replace(made(), seen=seen(stream(20, 200, lost), stream(20, 50), sent(4000), MARKS))], BUILT_IN
        )["nebula-path-cut"].count("<path")
        for lost in ([], spans)
    ]
    assert drawn[1] - drawn[0] == len(spans)


@pytest.mark.parametrize(
    ("ended", "without", "text"),
    [
        ((4, 6, 5, 7, 3, 8), 0, "5.50 [3.00 to 8.00]"),
        ((4, 6, 5, 7, 3), 1, "5.50 [3.00 to until undone], 1 until undone"),
        ((4, 5), 4, "until undone [4.00 to until undone], 4 until undone"),
        ((), 6, "until undone"),
        ((4, 6, 5, 7, 3), 0, "5.00 (3.00 to 7.00)"),
    ],
)
def test_from_six_repetitions_on_a_median_has_its_interval(
    ended: tuple[int, ...], without: int, text: str
) -> None:
    """What had no end is the longest of all, whatever it would have been."""
    found = [Silence(one, came_back=True, first_s=5) for one in ended]
    assert silence_text([*found, *[Silence(99, came_back=False, first_s=None)] * without]) == text


def test_where_there_is_no_interval_it_is_said_why() -> None:
    """Beside the table, with the events that it is about; with enough repetitions nothing is said."""
    few = [made(), made(repetition=2), NONE]
    assert "of fewer than 6 repetitions" in without_interval(few)
    assert "nebula path-cut (2)." in without_interval(few)
    assert without_interval([made(repetition=number) for number in range(1, 7)]) == ""
    page = render_html(compose_fallback(few, {}, load()))
    assert "nebula path-cut (2). --repetitions 6 --resume adds what is missing." in page


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([None], "\N{EN DASH}"),
        ([Silence(4.2, came_back=True, first_s=4.3)], "4.20"),
        ([Silence(7.0, came_back=False, first_s=None)], "until undone"),
        ([Silence(one, came_back=True, first_s=5) for one in (4, 6, 5)], "5.00 (4.00 to 6.00)"),
        (
            [Silence(4, came_back=True, first_s=5), Silence(7, came_back=False, first_s=None)],
            "4.00, 1 until undone",
        ),
    ],
)
def test_a_silence_without_an_end_is_no_number(found: list[Silence | None], text: str) -> None:
    """Nor is it hidden behind those that ended."""
    assert silence_text(found) == text


@pytest.mark.parametrize(
    ("longest_s", "quiet_s", "text"),
    [(4.2, 0.1, "4.30"), (0.08, 0.01, "\N{EN DASH}"), (0.4, 0.5, "\N{EN DASH}")],
)
def test_the_machines_own_silence_ends_no_outage(longest_s: float, quiet_s: float, text: str) -> None:
    """Only what is longer than before the event has a first record after it."""
    assert first_text([(Silence(longest_s, came_back=True, first_s=4.3), quiet_s)]) == text


@pytest.mark.parametrize(
    ("longest_s", "own_s", "text"), [(4.2, 0.1, "4.20"), (1.29, 1.291, "1.29 *"), (0.08, 0.01, "0.08 *")]
)
def test_what_the_machine_may_have_made_is_marked(longest_s: float, own_s: float, text: str) -> None:
    """A sender that was kept from sending for so long explains it."""
    assert marked_text([(Silence(longest_s, came_back=True, first_s=5), own_s)]) == text
    assert marked_text([(Silence(longest_s, came_back=False, first_s=None), own_s)]) == "until undone"
    assert marked_text([(None, own_s)]) == "\N{EN DASH}"


def test_what_never_came_back_was_not_silent_until_undone() -> None:
    """ZeroTier after its lost relay: nothing is left to be undone by then, and the table says so."""
    never = Silence(195.0, came_back=False, first_s=None)
    assert marked_text([(never, 0.1)], NEVER_BACK) == "until the end"
    few = [(never, 0.1), (Silence(4, came_back=True, first_s=5), 0.1)]
    assert marked_text(few, NEVER_BACK) == "4.00, 1 until the end"
    attempt = made()
    assert attempt.seen is not None
    udp = replace(attempt.seen.udp, undo_silence=never)
    (row,) = summary([replace(attempt, seen=replace(attempt.seen, udp=udp))])
    assert row[SUMMARY.index("undone, s")] == "until the end"


def test_tables_have_every_attempt_and_repetitions_are_summed() -> None:
    """One row per attempt in the file, one per solution and event for people, with how many were measured."""
    attempts = [made(), made(repetition=2), made(Outcome.FAILED, 3), NONE]
    assert attempt_table(attempts)["outcome"].to_list() == ["measured", "measured", "failed", "impossible"]
    first, second = summary(attempts)
    assert first[:3] == ("nebula", "path-cut", "2 of 3")
    assert first[6] == "800 of 4000"
    assert second[:4] == ("wireguard", "control-lost", "0 of 1", "\N{EN DASH}")
    assert reasons(attempts)[-1] == "wireguard control-lost: impossible: it has no control plane"
    assert reasons(attempts)[0].startswith("nebula path-cut: failed: ")


def test_the_papers_words_are_the_papers() -> None:
    """Minutes for ZeroTier, and nothing of what was tried here."""
    catalogue = load()
    assert "3-4 minutes" in paper_words(catalogue, "zerotier")
    assert "section 5" in paper_words(catalogue, "zerotier")
    assert "lab" not in paper_words(catalogue, "netbird")
    assert paper_words(catalogue, "wireguard") == ""
