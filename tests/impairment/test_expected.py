"""The bounds of what packets see, against hand-made figures and the processes themselves, drawn at random."""

import dataclasses

import numpy as np
import pytest

from vpnmesh.condition import MIN_RATE_MBIT_S, QUEUE_MS, Condition
from vpnmesh.errors import CheckError
from vpnmesh.impairment import burst, expected
from vpnmesh.impairment.burst import check_burst, check_train
from vpnmesh.model import End, Placement
from vpnmesh.tools.ping import PingSummary, Rtt

CLEAN = PingSummary(5, 5, Rtt(0.2, 0.3, 0.5, 0.1))
BURSTS = Condition.parse("burst-loss-5pct-8packets")


def chain(packets: int, way: Condition, seed: int) -> np.ndarray:
    """Which packets a Gilbert chain loses."""
    draws, bad, lost = np.random.default_rng(seed).random(packets), False, []
    for draw in draws:
        if draw < (way.leave_chance if bad else way.enter_chance):
            bad = not bad
        lost.append(bad)
    return np.array(lost)


def shown(late_ms: np.ndarray, lost: np.ndarray | None = None) -> PingSummary:
    """What ping prints of packets that are so late, over the clean 0.2 ms."""
    gone = np.zeros(len(late_ms), dtype=bool) if lost is None else lost
    times = [round(0.2 + late, 2) for late in late_ms[~gone]]
    lines = [
        f"72 bytes from 192.88.99.18: icmp_seq={number} ttl=63 time={time} ms"
        for number, time in zip(np.flatnonzero(~gone) + 1, times, strict=True)
    ]
    low, mean, high = min(times), sum(times) / len(times), max(times)
    text = "\n".join([
        "PING 192.88.99.18 (192.88.99.18) 64(92) bytes of data.", *lines, "", "--- 192.88.99.18 ping statistics ---",
        f"{len(late_ms)} packets transmitted, {len(times)} received, 0% packet loss, time 1999ms",
        f"rtt min/avg/max/mdev = {low:.3f}/{mean:.3f}/{high:.3f}/1.000 ms, pipe 20", "",
    ])  # fmt: skip
    return PingSummary(len(late_ms), len(times), Rtt(low, mean, high, 1.0), text)


def late(condition: str, seed: int = 1, packets: int = 2000) -> np.ndarray:
    """How late packets of one way are: jitter evenly around the delay, some that skip it."""
    way, draws = Condition.parse(condition), np.random.default_rng(seed)
    found = np.maximum(0, way.delay_ms + way.jitter_ms * (2 * draws.random(packets) - 1))
    return np.where(draws.random(packets) < way.reorder_pct / 100, 0.0, found)


def test_a_chain_is_as_often_within_as_it_should_be() -> None:
    """Two hundred chains lie within the bounds: wider than those of as much loss by chance, and not by much."""
    low, high = expected.bounds_of_loss(4000, [BURSTS])
    counts = [int(chain(4000, BURSTS, seed).sum()) for seed in range(200)]
    assert low <= min(counts) <= max(counts) <= high
    by_chance = expected.loss_bounds(4000, 5)
    assert low < by_chance[0] < by_chance[1] < high
    assert (min(counts) - low, high - max(counts)) < (100, 220)


def test_chances_of_a_chain_by_hand() -> None:
    """Of two packets from the good state: none lost, one lost, both lost."""
    counts = expected._chain_counts(2, BURSTS, starts_bad=False)
    enter, leave = BURSTS.enter_chance, BURSTS.leave_chance
    stay = 1 - enter
    assert counts[:3] == pytest.approx([stay * stay, stay * enter + enter * leave, enter * (1 - leave)])
    assert counts.sum() == pytest.approx(1)


def test_losses_by_chance_are_no_bursts() -> None:
    """As many packets lost one by one as a chain loses in bursts: the runs tell them apart."""
    packets = burst.packets_for([BURSTS])
    lost = chain(packets, BURSTS, 3)
    check_burst(shown(np.zeros(packets), lost), BURSTS, Placement(), CLEAN)
    one_by_one = np.random.default_rng(3).random(packets) < 0.05
    with pytest.raises(CheckError, match=r"packets lost in \d+ runs, expected"):
        check_burst(shown(np.zeros(packets), one_by_one), BURSTS, Placement(), CLEAN)


def test_runs() -> None:
    """Runs of lost numbers, at the ends too."""
    assert burst.runs_of_lost([2, 3, 6, 8], 8) == 3
    assert burst.runs_of_lost([], 8) == 1
    assert burst.runs_of_lost(range(1, 9), 8) == 0


@pytest.mark.parametrize("name", ["delay-50ms+jitter-20ms", "delay-50ms+jitter-5ms", "delay-6ms+jitter-15ms"])
def test_jitter_passes_and_nothing_else_does(name: str) -> None:
    """Jitter as asked passes; none, twice as much, or half of it does not."""
    asked = Condition.parse(name)
    check_burst(shown(late(name)), asked, Placement(), CLEAN)
    for wrong in (0.0, 0.5 * asked.jitter_ms, 2 * asked.jitter_ms + 8):
        other = Condition(delay_ms=asked.delay_ms, jitter_ms=wrong)
        with pytest.raises(CheckError, match=r"spreads over|least round trip"):
            check_burst(shown(late(other.name)), asked, Placement(), CLEAN)


def test_reordering_passes_and_nothing_else_does() -> None:
    """Five in a hundred that skip 50 ms pass; none, or ten, do not."""
    asked = Condition.parse("delay-50ms+reorder-5pct")
    check_burst(shown(late(asked.name)), asked, Placement(), CLEAN)
    for wrong in ("delay-50ms", "delay-50ms+reorder-10pct"):
        with pytest.raises(CheckError, match=r"skipped the delay|least round trip"):
            check_burst(shown(late(wrong)), asked, Placement(), CLEAN)


@pytest.mark.parametrize(("forth", "back"), [
    ("delay-30ms+jitter-10ms+reorder-25pct",) * 2,
    ("delay-20ms+reorder-10pct", "delay-50ms+jitter-40ms"),
    ("delay-50ms+reorder-5pct", "delay-20ms"),
])  # fmt: skip
def test_who_skips_one_of_two_ways_has_the_others_jitter(forth: str, back: str) -> None:
    """Round trips of both ways as drawn pass, however wide the jitter that a packet which skips one way still has."""
    asked = dataclasses.replace(Condition.parse(forth), back=Condition.parse(back))
    for seed in range(3):
        there, here = late(forth, 2 * seed), late(back, 2 * seed + 1)
        check_burst(shown(there + here), asked, Placement(), CLEAN)


def test_a_quarter_that_skips_the_delay_may_hold_the_lower_quartile() -> None:
    """Whether 24 or 26 of a hundred have skipped it is chance, and moves that quartile from 0 to 20 ms."""
    name = "delay-30ms+jitter-10ms+reorder-25pct"
    for seed in range(6, 9):
        check_burst(shown(late(name, seed)), Condition.parse(name), Placement(), CLEAN)
    with pytest.raises(CheckError, match="spreads over"):
        check_burst(shown(late("delay-30ms+reorder-15pct")), Condition.parse(name), Placement(), CLEAN)


def test_too_few_skip_one_of_two_ways() -> None:
    """Half as many skippers as asked do not pass, nor none."""
    one = "delay-30ms+jitter-10ms+reorder-{0}pct"
    for share in (0, 12):
        seen = late(one.format(share)) + late(one.format(share), 2)
        added = expected.delays([Condition.parse(one.format(25))] * 2, 1.0)
        asked = Condition.parse(one.format(25))
        with pytest.raises(CheckError, match="skipped the delay"):
            burst._check_early([float(ms) for ms in seen], asked, [asked] * 2, added)


def test_jitter_in_order_as_drawn() -> None:
    """Behind one queue a packet waits for all before it: the middle half of what was drawn is where the bounds say."""
    way = Condition.parse("delay-50ms+jitter-20ms+rate-100mbit")
    drawn = np.arange(20_000) + late("delay-50ms+jitter-20ms", packets=20_000)
    in_order = np.maximum.accumulate(drawn) - np.arange(20_000)
    lower, upper = np.quantile(in_order, (0.25, 0.75))
    added = expected.delays([way], 1.0)
    assert added.quantile(0.25) == pytest.approx(lower, abs=0.3)
    assert added.quantile(0.75) == pytest.approx(upper, abs=0.3)


def test_asymmetric_ways_are_both_crossed() -> None:
    """A round trip takes both delays, whatever the end; without a way back it takes one, or the same twice."""
    both = Condition.parse("delay-50ms+back-delay-20ms")
    for end in End:
        check_burst(shown(np.full(2000, 70.0)), both, Placement(end=end), CLEAN)
        with pytest.raises(CheckError, match="least round trip"):
            check_burst(shown(np.full(2000, 50.0)), both, Placement(end=end), CLEAN)
    assert len(expected.ways_crossed(Condition(delay_ms=50), Placement(end=End.BOTH))) == 2


@pytest.mark.parametrize(("name", "interval_ms", "packets"), [
    ("delay-50ms+jitter-5ms", 1.0, 2000),
    ("dsl", 8.833, 905),
    ("burst-loss-2pct-8packets", 1.0, 5880),
])  # fmt: skip
def test_how_many_pings_and_how_fast(name: str, interval_ms: float, packets: int) -> None:
    """A slow line is not filled by them; rare bursts take more of them."""
    ways = expected.ways_crossed(Condition.parse(name), Placement())
    assert burst.interval_ms(ways) == pytest.approx(interval_ms, abs=0.001)
    assert abs(burst.packets_for(ways) - packets) <= 1


@pytest.mark.parametrize("rate", [MIN_RATE_MBIT_S, 0.384, 1, 5, 20, 100])
def test_what_proves_a_rate_fits_into_its_queue(rate: float) -> None:
    """Of what is sent at once the last waits no longer than the queue holds, even if no packet passes ahead of time."""
    one = burst.Train.at(rate)
    for packets, payload in ((burst.PRELOAD, burst.PAYLOAD_BYTES), (one.pings, one.payload_bytes)):
        assert (packets - 1) * (payload + 42) * 8 / rate / 1000 <= 0.95 * QUEUE_MS
    assert one.passes_ms >= 0.95 * burst.TRAIN_MS


@pytest.mark.parametrize("rate", [MIN_RATE_MBIT_S, 0.384, 2.96, 20, 100])
def test_a_train_takes_its_time(rate: float) -> None:
    """A train at the rate passes; without a limit or at twice the rate it does not, nor one that loses of it."""
    asked = Condition(rate_mbit_s=rate)
    one = burst.Train.at(rate)
    whole_ms = one.pings * (one.payload_bytes + 42) * 8 / rate / 1000

    def train(took_ms: float) -> PingSummary:
        text = f"{one.pings} packets transmitted, {one.pings} received, 0% packet loss, time 2ms\n"
        return PingSummary(one.pings, one.pings, Rtt(0.3, took_ms / 2, took_ms, 1.0), text)

    check_train(train(whole_ms), asked, Placement(), CLEAN)
    for wrong_ms in (1.0, 25.0):
        with pytest.raises(CheckError, match=r"a train of 60 ms at the limited rate passed in"):
            check_train(train(wrong_ms), asked, Placement(), CLEAN)
    lossy = dataclasses.replace(train(whole_ms), received=one.pings - one.pings // 4)
    with pytest.raises(CheckError, match="of a train of"):
        check_train(lossy, asked, Placement(), CLEAN)
