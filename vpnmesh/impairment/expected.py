"""What packets see of a condition, as bounds: how many are lost, in which runs, how late they are, how many skip ahead.

A bound is missed once in a million bursts by a path that is exactly as asked. What load adds (delay) has room besides.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik, nbdtr, nbdtrik

from vpnmesh.condition import Condition
from vpnmesh.model import End, Placement

ERROR_CHANCE = 1e-6
STRAY_LOSS_PCT = 0.1
"""Loss that a busy path may have by itself."""
_POINTS = 201
_FEWEST_EARLY_MS = 4.0
"""A delay below that is too short to tell who skipped it."""
_NATS = 15.0
"""What is left to chance 1e-6 is missed so often: exp(-15)."""
_DEVIATIONS = 5.0
"""Beyond so many standard deviations to one side a count comes less often than once in a million times."""
Floats = NDArray[np.float64]


def ways_crossed(condition: Condition, placement: Placement) -> tuple[Condition, ...]:
    """What a round trip between client and server crosses: the condition's two ways, or its one once or twice."""
    forth = condition.forth
    if condition.back is not None:
        return tuple(way for way in (forth, condition.back) if way)
    return (forth, forth) if placement.end is End.BOTH else (forth,)


def loss_bounds(packets: int, loss_pct: float, crossed: int = 1) -> tuple[int, int]:
    """The fewest and the most packets lost by chance that are still taken for this loss.

    The upper bound allows for `STRAY_LOSS_PCT` besides. `crossed` is how often a round trip crosses the impairment.
    """
    return _chance_bounds(packets, [loss_pct / 100] * crossed)


def bounds_of_loss(packets: int, ways: Sequence[Condition]) -> tuple[int, int]:
    """The same for ways that may lose differently, and in bursts; with bursts on several ways the bounds are wider."""
    if all(way.burst_packets is None for way in ways):
        return _chance_bounds(packets, [way.loss_pct / 100 for way in ways])
    low, high = 0, _quantile(1 - ERROR_CHANCE / 2, packets, STRAY_LOSS_PCT / 100)
    for way in ways:
        # what one way loses, the next one never sees
        fewest, most = _bounds_of_way(packets - low, way)
        low = max(low, fewest)
        high += most
    return low, min(high, packets)


def runs_bounds(runs: int, packets: int, burst_packets: float) -> tuple[int, int]:
    """How many packets may be lost in so many runs of losses, whose lengths are geometric with that mean.

    Of the runs some may be stray losses, of one packet each.
    """
    stray = _quantile(1 - ERROR_CHANCE / 2, packets, STRAY_LOSS_PCT / 100)
    bursts, ends = max(runs - stray, 0), 1 / burst_packets
    low = bursts + (_run_quantile(ERROR_CHANCE / 2, bursts, ends) if bursts else 0)
    return low, runs + (_run_quantile(1 - ERROR_CHANCE / 2, runs, ends) if runs else 0)


@dataclass(frozen=True, slots=True)
class Delays:
    """How late packets of a round trip are: values in ms and how likely each is, in order."""

    values_ms: Floats
    chances: Floats

    def quantile(self, share: float) -> float:
        """The delay that this share of the packets does not exceed."""
        at = int(np.searchsorted(np.cumsum(self.chances), share * self.chances.sum()))
        return float(self.values_ms[min(at, len(self.values_ms) - 1)])

    def share_below(self, limit_ms: float) -> float:
        """How many of the packets are less late than that, as a share."""
        return float(self.chances[self.values_ms < limit_ms].sum())

    @property
    def spread_ms(self) -> float:
        """Between the quarters: half of the packets lie within."""
        return self.quantile(0.75) - self.quantile(0.25)

    def spread_bounds_ms(self, packets: int) -> tuple[float, float]:
        """How far the quarters of so many packets may lie apart by chance.

        Where about a quarter skips the delay, the lower quarter is among those as likely as not.
        """
        off = _DEVIATIONS * math.sqrt(0.25 * 0.75 / packets)
        least = self.quantile(0.75 - off) - self.quantile(0.25 + off)
        return max(0.0, least), self.quantile(0.75 + off) - self.quantile(0.25 - off)


def delays(ways: Iterable[Condition], spacing_ms: float) -> Delays:
    """The delay that all ways add to packets which follow each other at that distance."""
    values, chances = np.zeros(1), np.ones(1)
    for way in ways:
        own, likely = _delays_of(way, spacing_ms)
        values = np.add.outer(values, own).ravel()
        chances = np.multiply.outer(chances, likely).ravel()
    order = np.argsort(values)
    return Delays(values[order], chances[order])


def early_below_ms(ways: Sequence[Condition]) -> float | None:
    """The added delay below which a packet must have skipped one; None where that cannot be told."""
    skipping = [_least_ms(way) for way in ways if way.reorder_pct]
    if not skipping or min(skipping) < _FEWEST_EARLY_MS:
        return None
    return sum(_least_ms(way) for way in ways) - min(skipping) / 2


def early_bounds(answers: int, share: float) -> tuple[int, int]:
    """How many of the packets that came back may be early, where that share of them is."""
    if not share:
        # of less than one of the points that stand for a way's jitter nothing is known
        return 0, answers
    return _quantile(ERROR_CHANCE / 2, answers, share), _quantile(1 - ERROR_CHANCE / 2, answers, share)


def _least_ms(way: Condition) -> float:
    return max(0.0, way.delay_ms - way.jitter_ms)


def _delays_of(way: Condition, spacing_ms: float) -> tuple[Floats, Floats]:
    low, width = way.delay_ms - way.jitter_ms, 2 * way.jitter_ms
    if way.jitter_ms and way.rate_mbit_s:
        values = low + _kept_in_order(width, spacing_ms)
    else:
        values = low + width * (np.arange(_POINTS) + 0.5) / _POINTS if width else np.full(1, low)
    values = np.maximum(values, 0.0)
    chances = np.full(len(values), (1 - way.reorder_pct / 100) / len(values))
    if not way.reorder_pct:
        return values, chances
    return np.append(values, 0.0), np.append(chances, way.reorder_pct / 100)


def _kept_in_order(width_ms: float, spacing_ms: float) -> Floats:
    """Points of an even spread from 0 to `width_ms` where no packet may overtake: it waits for all before it.

    A packet is delayed by no more than y if the one j places before it was by no more than y plus j spacings.
    """
    grid = np.linspace(0, width_ms, 400)
    before = np.arange(math.ceil(width_ms / spacing_ms) + 1) * spacing_ms
    shares = np.clip((grid[:, None] + before[None, :]) / width_ms, 0, 1).prod(axis=1)
    return np.interp((np.arange(_POINTS) + 0.5) / _POINTS, shares, grid)


def first_quantile(packets: int) -> float:
    """The share of packets of which one at least is below, for all that is likely."""
    return min(1.0, _NATS / packets)


def _chance_bounds(packets: int, losses: Sequence[float]) -> tuple[int, int]:
    loss = 1 - math.prod(1 - one for one in losses)
    with_stray = 1 - (1 - loss) * (1 - STRAY_LOSS_PCT / 100)
    low = _quantile(ERROR_CHANCE / 2, packets, loss) if loss else 0
    return low, _quantile(1 - ERROR_CHANCE / 2, packets, with_stray)


def _bounds_of_way(packets: int, way: Condition) -> tuple[int, int]:
    if way.burst_packets is not None:
        return _chain_bounds(packets, way)
    loss = way.loss_pct / 100
    if not loss:
        return 0, 0
    return _quantile(ERROR_CHANCE / 2, packets, loss), _quantile(1 - ERROR_CHANCE / 2, packets, loss)


def _chain_bounds(packets: int, way: Condition) -> tuple[int, int]:
    """Exact but for rounding; engines may start in the good state or in either."""
    few, many = (np.cumsum(_chain_counts(packets, way, starts_bad=bad)) for bad in (False, True))
    low, high = np.searchsorted(few, ERROR_CHANCE / 2), np.searchsorted(many, 1 - ERROR_CHANCE / 2)
    return int(low), min(int(high), packets)


def _chain_counts(packets: int, way: Condition, *, starts_bad: bool) -> Floats:
    """How likely each number of losses is: the chain's generating function at roots of unity, and back by Fourier.

    A packet's step is [[1 - enter, leave], [enter z, (1 - leave) z]] on (good, bad), z counting a loss; its n-th power
    is (a^n (M - b) - b^n (M - a)) / (a - b) with the eigenvalues a and b.
    """
    size = 1 << (packets + 1).bit_length()
    z = np.exp(2j * np.pi * np.arange(size) / size)
    enter, leave = way.enter_chance, way.leave_chance
    half = (1 - enter + (1 - leave) * z) / 2
    root = np.sqrt(half**2 - z * (1 - enter - leave))
    one, other = half + root, half - root
    step = leave + (1 - leave) * z if starts_bad else 1 - enter + enter * z
    after = (one**packets * (step - other) - other**packets * (step - one)) / (one - other)
    # fft takes e^-2 pi i: what is wanted of e^+2 pi i
    return np.asarray(np.fft.fft(after).real / size)


def _quantile(chance: float, packets: int, loss: float) -> int:
    """The least number of losses that a binomial reaches with that chance; importing scipy.stats costs a second."""
    found = max(0, math.ceil(bdtrik(chance, packets, loss)))
    return found - 1 if found and bdtr(found - 1, packets, loss) >= chance else found


def _run_quantile(chance: float, runs: int, ends: float) -> int:
    """The same of a negative binomial: how many losses follow the first ones of so many runs."""
    found = max(0, math.ceil(nbdtrik(chance, runs, ends)))
    return found - 1 if found and nbdtr(found - 1, runs, ends) >= chance else found
