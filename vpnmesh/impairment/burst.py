"""Prove an impairment with packets: a short burst of pings, judged by a binomial bound and the least round trip."""

import math
from collections.abc import Sequence
from ipaddress import IPv4Address

from scipy.special import bdtr, bdtrik

from vpnmesh.errors import CheckError
from vpnmesh.model import Condition, End, Place, Placement
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.tools import ping
from vpnmesh.tools.ping import PingSummary

PACKETS = 2000
"""Enough that 1 % loss cannot be taken for none: the chance of no loss at all is 2e-9."""
SIDE_BY_SIDE = 4
PRELOAD = 20
ERROR_CHANCE = 1e-6
STRAY_LOSS_PCT = 0.1
"""Loss that a busy path may have by itself."""
TOLERANCE_MS = 5.0
EARLY_MS = 1.0


def burst(address: IPv4Address | str, prefix: Sequence[str] = ()) -> Fact[PingSummary]:
    """2,000 pings, which take half a second plus one or two round trips; `prefix` runs it in a pod, for example.

    One ping keeps to 1,000 packets a second only while it may send up to `PRELOAD` at once, and flooding would wait
    for answers; so four run side by side.
    """
    argv = ping.argv(address, PACKETS // SIDE_BY_SIDE, interval_s=0.001, payload_bytes=64)
    *options, target = argv
    command = Command(
        (*prefix, "xargs", "-P", str(SIDE_BY_SIDE), "-n", "1", *options, "-l", str(PRELOAD)),
        stdin=f"{target}\n" * SIDE_BY_SIDE,
        # ping ends with 1 without any answer, and xargs makes 123 of it: that is an answer to us
        ok=(0, 123),
    )
    return Fact((command,), _read)


def _read(completed: Sequence[Completed]) -> PingSummary:
    return ping.parse_all(completed[0].stdout + completed[0].stderr)


def crossings(placement: Placement) -> int:
    """How often a round trip between client and server crosses the impairment."""
    return 2 if placement.end is End.BOTH else 1


def goes_between_pods(placement: Placement) -> bool:
    """Whether the burst must go from pod to pod; else it goes between the nodes' underlay addresses."""
    return placement.place in (Place.VXLAN, Place.POD)


def check_burst(seen: PingSummary, condition: Condition, placement: Placement, clean: PingSummary) -> None:
    """Raise CheckError("impairment") unless loss and delay of a burst are those of the condition.

    `clean` are pings of the same way without impairment. The loss must lie within two-sided binomial bounds of error
    chance 1e-6; the least round trip, which load does not lengthen, from 1 ms below to 5 ms above clean plus delay.
    """
    crossed = crossings(placement)
    low, high = loss_bounds(seen.sent, condition.loss_pct, crossed)
    if not low <= seen.lost <= high:
        raise CheckError(
            "impairment",
            f"{condition.name}: {seen.lost} of {seen.sent} packets lost, expected {low} to {high}",
        )
    if seen.rtt is None or clean.rtt is None:
        raise CheckError("impairment", f"{condition.name}: no round-trip time to judge the delay by")
    wanted_ms = clean.rtt.min_ms + condition.delay_ms * crossed
    if not wanted_ms - EARLY_MS <= seen.rtt.min_ms <= wanted_ms + TOLERANCE_MS:
        raise CheckError(
            "impairment",
            f"{condition.name}: least round trip {seen.rtt.min_ms:g} ms, expected {wanted_ms:g} ms",
        )


def loss_bounds(packets: int, loss_pct: float, crossed: int = 1) -> tuple[int, int]:
    """The fewest and the most lost packets that are still taken for this loss.

    A burst under exactly this loss falls outside these bounds once in a million bursts; the upper bound allows for
    `STRAY_LOSS_PCT` besides. `crossed` is how often a round trip crosses the impairment.
    """
    loss = _either_way(loss_pct, crossed)
    with_stray = 1 - (1 - loss) * (1 - STRAY_LOSS_PCT / 100)
    low = _quantile(ERROR_CHANCE / 2, packets, loss) if loss else 0
    return low, _quantile(1 - ERROR_CHANCE / 2, packets, with_stray)


def _quantile(chance: float, packets: int, loss: float) -> int:
    """The least number of losses that a binomial reaches with that chance; importing scipy.stats costs a second."""
    found = max(0, math.ceil(bdtrik(chance, packets, loss)))
    return found - 1 if found and bdtr(found - 1, packets, loss) >= chance else found


def _either_way(loss_pct: float, crossed: int) -> float:
    return float(1 - (1 - loss_pct / 100) ** crossed)
