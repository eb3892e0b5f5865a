"""How long a flow must be so that enough of it is steady, and what its series then says.

The length follows the condition: what slow start may take under that round trip (the omitted seconds of the profile at
least), and the seconds that count. Slow start doubles its window every round trip at best (`stats.slow_start`); with
delayed acknowledgements it grows by half only (RFC 3465), which takes log 2 / log 1.5 times as many round trips.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.impairment.engine import PORT_RATE_MBIT_S
from vpnmesh.measurements.protocol import Question, Settings
from vpnmesh.model import Condition
from vpnmesh.stats.slow_start import slow_start_s
from vpnmesh.stats.steady import KEPT_ROUND_TRIPS, SeriesInterval, Steady, mean_from, steady_part
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.tools import iperf3
from vpnmesh.tools.iperf3_series import Arrived, series_of, unbroken

STAGE = "steady"
"""The stage of a repetition whose flow never got steady."""
SLOWER = math.log(2) / math.log(1.5)
LEAST_MTU = 1230
"""Of the study's pods: small segments need most round trips."""
STALLED_ONE_IN = 10_000
"""Segments: at 5 % some seconds' worth of what still arrives."""
LEAST_TIMEOUT_S, LONGEST_STALL_S = 0.2, 10.0
_SHORT_S = 0.15
"""How much a series may lack at its end: a fine interval and rounding."""


def start_up_s(settings: Settings, condition: Condition, transport: iperf3.Transport) -> float:
    """The seconds that a flow may take to get steady, the omitted ones at least; UDP only waits for a datagram."""
    round_trip_ms = condition.round_trip_ms
    slowest_s = round_trip_ms / 1000 if transport == "udp" else slowest_start_s(round_trip_ms)
    return max(float(settings.omit_s), slowest_s)


def slowest_start_s(round_trip_ms: float) -> float:
    """How long slow start takes at most until a flow fills the port, while nothing is lost."""
    return SLOWER * slow_start_s(PORT_RATE_MBIT_S, round_trip_ms, LEAST_MTU)


def counted_s(settings: Settings, condition: Condition, transport: iperf3.Transport) -> float:
    """The seconds that count at the least; for TCP a few round trips and the longest usual stall.

    So rising can be told from bursts, and under loss few flows stand still for all that counts.
    """
    bursts_s = KEPT_ROUND_TRIPS * condition.round_trip_ms / 1000
    more_s = max(bursts_s, stall_s(condition)) if transport == "tcp" else 0.0
    return max(float(settings.duration_s), more_s)


def stall_s(condition: Condition) -> float:
    """How long TCP waits for a segment that is lost again and again, as often as one in ten thousand is.

    Each wait is twice the one before (RFC 6298, section 5.5), from the round trip and Linux's least of 0.2 s on. Where
    most is lost no test is long enough: it ends at `LONGEST_STALL_S`.
    """
    if not condition.lost_again:
        return 0.0
    losses = int(math.log(1 / STALLED_ONE_IN) / math.log(condition.lost_again))
    waits = min(2.0**losses - 1, LONGEST_STALL_S / LEAST_TIMEOUT_S)
    return min((LEAST_TIMEOUT_S + condition.round_trip_ms / 1000) * waits, LONGEST_STALL_S)


def call(settings: Settings, condition: Condition, transport: iperf3.Transport) -> iperf3.Iperf3:
    """How iperf3 is asked: a flow of whole seconds long enough to get steady, or the paper's way."""
    needed_s = start_up_s(settings, condition, transport) + counted_s(settings, condition, transport)
    # 3.0000000001 s are 3
    needed_s = round(needed_s, 6)
    return iperf3.Iperf3(
        math.ceil(needed_s) if settings.steady else settings.duration_s,
        settings.omit_s,
        settings.congestion,
        settings.udp_rate,
        settings.udp_window,
        whole_flow=settings.steady,
    )


def kept_s(settings: Settings, condition: Condition, transport: iperf3.Transport) -> float:
    """What is kept for certain: all of the flow's whole seconds that the longest start leaves; noise cuts nothing."""
    return call(settings, condition, transport).streams_s - start_up_s(settings, condition, transport)


def tcp_figures(client: str, server: str, question: Question) -> Measured:
    """The rate since the flow was steady; CheckError where it never was, ToolError where words are missing."""
    sender = iperf3.sender_of(client)
    arrived = _whole(unbroken(series_of(server)), question, "tcp")
    found = _after_slow_start(_rates(arrived), question, sender.round_trip_s)
    _refuse(found, question, arrived[-1].end_s, sender.round_trip_s)
    samples = [
        Sample("rate_mbit_s", found.mean),
        Sample("sent_mbit_s", sender.rate_mbit_s(found.from_s)),
        Sample("steady_s", found.at_s),
    ]
    retransmits = [one.retransmits for one in sender.since(found.from_s) if one.retransmits is not None]
    if retransmits:
        samples.append(Sample("retransmits", sum(retransmits)))
    if found.filled_s is not None:
        samples.append(Sample("fill_s", found.filled_s))
    return Measured(tuple(samples), carried_bytes=sum(one.carried_bytes for one in arrived))


def udp_figures(client: str, server: str, question: Question) -> Measured:
    """The rate and the loss since the share that arrives is steady; CheckError where nothing arrives by then."""
    sender = iperf3.sender_of(client)
    arrived = _whole(unbroken(series_of(server)), question, "udp")
    found = _steady(_shares(arrived), question, "udp")
    counted = [one for one in arrived if one.start_s >= found.from_s - _SHORT_S / 2]
    rate = mean_from(_rates(arrived), found.from_s)
    if not rate:
        raise CheckError(STAGE, f"nothing arrived after {found.from_s:.1f} s")
    lost, datagrams = (sum(getattr(one, name) for one in counted) for name in ("lost", "datagrams"))
    samples = (
        Sample("rate_mbit_s", rate),
        Sample("sent_mbit_s", sender.rate_mbit_s(found.from_s)),
        Sample("lost_pct", 100 * max(0.0, lost / datagrams)),
        Sample("steady_s", found.at_s),
    )
    return Measured(samples, carried_bytes=sum(one.carried_bytes for one in arrived))


def ramp_samples(server: str, question: Question) -> tuple[Sample, ...]:
    """When a flow that is counted in the paper's way got steady and full, where its series says so."""
    settings = question.settings
    round_trip_s, keep_s = question.condition.round_trip_ms / 1000, float(settings.duration_s)
    try:
        series = _rates(unbroken(series_of(server)))
        found = steady_part(series, round_trip_s=round_trip_s, keep_s=keep_s, omit_s=settings.omit_s)
    except (ValueError, ToolError):
        return ()
    filled = (Sample("fill_s", found.filled_s),) if found.filled_s is not None else ()
    return (Sample("steady_s", found.at_s), *filled)


def _rates(arrived: Sequence[Arrived]) -> list[SeriesInterval]:
    return [SeriesInterval(one.start_s, one.end_s, one.rate_mbit_s) for one in arrived]


def _shares(arrived: Sequence[Arrived]) -> list[SeriesInterval]:
    """The share of datagrams that arrived; 0 until the first one, and as before where none was even missed."""
    shares: list[SeriesInterval] = []
    share = 0.0
    for one in arrived:
        if one.datagrams:
            share = 1 - max(one.lost, 0) / one.datagrams
        shares.append(SeriesInterval(one.start_s, one.end_s, share))
    return shares


def _whole(arrived: Sequence[Arrived], question: Question, transport: iperf3.Transport) -> list[Arrived]:
    """The series until the sender's end; the receiver goes on for a round trip. ToolError where it is cut off."""
    asked_s = call(question.settings, question.condition, transport).streams_s
    ended_s = arrived[-1].end_s if arrived else 0.0
    if ended_s < asked_s - _SHORT_S:
        raise ToolError(iperf3.PROGRAM, f"the server tells {ended_s:.1f} s of {asked_s} s")
    return [one for one in arrived if one.start_s < asked_s - iperf3.FINE_INTERVAL_S / 2]


def _steady(
    series: Sequence[SeriesInterval],
    question: Question,
    transport: iperf3.Transport,
    round_trip_s: float = 0.0,
    least_s: float = 0.0,
) -> Steady:
    settings, condition = question.settings, question.condition
    round_trip_s = max(round_trip_s, condition.round_trip_ms / 1000)
    keep_s, omit_s = kept_s(settings, condition, transport), max(float(settings.omit_s), least_s)
    try:
        return steady_part(series, round_trip_s=round_trip_s, keep_s=keep_s, omit_s=omit_s)
    except ValueError as error:
        raise ToolError(iperf3.PROGRAM, f"{transport}: {error}") from None


def _after_slow_start(series: Sequence[SeriesInterval], question: Question, round_trip_s: float) -> Steady:
    """The steady part, not before slow start can have reached its rate: in much noise no cut shows the start.

    That takes at least the round trips of `stats.slow_start`, whatever else happens.
    """
    found = _steady(series, question, "tcp", round_trip_s)
    least_s = slow_start_s(found.mean, 1000 * round_trip_s, LEAST_MTU)
    latest_s = series[-1].end_s - kept_s(question.settings, question.condition, "tcp")
    if (least_s := min(least_s, latest_s)) <= found.from_s:
        return found
    again = _steady(series, question, "tcp", round_trip_s, least_s)
    return replace(again, at_s=max(again.at_s, least_s))


def _refuse(found: Steady, question: Question, length_s: float, round_trip_s: float) -> None:
    """CheckError where a flow stood still, was still growing at its end, or had too few round trips to tell.

    Growth is no slow start under loss, which ends it (RFC 5681, section 3.1), as a full queue does at a limited rate;
    nor in a flow so old that the slowest slow start is over: a busy machine that gets free is no start of a flow.
    """
    longer = "measure longer with --duration"
    if not found.mean:
        raise CheckError(STAGE, f"the flow stood still: nothing arrived after {found.from_s:.1f} s")
    if question.condition.worst_loss_pct or question.condition.rate_mbit_s:
        return
    if length_s - found.from_s < KEPT_ROUND_TRIPS * round_trip_s - _SHORT_S:
        raise CheckError(
            STAGE,
            f"{length_s - found.from_s:.1f} s are fewer than {KEPT_ROUND_TRIPS} round trips of"
            f" {1000 * round_trip_s:.0f} ms: {longer}",
        )
    if found.rising and found.from_s < slowest_start_s(1000 * round_trip_s):
        raise CheckError(
            STAGE,
            f"the rate was still rising after {length_s:.1f} s ({found.mean:.1f} Mbit/s since"
            f" {found.from_s:.1f} s): {longer}",
        )


OPENING = "opening"
"""Files of openings that were lost are named so, numbered from 1."""


def openings(raw: Mapping[str, str]) -> int:
    """How often the stream was opened, the time it succeeded included."""
    return 1 + sum(name.startswith(f"{OPENING}-") for name in raw)
