"""Prove an impairment with packets: a short burst of pings, and a train of large ones where a rate is limited.

What is judged: how many are lost (and in which runs), the least round trip, how far round trips spread, how many skip
the delay, how long a full queue takes to pass. The bounds are in `expected`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np

from vpnmesh.condition import QUEUE_MS, Condition
from vpnmesh.errors import CheckError
from vpnmesh.impairment import expected
from vpnmesh.model import Place, Placement
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.tools import ping
from vpnmesh.tools.ping import PingSummary, Rtt

loss_bounds = expected.loss_bounds


class MoreThanAskedError(CheckError):
    """More is lost, or all is later, than was asked: what a node shows, too, that is too slow for the pings' pace."""


PACKETS = 2000
"""Enough that 1 % loss cannot be taken for none: the chance of no loss at all is 2e-9."""
FEWEST_PACKETS, MOST_PACKETS = 500, 10_000
SIDE_BY_SIDE = 4
PRELOAD = 20
SLOWER = (1, 4, 16)
"""How many times slower the pings are at each try. A machine that cannot send them at their pace leaves their answers
unread: ping's socket holds 131,072 bytes, some 170 answers (of all pings of its namespace, until it has read one of
another), and the kernel drops what comes then."""
TOLERANCE_MS = 5.0
EARLY_MS = 1.0
INTERVAL_MS = 1.0
PAYLOAD_BYTES, HEADER_BYTES = 64, 42
"""Of a ping: ICMP's 8, IP's 20 and Ethernet's 14."""
LOAD = 0.25
"""How much of a limited rate the burst takes."""
LONGEST_S = 8.0
TRAIN_MS = 0.6 * QUEUE_MS
"""How long a train takes to pass a limited rate: the queue holds it."""
TRAIN_BURST_BYTES = 1600
"""What a shaper lets through at once (`vpnmesh.tools.netem.LEAST_BURST_BYTES`, or `BURST_S` at the rate)."""
TRAIN_BURST_MS = 1.0
FEWEST_WAGONS, MOST_WAGONS, LARGEST_PAYLOAD, SMALLEST_PAYLOAD = 20, 1000, 1400, 16


def burst(
    address: IPv4Address | str,
    prefix: Sequence[str] = (),
    condition: Condition | None = None,
    placement: Placement | None = None,
    slower: int = 1,
) -> Fact[PingSummary]:
    """2,000 pings, which take half a second plus one or two round trips; `prefix` runs it in a pod, for example.

    One ping keeps to 1,000 packets a second only while it may send up to `PRELOAD` at once, and flooding would wait
    for answers; so four run side by side, or as many times `slower` as `SLOWER` says. Where more than loss and delay is
    to be seen, a single one shows each answer, at the one pace that it is judged by.
    """
    if condition is not None and not condition.is_plain:
        return _each_answer(address, prefix, expected.ways_crossed(condition, placement or Placement()))
    count, interval_s = PACKETS // SIDE_BY_SIDE, slower * INTERVAL_MS / 1000
    *options, target = ping.argv(address, count, interval_s=interval_s, payload_bytes=PAYLOAD_BYTES)
    command = Command(
        (*prefix, "xargs", "-P", str(SIDE_BY_SIDE), "-n", "1", *options, "-l", str(PRELOAD)),
        stdin=f"{target}\n" * SIDE_BY_SIDE,
        timeout_s=20 + 2 * (slower - 1) * count * INTERVAL_MS / 1000,
        # ping ends with 1 without any answer, and xargs makes 123 of it: that is an answer to us
        ok=(0, 123),
    )
    return Fact((command,), _read)


def _each_answer(
    address: IPv4Address | str, prefix: Sequence[str], ways: Sequence[Condition]
) -> Fact[PingSummary]:
    count, interval_s = packets_for(ways), interval_ms(ways) / 1000
    argv = ping.argv(address, count, interval_s=interval_s, payload_bytes=PAYLOAD_BYTES, quiet=False)
    limit_s = 2 * count * interval_s + 30
    return Fact((Command((*prefix, *argv, "-l", str(PRELOAD)), timeout_s=limit_s, ok=(0, 1)),), _read)


def interval_ms(ways: Sequence[Condition]) -> float:
    """How far apart the pings are: a limited rate is loaded by a quarter."""
    rates = [way.rate_mbit_s for way in ways if way.rate_mbit_s]
    ping_ms = [8 * (PAYLOAD_BYTES + HEADER_BYTES) / rate / 1000 for rate in rates]
    return round(max([INTERVAL_MS, *(one / LOAD for one in ping_ms)]), 3)


def packets_for(ways: Sequence[Condition]) -> int:
    """How many pings: fewer where a rate makes them slow, more where bursts of losses are rare."""
    patient = max(FEWEST_PACKETS, min(PACKETS, int(LONGEST_S * 1000 / interval_ms(ways))))
    rare = [math.ceil(15 / way.enter_chance) for way in ways if way.burst_packets is not None]
    return min(MOST_PACKETS, max([patient, *rare]))


def train(
    address: IPv4Address | str, prefix: Sequence[str], condition: Condition, placement: Placement
) -> Fact[PingSummary]:
    """Pings sent in one go, as many as the queue of the smallest limited rate takes `TRAIN_MS` to pass."""
    one = Train.at(_least_rate(expected.ways_crossed(condition, placement)))
    argv = ping.argv(address, one.pings, interval_s=0.2, wait_s=3.0, payload_bytes=one.payload_bytes)
    return Fact((Command((*prefix, *argv, "-l", str(one.pings)), timeout_s=60, ok=(0, 1)),), _read)


def _least_rate(ways: Sequence[Condition]) -> float:
    return min(way.rate_mbit_s for way in ways if way.rate_mbit_s)


@dataclass(frozen=True, slots=True)
class Train:
    """Pings in one go: how many, how large, and how long a limited rate takes to let them through."""

    pings: int
    payload_bytes: int
    passes_ms: float

    @classmethod
    def at(cls, rate_mbit_s: float) -> "Train":
        """For that rate: what a shaper lets through at once, and `TRAIN_MS` more, in 20 to 1,000 pings.

        From some 200 Mbit/s on they pass sooner than they are sent: then only the read-back tells.
        """
        bytes_per_ms = rate_mbit_s * 125
        at_once = max(TRAIN_BURST_BYTES, bytes_per_ms * TRAIN_BURST_MS)
        total = at_once + bytes_per_ms * TRAIN_MS
        payload = min(LARGEST_PAYLOAD, max(SMALLEST_PAYLOAD, math.ceil(total / FEWEST_WAGONS) - HEADER_BYTES))
        size = payload + HEADER_BYTES
        pings = min(MOST_WAGONS, max(FEWEST_WAGONS, math.ceil(total / size)))
        return cls(pings, payload, min(TRAIN_MS, max(0.0, (pings * size - at_once) / bytes_per_ms)))


def check_train(seen: PingSummary, condition: Condition, placement: Placement, clean: PingSummary) -> None:
    """Raise CheckError("impairment") unless the train took as long as the limited rate lets it.

    The last ping waits for all before it: its round trip and the time that sending took are at least nine tenths of
    the train's time more than a lone ping's. At half of the rate the queue would not hold the train, and lose of it.
    """
    ways = expected.ways_crossed(condition, placement)
    if seen.rtt is None or clean.rtt is None:
        raise CheckError("impairment", f"{condition.name}: no round-trip time to judge the rate by")
    least_ms = clean.rtt.min_ms + sum(max(0.0, way.delay_ms - way.jitter_ms) for way in ways)
    took_ms = seen.rtt.max_ms + seen.sending_ms - least_ms
    passes_ms = Train.at(_least_rate(ways)).passes_ms
    if took_ms < 0.9 * passes_ms:
        raise CheckError(
            "impairment",
            f"{condition.name}: a train of {passes_ms:g} ms at the limited rate passed in {took_ms:.1f} ms",
        )
    _, most = expected.bounds_of_loss(seen.sent, ways)
    if seen.lost > most:
        raise CheckError(
            "impairment",
            f"{condition.name}: {seen.lost} of a train of {seen.sent} packets lost, expected {most} at the most",
        )


def _read(completed: Sequence[Completed]) -> PingSummary:
    return ping.parse_all(completed[0].stdout + completed[0].stderr)


def crossings(placement: Placement) -> int:
    """How often a round trip between client and server crosses the impairment of a condition without a way back."""
    return len(expected.ways_crossed(Condition(delay_ms=1), placement))


def goes_between_pods(placement: Placement) -> bool:
    """Whether the burst must go from pod to pod; else it goes between the nodes' underlay addresses."""
    return placement.place in (Place.VXLAN, Place.POD)


def check_burst(seen: PingSummary, condition: Condition, placement: Placement, clean: PingSummary) -> None:
    """Raise CheckError("impairment") unless a burst shows what the condition says.

    `clean` are pings of the same way without impairment. The loss must lie within two-sided bounds of error chance
    1e-6; the least round trip, which load does not lengthen, from 1 ms below (see `early_ms`) to 5 ms above clean plus
    delay. A condition that is more than loss and delay is judged by every answer. Loss and delay above the bounds are a
    MoreThanAskedError, which a slower burst may refute (`may_be_the_pace`).
    """
    ways = expected.ways_crossed(condition, placement)
    _check_loss(seen, condition, ways)
    if seen.rtt is None or clean.rtt is None:
        raise CheckError("impairment", f"{condition.name}: no round-trip time to judge the delay by")
    spacing_ms = interval_ms(ways)
    added = expected.delays(ways, spacing_ms)
    _check_least(seen.rtt.min_ms, condition, ways, added, clean.rtt, seen.sent)
    if condition.is_plain:
        return
    answers = ping.answers(seen.text)
    late_ms = [answer.rtt_ms - clean.rtt.min_ms for answer in answers]
    _check_runs([answer.sequence for answer in answers], seen, condition, ways)
    _check_spread(late_ms, condition, ways, added)
    _check_early(late_ms, condition, ways, added)


def _check_loss(seen: PingSummary, condition: Condition, ways: Sequence[Condition]) -> None:
    low, high = expected.bounds_of_loss(seen.sent, ways)
    if not low <= seen.lost <= high:
        raise (MoreThanAskedError if seen.lost > high else CheckError)(
            "impairment",
            f"{condition.name}: {seen.lost} of {seen.sent} packets lost, expected {low} to {high}",
        )


def _check_least(
    least_ms: float,
    condition: Condition,
    ways: Sequence[Condition],
    added: expected.Delays,
    clean: Rtt,
    sent: int,
) -> None:
    clean_ms = clean.min_ms
    low_ms = clean_ms + float(added.values_ms[0])
    high_ms = clean_ms + added.quantile(expected.first_quantile(sent))
    if any(way.rate_mbit_s and way.jitter_ms for way in ways):
        # in order the least hangs on how regularly the pings follow each other
        low_ms = clean_ms + sum(
            0.0 if way.reorder_pct else max(0.0, way.delay_ms - way.jitter_ms) for way in ways
        )
        high_ms = clean_ms + sum(way.delay_ms + way.jitter_ms for way in ways)
    high_ms += sum(
        8 * (PAYLOAD_BYTES + HEADER_BYTES) / way.rate_mbit_s / 1000 for way in ways if way.rate_mbit_s
    )
    if not low_ms - early_ms(clean, low_ms - clean_ms) <= least_ms <= high_ms + TOLERANCE_MS:
        wanted = f"{low_ms:g} ms" if low_ms == high_ms else f"{low_ms:.4g} to {high_ms:.4g} ms"
        raise (MoreThanAskedError if least_ms > high_ms else CheckError)(
            "impairment", f"{condition.name}: least round trip {least_ms:g} ms, expected {wanted}"
        )


def may_be_the_pace(error: CheckError, condition: Condition, slower: int) -> bool:
    """Whether a burst that failed so, at that pace, is worth a slower one, which is judged by the same bounds.

    An impairment loses and delays alike at every pace; a condition that is more than that has one pace.
    """
    return isinstance(error, MoreThanAskedError) and condition.is_plain and slower != SLOWER[-1]


def early_ms(clean: Rtt, added_ms: float) -> float:
    """By how much the least round trip of a burst may be below that of the clean pings plus the added delay.

    Clean pings are few: on a busy machine all of them may be later than the best of 2,000, by about as much as they
    differ among themselves. That is allowed, up to half of the delay, so that one which is missing stays one. Where
    nothing is added no round trip can be too short.
    """
    if not added_ms:
        return math.inf
    return max(EARLY_MS, min(clean.max_ms - clean.min_ms, added_ms / 2))


def _check_runs(
    answered: Sequence[int], seen: PingSummary, condition: Condition, ways: Sequence[Condition]
) -> None:
    """Losses in bursts come in few runs. Where several ways lose, their runs are mixed, and this says nothing."""
    losing = [way for way in ways if way.loss_pct]
    if len(losing) != 1 or losing[0].burst_packets is None:
        return
    runs = runs_of_lost(answered, seen.sent)
    low, high = expected.runs_bounds(runs, seen.sent, losing[0].burst_packets)
    if not low <= seen.lost <= high:
        raise CheckError(
            "impairment",
            f"{condition.name}: {seen.lost} packets lost in {runs} runs, expected {low} to {high} in so many",
        )


def runs_of_lost(answered: Sequence[int], sent: int) -> int:
    """How many runs of losses there are among sequence numbers from 1 to `sent`."""
    here = np.zeros(sent + 2, dtype=bool)
    here[0] = True
    here[[number for number in answered if 0 < number <= sent]] = True
    return int(np.count_nonzero(here[:-2] & ~here[1:-1]))


def _check_spread(
    late_ms: Sequence[float], condition: Condition, ways: Sequence[Condition], added: expected.Delays
) -> None:
    """Half of the round trips lie as far apart as the jitter says; load only spreads them further."""
    if not any(way.jitter_ms for way in ways):
        return
    lower, upper = np.quantile(late_ms, (0.25, 0.75))
    seen_ms, wanted_ms = float(upper - lower), added.spread_ms
    most_ms = 1.25 * wanted_ms
    least = 0.75
    if any(way.jitter_ms and way.rate_mbit_s for way in ways):
        # in order the spread hangs on how regularly the pings follow each other
        least, most_ms = 0.4, sum(2 * way.jitter_ms for way in ways)
    by_chance = added.spread_bounds_ms(len(late_ms))
    least_ms, most_ms = min(least * wanted_ms, by_chance[0]), max(most_ms, by_chance[1])
    if not least_ms - 0.5 <= seen_ms <= most_ms + TOLERANCE_MS:
        raise CheckError(
            "impairment",
            f"{condition.name}: the middle half of round trips spreads over {seen_ms:.2f} ms,"
            f" expected about {wanted_ms:.2f} ms",
        )


def _check_early(
    late_ms: Sequence[float], condition: Condition, ways: Sequence[Condition], added: expected.Delays
) -> None:
    """As many packets are early as reordering makes; load makes some of them late (one in five is allowed).

    Of two ways a packet that skips one still has the other's jitter, and may be no earlier than any.
    """
    below_ms = expected.early_below_ms(ways)
    if below_ms is None:
        return
    early = sum(1 for one in late_ms if one < below_ms)
    low, high = expected.early_bounds(len(late_ms), added.share_below(below_ms))
    if not 0.8 * low <= early <= high:
        raise CheckError(
            "impairment",
            f"{condition.name}: {early} of {len(late_ms)} packets skipped the delay, expected {low} to {high}",
        )
