"""What events did to two streams, as a table and a page: beside the paper's words, with a picture for each."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.report.formatting import span
from vpnmesh.report.judgement.requirements import FAST_FALLBACK
from vpnmesh.report.page import Block, FigureBlock, Items, Page, Paragraph, Section, table_block
from vpnmesh.stats.intervals import CONFIDENCE, fewest_for_interval, median_interval
from vpnmesh.study.fallback import BACK_S, BREAK_S, EVENTS, FLOWS_S, Event, Seen, Silence
from vpnmesh.study.fallback_record import Attempt, Outcome, newest
from vpnmesh.tools.streams import TCP_BYTES, TCP_PER_S, UDP_PER_S

ATTEMPTS: dict[str, pl.DataType] = {
    "solution": pl.String(),
    "event": pl.String(),
    "repetition": pl.Int64(),
    "scenario": pl.String(),
    "data_plane": pl.String(),
    "outcome": pl.String(),
    "reason": pl.String(),
    "event_took_s": pl.Float64(),
    "udp_silence_s": pl.Float64(),
    "udp_came_back": pl.Boolean(),
    "udp_first_after_s": pl.Float64(),
    "udp_undo_silence_s": pl.Float64(),
    "udp_sent": pl.Int64(),
    "udp_lost": pl.Int64(),
    "udp_lost_before": pl.Int64(),
    "udp_reordered": pl.Int64(),
    "udp_duplicates": pl.Int64(),
    "tcp_silence_s": pl.Float64(),
    "tcp_came_back": pl.Boolean(),
    "tcp_first_after_s": pl.Float64(),
    "tcp_undo_silence_s": pl.Float64(),
    "tcp_connections": pl.Int64(),
    "tcp_lost": pl.Int64(),
    "quiet_s": pl.Float64(),
    "pause_s": pl.Float64(),
}
"""A row per attempt; silences are the longest ones, `quiet_s` is that before the event, `pause_s` the sender's own."""
NAMES = ("solution", "event", "n")
UDP = ("UDP silent, s", "first after, s", "undone, s", "lost of sent", "late", "twice")
TCP = ("TCP silent, s", "TCP first, s", "TCP undone, s", "connections")
SUMMARY = (*NAMES, *UDP, *TCP)
"""The columns of the table that people read."""
NOT_BACK = "until undone"
NEVER_BACK = "until the end"
"""Of a silence after undoing that had no end for as long as it was waited for."""
NOISE_S = 0.25
"""Silences that are not longer than this are no outage: a busy machine makes them by itself."""
OWN = " *"
"""Behind silences that the machine itself may have made."""


def attempt_table(attempts: Sequence[Attempt]) -> pl.DataFrame:
    """Every attempt, the newest of each key."""
    return pl.DataFrame([_row(one) for one in newest(attempts)], schema=ATTEMPTS)


def _row(one: Attempt) -> dict[str, object]:
    row: dict[str, object] = {
        "solution": one.solution,
        "event": one.event,
        "repetition": one.repetition,
        "scenario": one.scenario,
        "data_plane": one.data_plane,
        "outcome": str(one.outcome),
        "reason": one.reason,
    }
    if one.seen is None or one.when is None:
        return row
    udp, tcp = one.seen.udp, one.seen.tcp
    return row | {
        "event_took_s": one.when.done_s,
        "udp_silence_s": udp.silence.longest_s,
        "udp_came_back": udp.silence.came_back,
        "udp_first_after_s": udp.silence.first_s,
        "udp_undo_silence_s": udp.undo_silence.longest_s if udp.undo_silence else None,
        "udp_sent": udp.sent,
        "udp_lost": udp.lost,
        "udp_lost_before": udp.lost_before,
        "udp_reordered": udp.reordered,
        "udp_duplicates": udp.duplicates,
        "tcp_silence_s": tcp.silence.longest_s,
        "tcp_came_back": tcp.silence.came_back,
        "tcp_first_after_s": tcp.silence.first_s,
        "tcp_undo_silence_s": tcp.undo_silence.longest_s if tcp.undo_silence else None,
        "tcp_connections": tcp.connections,
        "tcp_lost": tcp.lost,
        "quiet_s": one.seen.quiet_s,
        "pause_s": one.seen.pause_s,
    }


@dataclass(frozen=True, slots=True)
class Cell:
    """All attempts of one event with one solution."""

    solution: str
    event: str
    attempts: tuple[Attempt, ...]

    @property
    def seen(self) -> tuple[Seen, ...]:
        """What was seen in those that were measured."""
        return tuple(one.seen for one in self.attempts if one.seen is not None)

    @property
    def why_not(self) -> str:
        """The first reason why an attempt saw nothing, "" where all did."""
        return next((_reason(one) for one in self.attempts if one.seen is None), "")


def _reason(one: Attempt) -> str:
    return f"impossible: {one.reason}" if one.outcome is Outcome.IMPOSSIBLE else f"failed: {one.reason}"


def cells(attempts: Sequence[Attempt]) -> list[Cell]:
    """The attempts by solution and event, solutions as they came first, events in their order."""
    found: dict[tuple[str, str], list[Attempt]] = {}
    for one in newest(attempts):
        found.setdefault((one.solution, one.event), []).append(one)
    solutions = list(dict.fromkeys(one.solution for one in attempts))
    return [
        Cell(solution, event, tuple(found[solution, event]))
        for solution in solutions
        for event in EVENTS
        if (solution, event) in found
    ]


def summary(attempts: Sequence[Attempt]) -> list[tuple[str, ...]]:
    """A row of `SUMMARY` per solution and event; where nothing was seen, `reasons` says why."""
    return [_summed(cell) for cell in cells(attempts)]


def reasons(attempts: Sequence[Attempt]) -> list[str]:
    """Why attempts saw nothing, a sentence per solution and event."""
    return [f"{cell.solution} {cell.event}: {cell.why_not}" for cell in cells(attempts) if cell.why_not]


def _summed(cell: Cell) -> tuple[str, ...]:
    seen, count = cell.seen, f"{len(cell.seen)} of {len(cell.attempts)}"
    if not seen:
        return (cell.solution, cell.event, count, *["\N{EN DASH}"] * (len(SUMMARY) - 3))

    def ints(value: Callable[[Seen], int]) -> str:
        return span(value(one) for one in seen)

    return (
        *(cell.solution, cell.event, count),
        marked_text([(one.udp.silence, own_s(one)) for one in seen]),
        first_text([(one.udp.silence, own_s(one)) for one in seen]),
        marked_text([(one.udp.undo_silence, own_s(one)) for one in seen], NEVER_BACK),
        f"{ints(lambda one: one.udp.lost)} of {ints(lambda one: one.udp.sent)}",
        ints(lambda one: one.udp.reordered),
        ints(lambda one: one.udp.duplicates),
        marked_text([(one.tcp.silence, own_s(one)) for one in seen]),
        first_text([(one.tcp.silence, own_s(one)) for one in seen]),
        marked_text([(one.tcp.undo_silence, own_s(one)) for one in seen], NEVER_BACK),
        ints(lambda one: one.tcp.connections),
    )


def silence_text(found: Sequence[Silence | None], endless: str = NOT_BACK) -> str:
    """The longest silences of some repetitions: the one, the median and the extremes, or from six on its interval.

    How many had no end is said beside it, by `endless`. In the interval these count as longer than all that had one.
    """
    silences = [one for one in found if one is not None]
    ended = [one.longest_s for one in silences if one.came_back]
    without = len(silences) - len(ended)
    interval = median_interval([one.longest_s if one.came_back else math.inf for one in silences])
    if interval is not None and ended:
        estimate, low, high = (
            f"{one:.2f}" if math.isfinite(one) else endless
            for one in (interval.estimate, interval.low, interval.high)
        )
        text = f"{estimate} [{low} to {high}]"
    else:
        text = spread(ended)
    if without:
        return f"{text}, {without} {endless}" if ended else endless
    return text


def without_interval(attempts: Sequence[Attempt]) -> str:
    """Why medians of some events have no interval, and what would give them one; "" where all have."""
    fewest = fewest_for_interval()
    few = [cell for cell in cells(attempts) if 0 < len(cell.seen) < fewest]
    if not few:
        return ""
    named = ", ".join(f"{cell.solution} {cell.event} ({len(cell.seen)})" for cell in few)
    return (
        f"No interval: of fewer than {fewest} repetitions the figures do not carry one of {CONFIDENCE:.0%} by"
        f" themselves: {named}. --repetitions {fewest} --resume adds what is missing."
    )


def own_s(seen: Seen) -> float:
    """The longest silence that the machine itself made: before the event, or by keeping the sender from sending."""
    return max(seen.quiet_s, seen.pause_s)


def marked_text(found: Sequence[tuple[Silence | None, float]], endless: str = NOT_BACK) -> str:
    """As `silence_text`, with `OWN` behind it where none is longer than the machine's own, which comes with each."""
    silences = [(one, own_s) for one, own_s in found if one is not None]
    text = silence_text([one for one, _ in silences], endless)
    own = all(one.came_back and one.longest_s <= own_s + NOISE_S / 2 for one, own_s in silences)
    return text + OWN if silences and own else text


def first_text(found: Sequence[tuple[Silence, float]]) -> str:
    """When the first record came after the longest silence, in seconds since the event was begun.

    Each silence comes with the machine's own: one that is not longer than that ends no outage.
    """
    ended = [(one.first_s, one.longest_s, own) for one, own in found if one.first_s is not None]
    return spread(
        [first_s for first_s, longest_s, own in ended if longest_s > max(own + NOISE_S / 2, NOISE_S)]
    )


def spread(seconds: Sequence[float]) -> str:
    """The one figure; of more the median, with the least and the greatest; a dash where there is none."""
    if not seconds:
        return "\N{EN DASH}"
    text = f"{statistics.median(seconds):.2f}"
    return f"{text} ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else text


def paper_words(catalogue: CriteriaCatalogue, solution: str) -> str:
    """What the paper says of how fast the solution falls back, with the section; "" where it says nothing."""
    facts = (one for one in catalogue.history(solution, FAST_FALLBACK) if one.source.is_the_paper)
    return "; ".join(f"\N{LEFT DOUBLE QUOTATION MARK}{one.note}\N{RIGHT DOUBLE QUOTATION MARK}"
                     f" ({one.source.text})" for one in facts if one.note)  # fmt: skip


def compose_fallback(
    attempts: Sequence[Attempt], drawn: Mapping[str, str], catalogue: CriteriaCatalogue
) -> Page:
    """The page: what was seen at a glance, then a section per solution with a picture per event."""
    found = cells(attempts)
    solutions = list(dict.fromkeys(cell.solution for cell in found))
    measured = sum(len(cell.seen) for cell in found)
    lead = (
        f"{measured} of {len(newest(attempts))} attempts measured: UDP with {UDP_PER_S} datagrams a second and TCP with"
        f" {TCP_PER_S} writes of {TCP_BYTES} bytes a second, from the client's pod to the server's, while the network"
        " changes below them."
    )
    frame = pl.DataFrame(summary(attempts), schema=dict.fromkeys(SUMMARY, pl.String()), orient="row")
    words = [(name, text) for name in solutions if (text := paper_words(catalogue, name))]
    sections = (
        Section("reading", "How to read it", (Paragraph(_READING),)),
        *(
            Section(f"of-{name}", name, tuple(_blocks(name, found, drawn, dict(words).get(name, ""))))
            for name in solutions
        ),
    )
    events = tuple(
        (one.title, _told(one)) for one in EVENTS.values() if any(c.event == one.name for c in found)
    )
    first = (*_first(frame, without_interval(attempts), reasons(attempts)), *_paper(words, found))
    return Page("Outages that an application sees", lead, sections, events, first)


def _first(frame: pl.DataFrame, few: str, why: Sequence[str]) -> tuple[Block, ...]:
    missing = (Items("What could not be seen, and why", tuple(why)),) if why else ()
    narrow = (Paragraph(few),) if few else ()
    return (replace(table_block("seen", _CAPTION, frame), file="fallback.csv"), *narrow, *missing)


_READING = (
    "Silent is the longest time without a record, from the last one before the event until the event is undone;"
    f" {NOT_BACK}: nothing came any more by then. First after: when the record came that ended it, counted from the"
    " event. Undone: the longest silence from when undoing began;"
    f" {NEVER_BACK}: nothing came in the {BACK_S:g} s and more for which it was waited. Late are datagrams that came"
    f" after a later one. Of two to {fewest_for_interval() - 1} repetitions: the median (shortest to longest); of"
    " more: the median [its 95 % interval by the sign test: no distribution is assumed, and what had no end counts as"
    " the longest]. First after"
    " has no interval: it is told only where a silence had an end. A star marks silences that are no longer than the"
    " machine's own, before the event (quiet_s in fallback.csv) or while the sender was kept from sending"
    f" (pause_s): they say nothing of the VPN. Both streams count as flowing again after {FLOWS_S:g} s without a break"
    f" of {BREAK_S:g} s."
)
_CAPTION = "A row per solution and event."


def _told(event: Event) -> str:
    return f"{event.made}; {event.undone}" if event.undone else event.made


def _paper(words: Sequence[tuple[str, str]], found: Sequence[Cell]) -> Iterator[Block]:
    cut = {cell.solution: cell for cell in found if cell.event == "path-cut"}
    rows = [
        (
            name,
            text,
            silence_text([one.udp.silence for one in cut[name].seen]) if name in cut else "\N{EN DASH}",
            silence_text([one.tcp.silence for one in cut[name].seen]) if name in cut else "\N{EN DASH}",
        )
        for name, text in words
    ]
    columns = ("solution", "the paper", "UDP silent here, s", "TCP silent here, s")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
    if not rows:
        return
    yield Paragraph(
        "The paper gives words, not a series of measurements: versions, machines and the way in which the path was cut"
        " are others here."
    )
    yield table_block(
        "paper", "The direct path is cut: the paper's words, and what the streams saw here.", frame
    )


def _blocks(name: str, found: Sequence[Cell], drawn: Mapping[str, str], words: str) -> Iterator[Block]:
    if words:
        yield Paragraph(f"The paper on falling back: {words}.")
    for cell in found:
        if cell.solution != name:
            continue
        figure = f"{cell.solution}-{cell.event}"
        title = EVENTS[cell.event].title
        if figure in drawn:
            first = next(one for one in cell.attempts if one.seen is not None)
            told = f"{first.scenario}, {title}: repetition {first.repetition} of {len(cell.attempts)}."
            yield FigureBlock(figure, f"{told} {_LEGEND}", drawn[figure])
        if cell.why_not:
            yield Paragraph(f"{title}: {cell.why_not}.", "warning")


_LEGEND = (
    "Dashed: the event is begun, and begun to be undone; the grey span is how long either took. Marks below the upper"
    " panel: datagrams that were lost, where they would have come; triangles: such as came after a later one."
)
